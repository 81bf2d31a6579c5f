"""Hopper, Walker2D and HalfCheetah with the dynamics and rewards of gymnasium's v4 environments, in compiled loops.

Equal to gymnasium bit for bit (tested), at the speed of MuJoCo itself. Gym defines no success: it is always False.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.gym_rules import LocomotionTask, observe_all, restart_episodes, step_chunk
from inril.envs.kernel import log_mujoco_warnings, simulator_table
from inril.errors import InputError
from inril.seeding import stream
from inril.types import BoolArray, ChunkStep, FloatArray, IntArray

logger = logging.getLogger(__name__)

_INTEGRATION_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class GymLocomotion:
    """E copies of one locomotion task behind the `BatchedEnv` contract.

    An episode may be terminated and truncated at once, as in gymnasium, if it falls on its last step; a diverged one
    is truncated, with the last finite observation as `final_obs` and the reward of its finite steps.

    Args:
        task: robot and rules.
        n_envs: number of environments, E.
        act_steps: environment steps per action chunk, Ta.
        threads: threads that environments are spread over; has no influence on results.
        max_episode_steps: time limit of an episode; gymnasium's 1,000 if None.

    Attributes:
        model: the MuJoCo model that the environments share.
        simulators: (E,) table for compiled loops; valid as long as these environments live and are not closed.
    """

    def __init__(
        self,
        task: LocomotionTask,
        n_envs: int,
        act_steps: int,
        threads: int = 1,
        max_episode_steps: int | None = None,
    ) -> None:
        self.task = task
        self.n_envs = n_envs
        self.act_steps = act_steps
        self.max_episode_steps = 1000 if max_episode_steps is None else max_episode_steps
        asset = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / task.asset
        self.model = mujoco.MjModel.from_xml_path(str(asset))
        self.obs_dim = self.model.nq - 1 + self.model.nv
        self.action_dim = self.model.nu
        self._data = [mujoco.MjData(self.model) for _ in range(n_envs)]
        self.simulators = simulator_table(self.model, self._data)
        self._control_dt_s = self.model.opt.timestep * task.rules.frame_skip
        bounds = np.linspace(0, n_envs, min(threads, n_envs) + 1).astype(int)
        self._slices = [slice(first, end) for first, end in pairwise(bounds.tolist())]
        self._pool = ThreadPoolExecutor(len(self._slices)) if len(self._slices) > 1 else None
        self._renderer: mujoco.Renderer | None = None
        self._seed: int | None = None  # None: no episode has been started
        self._obs: FloatArray = np.zeros((n_envs, self.obs_dim))
        self._elapsed_steps: IntArray = np.zeros(n_envs, dtype=np.int64)
        self._episode_index: IntArray = np.zeros(n_envs, dtype=np.int64)
        self._n_diverged: IntArray = np.zeros(n_envs, dtype=np.int64)
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

    def step_chunk(self, action_chunk: FloatArray) -> ChunkStep:
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
        if self._pool is None:
            self._advance_slice(self._slices[0], action_chunk, step)
        else:
            futures = [self._pool.submit(self._advance_slice, part, action_chunk, step) for part in self._slices]
            for future in futures:
                future.result()
        self._log_diverged(step.diverged)
        return step._replace(obs=self._obs.copy())

    def get_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return physics (with solver warm start), counters and seed; see `BatchedEnv.get_state`."""
        self._require_started()
        physics = np.empty((self.n_envs, mujoco.mj_stateSize(self.model, _INTEGRATION_STATE)))
        for data, row in zip(self._data, physics, strict=True):
            mujoco.mj_getState(self.model, data, row, _INTEGRATION_STATE)
        return {
            "physics": physics,
            "elapsed_steps": self._elapsed_steps.copy(),
            "episode_index": self._episode_index.copy(),
            "n_diverged": self._n_diverged.copy(),
            "seed": np.array([self._seed], dtype=np.int64),
        }

    def set_state(self, state: dict[str, npt.NDArray[np.generic]]) -> FloatArray:
        """Continue exactly where `get_state` was called; see `BatchedEnv.set_state`."""
        self._require_open()
        per_env = (self.n_envs,)
        physics = self._state_array(state, "physics", (*per_env, mujoco.mj_stateSize(self.model, _INTEGRATION_STATE)))
        counters = {
            name: self._state_array(state, name, per_env) for name in ("elapsed_steps", "episode_index", "n_diverged")
        }
        self._seed = int(self._state_array(state, "seed", (1,))[0])
        self._elapsed_steps[:] = counters["elapsed_steps"]
        self._episode_index[:] = counters["episode_index"]
        self._n_diverged[:] = counters["n_diverged"]
        for data, row in zip(self._data, physics, strict=True):
            mujoco.mj_resetData(self.model, data)  # clears the warning counters, which are not part of the state
            mujoco.mj_setState(self.model, data, row, _INTEGRATION_STATE)
        observe_all(self.simulators, self.task.rules, self._obs)
        return self._obs.copy()

    def render(self, env_index: int = 0) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of one environment, seen by the camera that follows the robot."""
        self._require_started()
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.model, height=480, width=480)
        self._renderer.update_scene(self._data[env_index], camera="track")
        image: npt.NDArray[np.uint8] = self._renderer.render()
        return image

    def close(self) -> None:
        """Free threads, simulator data and rendering context; closing twice is harmless."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._seed = None
        self._data = []

    def _advance_slice(self, part: slice, action_chunk: FloatArray, step: ChunkStep) -> None:
        """Execute the chunk in a slice of environments and reset those that ended; runs on any thread."""
        step_chunk(
            self.simulators[part], self.task.rules, self._control_dt_s, self.max_episode_steps,
            action_chunk[part], self._elapsed_steps[part],
            step.final_obs[part], step.reward[part], step.n_steps[part],
            step.terminated[part], step.truncated[part], step.diverged[part],
        )  # fmt: skip
        self._obs[part] = step.final_obs[part]
        ended = np.flatnonzero(step.terminated[part] | step.truncated[part]) + part.start
        if ended.size:
            self._episode_index[ended] += 1
            self._start_episodes(ended)

    def _start_episodes(self, env_indices: IntArray) -> None:
        """Draw the initial states of the current episodes, in gymnasium's order, and restart there."""
        assert self._seed is not None
        model, scale = self.model, self.task.reset_noise_scale
        qpos = np.empty((env_indices.size, model.nq))
        qvel = np.empty((env_indices.size, model.nv))
        for i, env_index in enumerate(env_indices):
            rng = stream(self._seed, "env", int(env_index), int(self._episode_index[env_index]))
            qpos[i] = rng.uniform(-scale, scale, model.nq)
            if self.task.normal_velocity_noise:
                qvel[i] = scale * rng.standard_normal(model.nv)
            else:
                qvel[i] = rng.uniform(-scale, scale, model.nv)
        qpos += model.qpos0
        self._elapsed_steps[env_indices] = 0
        restart_episodes(self.simulators, self.task.rules, env_indices, qpos, qvel, self._obs)

    def _checked(self, action_chunk: FloatArray) -> FloatArray:
        shape = (self.n_envs, self.act_steps, self.action_dim)
        action_chunk = np.ascontiguousarray(action_chunk, dtype=np.float64)
        if action_chunk.shape != shape:
            raise InputError(
                self.task.task_id,
                field="action chunk",
                expected=f"shape {shape} (environments, steps of a chunk, action dimensions)",
                got=f"shape {action_chunk.shape}",
            )
        if not np.isfinite(action_chunk).all():
            env_index, step, _ = np.argwhere(~np.isfinite(action_chunk))[0]
            raise InputError(
                self.task.task_id,
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
                f"{self.task.task_id}: simulator state",
                field=name,
                expected=f"an array of shape {shape}",
                got="nothing" if array is None else f"shape {array.shape}",
            )
        return array

    def _log_diverged(self, diverged: BoolArray) -> None:
        for env_index in np.flatnonzero(diverged):
            self._n_diverged[env_index] += 1
            logger.warning("%s: environment %d diverged; its episode was ended", self.task.task_id, env_index)

    def _require_open(self) -> None:
        if not self._data:
            raise RuntimeError(f"{self.task.task_id}: the environments are closed")

    def _require_started(self) -> None:
        self._require_open()
        if self._seed is None:
            raise RuntimeError(f"{self.task.task_id}: call reset(seed) or set_state(state) first")
