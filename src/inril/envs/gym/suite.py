"""Locomotion tasks with the dynamics and rewards of gymnasium's v4 environments, in compiled loops.

Equal to gymnasium bit for bit (tested), at the speed of MuJoCo itself. Gym defines no success: it is always False.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.camera import StateCamera
from inril.envs.copies import reduced
from inril.envs.gym.rules import LocomotionTask, observe_all, restart_episodes, step_chunk
from inril.envs.kernel import simulator_table
from inril.types import ChunkStep, FloatArray, IntArray


class GymLocomotion:
    """E simulators of one locomotion task; see `Suite`.

    Args:
        task: robot and rules.
        n_envs: number of environments, E.

    Attributes:
        simulators: (E,) table for compiled loops; valid as long as this suite lives and is not closed.
    """

    max_episode_steps = 1000

    def __init__(self, task: LocomotionTask, n_envs: int) -> None:
        self.task = task
        self.task_id = task.task_id
        asset = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / task.asset
        self.model = mujoco.MjModel.from_xml_path(str(asset))
        # One robot is one island of constraints. To find that out anew in every step costs a tenth of the physics, and
        # the solver's numbers are the same without.
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
        self.obs_dim = self.model.nq - task.rules.hidden_positions + self.model.nv
        self.action_dim = self.model.nu
        self.data = [mujoco.MjData(self.model) for _ in range(n_envs)]
        self.simulators = simulator_table([self.model] * n_envs, self.data)
        self._control_dt_s = self.model.opt.timestep * task.rules.frame_skip
        self._camera: StateCamera | None = None

    def advance(
        self, part: slice, action_chunk: FloatArray, elapsed_steps: IntArray, max_episode_steps: int, step: ChunkStep
    ) -> None:
        """Execute one chunk in a slice of environments."""
        step_chunk(
            self.simulators[part], self.task.rules, self._control_dt_s, max_episode_steps,
            action_chunk[part], elapsed_steps[part],
            step.final_obs[part], step.reward[part], step.n_steps[part],
            step.terminated[part], step.truncated[part], step.diverged[part],
        )  # fmt: skip

    def start(self, env_indices: IntArray, rngs: Sequence[np.random.Generator], obs: FloatArray) -> None:
        """Draw initial states in gymnasium's order and restart there."""
        model, scale = self.model, self.task.reset_noise_scale
        qpos = np.empty((env_indices.size, model.nq))
        qvel = np.empty((env_indices.size, model.nv))
        for i, rng in enumerate(rngs):
            qpos[i] = rng.uniform(-scale, scale, model.nq)
            if self.task.normal_velocity_noise:
                qvel[i] = scale * rng.standard_normal(model.nv)
            else:
                qvel[i] = rng.uniform(-scale, scale, model.nv)
        qpos += model.qpos0
        restart_episodes(self.simulators, self.task.rules, env_indices, qpos, qvel, obs)

    def memory(self) -> dict[str, FloatArray]:
        """Return nothing: actions act on the actuators directly."""
        return {}

    def resume(self, memory: dict[str, FloatArray], obs: FloatArray) -> None:
        """Observe the state that has been set."""
        observe_all(self.simulators, self.task.rules, obs)

    def image(self, env_index: int) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3), seen by the camera that follows the robot."""
        if self._camera is None:
            self._camera = StateCamera(self.model, "track")
        return self._camera.image(self.data[env_index].qpos)

    def close(self) -> None:
        """Free simulator data and the rendering context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
        self.data = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what copy and pickle make another suite of."""
        return reduced(self, self.task)
