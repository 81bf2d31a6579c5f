import numpy as np
import pytest
from scipy import stats

from inril.report.statistics import change, hierarchical_gain, iqm, on_common_grid, savgol, stratified_iqm, t_interval


def test_iqm_ignores_the_outer_quarters() -> None:
    assert iqm(np.array([-1000.0, 1, 2, 3, 4, 5, 6, 1000])) == pytest.approx(3.5)


def test_stratified_iqm_depends_on_the_passed_generator_alone() -> None:
    scores = np.random.default_rng(1).normal(size=(6, 3))
    np.random.default_rng(5)
    first = stratified_iqm(scores, np.random.default_rng(0))
    second = stratified_iqm(scores, np.random.default_rng(0))
    other = stratified_iqm(scores, np.random.default_rng(2))
    assert first == second
    assert first.low != other.low
    assert first.low < first.estimate < first.high


def test_stratified_iqm_resamples_within_tasks() -> None:
    # Tasks without spread leave nothing to resample, however far apart they are.
    scores = np.tile([0.0, 100.0, 200.0], (5, 1))
    interval = stratified_iqm(scores, np.random.default_rng(0))
    assert interval.low == interval.estimate == interval.high == pytest.approx(100)


def test_stratified_iqm_keeps_the_points_of_a_curve_together() -> None:
    curve = np.random.default_rng(3).normal(size=(5, 1, 1))
    shifted = np.concatenate([curve, curve + 7], axis=2)  # (R, 1, X)
    interval = stratified_iqm(shifted, np.random.default_rng(0))
    np.testing.assert_allclose(interval.low[1] - interval.low[0], 7)


def test_stratified_iqm_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = stratified_iqm(rng.normal(size=(20, 1)), rng, n_boot=200)
        hits += int(interval.low <= 0 <= interval.high)
    assert 0.85 < hits / 200 < 0.99


def test_t_interval_equals_the_textbook() -> None:
    values = np.array([1.0, 2.0, 4.0])
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    interval = t_interval(values)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_t_interval_of_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 seeds, got 1"):
        t_interval(np.array([1.0]))


def test_hierarchical_gain_is_exact_without_spread() -> None:
    before, after = [np.full(4, 1.0)] * 3, [np.full(9, 3.0)] * 3
    assert hierarchical_gain(before, after, np.random.default_rng(0)) == pytest.approx((2, 2, 2))


def test_hierarchical_gain_is_wider_than_seeds_or_episodes_alone() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 10))
    level = np.array([[-3.0], [-1], [1], [3]])
    zero = [np.zeros(10)] * 4

    def width(after: np.ndarray) -> float:
        interval = hierarchical_gain(zero, list(after), np.random.default_rng(1))
        return float(interval.high - interval.low)

    assert width(noise + level) > max(width(noise), 0)
    assert width(noise + level) > width(np.broadcast_to(level, (4, 10))) * 0.99


def test_hierarchical_gain_needs_the_same_seeds_on_both_sides() -> None:
    with pytest.raises(ValueError, match="got 1 and 2"):
        hierarchical_gain([np.ones(2)], [np.ones(2)] * 2, np.random.default_rng(0))


def test_change_is_last_minus_first() -> None:
    np.testing.assert_array_equal(change(np.array([[1.0, 5, 3], [2, 2, 2]])), [2, 0])


def test_curves_meet_on_one_grid_as_far_as_all_reach() -> None:
    line = (np.array([0.0, 10, 20]), np.array([0.0, 10, 20]))
    shorter = (np.array([0.0, 9, 18]), np.array([0.0, 18, 36]))
    grid, values = on_common_grid([line, shorter])
    np.testing.assert_array_equal(grid, [0, 10, 18])
    np.testing.assert_allclose(values, [[0, 10, 18], [0, 20, 36]])


def test_smoothing_keeps_parabolas_and_short_curves() -> None:
    parabola = np.arange(20.0) ** 2
    np.testing.assert_allclose(savgol(parabola, 5, 2), parabola, atol=1e-9)
    np.testing.assert_array_equal(savgol(parabola[:4], 5, 2), parabola[:4])
