"""The bounds as formulas: their identities, their limits, and the slips of the printed ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inril.theory.bounds import (
    Descent,
    best_m,
    break_even_m,
    grad_sq_bound,
    least_side_effect_that_saves,
    printed_square_root_m,
    progress_per_step,
    steps_saved,
    updates_saved,
)

RL = Descent(smoothness=0.2, c=0.5, variance=0.01, batch=10)
IL = Descent(smoothness=0.5, c=0.5, variance=0.01, batch=10)
SILENT = RL._replace(variance=0.0)


@pytest.mark.parametrize(("gain", "harm"), [(1.0, 0.5), (1.0, -0.5), (1.0, -3.0), (-0.2, 0.1), (-0.2, 0.5)])
def test_the_best_m_is_the_least_or_none(gain: float, harm: float) -> None:
    over_m = [progress_per_step(m, gain, harm) for m in [*range(1, 200), math.inf]]
    best = int(np.argmax(over_m))
    assert [*range(1, 200), math.inf][best] == best_m(gain, harm)
    steps = np.sign(np.diff(over_m))
    assert (steps == steps[0]).all()  # no optimum in between


def test_at_the_break_even_m_a_cycle_makes_no_progress() -> None:
    assert progress_per_step(break_even_m(0.4, 1.2), 0.4, 1.2) == pytest.approx(0.0)
    assert break_even_m(0.4, -1.0) == 0.0
    assert break_even_m(-0.1, 1.0) == math.inf


def test_the_printed_root_falls_as_gradients_oppose_each_other_where_the_break_even_rule_rises() -> None:
    roots = [printed_square_root_m(RL, IL, 1.0, 1.0, rho) for rho in (0.1, 0.3, 0.6)]
    assert roots == sorted(roots, reverse=True)
    assert printed_square_root_m(RL, IL, 1.0, 1.0, rho=-0.5) == math.inf
    assert break_even_m(0.4, 0.1) < break_even_m(0.4, 0.3) < break_even_m(0.4, 0.6)


@pytest.mark.parametrize(("m", "share"), [(1, 1 / 2), (3, 1 / 4), (4, 1 / 5), (9, 1 / 10)])
def test_updates_are_saved_from_a_share_of_the_gap_on(m: int, share: float) -> None:
    threshold = least_side_effect_that_saves(m, gap=2.0)
    assert threshold == pytest.approx(2 * share)
    assert updates_saved(m, threshold, gap=2.0) == pytest.approx(1.0)
    assert updates_saved(m, 1.1 * threshold, gap=2.0) > 1 > updates_saved(m, 0.9 * threshold, gap=2.0)


@pytest.mark.parametrize("share", [0.5, 0.99, 1.01, 2.0])
def test_above_the_threshold_the_bound_of_as_many_updates_is_lower(share: float) -> None:
    m, n_cycles, gap = 3, 50, 2.0
    interleaved = grad_sq_bound(SILENT, gap, m * n_cycles, share * least_side_effect_that_saves(m, gap))
    alone = grad_sq_bound(SILENT, gap, (1 + m) * n_cycles)
    assert (interleaved < alone) == (share > 1)


def test_reinforcement_steps_are_saved_by_any_side_effect() -> None:
    assert steps_saved(0.0, 2.0) == 1.0
    assert steps_saved(0.5, 2.0) == pytest.approx(4 / 3)
    assert steps_saved(-0.5, 2.0) < 1


def test_noise_leaves_a_floor_that_no_number_of_steps_gets_below() -> None:
    floor = RL.c * RL.error / (2 * (1 - RL.c / 2))
    assert grad_sq_bound(RL, 1.0, 10**12) == pytest.approx(floor)
    assert grad_sq_bound(SILENT, 1.0, 10**12) == pytest.approx(0.0, abs=1e-11)
