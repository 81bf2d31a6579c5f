"""The stream of gradient steps that comes out of the interleaver, around a learner of four lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from inril.config.runs import IlConfig
from inril.interleave.adaptive import AdaptiveM
from inril.interleave.imitation_block import ImitationBlock
from inril.interleave.interleaver import Interleaver
from inril.interleave.own_step import OwnStep
from inril.learning.update import Info, Update
from inril.train.interleaving import make_joiner, make_schedule

Make = Callable[..., IlConfig]


class Learner:
    """Reinforcement pulls the first number up, imitation both down to what a batch of random numbers says."""

    def __init__(self) -> None:
        self.actor, self.critic = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
        self.optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in (self.actor, self.critic)}
        self.batches: list[Tensor] = []

    def updates(self) -> Iterator[Update]:
        """Three steps of both networks."""
        for _ in range(3):
            yield self.update("critic", self.critic)
            yield self.update("actor", self.actor)

    def update(self, name: str, parameter: torch.nn.Parameter) -> Update:
        def backward() -> Info:
            loss = -parameter[0]
            loss.backward()
            return {f"{name}_loss": loss.item()}

        return Update(name, backward, [parameter], self.optimizers[parameter], None, is_actor=name == "actor")

    def il_loss(self, size: int, generator: torch.Generator) -> Tensor:
        self.batches.append(torch.rand(size, generator=generator))
        return (self.actor * self.batches[-1].mean()).sum()


def take(updates: Iterator[Update]) -> list[tuple[str, Info]]:
    """Take all steps; their names and logs."""
    taken = []
    for update in updates:
        update.zero_grad()
        taken.append((update.name, update.backward()))
        update.apply()
    return taken


def interleaver(learner: Learner, m: int | str, config: IlConfig, **parts: object) -> Interleaver:
    return Interleaver(
        make_schedule(m, config, in_blocks="block" in parts),  # type: ignore[arg-type]
        make_joiner("surgery", config),
        [learner.actor],
        learner.il_loss,
        batch_size=5,
        seed=1,
        **parts,  # type: ignore[arg-type]
    )


def test_every_mth_step_of_the_actor_is_joint(il_config: Make) -> None:
    learner = Learner()
    interleaved = interleaver(learner, 2, il_config())
    taken = take(interleaved.updates(learner.updates(), itr=1, learning_itr=1))
    taken += take(interleaved.updates(learner.updates(), itr=2, learning_itr=2))
    assert [name for name, _ in taken] == ["critic", "actor"] * 6
    actor = [info for name, info in taken if name == "actor"]
    assert ["il_loss" in info for info in actor] == [False, True] * 3
    assert all(info["grad_norm_rl"] == 1 for info in actor)
    assert all("grad_norm_rl" not in info for name, info in taken if name == "critic")
    assert (interleaved.n_rl_updates, interleaved.n_il_updates) == (6, 3)
    assert [len(batch) for batch in learner.batches] == [5, 5, 5]
    assert not torch.equal(learner.batches[0], learner.batches[1])


def test_m_changes_between_iterations_and_is_kept(il_config: Make) -> None:
    def fresh() -> Interleaver:
        adaptive = AdaptiveM("loss_budget", m=1, least=1, most=8, budget=0.1)
        return interleaver(learner, 1, il_config(), adaptive=adaptive)

    learner = Learner()
    interleaved = fresh()
    n_joint = []
    for itr in (1, 2):
        taken = take(interleaved.updates(learner.updates(), itr, itr))
        n_joint.append(sum("il_loss" in info for _, info in taken))
        interleaved.follow({"il_loss": 2.0})
    assert n_joint == [3, 2]  # of three steps: all, then the fourth and the sixth
    assert interleaved.told() == {"n_rl_updates": 6, "n_il_updates": 5, "m": 4}
    resumed = fresh()
    resumed.load_state_dict(interleaved.state_dict())
    assert resumed.schedule.m == 4


def test_an_own_step_follows_the_one_that_would_be_joint(il_config: Make) -> None:
    learner = Learner()
    own = OwnStep([learner.actor], lr=0.1, projects=True)
    taken = take(interleaver(learner, 3, il_config(), own_step=own).updates(learner.updates(), 1, 1))
    assert [name for name, _ in taken] == [*["critic", "actor"] * 3, "il"]
    assert taken[-1][1]["grad_norm_rl"] == 1  # of the step before, whose gradient it is projected by
    assert "grad_norm_rl" not in taken[-2][1]
    assert learner.actor[0].item() == pytest.approx(0.3)  # imitation conflicts there, and gives way


def test_networks_of_its_own_learn_in_blocks_after_the_iteration(il_config: Make) -> None:
    learner, ended = Learner(), []
    block = ImitationBlock([learner.actor], after=lambda: ended.append(1), n_steps=2, batch_size=7, lr=0.1)
    interleaved = interleaver(learner, 2, il_config(unit="iteration"), block=block)
    names = [
        [name for name, _ in take(interleaved.updates(learner.updates(), itr, itr - 1))] for itr in (1, 2, 3)
    ]  # the first iteration warms up
    assert names == [["critic", "actor"] * 3, ["critic", "actor"] * 3, [*["critic", "actor"] * 3, "il", "il"]]
    assert (interleaved.n_rl_updates, interleaved.n_il_updates, ended) == (9, 2, [1])
    assert [len(batch) for batch in learner.batches] == [7, 7]


def test_reinforcement_resumes_after_its_step_was_taken(il_config: Make) -> None:
    learner, seen = Learner(), []

    def updates() -> Iterator[Update]:
        for update in learner.updates():
            before = update.parameters[0].clone()
            yield update
            seen.append(not torch.equal(before, update.parameters[0]))

    take(interleaver(learner, 2, il_config()).updates(updates(), 1, 1))
    assert seen == [True] * 6


def test_a_saved_interleaver_goes_on_with_the_same_batches(il_config: Make) -> None:
    whole, cut, resumed = Learner(), Learner(), Learner()
    first = interleaver(cut, 2, il_config())
    take(first.updates(cut.updates(), 1, 1))
    second = interleaver(resumed, 2, il_config())
    second.load_state_dict(first.state_dict())
    take(second.updates(resumed.updates(), 2, 2))
    both = interleaver(whole, 2, il_config())
    for itr in (1, 2):
        take(both.updates(whole.updates(), itr, itr))
    assert all(map(torch.equal, [*cut.batches, *resumed.batches], whole.batches))
    assert second.state_dict() == both.state_dict()


def test_noise_takes_the_place_of_imitation(il_config: Make) -> None:
    plain, noisy = Learner(), Learner()
    (*_, (_, with_il)) = take(interleaver(plain, 3, il_config()).updates(plain.updates(), 1, 1))
    (*_, (_, with_noise)) = take(interleaver(noisy, 3, il_config(), noise=True).updates(noisy.updates(), 1, 1))
    assert with_noise["grad_norm_il"] == pytest.approx(with_il["grad_norm_il"])
    assert with_noise["joint_cosine"] != pytest.approx(with_il["joint_cosine"])
    assert torch.equal(plain.batches[0], noisy.batches[0])
