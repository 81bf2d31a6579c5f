"""Observation, reward, termination and start of gymnasium's v4 locomotion tasks, as data and one compiled loop.

A task that these rules describe is one entry of `GYM_TASKS` (docs/extending.md).

Source: gymnasium/envs/mujoco/{hopper,walker2d,half_cheetah}_v4.py; every sum is taken in the order of that code, so
that results are equal to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inril.envs.kernel import Simulator, advance, float_view, has_diverged, restart
from inril.jit import compiled
from inril.types import BoolArray, FloatArray, IntArray


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
        hidden_positions: coordinates, from the forward one on, that are not observed.
    """

    frame_skip: int
    ctrl_cost_weight: float
    healthy_reward: float = 0.0
    healthy_z_m: tuple[float, float] = (-np.inf, np.inf)
    healthy_angle_rad: tuple[float, float] = (-np.inf, np.inf)
    healthy_state: float = np.inf
    max_obs_velocity: float = np.inf
    hidden_positions: int = 1


@dataclass(frozen=True)
class LocomotionTask:
    """One robot: gymnasium's model file, the rules, and how episodes start.

    Attributes:
        task_id: as in config, paths and figures.
        name: in the id under which it is registered with gymnasium, inril/<name>-v0.
        asset: model file in gymnasium's folder of assets.
        rules: of every step.
        control_rate_hz: environment steps per second of simulated time.
        reset_noise_scale: half width of the uniform noise on positions; scale of the noise on velocities.
        normal_velocity_noise: whether the noise on velocities is normal (else uniform, like that on positions).
    """

    task_id: str
    name: str
    asset: str
    rules: LocomotionRules
    control_rate_hz: int
    reset_noise_scale: float
    normal_velocity_noise: bool = False

    def n_positions(self, obs_dim: int) -> int:
        """Return how many coordinates an observation (Do,) begins with; velocities, the hidden ones' too, follow."""
        return (obs_dim - self.rules.hidden_positions) // 2


HOPPER = LocomotionTask(
    "hopper",
    "Hopper",
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
    control_rate_hz=125,
    reset_noise_scale=5e-3,
)
WALKER2D = LocomotionTask(
    "walker2d",
    "Walker2D",
    "walker2d.xml",
    LocomotionRules(
        frame_skip=4,
        ctrl_cost_weight=1e-3,
        healthy_reward=1.0,
        healthy_z_m=(0.8, 2.0),
        healthy_angle_rad=(-1.0, 1.0),
        max_obs_velocity=10.0,
    ),
    control_rate_hz=125,
    reset_noise_scale=5e-3,
)
HALFCHEETAH = LocomotionTask(
    "halfcheetah",
    "HalfCheetah",
    "half_cheetah.xml",
    LocomotionRules(frame_skip=5, ctrl_cost_weight=0.1),
    control_rate_hz=20,
    reset_noise_scale=0.1,
    normal_velocity_noise=True,
)
GYM_TASKS = {task.task_id: task for task in (HOPPER, WALKER2D, HALFCHEETAH)}


@compiled
def _observe(simulator: Simulator, rules: LocomotionRules, obs: FloatArray) -> None:
    """Write positions without the hidden ones, then clipped velocities, into obs (Do,)."""
    qpos = float_view(simulator.qpos, simulator.nq)
    qvel = float_view(simulator.qvel, simulator.nv)
    n_positions = qpos.size - rules.hidden_positions
    for i in range(n_positions):
        obs[i] = qpos[i + rules.hidden_positions]
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
def step_chunk(
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
def restart_episodes(
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
def observe_all(simulators: npt.NDArray[np.void], rules: LocomotionRules, obs: FloatArray) -> None:
    """Write the observation of every environment into obs (E, Do)."""
    for e in range(simulators.size):
        _observe(simulators[e], rules, obs[e])
