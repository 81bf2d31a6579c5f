"""Round-Table: slide the top into the fence's corner, screw the leg into it, and the base onto the leg."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.furniture.arm import Motion, Robot
from inril.data.scripted.furniture.furniture_scene import FurnitureScene
from inril.data.scripted.furniture.grasps import grasp_lying, turn_upright
from inril.data.scripted.furniture.screwing import insert, turn_in
from inril.data.scripted.operator import Operator
from inril.envs.furniture.model import FENCE_FRONT_INSIDE, FENCE_SIDE_INSIDE
from inril.envs.furniture.rotations import about, aligning
from inril.types import FloatArray

_TOP_RADIUS_M = 0.1
_HUB_Z = 0.031
_LEG_GRIP_M, _LEG_TOP_M = 0.036, 0.044  # along its axis: of the pitched hand, and from above
_BASE_HAND_YAW_RAD = np.deg2rad(50)
_PITCH_RAD = np.deg2rad(50)
_UP = np.array([0.0, 0.0, 1.0])
_LEG, _BASE = 0, 1  # pairs


def demonstrate(scene: FurnitureScene, operator: Operator) -> Iterator[FloatArray]:
    """Yield the actions of one attempt."""
    arm = Robot(scene, operator)
    yield from _slide_top(arm)
    if (yield from _screw_leg(arm)):
        yield from _screw_base(arm)


def _slide_top(arm: Robot) -> Motion:
    """Grip the hub and slide the disc into the corner."""
    scene = arm.scene
    top = scene.part_pos("top")
    yaw, _ = motion.equivalent_yaws(motion.yaw(scene.part_rot("top")), 0.0, np.pi / 4)
    rot = motion.pointing_down(yaw)
    yield from arm.reach(motion.at_height(top, 0.10), rot, tol_m=0.01)
    yield from arm.reach(motion.at_height(top, _HUB_Z), rot, max_steps=30)
    yield from arm.close(6)
    z = arm.pos[2]
    x = FENCE_FRONT_INSIDE + scene.fence[0] - _TOP_RADIUS_M + 0.004
    y = FENCE_SIDE_INSIDE + scene.fence[1] - _TOP_RADIUS_M + 0.004
    yield from arm.reach(np.array([x, top[1], z]), rot, max_steps=25, max_m=0.03)
    yield from arm.reach(np.array([x, y, z]), rot, max_steps=25, max_m=0.03)
    yield from arm.open()
    return (yield from arm.rise(0.1))


def _screw_leg(arm: Robot) -> Motion:
    scene = arm.scene
    grasped = yield from grasp_lying(arm, "leg", grip_m=_LEG_GRIP_M, pitch_rad=_PITCH_RAD, lift_z=0.19, z_offset=0.001)
    if not grasped:
        return False
    yield from turn_upright(arm, np.array([0.57, 0.07, 0.2]), _PITCH_RAD)

    def upright(rot: FloatArray) -> FloatArray:
        return aligning(rot[:, 1], _UP) @ rot

    def socket() -> FloatArray:
        return scene.part_pos("top")[:2]

    yield from arm.carry("leg", np.array([*socket(), 0.15]), upright, tol_m=0.006, max_steps=60)
    if not (yield from insert(arm, _LEG, "leg", socket, upright, hover_m=0.034, stem_m=0.0263)):
        return False
    yield from arm.open(6)
    yield from arm.rise(0.12, back_m=0.1)
    return (yield from turn_in(arm, _LEG, "leg", 1, grip_m=_LEG_TOP_M, period_rad=np.pi / 4))


def _screw_base(arm: Robot) -> Motion:
    """Grip the cross in its notches, put its stem onto the leg, and turn."""
    scene = arm.scene
    base = scene.part_pos("base")
    diagonal = motion.yaw(scene.part_rot("base")) + np.pi / 4
    yaw, _ = motion.equivalent_yaws(diagonal, 0.0, np.pi / 2)
    rot = motion.pointing_down(yaw)
    yield from arm.reach(motion.at_height(arm.pos, 0.2), motion.pointing_down(0.0), tol_m=0.03)
    yield from arm.reach(motion.at_height(base, 0.12), rot, tol_m=0.008)
    yield from arm.reach(motion.at_height(base, 0.037), rot, tol_m=0.003, tol_rad=0.03, max_steps=30)
    yield from arm.close()
    yield from arm.reach(motion.at_height(arm.pos, 0.22), rot, tol_m=0.01)
    if scene.part_pos("base")[2] < 0.15:
        return False

    def level(rot: FloatArray) -> FloatArray:
        """Level the base, and turn it with the hand to where most of a turn lies ahead."""
        return about("z", _BASE_HAND_YAW_RAD - motion.yaw(arm.rot)) @ aligning(rot[:, 2], _UP) @ rot

    def socket() -> FloatArray:
        return (scene.part_pos("leg") + 0.05 * scene.part_rot("leg")[:, 1])[:2]

    yield from arm.carry("base", motion.at_height(scene.part_pos("leg"), 0.22), level, tol_m=0.006, max_steps=60)
    if not (yield from insert(arm, _BASE, "base", socket, level, hover_m=0.035, stem_m=0.0276)):
        return False
    return (
        yield from turn_in(arm, _BASE, "base", 2, grip_m=0.008, period_rad=np.pi / 2, phase_rad=np.pi / 4, held=True)
    )
