import numpy as np
import pytest

from inril.report.statistics import (
    change,
    hierarchical_gain,
    hierarchical_mean,
    iqm,
    newcombe,
    on_common_grid,
    savgol,
    stratified_iqm,
    wilson,
)


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


def test_hierarchical_mean_covers_seeds_and_episodes() -> None:
    rng = np.random.default_rng(0)
    episodes = [rng.normal(level, 1, size) for level, size in ((0.0, 30), (2.0, 50), (4.0, 40))]
    interval = hierarchical_mean(episodes, np.random.default_rng(1))
    assert interval.estimate == pytest.approx(np.mean([of_seed.mean() for of_seed in episodes]))
    assert interval.low < 1 < 3 < interval.high  # the seeds' spread: sd 2 / sqrt(3) around 2
    pooled = hierarchical_mean([np.concatenate(episodes)], np.random.default_rng(1))
    assert pooled.high - pooled.low < interval.high - interval.low


def test_wilson_and_newcombe_equal_the_published_example() -> None:
    # Newcombe 1998, table II, example (a): 56 of 70 and 48 of 80.
    first, second = np.repeat([1.0, 0.0], [56, 14]), np.repeat([1.0, 0.0], [48, 32])
    assert newcombe(second, first) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert wilson(second) == pytest.approx((0.6, 0.4905, 0.7004), abs=1e-4)
    assert newcombe(first, second) == pytest.approx((-0.2, -0.3339, -0.0524), abs=5e-5)


def test_wilson_has_a_width_where_all_episodes_ended_alike() -> None:
    none, all_of_them = wilson(np.zeros(50)), wilson(np.ones(50))
    assert none.estimate == pytest.approx(none.low) == pytest.approx(0)
    assert 0.05 < none.high < 0.1
    assert all_of_them.low == pytest.approx(1 - none.high)


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
