"""What every suite of simulators shares: threads, automatic resets, random streams, resume, checks, divergence.

A suite supplies the rest by composition: simulator data, the loop over an action chunk, the start of episodes, and what
is observed.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from inril.envs.base import Suite
from inril.envs.copies import physics, set_physics
from inril.envs.kernel import log_mujoco_warnings
from inril.envs.threads import Threads
from inril.errors import InputError
from inril.seeding import stream
from inril.types import BoolArray, ChunkStep, FloatArray, IntArray

logger = logging.getLogger(__name__)

_COUNTERS = ("elapsed_steps", "episode_index", "n_diverged")


class BatchedSimulator:
    """A suite behind the `BatchedEnv` contract.

    An episode may be terminated and truncated at once, as in gymnasium, if it falls on its last step; a diverged one
    is truncated, with the last finite observation as `final_obs` and the reward of its finite steps.

    Args:
        suite: E simulators.
        act_steps: environment steps per action chunk, Ta.
        threads: threads that environments are spread over; has no influence on results.
        max_episode_steps: time limit of an episode; the task's own if None.
    """

    def __init__(self, suite: Suite, act_steps: int, threads: int = 1, max_episode_steps: int | None = None) -> None:
        self.suite = suite
        self.n_envs = len(suite.data)
        self.obs_dim, self.action_dim = suite.obs_dim, suite.action_dim
        self.act_steps = act_steps
        self.max_episode_steps = suite.max_episode_steps if max_episode_steps is None else max_episode_steps
        bounds = np.linspace(0, self.n_envs, min(threads, self.n_envs) + 1).astype(int)
        self._slices = [slice(first, end) for first, end in pairwise(bounds.tolist())]
        self._threads = Threads(len(self._slices))
        self._seed: int | None = None  # None: no episode has been started
        self._obs: FloatArray = np.zeros((self.n_envs, self.obs_dim))
        self._elapsed_steps: IntArray = np.zeros(self.n_envs, dtype=np.int64)
        self._episode_index: IntArray = np.zeros(self.n_envs, dtype=np.int64)
        self._n_diverged: IntArray = np.zeros(self.n_envs, dtype=np.int64)
        log_mujoco_warnings()

    @property
    def n_diverged(self) -> int:
        """Episodes that left the finite numbers since construction."""
        return int(self._n_diverged.sum())

    def reset(self, seed: int) -> FloatArray:
        """Start episode 0 of `seed` in every environment; see `BatchedEnv.reset`."""
        self._require_open()
        self._seed = seed
        self._episode_index[:] = 0
        self._start_episodes(np.arange(self.n_envs))
        return self._obs.copy()

    def step_chunk(self, action_chunk: FloatArray, running: BoolArray | None = None) -> ChunkStep:
        """Execute one chunk in every environment; see `BatchedEnv.step_chunk`."""
        self._require_started()
        action_chunk = self._checked(action_chunk)
        n_envs = self.n_envs
        step = ChunkStep(
            obs=self._obs,
            final_obs=self._obs.copy(),
            reward=np.zeros(n_envs),
            n_steps=np.zeros(n_envs, dtype=np.int64),
            terminated=np.zeros(n_envs, dtype=np.bool_),
            truncated=np.zeros(n_envs, dtype=np.bool_),
            success=np.zeros(n_envs, dtype=np.bool_),
            diverged=np.zeros(n_envs, dtype=np.bool_),
        )
        advance = partial(self._advance_slice, action_chunk=action_chunk, running=running, step=step)
        self._threads.call(advance, self._slices)
        self._log_diverged(step.diverged)
        return step._replace(obs=self._obs.copy())

    def get_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return physics (with solver warm start), the suite's memory, counters and seed."""
        self._require_started()
        return {
            "physics": physics(self.suite),
            **{name: array.copy() for name, array in self.suite.memory().items()},
            "elapsed_steps": self._elapsed_steps.copy(),
            "episode_index": self._episode_index.copy(),
            "n_diverged": self._n_diverged.copy(),
            "seed": np.array([self._seed], dtype=np.int64),
        }

    def set_state(self, state: dict[str, npt.NDArray[np.generic]]) -> FloatArray:
        """Continue exactly where `get_state` was called; see `BatchedEnv.set_state`."""
        self._require_open()
        per_env = (self.n_envs,)
        rows = self._state_array(state, "physics", physics(self.suite).shape)
        memory = {
            name: self._state_array(state, name, array.shape).astype(np.float64)
            for name, array in self.suite.memory().items()
        }
        counters = [self._state_array(state, name, per_env) for name in _COUNTERS]
        self._seed = int(self._state_array(state, "seed", (1,))[0])
        self._elapsed_steps[:], self._episode_index[:], self._n_diverged[:] = counters
        set_physics(self.suite, rows)
        self.suite.resume(memory, self._obs)
        return self._obs.copy()

    def render(self, env_index: int = 0) -> npt.NDArray[np.uint8]:
        """Return an image (height, width, 3) of one environment."""
        self._require_started()
        return self.suite.image(env_index)

    def close(self) -> None:
        """Free threads, simulator data and rendering context; closing twice is harmless."""
        self._threads.end()
        self._seed = None
        self.suite.close()

    def _advance_slice(self, part: slice, action_chunk: FloatArray, running: BoolArray | None, step: ChunkStep) -> None:
        """Execute the chunk in a slice of environments and reset those that ended; runs on any thread."""
        for stretch in [part] if running is None else _stretches(running, part):
            self.suite.advance(stretch, action_chunk, self._elapsed_steps, self.max_episode_steps, step)
        self._obs[part] = step.final_obs[part]
        ended = np.flatnonzero(step.terminated[part] | step.truncated[part]) + part.start
        if ended.size:
            self._episode_index[ended] += 1
            self._start_episodes(ended)

    def _start_episodes(self, env_indices: IntArray) -> None:
        assert self._seed is not None
        rngs = [stream(self._seed, "env", int(e), int(self._episode_index[e])) for e in env_indices]
        self._elapsed_steps[env_indices] = 0
        self.suite.start(env_indices, rngs, self._obs)

    def _checked(self, action_chunk: FloatArray) -> FloatArray:
        shape = (self.n_envs, self.act_steps, self.action_dim)
        action_chunk = np.ascontiguousarray(action_chunk, dtype=np.float64)
        if action_chunk.shape != shape:
            raise InputError(
                self.suite.task_id,
                field="action chunk",
                expected=f"shape {shape} (environments, steps of a chunk, action dimensions)",
                got=f"shape {action_chunk.shape}",
            )
        if not np.isfinite(action_chunk).all():
            env_index, step, _ = np.argwhere(~np.isfinite(action_chunk))[0]
            raise InputError(
                self.suite.task_id,
                field=f"action of environment {env_index}, step {step} of the chunk",
                expected="finite numbers",
                got=str(action_chunk[env_index, step].tolist()),
            )
        return action_chunk

    def _state_array(
        self, state: dict[str, npt.NDArray[np.generic]], name: str, shape: tuple[int, ...]
    ) -> npt.NDArray[np.generic]:
        array = state.get(name)
        if array is None or array.shape != shape:
            raise InputError(
                f"{self.suite.task_id}: simulator state",
                field=name,
                expected=f"an array of shape {shape}",
                got="nothing" if array is None else f"shape {array.shape}",
            )
        return array

    def _log_diverged(self, diverged: BoolArray) -> None:
        for env_index in np.flatnonzero(diverged):
            self._n_diverged[env_index] += 1
            logger.warning("%s: environment %d diverged; its episode was ended", self.suite.task_id, env_index)

    def _require_open(self) -> None:
        if not self.suite.data:
            raise RuntimeError(f"{self.suite.task_id}: the environments are closed")

    def _require_started(self) -> None:
        self._require_open()
        if self._seed is None:
            raise RuntimeError(f"{self.suite.task_id}: call reset(seed) or set_state(state) first")


def _stretches(running: BoolArray, part: slice) -> list[slice]:
    """Return the slices of neighbouring environments that are running, within a slice."""
    edges = np.flatnonzero(np.diff(running[part], prepend=False, append=False)) + part.start
    return [slice(first, end) for first, end in edges.reshape(-1, 2).tolist()]
