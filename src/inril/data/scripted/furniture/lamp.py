"""Lamp: carry the base into the fence's corner, screw the bulb in, and put the hood over it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.furniture.arm import Motion, Robot
from inril.data.scripted.furniture.furniture_scene import FurnitureScene
from inril.data.scripted.furniture.grasps import grasp_lying, grip_from_above, turn_upright
from inril.data.scripted.furniture.screwing import insert, turn_in
from inril.data.scripted.operator import Operator
from inril.envs.furniture.model import FENCE_FRONT_INSIDE, FENCE_SIDE_INSIDE
from inril.envs.furniture.rotations import aligning
from inril.types import FloatArray

_BASE_HALF_M = 0.04235
_FLANGE_M = 0.043  # above the base's origin
_PITCH_RAD = np.deg2rad(50)
_BULB_SEAT_M, _HOOD_SEAT_M = 0.0678, 0.088324
_GLOBE_M = 0.036  # where the bulb is held, along its axis
_HOOD_GRIP_Z = 0.088
_UP = np.array([0.0, 0.0, 1.0])
_BULB, _HOOD = 0, 1  # pairs


def demonstrate(scene: FurnitureScene, operator: Operator) -> Iterator[FloatArray]:
    """Yield the actions of one attempt."""
    arm = Robot(scene, operator)
    # The corner away from the bulb: there the pitched hand does not come near it.
    side = -1 if scene.part_pos("bulb")[1] > scene.fence[1] else 1
    yield from _place_base(arm, side)
    if (yield from _screw_bulb(arm, side)):
        yield from _put_hood(arm)


def _place_base(arm: Robot, side: int) -> Motion:
    """Grip the square flange, carry the base over the other parts, set it down and push it into the corner."""
    scene = arm.scene
    held = yield from grip_from_above(arm, "base", grip_m=_FLANGE_M, period_rad=np.pi / 2, hover_m=0.13, lift_m=0.11)
    if not held:
        return False
    z = 0.0172 + _FLANGE_M
    x = FENCE_FRONT_INSIDE + scene.fence[0] - _BASE_HALF_M
    y = side * (FENCE_SIDE_INSIDE - _BASE_HALF_M) + scene.fence[1]
    rot, aside = motion.pointing_down(0.0), y - side * 0.015
    yield from arm.reach(np.array([x - 0.015, aside, z + 0.1]), rot, tol_m=0.008, max_steps=40)
    yield from arm.reach(np.array([x - 0.015, aside, z]), rot, max_steps=25, max_m=0.03)
    yield from arm.reach(np.array([x + 0.005, aside, z - 0.001]), rot, max_steps=12, max_m=0.03)
    yield from arm.reach(np.array([x + 0.005, y + side * 0.005, z - 0.001]), rot, max_steps=12, max_m=0.03)
    yield from arm.open()
    return (yield from arm.rise(0.12))


def _screw_bulb(arm: Robot, side: int) -> Motion:
    scene = arm.scene
    grasped = yield from grasp_lying(
        arm, "bulb", grip_m=_GLOBE_M, pitch_rad=_PITCH_RAD, lift_z=0.22, z_offset=-0.002, hover_z=0.15
    )
    if not grasped:
        return False
    yield from turn_upright(arm, np.array([0.58, side * 0.07, 0.25]), _PITCH_RAD)

    def upright(rot: FloatArray) -> FloatArray:
        return aligning(rot[:, 1], _UP) @ rot

    def socket() -> FloatArray:
        return scene.part_pos("base")[:2]

    above = motion.above(scene.part_pos("base"), _BULB_SEAT_M + 0.07)
    yield from arm.carry("bulb", above, upright, tol_m=0.006, max_steps=60)
    if not (yield from insert(arm, _BULB, "bulb", socket, upright, hover_m=0.037, stem_m=0.031)):
        return False
    yield from arm.open(6)
    yield from arm.rise(0.12, back_m=0.1)
    return (yield from turn_in(arm, _BULB, "bulb", 1, grip_m=_GLOBE_M, period_rad=np.deg2rad(10)))


def _put_hood(arm: Robot) -> Motion:
    """Grip the hood's narrow end from above, lift it over the bulb and lower it."""
    scene = arm.scene
    yield from arm.reach(motion.at_height(arm.pos, 0.3), motion.pointing_down(0.0), tol_m=0.03)
    hood = scene.part_pos("hood")
    yaw, _ = motion.equivalent_yaws(motion.yaw(scene.part_rot("hood")), 0.0, np.pi / 8)
    rot = motion.pointing_down(yaw)
    yield from arm.reach(motion.at_height(hood, 0.18), rot, tol_m=0.008)
    yield from arm.reach(motion.at_height(hood, _HOOD_GRIP_Z), rot, tol_m=0.003, tol_rad=0.03, max_steps=30)
    yield from arm.close()
    yield from arm.reach(motion.at_height(arm.pos, 0.31), rot, tol_m=0.01)
    if scene.part_pos("hood")[2] < 0.2:
        return False

    def level(rot: FloatArray) -> FloatArray:
        return aligning(-rot[:, 1], _UP) @ rot

    seat = motion.above(scene.part_pos("base"), _HOOD_SEAT_M)
    yield from arm.carry("hood", motion.above(seat, 0.12), level, tol_m=0.006, max_steps=60)
    yield from arm.carry("hood", motion.above(seat, 0.10), level, max_steps=30)
    yield from arm.carry("hood", seat, level, tol_m=0.0015)
    return (yield from arm.open(8))
