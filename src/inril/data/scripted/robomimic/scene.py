"""One environment with all its poses in view, for scripted experts."""

from __future__ import annotations

from typing import Literal, Protocol

import mujoco
import numpy as np

from inril.envs.base import Suite
from inril.envs.kernel import log_mujoco_warnings
from inril.envs.robomimic.osc import ARM_ACTION
from inril.envs.robomimic.stock import StockRobomimic
from inril.envs.robomimic.suite import FastRobomimic
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS
from inril.errors import InputError
from inril.types import ChunkStep, FloatArray

_GRIP_SITE = "gripper{}_right_grip_site"
_NO_TIME_LIMIT = int(np.iinfo(np.int64).max)


class DivergedError(RuntimeError):
    """The simulation of a scene left the finite numbers."""


class Scene(Protocol):
    """A task that a script can look into; names of bodies and sites are robosuite's.

    Poses are in the world's frame, [m] and rotation matrices, and always those of the present state. What is returned
    is a copy.

    Attributes:
        obs_dim: Do.
        action_dim: Da, 7 per arm.
        n_arms: arms that it moves.
    """

    obs_dim: int
    action_dim: int
    n_arms: int

    def reset(self, rng: np.random.Generator) -> FloatArray:
        """Start an episode drawn from a generator; returns obs (Do,)."""
        ...

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool]:
        """Execute one action (Da,); returns obs (Do,), the reward, and whether the task is solved."""
        ...

    def body_pos(self, name: str) -> FloatArray:
        """Return a body's position (3,)."""
        ...

    def body_rot(self, name: str) -> FloatArray:
        """Return a body's rotation (3, 3)."""
        ...

    def site_pos(self, name: str) -> FloatArray:
        """Return a site's position (3,)."""
        ...

    def site_rot(self, name: str) -> FloatArray:
        """Return a site's rotation (3, 3)."""
        ...

    def grip_pos(self, arm: int) -> FloatArray:
        """Return the position (3,) between an arm's fingers, which actions move."""
        ...

    def grip_rot(self, arm: int) -> FloatArray:
        """Return the rotation (3, 3) of that site; the fingers move along its x axis."""
        ...

    def state(self) -> FloatArray:
        """Return time, positions and velocities of robosuite's own model, flattened as in Robomimic's files."""
        ...


class RobomimicSuite(Suite, Protocol):
    """A suite whose states can be told in terms of robosuite's own model."""

    def robosuite_state(self, env_index: int) -> FloatArray:
        """Return time, positions and velocities of robosuite's own model, (1 + nq + nv,)."""
        ...


class RobomimicScene:
    """The first environment of a suite as a `Scene`, without a time limit.

    Args:
        suite: fast or stock.
    """

    def __init__(self, suite: RobomimicSuite) -> None:
        self.obs_dim, self.action_dim = suite.obs_dim, suite.action_dim
        self.n_arms = suite.action_dim // ARM_ACTION
        self._suite = suite
        self._obs: FloatArray = np.zeros((1, suite.obs_dim))
        log_mujoco_warnings()

    def reset(self, rng: np.random.Generator) -> FloatArray:
        """Start an episode drawn from a generator; returns obs (Do,)."""
        self._suite.start(np.zeros(1, dtype=np.int64), [rng], self._obs)
        return self._observation()

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool]:
        """Execute one action (Da,).

        Returns:
            obs: (Do,).
            reward: 1 if the task is solved now.
            success: whether it is.

        Raises:
            DivergedError: if the simulation leaves the finite numbers.
        """
        flags = np.zeros((4, 1), dtype=np.bool_)
        counters = np.zeros((2, 1), dtype=np.int64)
        step = ChunkStep(self._obs, self._obs, np.zeros(1), counters[0], *flags)
        action_chunk = np.array(action, dtype=np.float64).reshape(1, 1, self.action_dim)
        self._suite.advance(slice(0, 1), action_chunk, counters[1], _NO_TIME_LIMIT, step)
        if step.diverged[0]:
            raise DivergedError(f"{self._suite.task_id}: the simulation diverged")
        return self._observation(), float(step.reward[0]), bool(step.success[0])

    def body_pos(self, name: str) -> FloatArray:
        """Return a body's position (3,)."""
        return np.array(self._data.body(name).xpos)

    def body_rot(self, name: str) -> FloatArray:
        """Return a body's rotation (3, 3)."""
        return np.array(self._data.body(name).xmat).reshape(3, 3)

    def site_pos(self, name: str) -> FloatArray:
        """Return a site's position (3,)."""
        return np.array(self._data.site(name).xpos)

    def site_rot(self, name: str) -> FloatArray:
        """Return a site's rotation (3, 3)."""
        return np.array(self._data.site(name).xmat).reshape(3, 3)

    def grip_pos(self, arm: int) -> FloatArray:
        """Return the position (3,) between an arm's fingers."""
        return self.site_pos(_GRIP_SITE.format(arm))

    def grip_rot(self, arm: int) -> FloatArray:
        """Return the rotation (3, 3) of that site."""
        return self.site_rot(_GRIP_SITE.format(arm))

    def state(self) -> FloatArray:
        """Return time, positions and velocities of robosuite's own model, flattened."""
        return self._suite.robosuite_state(0)

    def _observation(self) -> FloatArray:
        obs: FloatArray = self._obs[0].copy()
        return obs

    @property
    def _data(self) -> mujoco.MjData:
        return self._suite.data[0]


def make_scene(task_id: str, sim: Literal["fast", "stock"] = "fast") -> Scene:
    """Make one environment of a Robomimic task with its poses in view.

    Args:
        task_id: "lift", "can", "square" or "transport".
        sim: the compiled simulator, or robosuite's own code.

    Raises:
        InputError: if there is no such task.
    """
    if task_id not in ROBOMIMIC_TASKS:
        raise InputError("scene", field="task", expected=f"one of {', '.join(ROBOMIMIC_TASKS)}", got=repr(task_id))
    suite = StockRobomimic if sim == "stock" else FastRobomimic
    return RobomimicScene(suite(ROBOMIMIC_TASKS[task_id], 1))
