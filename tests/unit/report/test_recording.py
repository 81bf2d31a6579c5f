from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inril.config.base import TaskSpec
from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.envs.batched import BatchedSimulator
from inril.evaluate import evaluate
from inril.policies.acting import FunctionActor
from inril.report.recording import RecordedEpisode, Round, record
from inril.types import ChunkStep, FloatArray

CONFIG = Path(__file__).parents[3] / "config"
ACT_STEPS = 4


def task(name: str, max_episode_steps: int) -> TaskSpec:
    settings = Project(CONFIG, read_yaml(CONFIG / "config.yaml") | {"budget": "smoke"})
    return settings.demos(name).task.model_copy(update={"max_episode_steps": max_episode_steps})


def wander(action_dim: int) -> FunctionActor:
    """An actor that looks at nothing."""

    def act(obs: FloatArray, generator: torch.Generator) -> FloatArray:
        return torch.rand((len(obs), ACT_STEPS, action_dim), generator=generator).double().numpy() * 2 - 1

    return FunctionActor(act, ACT_STEPS)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[FloatArray]:
    """Positions of all bodies' joints at every image; nothing is drawn."""
    positions: list[FloatArray] = []

    def render(self: BatchedSimulator, env_index: int = 0) -> FloatArray:
        positions.append(self.suite.data[env_index].qpos.copy())
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(BatchedSimulator, "render", render)
    return positions


@pytest.mark.parametrize("name", ["hopper", pytest.param("lift", marks=pytest.mark.slow)])
def test_replay_is_the_recorded_episode(name: str, seen: list[FloatArray]) -> None:
    spec = task(name, 30)
    recorded = record(wander(spec.action_dim), spec, 3, seed=5)
    episodes = recorded.episodes()
    assert [episode.env_index for episode in episodes] == [0, 1, 2]
    for episode in episodes[1:]:
        before = len(seen)
        steps = range(episode.n_steps)
        assert [step for step, _ in recorded.images(episode.env_index, steps)] == list(steps)
        positions = np.stack(seen[before:])
        assert len(np.unique(positions, axis=0)) == len(positions)
    # Which images are wanted changes nothing, and the last one is seen as well.
    before = len(seen)
    (last,) = recorded.images(2, [episodes[2].n_steps - 1])
    assert last[0] == episodes[2].n_steps - 1
    np.testing.assert_array_equal(seen[before], positions[-1])


def test_watching_changes_no_result() -> None:
    spec = task("hopper", 30)
    plain = evaluate(wander(3), spec, 4, seed=1, n_envs=4)
    recorded = Round(spec)
    watched = evaluate(wander(3), spec, 4, seed=1, n_envs=4, watcher=recorded)
    for before, after in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(before, after)
    assert [episode.n_steps for episode in recorded.episodes()] == plain.episode_length.tolist()


def test_replay_of_something_else_is_refused(seen: list[FloatArray]) -> None:
    spec = task("hopper", 30)
    recorded = record(wander(3), spec, 2, seed=5)
    recorded._actions[0] = recorded._actions[0] + 1e-9
    with pytest.raises(RuntimeError, match="hopper: step 4 of a replay is not that of the recorded episode"):
        list(recorded.images(0, [0, 5]))


def chunk(n_envs: int = 4, **changed: list[bool]) -> ChunkStep:
    flags = {name: np.zeros(n_envs, bool) for name in ("terminated", "truncated", "success", "diverged")}
    flags |= {name: np.array(values) for name, values in changed.items()}
    zeros, steps = np.zeros((n_envs, 1)), np.full(n_envs, 4)
    return ChunkStep(obs=zeros, final_obs=zeros, reward=np.zeros(n_envs), n_steps=steps, **flags)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # Solved in the second chunk; ended without; solved in the first chunk; diverged. What comes after the end of an
        # episode is another one's.
        ("success", [(True, 8), (False, 8), (True, 4), (False, 12)]),
        # Where there is no success: ended by the time limit, or before.
        ("return", [(True, 12), (False, 8), (True, 12), (False, 12)]),
    ],
)
def test_episodes_end_when_the_task_is_solved_or_they_do(metric: str, expected: list[tuple[bool, int]]) -> None:
    recorded = Round(task("hopper", 30).model_copy(update={"metric": metric}))
    solved = [[False, False, True, False], [True, False, False, False], [False, True, False, False]]
    if metric == "return":
        solved = [[False] * 4] * 3
    steps = [
        chunk(success=solved[0]),
        chunk(success=solved[1], terminated=[False, True, False, False]),
        chunk(success=solved[2], truncated=[True] * 4, diverged=[False, False, False, True]),
    ]
    for step in steps:
        recorded.add(np.zeros((4, 1)), np.zeros((4, 4, 3)), step)
    assert recorded.episodes() == [RecordedEpisode(i, *end) for i, end in enumerate(expected)]
