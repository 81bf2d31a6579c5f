"""Expert for Can: carry the can from one bin to its quarter of the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.operator import Operator
from inril.data.scripted.robomimic.hand import Hand, Motion, Pose
from inril.data.scripted.robomimic.scene import Scene
from inril.types import FloatArray

_CAN = "Can_main"
_BIN = "bin2"
_QUARTER_M = np.array([0.0975, 0.1225])  # from the bin's centre to that of the can's quarter
_CARRY_Z_M = 1.08
_LIFTED_Z_M = 0.95
_LOST_Z_M = 0.7  # below both bins
_DROPPED_M = 0.1  # from the gripper to the can's centre
_LYING = 0.7  # vertical part of the can's axis below which it lies


def demonstrate(scene: Scene, operator: Operator) -> Iterator[FloatArray]:
    """Carry the can over and let go; what fails is tried again.

    Args:
        scene: Can, just reset.
        operator: who does it.

    Yields:
        The next action (7,). Ends only when the can has left the bins.
    """
    hand = Hand(scene, 0, operator)
    quarter = scene.body_pos(_BIN)[:2] + _QUARTER_M + operator.jitter(0.02, 2)
    for n_failed in count():
        yield from _grasp(scene, hand, n_failed)
        yield from hand.reach(Pose(motion.at_height(hand.pos, _CARRY_Z_M + operator.hover_m), hand.rot), tol_m=0.03)
        if scene.body_pos(_CAN)[2] > _LIFTED_Z_M:
            yield from _place(scene, hand, quarter)
            if _is_placed(scene):
                yield from hand.stay()
        else:
            yield from hand.open()
        if scene.body_pos(_CAN)[2] < _LOST_Z_M:
            return


def _grasp(scene: Scene, hand: Hand, n_failed: int) -> Motion:
    operator = hand.operator
    aim = operator.aim(n_failed)
    rot = motion.pointing_down(_grasp_yaw(scene, hand) + 2 * aim.yaw_rad)

    def can(height_m: float) -> FloatArray:
        return motion.above(scene.body_pos(_CAN) + aim.offset_m, height_m)

    return hand.grasp(can, rot, 0.06 + operator.hover_m)


def _grasp_yaw(scene: Scene, hand: Hand) -> float:
    """Any yaw will do on a can that stands; one that lies is grasped across its axis."""
    axis = scene.body_rot(_CAN)[:, 2]
    if abs(axis[2]) > _LYING:
        return hand.yaw
    return motion.equivalent_yaws(np.arctan2(axis[1], axis[0]) + np.pi / 2, hand.yaw, np.pi)[0]


def _place(scene: Scene, hand: Hand, quarter: FloatArray) -> Iterator[FloatArray]:
    """Carry the can over its quarter, lower it, let go and retreat; stop where it is lost on the way."""
    operator = hand.operator

    def lost() -> bool:
        return bool(np.linalg.norm(hand.pos - scene.body_pos(_CAN)) > _DROPPED_M)

    midway = 0.5 * (hand.pos[:2] + quarter) + np.array([operator.side_m, 0.0])
    release_z = 0.9 + abs(operator.jitter(0.05, 1)[0])
    goals = [motion.at_height(midway, _CARRY_Z_M + operator.hover_m), motion.at_height(quarter, release_z)]
    for goal in goals:
        if not (yield from hand.reach(Pose(goal, hand.rot), tol_m=0.055, lost=lost)):
            break
    yield from hand.open()
    yield from hand.reach(Pose(motion.above(hand.pos, 0.15), hand.rot), tol_m=0.03)


def _is_placed(scene: Scene) -> bool:
    """Tell whether the can is in its quarter, with a centimetre to spare."""
    offset = scene.body_pos(_CAN) - scene.body_pos(_BIN)
    return bool((np.abs(offset[:2] - _QUARTER_M) < _QUARTER_M - 0.01).all() and offset[2] < 0.1)
