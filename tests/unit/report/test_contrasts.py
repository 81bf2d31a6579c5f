import numpy as np
import pytest
from scipy import stats

from inril.report.contrasts import against_baseline, dunnett_quantile, one_mean, pooled_contrasts


@pytest.mark.parametrize(("n_arms", "dof"), [(2, 5), (7, 14), (7, 7), (3, 60)])
def test_the_quantile_covers_all_differences_at_once(n_arms: int, dof: int) -> None:
    correlation = np.full((n_arms, n_arms), 0.5) + 0.5 * np.eye(n_arms)
    joint = stats.multivariate_t(shape=correlation, df=dof, seed=0)
    q = np.full(n_arms, dunnett_quantile(n_arms, dof, 0.95))
    assert joint.cdf(q, lower_limit=-q) == pytest.approx(0.95, abs=1e-3)


def test_tabulated_quantiles() -> None:
    # Dunnett 1964, two-sided, 5 %.
    assert dunnett_quantile(2, 10, 0.95) == pytest.approx(2.57, abs=0.01)
    assert dunnett_quantile(7, 20, 0.95) == pytest.approx(2.86, abs=0.01)
    assert dunnett_quantile(1, 2, 0.95) == pytest.approx(4.3027, abs=1e-4)


def test_one_arm_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    baseline, arm = rng.normal(size=5), rng.normal(1, 1, 5)
    (contrast,) = against_baseline(baseline, arm[:, None])
    reference = stats.ttest_rel(arm, baseline).confidence_interval()
    assert tuple(map(float, contrast.interval[1:])) == pytest.approx((reference.low, reference.high))
    differences = one_mean(arm - baseline)
    assert differences.detectable == pytest.approx(contrast.detectable)


def test_what_seeds_share_cancels() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(3, 8))
    contrasts = against_baseline(values[:, 0], values[:, 1:])
    shifted = values + 100 * np.arange(3)[:, None]
    again = against_baseline(shifted[:, 0], shifted[:, 1:])
    for one, two in zip(contrasts, again, strict=True):
        assert two.estimate == pytest.approx(one.estimate)
        assert two.variance == pytest.approx(one.variance)


def test_coverage_of_all_seven() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        values = rng.normal(size=(3, 8)) + rng.normal(size=(3, 1))
        intervals = [contrast.interval for contrast in against_baseline(values[:, 0], values[:, 1:])]
        covered += all(low < 0 < high for _, low, high in intervals)
    assert 0.92 < covered / 400 < 0.98


def test_a_planned_sum_uses_the_spread_of_all() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, 3))
    weights = np.array([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])
    one, two = pooled_contrasts(values, weights)
    assert one.estimate == pytest.approx((values[:, 0] - values[:, 1]).mean())
    assert (one.n_pooled, one.n_arms) == (2, 1)
    (first, _) = against_baseline(values[:, 1], values[:, [0, 2]])
    assert one.variance == pytest.approx(first.variance)  # twice the residual mean square
    assert two.variance == pytest.approx(0.75 * first.variance)


def test_detectable_effects_are_found_as_often_as_said() -> None:
    rng = np.random.default_rng(4)
    spread = one_mean(np.array([-1.0, 0.0, 1.0]))  # variance 1
    effect = spread.detectable
    found = sum(one_mean(effect + rng.normal(size=3)).interval.low > 0 for _ in range(1000))
    assert 0.7 < found / 1000 < 0.95  # the non-central t distribution is skew: 80 % is its simple approximation


def test_seeds_needed() -> None:
    spread = one_mean(np.array([-1.0, 0.0, 1.0]))
    n_seeds = spread.seeds_for(1.0)
    assert n_seeds is not None
    assert n_seeds > 3
    assert spread.seeds_for(spread.detectable) == 3
    assert spread.seeds_for(0.0) is None
