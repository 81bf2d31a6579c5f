"""A deterministic environment whose reset observations cannot be mistaken for successors."""

from __future__ import annotations

import numpy as np

from inril.types import BoolArray, ChunkStep, FloatArray

RESET_OBS = 0.9  # second component of a reset observation; that of a successor is negative


class ToyEnv:
    """Position and minus the time; environment i ends after i + 2 chunks: odd ones terminate, even ones time out.

    Everything that happened is kept in `log`, for independent recomputation.
    """

    obs_dim, action_dim, max_episode_steps, n_diverged = 2, 2, 100, 0

    def __init__(self, n_envs: int = 4, act_steps: int = 2) -> None:
        self.n_envs, self.act_steps = n_envs, act_steps
        self.time = np.zeros(n_envs, dtype=int)
        self.position = np.zeros(n_envs)
        self.log: list[tuple[FloatArray, ChunkStep]] = []

    def reset(self, seed: int) -> FloatArray:
        self.time[:], self.position[:] = 0, np.linspace(-0.5, 0.5, self.n_envs)
        return self._obs()

    def step_chunk(self, action_chunk: FloatArray, running: BoolArray | None = None) -> ChunkStep:
        assert action_chunk.shape == (self.n_envs, self.act_steps, 2)
        before = self._obs()
        self.time += 1
        self.position = np.tanh(self.position + action_chunk.mean(axis=(1, 2)))
        final_obs = self._obs()
        ended = self.time >= np.arange(self.n_envs) + 2
        terminated = ended & (np.arange(self.n_envs) % 2 == 1)
        truncated = ended & ~terminated
        self.time[ended], self.position[ended] = 0, 0.25
        nothing = np.zeros(self.n_envs, dtype=bool)
        reward = 1.0 + final_obs[:, 0]
        n_steps = np.full(self.n_envs, self.act_steps)
        step = ChunkStep(self._obs(), final_obs, reward, n_steps, terminated, truncated, nothing, nothing)
        self.log.append((before, step))
        return step

    def _obs(self) -> FloatArray:
        return np.stack([self.position, np.where(self.time == 0, RESET_OBS, -0.1 * self.time)], axis=1)
