from __future__ import annotations

import subprocess
import sys
from typing import cast

import numpy as np
import pytest
import torch

from inril.envs.base import BatchedEnv
from inril.learning.episodes import EpisodeStatistics, TrainingEpisodes
from inril.learning.optimizer import AdamW, load_optimizer_state, optimizer_state, warmup_cosine
from inril.tensor_file import pack, unpack
from inril.types import ChunkStep, FloatArray


def steps(n: int, seed: int = 0) -> list[ChunkStep]:
    rng = np.random.default_rng(seed)
    return [
        ChunkStep(
            obs=np.zeros((3, 1)), final_obs=np.zeros((3, 1)), reward=rng.normal(size=3),
            n_steps=rng.integers(1, 5, 3), terminated=rng.random(3) < 0.2, truncated=rng.random(3) < 0.1,
            success=rng.random(3) < 0.1, diverged=np.zeros(3, dtype=bool),
        )
        for _ in range(n)
    ]  # fmt: skip


def naive(history: list[ChunkStep]) -> list[tuple[float, float, float]]:
    finished = []
    for env in range(3):
        total, length, success = 0.0, 0, False
        for step in history:
            total += step.reward[env]
            length += step.n_steps[env]
            success |= bool(step.success[env])
            if step.terminated[env] or step.truncated[env]:
                finished.append((total, float(length), float(success)))
                total, length, success = 0.0, 0, False
    return finished


def test_finished_episodes_are_averaged() -> None:
    history = steps(40)
    statistics = EpisodeStatistics(3)
    for step in history:
        statistics.add(step)
    expected = np.array(naive(history))
    popped = statistics.pop()
    assert popped["n_episodes"] == len(expected) > 10
    assert [popped[name] for name in ("return", "episode_length", "success")] == pytest.approx(expected.mean(0))
    assert statistics.pop() == {"n_episodes": 0.0}


def test_episodes_span_iterations_and_interruptions() -> None:
    history = steps(40)
    whole, first = EpisodeStatistics(3), EpisodeStatistics(3)
    for step in history[:15]:
        whole.add(step)
        first.add(step)
    assert whole.pop() == first.pop()
    resumed = EpisodeStatistics(3)
    resumed.load_state_dict(unpack(*pack(first.state_dict())))
    for step in history[15:]:
        whole.add(step)
        resumed.add(step)
    assert whole.pop() == resumed.pop()


def test_optimizer_goes_on_where_it_was_saved() -> None:
    def step(net: torch.nn.Linear, optimizer: torch.optim.Optimizer, x: float) -> None:
        optimizer.zero_grad()
        net(torch.full((4, 3), x)).square().sum().backward()
        optimizer.step()

    nets = [torch.nn.Linear(3, 2) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    first, second = (AdamW(net.parameters(), 1e-2, 0.1) for net in nets)
    assert optimizer_state(first) == {}
    for i in range(3):
        step(nets[0], first, float(i))
    nets[1].load_state_dict(nets[0].state_dict())
    load_optimizer_state(second, unpack(*pack(optimizer_state(first))))
    for i in range(3):
        step(nets[0], first, 0.5 * i)
        step(nets[1], second, 0.5 * i)
    assert torch.equal(nets[0].weight, nets[1].weight)


def test_rate_rises_to_the_whole_and_falls_towards_nothing() -> None:
    factors = [warmup_cosine(itr, 2, 6) for itr in range(1, 7)]
    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 0.5 + 0.5 * 0.5**0.5, 0.5, 0.5 - 0.5 * 0.5**0.5])
    assert warmup_cosine(1, 0, 1) == 1
    assert warmup_cosine(9, 0, 4) == pytest.approx(0)  # an iteration that nobody planned


def test_optimizer_takes_the_steps_of_torch() -> None:
    sizes = [(256, 71), (256,), (7, 3), (1,)]
    generator = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(size, generator=generator)) for size in sizes]
    torchs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours]
    optimizers = (
        AdamW(ours[:3], 1e-3, 0.01, 1e-5),
        torch.optim.AdamW(torchs[:3], 1e-3, weight_decay=0.01, eps=1e-5, fused=True),
    )
    for optimizer, last in zip(optimizers, (ours[3], torchs[3]), strict=True):
        optimizer.add_param_group({"params": [last], "lr": 1e-2})
    for i in range(20):
        for mine, theirs in zip(ours, torchs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            theirs.grad = mine.grad.clone()
        if i % 3 == 0:  # as a network has that no loss depends on
            ours[1].grad = torchs[1].grad = None
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(ours, torchs, strict=True))
    optimizers[0].zero_grad()
    assert all(parameter.grad is None for parameter in ours)


def test_optimizer_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from inril.learning.optimizer import AdamW; AdamW([torch.ones(1)], 0.1);"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_optimizer_decays_weights_apart_from_the_gradient() -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = AdamW([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.tensor([3.0])
    optimizer.step()
    assert weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5) - 0.1, abs=1e-6)  # Adam's first step has size lr


class Resets:
    """An environment of which only resets matter here."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def reset(self, seed: int) -> FloatArray:
        self.seeds.append(seed)
        return np.full((3, 1), 7.0)


@pytest.mark.parametrize(("reset_each_itr", "begun"), [(False, [True, False, False]), (True, [True, True, True])])
def test_episodes_go_on_or_begin_with_every_iteration(reset_each_itr: bool, begun: list[bool]) -> None:
    episodes, env = TrainingEpisodes(3, seed=0, reset_each_itr=reset_each_itr), Resets()
    for itr, is_new in enumerate(begun):
        assert episodes.begin(cast(BatchedEnv, env), itr) == is_new
        assert (episodes.see() == (7.0 if is_new else 0.0)).all()
        [step] = steps(1, seed=itr)
        episodes.add(step)
        info = episodes.pop()
        assert (info["env_steps"], info["n_diverged"]) == (step.n_steps.sum(), 0)
    assert len(set(env.seeds)) == len(env.seeds) == sum(begun)


def test_episodes_of_training_resume_bit_for_bit() -> None:
    history = steps(30)
    infos = []
    for resumes in (False, True):
        episodes = TrainingEpisodes(3, seed=0, reset_each_itr=False)
        episodes.begin(cast(BatchedEnv, Resets()), 1)
        for step in history[:10]:
            episodes.add(step)
        episodes.pop()
        if resumes:
            state, episodes = unpack(*pack(episodes.state_dict())), TrainingEpisodes(3, seed=0, reset_each_itr=False)
            episodes.load_state_dict(state)
        assert not episodes.begin(cast(BatchedEnv, Resets()), 2)
        for step in history[10:]:
            episodes.add(step)
        infos.append(episodes.pop())
    assert infos[0] == infos[1]
