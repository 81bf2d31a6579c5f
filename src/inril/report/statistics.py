"""Statistics over few seeds, as pure functions on arrays.

Below `MIN_SEEDS` seeds an interval would promise more than it knows: each seed is shown. From there on: the
interquartile mean with a stratified bootstrap interval, after Agarwal et al. 2021 ("Deep Reinforcement Learning at the
Edge of the Statistical Precipice"). Unlike their library, everything random draws from the generator that is passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

Array = NDArray[np.float64]

MIN_SEEDS = 5
TRIM = 0.25


class Interval(NamedTuple):
    """An estimate with the bounds of its confidence interval, all of one shape."""

    estimate: Array
    low: Array
    high: Array


def iqm(scores: Array, axis: int = 0) -> Array:
    """Return the interquartile mean: the mean of the middle half."""
    return np.asarray(stats.trim_mean(scores, TRIM, axis=axis))


def stratified_iqm(scores: Array, rng: np.random.Generator, level: float = 0.95, n_boot: int = 2000) -> Interval:
    """Interquartile mean over runs and tasks; the bootstrap draws runs anew within each task.

    Args:
        scores: (R, T, ...) of R runs on T tasks; further axes (points of a curve) keep their runs together.
        rng: source of the resampling.
        level: coverage of the interval.
        n_boot: number of resamples.

    Returns:
        Interval of shape (...).
    """
    n_runs, n_tasks, *rest = scores.shape
    drawn = rng.integers(n_runs, size=(n_boot, n_runs, n_tasks))
    samples = scores[drawn, np.arange(n_tasks)]  # (n_boot, R, T, ...)
    estimates = iqm(samples.reshape(n_boot, n_runs * n_tasks, *rest), axis=1)
    return Interval(iqm(scores.reshape(n_runs * n_tasks, *rest)), *_percentiles(estimates, level))


def hierarchical_gain(
    before: Sequence[Array],
    after: Sequence[Array],
    rng: np.random.Generator,
    level: float = 0.95,
    n_boot: int = 2000,
) -> Interval:
    """Mean gain with an interval that covers both the choice of seeds and the episodes of each evaluation.

    Args:
        before: per seed the returns (n,) of evaluation episodes before training; lengths may differ.
        after: the same seeds' after training.
        rng: source of the resampling: seeds first, then episodes within each drawn seed.
        level: coverage of the interval.
        n_boot: number of resamples.

    Returns:
        Interval of shape ().
    """
    n_seeds = len(before)
    if n_seeds != len(after) or n_seeds == 0:
        raise ValueError(f"the same seeds are needed before and after, got {n_seeds} and {len(after)}")
    size = (n_boot, n_seeds)
    redrawn = np.stack(
        [
            _resampled_means(late, size, rng) - _resampled_means(early, size, rng)
            for early, late in zip(before, after, strict=True)
        ]
    )
    estimate = np.mean([late.mean() - early.mean() for early, late in zip(before, after, strict=True)])
    return Interval(np.asarray(estimate), *_percentiles(_over_drawn_seeds(redrawn, rng), level))


def hierarchical_mean(
    values: Sequence[Array], rng: np.random.Generator, level: float = 0.95, n_boot: int = 2000
) -> Interval:
    """Mean over seeds with an interval that covers the choice of seeds and the episodes of each.

    Args:
        values: per seed its episodes (n,); lengths may differ.
        rng: source of the resampling: seeds first, then episodes within each drawn seed.
        level: coverage of the interval.
        n_boot: number of resamples.

    Returns:
        Interval of shape ().
    """
    redrawn = np.stack([_resampled_means(of_seed, (n_boot, len(values)), rng) for of_seed in values])
    estimate = np.mean([of_seed.mean() for of_seed in values])
    return Interval(np.asarray(estimate), *_percentiles(_over_drawn_seeds(redrawn, rng), level))


def wilson(outcomes: Array, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; unlike a bootstrap it has a width at 0 and at 1.

    Args:
        outcomes: (n,) of zeros and ones.
        level: coverage of the interval.

    Source: Wilson 1927.
    """
    test = stats.binomtest(int(outcomes.sum()), len(outcomes))
    low, high = test.proportion_ci(level, method="wilson")
    return Interval(np.asarray(test.statistic), np.asarray(low), np.asarray(high))


def newcombe(before: Array, after: Array, level: float = 0.95) -> Interval:
    """Difference of two independent proportions, after minus before, with Newcombe's hybrid score interval.

    Args:
        before: (n,) of zeros and ones.
        after: the same; lengths may differ.
        level: coverage of the interval.

    Source: Newcombe 1998, method 10.
    """
    early, late = wilson(before, level), wilson(after, level)
    difference = late.estimate - early.estimate
    below = np.hypot(late.estimate - late.low, early.high - early.estimate)
    above = np.hypot(late.high - late.estimate, early.estimate - early.low)
    return Interval(difference, difference - below, difference + above)


def change(curves: Array) -> Array:
    """Return last minus first of each curve: (R, X) -> (R,)."""
    return curves[:, -1] - curves[:, 0]


def on_common_grid(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Bring one arm's seeds onto one axis, since no two runs count exactly the same environment steps.

    Args:
        curves: per seed its env steps (n,), increasing, and values (n,).

    Returns:
        grid (X,): the first seed's env steps, as far as all seeds reach; values (R, X), linearly interpolated.
    """
    first = max(steps[0] for steps, _ in curves)
    last = min(steps[-1] for steps, _ in curves)
    inner = curves[0][0]
    grid = np.unique(np.concatenate([[first], inner[(inner > first) & (inner < last)], [last]]))
    return grid, np.stack([np.interp(grid, steps, values) for steps, values in curves])


def savgol(values: Array, window: int, order: int) -> Array:
    """Smooth along the last axis with a Savitzky-Golay filter; curves too short for the window stay as they are."""
    if values.shape[-1] < window:
        return values
    return np.asarray(signal.savgol_filter(values, window, order, axis=-1))


def _resampled_means(values: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
    return np.asarray(values[rng.integers(len(values), size=(*size, len(values)))].mean(axis=-1))


def _over_drawn_seeds(redrawn: Array, rng: np.random.Generator) -> Array:
    """Average over seeds drawn with replacement; one that is drawn twice draws its episodes twice.

    Args:
        redrawn: (R, n_boot, R), per seed a mean over redrawn episodes for every draw.
        rng: draws the seeds.

    Returns:
        (n_boot,).
    """
    n_seeds, n_boot, _ = redrawn.shape
    seeds = rng.integers(n_seeds, size=(n_boot, n_seeds))
    return np.asarray(redrawn[seeds, np.arange(n_boot)[:, None], np.arange(n_seeds)].mean(axis=1))


def _percentiles(samples: Array, level: float) -> tuple[Array, Array]:
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
