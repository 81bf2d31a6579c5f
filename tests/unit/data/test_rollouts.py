from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inril.train.expert
from inril.config.base import TaskSpec
from inril.config.runs import DemosConfig
from inril.data.demo_file import demo_returns, read_demos, read_provenance
from inril.data.rollouts import generate, roll_out
from inril.envs import BatchedEnv
from inril.errors import InputError
from inril.train.demonstrate import make_demos
from inril.types import BoolArray, ChunkStep, FloatArray


class NoisyExpert:
    def act(self, obs: FloatArray, rng: np.random.Generator) -> FloatArray:
        return np.clip(0.1 * obs[:, :3] + 0.2 * rng.standard_normal((len(obs), 3)), -1, 1)


class CountingEnv:
    """Environment i has episodes of 2 + i + episode steps; observations tell environment, episode and step."""

    n_envs, obs_dim, action_dim, act_steps, max_episode_steps = 3, 3, 3, 1, 100
    diverges_at: int | None = None

    def reset(self, seed: int) -> FloatArray:
        self.episode = np.zeros(3, dtype=np.int64)
        self.step = np.zeros(3, dtype=np.int64)
        self.n_calls = 0
        return self._obs()

    def step_chunk(self, action_chunk: FloatArray, running: BoolArray | None = None) -> ChunkStep:
        assert action_chunk.shape == (3, 1, 3)
        reward = self.step.astype(np.float64)
        self.step += 1
        self.n_calls += 1
        final_obs = self._obs()
        ended: BoolArray = self.step == 2 + np.arange(3) + self.episode
        terminated = ended & (self.episode % 2 == 0)
        self.episode[ended] += 1
        self.step[ended] = 0
        none = np.zeros(3, dtype=bool)
        diverged = none | (self.n_calls == self.diverges_at)
        n_steps = np.ones(3, dtype=np.int64)
        return ChunkStep(self._obs(), final_obs, reward, n_steps, terminated, ended & ~terminated, none, diverged)

    def _obs(self) -> FloatArray:
        return np.stack([np.arange(3), self.episode, self.step], axis=1).astype(np.float64)


def config(task: TaskSpec, **kwargs: Any) -> DemosConfig:
    return DemosConfig(task=task, source="generated", **{"n_steps": 400, "n_envs": 4, **kwargs})


def content(path: Path) -> object:
    return read_provenance(path)["content_sha256"]


def as_env(env: CountingEnv) -> BatchedEnv:
    return env  # type: ignore[return-value]


@pytest.mark.parametrize(("n_steps", "n_rounds"), [(1, 1), (9, 1), (10, 2), (21, 2), (22, 3), (36, 3), (37, 4)])
def test_whole_rounds_until_there_are_enough_steps(n_steps: int, n_rounds: int) -> None:
    episodes = roll_out(as_env(CountingEnv()), NoisyExpert(), n_steps, seed=0)
    assert [tuple(episode.obs[0]) for episode in episodes] == [(i, r, 0) for r in range(n_rounds) for i in range(3)]


def test_episodes_are_whole() -> None:
    for episode in roll_out(as_env(CountingEnv()), NoisyExpert(), 30, seed=0):
        env_index, number = episode.obs[0, :2].astype(int)
        length = 2 + env_index + number
        np.testing.assert_array_equal(episode.obs, [(env_index, number, step) for step in range(length)])
        np.testing.assert_array_equal(episode.reward, np.arange(length))
        assert episode.action.shape == (length, 3)
        assert episode.terminated == (number % 2 == 0)


def test_diverging_simulation_stops() -> None:
    env = CountingEnv()
    env.diverges_at = 4
    with pytest.raises(
        InputError, match="expected finite simulation states, got 3 environments that diverged at step 3"
    ):
        roll_out(as_env(env), NoisyExpert(), 30, seed=0)


def test_same_seed_gives_the_same_file(tmp_path: Path, task: TaskSpec) -> None:
    first, again, threads, other = (tmp_path / f"{name}.hdf5" for name in ("first", "again", "threads", "other"))
    generate(config(task), NoisyExpert(), first)
    generate(config(task), NoisyExpert(), again)
    generate(config(task), NoisyExpert(), threads, sim_threads=2)
    generate(config(task, seed=1), NoisyExpert(), other)
    assert content(first) == content(again) == content(threads) != content(other)


def test_file_holds_what_was_rolled_out(tmp_path: Path, task: TaskSpec) -> None:
    path = tmp_path / "demos.hdf5"
    generate(config(task), NoisyExpert(), path)
    demos, (returns, lengths) = read_demos(path, task), demo_returns(path)
    assert demos.episode_ends[-1] >= 400
    assert len(lengths) % 4 == 0
    assert np.abs(demos.action).max() <= 1
    provenance = read_provenance(path)
    assert (provenance["source"], provenance["seed"], provenance["n_envs"]) == ("generated", 0, 4)
    np.testing.assert_allclose(provenance["mean_return"], returns.mean())


def test_first_episodes_only(tmp_path: Path, task: TaskSpec) -> None:
    path = tmp_path / "demos.hdf5"
    generate(config(task, max_episodes=3), NoisyExpert(), path)
    assert len(demo_returns(path).returns) == 3


def test_source_generated_takes_the_shipped_expert(
    tmp_path: Path, task: TaskSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inril.train.expert, "load_expert", lambda asked: NoisyExpert() if asked == task else None)
    make_demos(config(task), tmp_path / "made.hdf5")
    generate(config(task), NoisyExpert(), tmp_path / "generated.hdf5")
    assert content(tmp_path / "made.hdf5") == content(tmp_path / "generated.hdf5")


def test_expert_with_non_finite_actions_writes_nothing(tmp_path: Path, task: TaskSpec) -> None:
    class Broken:
        def act(self, obs: FloatArray, rng: np.random.Generator) -> FloatArray:
            return np.full((len(obs), 3), np.nan)

    with pytest.raises(InputError, match="finite"):
        generate(config(task), Broken(), tmp_path / "demos.hdf5")
    assert list(tmp_path.iterdir()) == []
