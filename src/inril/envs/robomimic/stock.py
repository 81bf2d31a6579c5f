"""robosuite's own environments behind the same contract: slow, selectable as `sim: stock`, the oracle of tests.

Physics, control, resets, observations and success are robosuite's code throughout; ours only asks for observations of
the present state, puts them into the order and signs of robosuite 1.4.1, and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.camera import RobomimicCamera
from inril.envs.copies import reduced
from inril.envs.kernel import has_diverged, simulator_table
from inril.envs.robomimic.build import make_robosuite
from inril.envs.robomimic.osc import ARM_JOINTS, ARM_MEMORY
from inril.envs.robomimic.tasks import LIFT, RobomimicTask
from inril.types import ChunkStep, FloatArray, IntArray


class StockRobomimic:
    """E of robosuite's environments; see `Suite`. More threads gain nothing.

    Args:
        task: the task.
        n_envs: number of environments, E.

    Attributes:
        envs: robosuite's environments.
    """

    def __init__(self, task: RobomimicTask, n_envs: int) -> None:
        self.task_id = task.task_id
        self.obs_dim, self.action_dim = task.obs_dim, task.action_dim
        self.max_episode_steps = task.max_episode_steps
        self.envs = [make_robosuite(task) for _ in range(n_envs)]
        self._task = task
        self.model: mujoco.MjModel = self.envs[0].sim.model._model
        self.data: list[mujoco.MjData] = [env.sim.data._data for env in self.envs]
        self._simulators = simulator_table([self.model] * n_envs, self.data)
        self._camera: RobomimicCamera | None = None

    def advance(
        self, part: slice, action_chunk: FloatArray, elapsed_steps: IntArray, max_episode_steps: int, step: ChunkStep
    ) -> None:
        """Execute one chunk in a slice of environments."""
        for e in range(part.start, part.stop):
            step.success[e] = True
            for action in action_chunk[e]:
                self.envs[e].step(action)
                step.n_steps[e] += 1
                elapsed_steps[e] += 1
                if has_diverged(self._simulators[e]):
                    step.diverged[e] = step.truncated[e] = True
                    step.success[e] = False
                    break
                step.final_obs[e] = self._observe(self.envs[e])
                solved = bool(self.envs[e]._check_success())
                step.reward[e] += solved
                step.success[e] &= solved
                step.truncated[e] = elapsed_steps[e] >= max_episode_steps
                if step.truncated[e]:
                    break

    def start(self, env_indices: IntArray, rngs: Sequence[np.random.Generator], obs: FloatArray) -> None:
        """Reset with robosuite's own code, which draws from the generators."""
        for e, rng in zip(env_indices, rngs, strict=True):
            env = self.envs[e]
            initializer = env.placement_initializer
            samplers = getattr(initializer, "samplers", {}).values()
            hammers = [obj for obj in env.model.mujoco_objects if hasattr(obj, "rng")]
            for drawing in (env, initializer, *samplers, *hammers):
                drawing.rng = rng
            env.reset()
            obs[e] = self._observe(env)

    def memory(self) -> dict[str, FloatArray]:
        """Return what the arms' controllers remember, (E, A, 8), in the form of the compiled ones."""
        memory = np.zeros((len(self.envs), self._task.n_arms, ARM_MEMORY))
        for of_env, env in zip(memory, self.envs, strict=True):
            for of_arm, robot in zip(of_env, env.robots, strict=True):
                of_arm[:ARM_JOINTS] = robot.part_controllers["right"].initial_joint
                of_arm[ARM_JOINTS] = robot.gripper["right"].current_action[-1]
        return {"controllers": memory}

    def resume(self, memory: dict[str, FloatArray], obs: FloatArray) -> None:
        """Set the controllers and observe the state that has been set."""
        for e, env in enumerate(self.envs):
            for of_arm, robot in zip(memory["controllers"][e], env.robots, strict=True):
                robot.part_controllers["right"].initial_joint = of_arm[:ARM_JOINTS].copy()
                robot.gripper["right"].current_action = of_arm[ARM_JOINTS] * np.array([-1.0, 1.0])
                for controller in robot.part_controllers.values():
                    controller.new_update = True  # what it read before no longer holds
            obs[e] = self._observe(env)

    def robosuite_state(self, env_index: int) -> FloatArray:
        """Return time, positions and velocities, (1 + nq + nv,)."""
        data = self.data[env_index]
        return np.concatenate([[data.time], data.qpos, data.qvel])

    def image(self, env_index: int) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of one environment."""
        if self._camera is None:
            self._camera = RobomimicCamera(self.model)
        return self._camera.image(self.robosuite_state(env_index))

    def close(self) -> None:
        """Free the environments and the rendering context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
        self.envs, self.data = [], []

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what copy and pickle make another suite of."""
        return reduced(self, self._task)

    def _observe(self, env: Any) -> FloatArray:
        """Return obs (Do,) of the present state in the order and signs of robosuite 1.4.1."""
        env.sim.forward()
        env._get_observations(force_update=True)  # relative poses are computed from the poses of the update before
        observed = env._get_observations(force_update=True)
        keys = [*(key for key in self._task.obs_layout if key != "object"), *self._task.object_layout]
        parts = {key: np.atleast_1d(observed[key]).astype(np.float64) for key in keys}
        if self._task is LIFT:
            parts["gripper_to_cube_pos"] *= -1.0
        return np.concatenate(list(parts.values()))
