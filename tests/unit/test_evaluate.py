from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import inril.evaluate
from inril.config.base import TaskSpec
from inril.envs import make_env
from inril.envs.base import BatchedEnv
from inril.evaluate import evaluate
from inril.policies.acting import FunctionActor
from inril.types import BoolArray, ChunkStep, FloatArray

torch.set_num_threads(1)
TASK = TaskSpec(
    id="hopper", title="Hopper", suite="gym", obs_dim=11, action_dim=3, max_episode_steps=6, metric="return"
)


class Recorder:
    """An actor that writes down all that it is told."""

    act_steps = 2

    def __init__(self) -> None:
        self.told: list[str | list[bool]] = []

    def start(self, n_envs: int) -> None:
        self.told.append(f"start {n_envs}")

    def drop(self, ended: BoolArray) -> None:
        self.told.append(ended.tolist())

    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        self.told.append("act")
        return torch.randn(len(obs), 2, 3, generator=generator).double().numpy()


def test_actor_starts_with_every_round_and_hears_of_every_end() -> None:
    actor = Recorder()
    evaluate(actor, TASK, n_episodes=4, seed=0, n_envs=2)
    nobody, everybody = [False, False], [True, True]
    round_of_three_chunks = ["start 2", "act", nobody, "act", nobody, "act", everybody]
    assert actor.told == round_of_three_chunks * 2


def test_ends_are_told_environment_by_environment() -> None:
    actor = Recorder()
    task = TASK.model_copy(update={"max_episode_steps": 100})
    evaluate(actor, task, n_episodes=8, seed=0, n_envs=8)
    ends = np.array([ended for ended in actor.told if isinstance(ended, list)])
    assert ends.any(axis=0).all()
    assert ((ends.sum(axis=1) > 0) & (ends.sum(axis=1) < 8)).any()


def test_results_do_not_depend_on_whether_anybody_remembers() -> None:
    remembers = Recorder()
    forgets = FunctionActor(remembers.act, remembers.act_steps)
    returns = (evaluate(actor, TASK, n_episodes=3, seed=0).episode_return for actor in (remembers, forgets))
    np.testing.assert_array_equal(*returns)


class Restless:
    """Environments that go on after their episodes, whoever is said to run."""

    def __init__(self, env: BatchedEnv) -> None:
        self.env, self.n_steps = env, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def step_chunk(self, action_chunk: FloatArray, running: BoolArray | None = None) -> ChunkStep:
        step = self.env.step_chunk(action_chunk)
        self.n_steps += int(step.n_steps.sum())
        return step


def test_finished_environments_stand_still_and_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASK.model_copy(update={"max_episode_steps": 100})
    expected = evaluate(Recorder(), task, n_episodes=8, seed=0, n_envs=8)
    restless: list[Restless] = []

    def make_restless(*args: Any) -> Any:
        restless.append(Restless(make_env(*args)))
        return restless[-1]

    monkeypatch.setattr(inril.evaluate, "make_env", make_restless)
    result = evaluate(Recorder(), task, n_episodes=8, seed=0, n_envs=8)
    for values, wanted in zip(result, expected, strict=True):
        np.testing.assert_array_equal(values, wanted)
    assert restless[0].n_steps > expected.episode_length.sum(), "some went on"
