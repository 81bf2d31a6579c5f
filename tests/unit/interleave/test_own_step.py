from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inril.interleave.own_step import OwnStep
from inril.interleave.separation import balanced, flatten
from inril.learning.update import Info

LR = 0.1


def take(own: OwnStep, il_loss: Callable[[], Tensor]) -> Info:
    """Take the step as the loop does."""
    update = own.update(il_loss)
    update.zero_grad()
    info = update.backward()
    update.apply()
    return info


def step(g_rl: list[float], g_il: list[float], projects: bool = True) -> tuple[Tensor, dict[str, float]]:
    """One step from zero; Adam's first step goes by the rate against the sign of every component."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor(g_rl)
    own = OwnStep([parameter], LR, projects)
    info = take(own, lambda: (parameter * torch.tensor(g_il)).sum())
    return parameter.detach(), info


def test_a_conflicting_imitation_gradient_loses_its_part_against_reinforcement() -> None:
    moved, info = step([2.0, 0.0], [-1.0, 1.0])  # what is left is (0, 1)
    torch.testing.assert_close(moved, torch.tensor([0.0, -LR]))
    assert info["joint_cosine"] == pytest.approx(-(0.5**0.5))
    assert (info["grad_norm_rl"], info["conflict_rate"]) == (2.0, 1.0)
    assert info["grad_norm_il"] == pytest.approx(2**0.5)


def test_an_agreeing_one_stays_as_it_is() -> None:
    moved, info = step([2.0, 0.0], [1.0, 1.0])
    torch.testing.assert_close(moved, torch.tensor([-LR, -LR]))
    assert info["conflict_rate"] == 0.0


def test_without_surgery_nothing_is_projected() -> None:
    moved, _ = step([2.0, 0.0], [-1.0, 1.0], projects=False)
    torch.testing.assert_close(moved, torch.tensor([LR, -LR]))


def test_exactly_opposed_gradients_leave_nothing() -> None:
    moved, _ = step([2.0, 0.0], [-1.0, 0.0])
    torch.testing.assert_close(moved, torch.zeros(2))


def test_no_reinforcement_gradient_conflicts_with_nothing() -> None:
    moved, info = step([0.0, 0.0], [-1.0, 1.0])
    torch.testing.assert_close(moved, torch.tensor([LR, -LR]))
    assert info["conflict_rate"] == 0.0


def test_moments_are_its_own_and_survive_a_resume() -> None:
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(4))
    own = OwnStep([parameter], LR, projects=True)
    for _ in range(3):
        parameter.grad = torch.randn(4)
        take(own, lambda: parameter.square().sum())
    again = torch.nn.Parameter(parameter.detach().clone())
    resumed = OwnStep([again], LR, projects=True)
    resumed.load_state_dict(own.state_dict())
    for one, of in ((parameter, own), (again, resumed)):
        one.grad = torch.ones(4)
        take(of, lambda one=one: one.square().sum())  # type: ignore[misc]
    assert torch.equal(parameter, again)


def test_the_longer_gradient_is_cut_to_the_others_length() -> None:
    short, long = [torch.tensor([0.3]), torch.tensor([0.4])], [torch.tensor([0.0]), torch.tensor([-7.0])]
    for pair in ((short, long), (long, short)):
        cut = balanced(*pair)
        for before, after in zip(pair, cut, strict=True):
            assert flatten(after).norm().item() == pytest.approx(0.5)
            cosine = torch.dot(flatten(before), flatten(after)) / (flatten(before).norm() * 0.5)
            assert cosine.item() == pytest.approx(1.0)


def test_a_zero_gradient_cuts_nothing() -> None:
    zero, other = [torch.zeros(2)], [torch.ones(2)]
    assert torch.equal(balanced(zero, other)[1][0], other[0])
    broken = [torch.tensor([float("nan"), 1.0])]
    assert torch.equal(balanced(other, broken)[0][0], other[0])
