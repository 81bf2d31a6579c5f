"""Lift, Can, Square and Transport in compiled loops: robosuite's dynamics, control, resets and success tests.

Trajectories equal robosuite's within rounding as long as nothing is touched (tested), at about ten times its speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.camera import RobomimicCamera
from inril.envs.copies import reduced
from inril.envs.kernel import simulator_table
from inril.envs.robomimic.model import robomimic_model
from inril.envs.robomimic.osc import ARM_MEMORY
from inril.envs.robomimic.rules import observe_all, restart_episodes, step_chunk
from inril.envs.robomimic.tasks import RobomimicTask
from inril.types import ChunkStep, FloatArray, IntArray


class FastRobomimic:
    """E simulators of one Robomimic task; see `Suite`.

    Args:
        task: the task.
        n_envs: number of environments, E.

    Attributes:
        shared: model and rules.
        simulators: (E,) table for compiled loops; valid as long as this suite lives and is not closed.
    """

    def __init__(self, task: RobomimicTask, n_envs: int) -> None:
        self.task_id = task.task_id
        self.obs_dim, self.action_dim = task.obs_dim, task.action_dim
        self.max_episode_steps = task.max_episode_steps
        self.shared = robomimic_model(task)
        self.model = self.shared.model
        self.data = [mujoco.MjData(self.model) for _ in range(n_envs)]
        self.simulators = simulator_table([self.model] * n_envs, self.data)
        self._memory = np.zeros((n_envs, task.n_arms, ARM_MEMORY))
        self._camera: RobomimicCamera | None = None

    def advance(
        self, part: slice, action_chunk: FloatArray, elapsed_steps: IntArray, max_episode_steps: int, step: ChunkStep
    ) -> None:
        """Execute one chunk in a slice of environments."""
        step_chunk(
            self.simulators[part], self.shared.rules, self._memory[part], max_episode_steps,
            action_chunk[part], elapsed_steps[part],
            step.final_obs[part], step.reward[part], step.n_steps[part],
            step.truncated[part], step.success[part], step.diverged[part],
        )  # fmt: skip

    def start(self, env_indices: IntArray, rngs: Sequence[np.random.Generator], obs: FloatArray) -> None:
        """Draw initial states in robosuite's order and restart there, at rest."""
        qpos = np.array([self.shared.draw_qpos(rng) for rng in rngs])
        qvel = np.zeros((env_indices.size, self.model.nv))
        restart_episodes(self.simulators, self.shared.rules, self._memory, env_indices, qpos, qvel, obs)

    def memory(self) -> dict[str, FloatArray]:
        """Return what the arms' controllers remember, (E, A, 8)."""
        return {"controllers": self._memory}

    def resume(self, memory: dict[str, FloatArray], obs: FloatArray) -> None:
        """Observe the state that has been set."""
        self._memory[:] = memory["controllers"]
        observe_all(self.simulators, self.shared.rules, obs)

    def robosuite_state(self, env_index: int) -> FloatArray:
        """Return time, positions and velocities of robosuite's own model, (1 + nq + nv,)."""
        return self.shared.stock_state(self.data[env_index])

    def image(self, env_index: int) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of robosuite's full model in the state of one environment."""
        if self._camera is None:
            self._camera = RobomimicCamera(self.shared.stock)
        return self._camera.image(self.robosuite_state(env_index))

    def close(self) -> None:
        """Free simulator data and the rendering context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
        self.data = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what copy and pickle make another suite of."""
        return reduced(self, self.shared.task)
