"""One furniture environment with all its poses in view, for scripted experts."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from inril.data.scripted.robomimic.scene import DivergedError
from inril.envs.furniture.model import FENCE
from inril.envs.furniture.panda import GRIP_SITE
from inril.envs.furniture.screws import screw_pose
from inril.envs.furniture.suite import FurnitureSuite
from inril.envs.furniture.tasks import furniture_task
from inril.envs.kernel import log_mujoco_warnings
from inril.types import ChunkStep, FloatArray

_NO_TIME_LIMIT = int(np.iinfo(np.int64).max)


class ScrewPose(NamedTuple):
    """Where a stem is with respect to its socket.

    Attributes:
        lateral_m: distance of the axes.
        height_m: above the assembled place.
        cosine: of the angle between the axes.
        turn_rad: about the axis, left to turn until assembled, in [0, 2 pi).
    """

    lateral_m: float
    height_m: float
    cosine: float
    turn_rad: float


class FurnitureScene:
    """The first environment of a suite, without a time limit; poses are in the robot's frame, [m] and matrices.

    Args:
        suite: of the task; only its first environment is used.

    Attributes:
        task_id: of the suite.
        obs_dim: Do.
        action_dim: Da.
    """

    n_arms = 1

    def __init__(self, suite: FurnitureSuite) -> None:
        self.task_id, self.obs_dim, self.action_dim = suite.task_id, suite.obs_dim, suite.action_dim
        self.suite = suite
        self._obs: FloatArray = np.zeros((1, suite.obs_dim))
        log_mujoco_warnings()

    def reset(self, rng: np.random.Generator) -> FloatArray:
        """Start an episode drawn from a generator; returns obs (Do,)."""
        self.suite.start(np.zeros(1, dtype=np.int64), [rng], self._obs)
        return np.array(self._obs[0])

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool]:
        """Execute one action (10,).

        Returns:
            obs: (Do,).
            reward: pairs assembled in this step.
            success: whether all pairs have been.

        Raises:
            DivergedError: if the simulation leaves the finite numbers.
        """
        flags = np.zeros((4, 1), dtype=np.bool_)
        counters = np.zeros((2, 1), dtype=np.int64)
        step = ChunkStep(self._obs, self._obs, np.zeros(1), counters[0], *flags)
        self.suite.advance(slice(0, 1), np.array(action).reshape(1, 1, -1), counters[1], _NO_TIME_LIMIT, step)
        if step.diverged[0]:
            raise DivergedError(f"{self.task_id}: the simulation diverged")
        return np.array(self._obs[0]), float(step.reward[0]), bool(step.success[0])

    def state(self) -> None:
        """Return nothing: no other simulator knows these tasks."""

    @property
    def hand_pos(self) -> FloatArray:
        """Position (3,) between the pads."""
        return np.array(self._data.site(GRIP_SITE).xpos)

    @property
    def hand_rot(self) -> FloatArray:
        """Rotation (3, 3) of the hand: z points away from it, the fingers move along y."""
        return np.array(self._data.site(GRIP_SITE).xmat).reshape(3, 3)

    @property
    def fence(self) -> FloatArray:
        """Offset (2,) of the fence from its nominal place."""
        model = self.suite.model
        return np.array(self._data.mocap_pos[model.body(FENCE).mocapid[0], :2])

    def part_pos(self, name: str) -> FloatArray:
        """Position (3,) of a part."""
        return np.array(self._data.body(name).xpos)

    def part_rot(self, name: str) -> FloatArray:
        """Rotation (3, 3) of a part."""
        return np.array(self._data.body(name).xmat).reshape(3, 3)

    def screw(self, pair: int, seat: int = 0) -> ScrewPose:
        """Pose of a pair's stem with respect to a seat."""
        return ScrewPose(*screw_pose(self.suite.simulators[0], self.suite.shared.rules, pair, seat))

    def is_engaged(self, pair: int) -> bool:
        """Whether a pair's stem is in a thread."""
        return bool(self.suite.progress.seat[0, pair] >= 0)

    def is_assembled(self, pair: int) -> bool:
        """Whether a pair has been assembled since the episode's start."""
        return bool(self.suite.progress.assembled[0, pair])

    @property
    def _data(self) -> mujoco.MjData:
        return self.suite.data[0]


def make_furniture_scene(task_id: str) -> FurnitureScene:
    """Make one environment of a furniture task with its poses in view.

    Raises:
        InputError: if there is no such task.
    """
    return FurnitureScene(FurnitureSuite(furniture_task(task_id), 1))
