"""Phases that several experts share: picking up a lying part and standing it up."""

from __future__ import annotations

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.furniture.arm import Motion, Robot
from inril.envs.furniture.rotations import about
from inril.types import FloatArray

_DOWN = np.diag([1.0, -1.0, -1.0])
_TRIES = 3


def pitched(yaw_rad: float, pitch_rad: float) -> FloatArray:
    """Return the rotation (3, 3) of a hand that points down and, by its pitch, forward."""
    rot: FloatArray = about("z", yaw_rad) @ about("y", pitch_rad) @ _DOWN
    return rot


def grasp_lying(
    arm: Robot,
    part: str,
    *,
    grip_m: float,
    pitch_rad: float,
    lift_z: float,
    z_offset: float = 0.0,
    hover_z: float = 0.12,
) -> Motion:
    """Pick up a lying part whose y axis points away from the robot, with a pitched hand, so that it can be stood up.

    Args:
        arm: free.
        part: what to pick up.
        grip_m: where, along its y axis from its origin.
        pitch_rad: of the hand.
        lift_z: height to lift the hand to.
        z_offset: of the fingers above the part's axis.
        hover_z: height to come from.

    Returns:
        Whether it is held.
    """
    scene = arm.scene

    def point() -> FloatArray:
        grip = scene.part_pos(part) + grip_m * scene.part_rot(part)[:, 1]
        return motion.above(grip, z_offset)

    for tries in range(_TRIES):
        aim = arm.operator.aim(tries)
        axis = scene.part_rot(part)[:, 1]
        rot = pitched(float(np.arctan2(axis[1], axis[0])) + aim.yaw_rad, pitch_rad)
        along = aim.offset_m[0] * axis
        yield from arm.reach(motion.at_height(point() + along, hover_z), rot, tol_m=0.008)
        yield from arm.reach(point() + along, rot, max_steps=30)
        yield from arm.close(8)
        yield from arm.reach(motion.at_height(arm.pos, lift_z), rot, tol_m=0.01)
        if scene.part_pos(part)[2] > lift_z / 2:
            return True
        yield from arm.open()
        yield from arm.rise(0.05)
    return False


def turn_upright(arm: Robot, pos: FloatArray, pitch_rad: float) -> Motion:
    """Turn the pitched hand by a quarter turn at a place where the wrist has room."""
    yield from arm.reach(pos, pitched(0.0, pitch_rad), tol_m=0.03, tol_rad=0.2, max_steps=40)
    goal = pitched(0.0, pitch_rad - np.pi / 2)
    return (yield from arm.reach(pos, goal, tol_m=0.02, tol_rad=0.1, max_steps=60, max_rad=0.25))


def grip_from_above(
    arm: Robot, part: str, *, grip_m: float, period_rad: float, hover_m: float, lift_m: float
) -> Motion:
    """Grip a standing part from above and lift it.

    Args:
        arm: free.
        part: what to grip.
        grip_m: height of the fingers above its origin.
        period_rad: yaws of the hand that differ by it are the same grasp.
        hover_m: height above its origin to come from.
        lift_m: how far to lift the hand.

    Returns:
        Whether it is held.
    """
    scene = arm.scene
    for tries in range(_TRIES):
        aim = arm.operator.aim(tries)
        pos = scene.part_pos(part)
        yaw, _ = motion.equivalent_yaws(motion.yaw(scene.part_rot(part)), 0.0, period_rad)
        rot = motion.pointing_down(yaw + aim.yaw_rad)
        yield from arm.reach(motion.above(pos, hover_m), rot, tol_m=0.006)
        yield from arm.reach(motion.above(pos, grip_m + aim.offset_m[2]), rot, max_steps=30)
        yield from arm.close(6)
        yield from arm.reach(motion.above(arm.pos, lift_m), rot, tol_m=0.01, max_steps=20)
        if scene.part_pos(part)[2] - pos[2] > lift_m / 2:
            return True
        yield from arm.open()
        yield from arm.rise(0.05)
    return False
