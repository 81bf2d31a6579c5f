"""Differences over seeds that share a baseline: intervals corrected for the number of arms, and what seeds can detect.

Arms are compared seed by seed, since a seed's arms start from the same pre-trained policy: the seeds are blocks. With k
arms beside one baseline, the spread is estimated from all of them together ((n - 1) k degrees of freedom) and intervals
hold for all k differences at once (Dunnett 1955). With one arm that is Student's paired t interval.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from inril.report.statistics import Array, Interval

LEVEL = 0.95
POWER = 0.8  # of finding what is called detectable
_MOST_SEEDS = 1000


class Contrast(NamedTuple):
    """A mean over seeds, with what is known of its spread.

    Attributes:
        estimate: the mean.
        variance: of what one seed adds, about that mean.
        n_seeds: how many seeds there are, at least 2.
        n_arms: k, how many such means are judged side by side.
        n_pooled: how many arms `variance` was estimated from.
        level: probability with which the bounds hold.
    """

    estimate: float
    variance: float
    n_seeds: int
    n_arms: int = 1
    n_pooled: int = 1
    level: float = LEVEL

    @property
    def interval(self) -> Interval:
        """Bounds that hold for all k means at once."""
        half = self._quantile(self.n_seeds) * self._error(self.n_seeds)
        mean = np.asarray(self.estimate)
        return Interval(mean, mean - half, mean + half)

    @property
    def detectable(self) -> float:
        """Smallest true mean whose interval excludes 0 with probability `POWER`, given this spread."""
        return self._reach(self.n_seeds)

    def seeds_for(self, effect: float) -> int | None:
        """Return how many seeds detect a true mean of this size with this spread; None if 1,000 do not."""
        found = bisect_left(range(2, _MOST_SEEDS + 1), True, key=lambda n: self._reach(n) <= abs(effect))
        n_seeds = 2 + found
        return n_seeds if n_seeds <= _MOST_SEEDS else None

    def _reach(self, n_seeds: int) -> float:
        power = float(stats.t.ppf(POWER, self._dof(n_seeds)))
        return (self._quantile(n_seeds) + power) * self._error(n_seeds)

    def _quantile(self, n_seeds: int) -> float:
        return dunnett_quantile(self.n_arms, self._dof(n_seeds), self.level)

    def _dof(self, n_seeds: int) -> int:
        return (n_seeds - 1) * self.n_pooled

    def _error(self, n_seeds: int) -> float:
        return float(np.sqrt(self.variance / n_seeds))


def one_mean(values: Array) -> Contrast:
    """Describe the mean of one number per seed.

    Args:
        values: (n,), at least 2.
    """
    return Contrast(float(values.mean()), float(values.var(ddof=1)), len(values))


def pooled_contrasts(arms: Array, weights: Array, level: float = LEVEL) -> list[Contrast]:
    """Describe weighted sums of arms, planned before, each on its own.

    Args:
        arms: (n, k) one number per seed and arm, n at least 2.
        weights: (c, k) of c sums; each adds up to 0, so that what a seed's arms share cancels.
        level: of each interval.
    """
    n_seeds, n_arms = arms.shape
    variances = _residual_variance(arms) * np.square(weights).sum(axis=1)
    sums = weights @ arms.mean(axis=0)
    return [
        Contrast(float(total), float(variance), n_seeds, n_pooled=n_arms - 1, level=level)
        for total, variance in zip(sums, variances, strict=True)
    ]


def against_baseline(baseline: Array, arms: Array) -> list[Contrast]:
    """Describe the mean difference of each arm from a baseline.

    Args:
        baseline: (n,) one number per seed, n at least 2.
        arms: (n, k) of the same seeds.
    """
    n_seeds, n_arms = arms.shape
    variance = 2 * _residual_variance(np.column_stack([baseline, arms]))
    differences = arms.mean(axis=0) - baseline.mean()
    return [Contrast(float(difference), variance, n_seeds, n_arms, n_arms) for difference in differences]


def _residual_variance(values: Array) -> float:
    """Return the mean square that is left of (n, k) when seeds and arms have their means."""
    n_seeds, n_arms = values.shape
    residuals = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    return float(np.square(residuals).sum()) / ((n_seeds - 1) * (n_arms - 1))


@cache
def dunnett_quantile(n_arms: int, dof: int, level: float) -> float:
    """Return q with P(max_i |T_i| < q) = level for the k studentised differences from one common baseline.

    T_i = (Z_i - Z_0) / (sqrt(2) S) with S^2 a mean square of `dof` degrees of freedom; for k = 1 Student's quantile.
    """
    if n_arms == 1:
        return float(stats.t.ppf((1 + level) / 2, dof))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)  # type: ignore[no-untyped-call]  # over Z_0
    share = (np.arange(500) + 0.5) / 500  # over S, by its quantiles
    scale = np.sqrt(stats.chi2.ppf(share, dof) / dof)[:, None]

    def excess(q: float) -> float:
        reach = np.sqrt(2) * q * scale
        inside = stats.norm.cdf(nodes + reach) - stats.norm.cdf(nodes - reach)
        return float((inside**n_arms @ weights).mean() / np.sqrt(2 * np.pi)) - level

    return float(optimize.brentq(excess, 0.5, 50.0))
