"""Returns, lengths and successes of the episodes that finish while training."""

from __future__ import annotations

from typing import Any

import numpy as np

from inril.types import ChunkStep


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
