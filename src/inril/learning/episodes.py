"""The episodes of training: where they stand from one iteration to the next, and how those end that finish."""

from __future__ import annotations

from typing import Any

import numpy as np

from inril.envs.base import BatchedEnv
from inril.learning.update import Info
from inril.learning.watch import Watch
from inril.seeding import subseed
from inril.types import ChunkStep, FloatArray


class EpisodeStatistics:
    """Accumulates episodes across iterations.

    Args:
        n_envs: E.
    """

    def __init__(self, n_envs: int) -> None:
        self._return = np.zeros(n_envs)
        self._length = np.zeros(n_envs, dtype=np.int64)
        self._success = np.zeros(n_envs, dtype=bool)
        self._finished: list[tuple[float, float, float]] = []

    def restart(self) -> None:
        """Forget the unfinished episodes: the environments were reset."""
        self._return[:], self._length[:], self._success[:] = 0.0, 0, False

    def add(self, step: ChunkStep) -> None:
        """Account for one chunk of every environment."""
        self._return += step.reward
        self._length += step.n_steps
        self._success |= step.success
        done = step.terminated | step.truncated
        for i in np.flatnonzero(done):
            self._finished.append((float(self._return[i]), float(self._length[i]), float(self._success[i])))
        self._return[done], self._length[done], self._success[done] = 0.0, 0, False

    def pop(self) -> dict[str, float]:
        """Return means over the episodes finished since the last call (none if there were none), and their number."""
        finished, self._finished = np.array(self._finished), []
        if not len(finished):
            return {"n_episodes": 0.0}
        mean = finished.mean(axis=0)
        names = ("return", "episode_length", "success")
        return {"n_episodes": float(len(finished)), **dict(zip(names, mean.tolist(), strict=True))}

    def state_dict(self) -> dict[str, Any]:
        """Return the unfinished episodes; call after `pop`."""
        return {"return": self._return, "length": self._length, "success": self._success}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the unfinished episodes."""
        self._return = np.array(state["return"])
        self._length = np.array(state["length"])
        self._success = np.array(state["success"])


class TrainingEpisodes:
    """What the environments show next, and what has become of their episodes.

    Args:
        n_envs: E.
        seed: of the run.
        reset_each_itr: whether every iteration starts with new episodes.
        watch: sees the observations; None for nobody.
    """

    def __init__(self, n_envs: int, seed: int, reset_each_itr: bool, watch: Watch | None = None) -> None:
        self.n_envs, self.reset_each_itr = n_envs, reset_each_itr
        self._watch = watch
        self._seed = subseed(seed, "train_env")
        self._statistics = EpisodeStatistics(n_envs)
        self._obs: FloatArray | None = None
        self._env_steps = self._n_diverged = 0

    def begin(self, env: BatchedEnv, itr: int) -> bool:
        """Begin an iteration; return whether new episodes were begun with it."""
        is_new = self.reset_each_itr or self._obs is None
        if is_new:
            self._obs = env.reset(subseed(self._seed, "iteration", itr) if self.reset_each_itr else self._seed)
            self._statistics.restart()
        return is_new

    def see(self) -> FloatArray:
        """Return the raw observations (E, Do) to act on."""
        assert self._obs is not None
        if self._watch is not None:
            self._watch.see(self._obs)
        return self._obs

    def add(self, step: ChunkStep) -> None:
        """Account for one chunk of every environment."""
        self._statistics.add(step)
        self._env_steps += int(step.n_steps.sum())
        self._n_diverged += int(step.diverged.sum())
        self._obs = step.obs

    def pop(self) -> Info:
        """Return what to log of the iteration: steps, diverged simulations and means over the finished episodes."""
        counts = {"env_steps": self._env_steps, "n_diverged": self._n_diverged}
        self._env_steps = self._n_diverged = 0
        return {**counts, **self._statistics.pop()}

    def diagnose(self) -> Info:
        """Return what the watch has seen."""
        return {} if self._watch is None else self._watch.pop()

    def state_dict(self) -> dict[str, Any]:
        """Return the unfinished episodes and the current observation; call after `pop`."""
        assert self._obs is not None
        return {"episodes": self._statistics.state_dict(), "obs": self._obs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._statistics.load_state_dict(state["episodes"])
        self._obs = np.asarray(state["obs"])
