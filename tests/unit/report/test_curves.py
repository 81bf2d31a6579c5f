import numpy as np
import pytest

from inril.report import curves
from inril.report.curves import Curve


def of(values: list[float] | np.ndarray, last: float = 1e7) -> Curve:
    return Curve(np.linspace(0, last, len(values)), np.asarray(values, dtype=float))


def test_the_end_is_the_last_tenth() -> None:
    line = of(np.arange(101.0))
    assert curves.end_level(line) == np.arange(91, 101).mean()
    assert curves.end_level(of([1.0, 2.0, 5.0])) == 5.0  # at least the last one
    assert curves.end_change(of([2.0, 2.0, 3.0])) == 0.5


def test_slopes_are_per_million_steps() -> None:
    assert curves.slope(of(np.linspace(0, 100, 11)), 4e6) == pytest.approx(10.0)
    kink = of(np.concatenate([np.linspace(0, 50, 5), np.linspace(40, 10, 6)]))
    assert curves.slope(kink, 5e6) == pytest.approx(-6.0)


def test_rise_and_fall_are_of_running_means() -> None:
    spike = np.ones(41)
    spike[20] = 2.0
    assert curves.rise(of(spike)) == pytest.approx(0.2)  # a fifth of one point
    hill = of(np.interp(np.linspace(0, 1, 401), [0, 0.5, 1], [1.0, 2.0, 1.5]))
    assert curves.rise(hill) == pytest.approx(1.0, abs=0.01)
    assert curves.fall(hill) == pytest.approx(0.45, abs=0.01)  # the last tenth averages 1.55
    assert curves.fall(of(np.linspace(2, 1, 30))) == 0.0
    assert curves.lowest(of(np.linspace(1, 2, 30))) == 1.0
    assert curves.lowest(of([3.0, 2.0])) == 2.0


def test_steps_to_a_level() -> None:
    assert curves.steps_to(of([0, 1, 2, 3], 3.0), 2) == 2.0
    assert np.isnan(curves.steps_to(of([0, 1], 1.0), 2))


def test_a_flat_noisy_curve_has_no_decline_from_its_peak() -> None:
    rng = np.random.default_rng(0)
    flat = [curves.end_over_peak(of(100 + 10 * rng.standard_normal(126))) for _ in range(300)]
    assert abs(np.mean(flat)) < 0.01
    biased = [
        (values[-13:].mean() / max(values[i : i + 13].mean() for i in range(114)) - 1)
        for values in (100 + 10 * rng.standard_normal(126) for _ in range(300))
    ]
    assert np.mean(biased) < -0.04  # what the split of the evaluations avoids
    hill = of(np.interp(np.linspace(0, 1, 126), [0, 0.4, 1], [50.0, 100.0, 80.0]))
    assert curves.end_over_peak(hill) == pytest.approx(-0.17, abs=0.02)
