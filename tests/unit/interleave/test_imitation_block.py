from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inril.config.runs import BlockConfig
from inril.interleave.imitation_block import ImitationBlock


class Problem:
    """A least squares problem, and the block that works on it."""

    def __init__(self, **changed: Any) -> None:
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.n_batches = self.n_ended = 0
        self.block = ImitationBlock([self.weight], self.end, **BlockConfig(**{"n_steps": 4, **changed}).model_dump())

    def loss(self) -> Tensor:
        self.n_batches += 1
        return 50 * (self.weight - self.n_batches).square().sum()

    def end(self) -> None:
        self.n_ended += 1

    def run(self) -> list[dict[str, float]]:
        infos = []
        for update in self.block.updates(self.loss):
            assert not self.n_ended
            update.zero_grad()
            infos.append(update.backward())
            update.apply()
        self.n_ended -= 1
        return infos


def test_a_block_takes_its_steps_on_new_batches_and_then_tells() -> None:
    problem = Problem(lr=1e-3)
    infos = problem.run()
    assert len(infos) == problem.n_batches == 4
    assert problem.n_ended == 0  # told once
    assert infos[0] == {"il_loss": 0.0, "grad_norm_il": 0.0}
    assert infos[1] == {"il_loss": pytest.approx(150), "grad_norm_il": pytest.approx(100 * 3**0.5)}


def test_steps_are_those_of_adamw() -> None:
    problem, weight = Problem(lr=0.1, weight_decay=0.5, max_grad_norm=2.0), torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    for i in range(1, 5):
        optimizer.zero_grad()
        (50 * (weight - i).square().sum()).backward()
        torch.nn.utils.clip_grad_norm_([weight], 2.0)
        optimizer.step()
    problem.run()
    torch.testing.assert_close(problem.weight, weight)


def test_no_update_is_offered_for_joining() -> None:
    assert not any(update.is_actor for update in Problem().block.updates(lambda: torch.zeros(())))


def test_moments_are_kept_from_block_to_block_and_by_a_checkpoint() -> None:
    whole, before, after = Problem(), Problem(), Problem()
    whole.run()
    whole.run()
    before.run()
    with torch.no_grad():
        after.weight.copy_(before.weight)
    after.n_batches = before.n_batches
    after.block.load_state_dict(before.block.state_dict())
    after.run()
    assert torch.equal(after.weight, whole.weight)
