"""What m is set to by what is measured, and that a run's updates follow it."""

from __future__ import annotations

import math

import pytest

from inril.interleave.adaptive import AdaptiveM, break_even, square_root, within_budget

# Imitation's gradient is six times as long as the other and opposes it a little.
OPPOSED = {"grad_signal": 1.0, "grad_norm_rl_corrected": 0.5, "grad_norm_il_corrected": 3.0, "rho": 0.25}
AGREEING = {**OPPOSED, "rho": -0.25}


def adaptive(rule: str, m: int = 10, least: int = 1, most: int = 40) -> AdaptiveM:
    return AdaptiveM(rule, m, least, most, budget=0.1)  # type: ignore[arg-type]


def test_break_even_is_harm_over_gain() -> None:
    assert break_even(rl_norm=0.5, il_norm=3.0, rho=0.25) == pytest.approx(0.25 * 3.0 / 0.5)
    assert break_even(rl_norm=0.5, il_norm=3.0, rho=-0.25) == 0  # imitation does no harm
    assert break_even(rl_norm=0.0, il_norm=3.0, rho=0.25) == 0  # what gains nothing is not harmed either


def test_square_root_is_the_printed_formula() -> None:
    assert square_root(rl_norm=3.0, il_norm=0.5, rho=0.25) == pytest.approx(math.sqrt(3.0 / (0.25 * 0.5)))
    assert square_root(rl_norm=0.5, il_norm=3.0, rho=0.9) == 1  # never below
    assert square_root(rl_norm=0.5, il_norm=3.0, rho=-0.25) == math.inf


@pytest.mark.parametrize(
    ("rise", "factor"), [(0.1, 1.0), (0.0, 2.0), (-0.3, 2.0), (0.2, 0.5), (0.5, 0.5), (0.05, 2**0.5), (0.15, 2**-0.5)]
)
def test_a_budget_is_neared_from_both_sides(rise: float, factor: float) -> None:
    assert within_budget(8.0, rise, budget=0.1) == pytest.approx(8.0 * factor)


def test_a_rise_is_of_the_first_loss_that_was_measured() -> None:
    held = adaptive("loss_budget")
    held.follow({"il_loss": 2.0})
    assert held.m == 20
    for _ in range(3):  # half of the budget above it
        held.follow({"il_loss": 2.1})
    assert held.m == 40  # the largest
    held.follow({"il_loss": 2.5})
    held.follow({"il_loss": 2.5})
    assert held.m == 10


def test_rules_of_angles_keep_m_where_there_is_no_signal() -> None:
    follows = adaptive("break_even")
    follows.follow({"il_loss": 2.0})
    follows.follow({**OPPOSED, "grad_signal": 0.0, "il_loss": 2.0})
    assert follows.m == 10
    follows.follow({**OPPOSED, "il_loss": 2.0})
    assert follows.m == 2  # 1.5
    follows.follow({**AGREEING, "il_loss": 2.0})
    assert follows.m == 1  # the smallest


def test_where_a_rule_wants_no_imitation_m_is_the_largest() -> None:
    follows = adaptive("square_root")
    follows.follow({**AGREEING, "il_loss": 2.0})
    assert follows.m == 40


def test_a_resumed_run_goes_on_from_the_same_m() -> None:
    before, after = adaptive("loss_budget"), adaptive("loss_budget")
    before.follow({"il_loss": 2.0})
    before.follow({"il_loss": 2.1})
    after.load_state_dict(before.state_dict())
    for held in (before, after):
        held.follow({"il_loss": 2.3})
    assert after.m == before.m
    assert after.state_dict() == before.state_dict()
