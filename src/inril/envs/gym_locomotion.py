"""Hopper, Walker2D and HalfCheetah with the dynamics and rewards of gymnasium's v4 environments, in compiled loops.

Equal to gymnasium bit for bit (tested), at the speed of MuJoCo itself. Gym defines no success: it is always False.

Source: gymnasium/envs/mujoco/{hopper,walker2d,half_cheetah}_v4.py.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.kernel import (
    Simulator,
    advance,
    compiled,
    float_view,
    has_diverged,
    log_mujoco_warnings,
    restart,
    simulator_table,
)
from inril.errors import InputError
from inril.seeding import stream
from inril.types import BoolArray, ChunkStep, FloatArray, IntArray

logger = logging.getLogger(__name__)

_INTEGRATION_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class LocomotionRules(NamedTuple):
    """What the compiled loop needs to observe, reward and terminate; ranges are open intervals.

    Attributes:
        frame_skip: physics steps per environment step.
        ctrl_cost_weight: cost per squared unit of action.
        healthy_reward: reward for each step.
        healthy_z_m: range of the torso's height.
        healthy_angle_rad: range of the torso's pitch.
        healthy_state: magnitude that positions from the pitch on and all velocities must stay below.
        max_obs_velocity: magnitude at which observed velocities are clipped.
    """

    frame_skip: int
    ctrl_cost_weight: float
    healthy_reward: float = 0.0
    healthy_z_m: tuple[float, float] = (-np.inf, np.inf)
    healthy_angle_rad: tuple[float, float] = (-np.inf, np.inf)
    healthy_state: float = np.inf
    max_obs_velocity: float = np.inf


@dataclass(frozen=True)
class LocomotionTask:
    """One robot: its id, gymnasium's model file, the rules, and how episodes start.

    Attributes:
        reset_noise_scale: half width of the uniform noise on positions; scale of the noise on velocities.
        normal_velocity_noise: whether the noise on velocities is normal (else uniform, like that on positions).
    """

    task_id: str
    asset: str
    rules: LocomotionRules
    reset_noise_scale: float
    normal_velocity_noise: bool = False


HOPPER = LocomotionTask(
    "hopper",
    "hopper.xml",
    LocomotionRules(
        frame_skip=4,
        ctrl_cost_weight=1e-3,
        healthy_reward=1.0,
        healthy_z_m=(0.7, np.inf),
        healthy_angle_rad=(-0.2, 0.2),
        healthy_state=100.0,
        max_obs_velocity=10.0,
    ),
    reset_noise_scale=5e-3,
)
WALKER2D = LocomotionTask(
    "walker2d",
    "walker2d.xml",
    LocomotionRules(
        frame_skip=4,
        ctrl_cost_weight=1e-3,
        healthy_reward=1.0,
        healthy_z_m=(0.8, 2.0),
        healthy_angle_rad=(-1.0, 1.0),
        max_obs_velocity=10.0,
    ),
    reset_noise_scale=5e-3,
)
HALFCHEETAH = LocomotionTask(
    "halfcheetah",
    "half_cheetah.xml",
    LocomotionRules(frame_skip=5, ctrl_cost_weight=0.1),
    reset_noise_scale=0.1,
    normal_velocity_noise=True,
)


@compiled
def _observe(simulator: Simulator, rules: LocomotionRules, obs: FloatArray) -> None:
    """Write positions without the forward one, then clipped velocities, into obs (Do,)."""
    qpos = float_view(simulator.qpos, simulator.nq)
    qvel = float_view(simulator.qvel, simulator.nv)
    n_positions = qpos.size - 1
    for i in range(n_positions):
        obs[i] = qpos[i + 1]
    for i in range(qvel.size):
        obs[n_positions + i] = min(max(qvel[i], -rules.max_obs_velocity), rules.max_obs_velocity)


@compiled
def _is_healthy(simulator: Simulator, rules: LocomotionRules) -> bool:
    qpos = float_view(simulator.qpos, simulator.nq)
    qvel = float_view(simulator.qvel, simulator.nv)
    z, angle = qpos[1], qpos[2]
    healthy: bool = rules.healthy_z_m[0] < z < rules.healthy_z_m[1]
    healthy &= rules.healthy_angle_rad[0] < angle < rules.healthy_angle_rad[1]
    for i in range(2, qpos.size):
        healthy &= abs(qpos[i]) < rules.healthy_state
    for i in range(qvel.size):
        healthy &= abs(qvel[i]) < rules.healthy_state
    return healthy


@compiled
def _ctrl_cost(action: FloatArray, rules: LocomotionRules) -> float:
    squares: float = 0.0
    for i in range(action.size):
        squares += action[i] * action[i]
    return rules.ctrl_cost_weight * squares


@compiled
def _step_chunk(
    simulators: npt.NDArray[np.void],
    rules: LocomotionRules,
    control_dt_s: float,
    max_episode_steps: int,
    action_chunk: FloatArray,
    elapsed_steps: IntArray,
    obs: FloatArray,
    reward: FloatArray,
    n_steps: IntArray,
    terminated: BoolArray,
    truncated: BoolArray,
    diverged: BoolArray,
) -> None:
    """Execute one chunk in each environment of a slice.

    Reads action_chunk (E, Ta, Da); counts in elapsed_steps (E,); writes obs (E, Do), which holds the previous
    observation before, and reward, n_steps, terminated, truncated, diverged (E,), all zero before.
    """
    for e in range(simulators.size):
        simulator = simulators[e]
        qpos = float_view(simulator.qpos, simulator.nq)
        for t in range(action_chunk.shape[1]):
            action = action_chunk[e, t]
            x_before = qpos[0]
            advance(simulator, action, rules.frame_skip)
            n_steps[e] += 1
            elapsed_steps[e] += 1
            if has_diverged(simulator):
                diverged[e] = truncated[e] = True
                break
            x_velocity = (qpos[0] - x_before) / control_dt_s
            reward[e] += x_velocity + rules.healthy_reward - _ctrl_cost(action, rules)
            _observe(simulator, rules, obs[e])
            terminated[e] = not _is_healthy(simulator, rules)
            truncated[e] = elapsed_steps[e] >= max_episode_steps
            if terminated[e] or truncated[e]:
                break


@compiled
def _restart(
    simulators: npt.NDArray[np.void],
    rules: LocomotionRules,
    env_indices: IntArray,
    qpos: FloatArray,
    qvel: FloatArray,
    obs: FloatArray,
) -> None:
    """Restart env_indices (N,) at qpos (N, nq), qvel (N, nv) and write their rows of obs (E, Do)."""
    for i in range(env_indices.size):
        simulator = simulators[env_indices[i]]
        restart(simulator, qpos[i], qvel[i])
        _observe(simulator, rules, obs[env_indices[i]])


@compiled
def _observe_all(simulators: npt.NDArray[np.void], rules: LocomotionRules, obs: FloatArray) -> None:
    for e in range(simulators.size):
        _observe(simulators[e], rules, obs[e])


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
        self._simulators = simulator_table(self.model, self._data)
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
        _observe_all(self._simulators, self.task.rules, self._obs)
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
        _step_chunk(
            self._simulators[part], self.task.rules, self._control_dt_s, self.max_episode_steps,
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
        _restart(self._simulators, self.task.rules, env_indices, qpos, qvel, self._obs)

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
