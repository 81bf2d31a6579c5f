"""The weight that joint steps amount to, against the sums of the steps themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inril.interleave.aggregators import upgrad
from inril.interleave.separation import balanced
from studies.imitation_weight import JointSteps, Weight, weight_of


def coefficient_ratio(total: Tensor, g_rl: Tensor, g_il: Tensor) -> float:
    """The factor of g_il in a sum of the two, over that of g_rl."""
    rl, il = torch.linalg.lstsq(torch.stack([g_rl, g_il], dim=1), total[:, None]).solution.flatten().tolist()
    return float(il / rl)


def pair(cosine: float, norm_rl: float, norm_il: float) -> tuple[Tensor, Tensor]:
    """Two gradients at an angle."""
    g_rl = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    g_il = torch.tensor([cosine, (1 - cosine**2) ** 0.5, 0.0], dtype=torch.float64)
    return norm_rl * g_rl, norm_il * g_il


def added(cosine: float, norm_rl: float, norm_il: float, m: int, scale: float, balances: bool) -> float:
    """The ratio that m steps of equal gradients really have, the last of them joint."""
    g_rl, g_il = pair(cosine, norm_rl, norm_il)
    ([joined_rl], [joined_il]) = balanced([g_rl], [g_il]) if balances else ([g_rl], [g_il])
    return coefficient_ratio((m - 1) * g_rl + upgrad(joined_rl, joined_il, scale), g_rl, g_il)


@pytest.mark.parametrize("balances", [False, True])
@pytest.mark.parametrize(("norm_rl", "norm_il"), [(0.01, 0.07), (2.0, 0.5)])
@pytest.mark.parametrize("m", [2, 10])
def test_gradients_that_agree_add_up_to_the_weight_without_projection(
    m: int, norm_rl: float, norm_il: float, balances: bool
) -> None:
    weight = weight_of(JointSteps(0.3, 0.0, norm_rl, norm_il), m, 0.5, balances)
    assert weight.low == weight.unprojected == weight.high
    assert weight.unprojected == pytest.approx(added(0.3, norm_rl, norm_il, m, 0.5, balances))


@pytest.mark.parametrize("balances", [False, True])
@pytest.mark.parametrize("cosine", [-0.05, -0.5, -0.95])
def test_gradients_in_conflict_add_up_to_a_weight_within_the_range(cosine: float, balances: bool) -> None:
    steps = JointSteps(cosine, 1.0, 0.01, 0.07)
    weight = weight_of(steps, 3, 0.5, balances)
    assert weight.low < added(cosine, 0.01, 0.07, 3, 0.5, balances) < weight.high


def test_with_the_paper_s_factor_a_joint_step_in_m_is_a_weight_of_one_in_twice_m_less_one() -> None:
    assert weight_of(JointSteps(0.0, 0.0, 1.0, 7.0), 10, 0.5, balances=False) == Weight(*[pytest.approx(1 / 19)] * 3)
