"""One-Leg: push the table's top into the fence's corner, turn a leg upright, and screw it into the far hole."""

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
from inril.envs.furniture.one_leg import ONE_LEG
from inril.envs.furniture.rotations import about, aligning
from inril.types import FloatArray

_TOP_HALF_M = 0.0813
_PUSH_Z = 0.02
_FINGER_M = 0.009  # from the hand's middle to the face that pushes
_PITCH_RAD = np.deg2rad(50)
_UP = np.array([0.0, 0.0, 1.0])


def demonstrate(scene: FurnitureScene, operator: Operator) -> Iterator[FloatArray]:
    """Yield the actions of one attempt."""
    arm = Robot(scene, operator)
    yield from _push(arm, axis=0)
    yield from _push(arm, axis=1)
    yield from _push(arm, axis=0)
    if not (yield from grasp_lying(arm, "leg4", grip_m=0.003, pitch_rad=_PITCH_RAD, lift_z=0.18, z_offset=0.002)):
        return
    yield from turn_upright(arm, np.array([0.57, 0.08, 0.18]), _PITCH_RAD)
    seat = _far_hole(scene)

    def socket_xy() -> FloatArray:
        return _hole(scene, seat)[:2]

    def upright(rot: FloatArray) -> FloatArray:
        """Stand the leg up, its sides parallel to those of the top."""
        standing = aligning(rot[:, 1], _UP) @ rot
        yaw = motion.yaw(standing)
        wanted, _ = motion.equivalent_yaws(motion.yaw(scene.part_rot("top")), yaw, np.pi / 2)
        return about("z", wanted - yaw) @ standing

    yield from arm.carry("leg4", np.array([*socket_xy(), 0.16]), upright, tol_m=0.006, max_steps=60)
    if not (yield from insert(arm, 0, "leg4", socket_xy, upright, hover_m=0.034, stem_m=0.025, seat=seat)):
        return
    yield from arm.open(6)
    yield from arm.rise(0.12, back_m=0.10)
    yield from turn_in(arm, 0, "leg4", 1, grip_m=0.024, period_rad=np.pi / 2)


def _push(arm: Robot, axis: int) -> Motion:
    """Push the top towards the fence with both open fingers, which turns it parallel to them."""
    scene = arm.scene
    goal_yaw = axis * np.pi / 2
    yaw, _ = motion.equivalent_yaws(motion.yaw(scene.part_rot("top")), goal_yaw, np.pi / 2)
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    top = scene.part_pos("top")
    behind = top - (_TOP_HALF_M + 0.03) * forward
    rot = motion.pointing_down(yaw)
    yield from arm.reach(motion.at_height(behind, 0.10), rot, tol_m=0.01)
    yield from arm.reach(motion.at_height(behind, _PUSH_Z), rot, tol_m=0.006, max_steps=30)
    wall = (FENCE_FRONT_INSIDE, FENCE_SIDE_INSIDE)[axis] + scene.fence[axis]
    end = np.array([*top[:2], _PUSH_Z])
    end[axis] = wall - 2 * _TOP_HALF_M - _FINGER_M + 0.006
    yield from arm.reach(end, motion.pointing_down(goal_yaw), max_steps=30, max_m=0.03, max_rad=0.15)
    back = arm.pos.copy()
    back[axis] -= 0.02
    yield from arm.reach(back, arm.rot, tol_m=0.01, max_steps=10)
    return (yield from arm.reach(motion.at_height(back, 0.12), arm.rot, tol_m=0.02))


def _hole(scene: FurnitureScene, seat: int) -> FloatArray:
    x, _, z = ONE_LEG.pairs[0].seats[seat].pos
    return np.add(scene.part_pos("top"), scene.part_rot("top") @ np.array([x, 0.0, z]))


def _far_hole(scene: FurnitureScene) -> int:
    """Return the hole in the corner: at the others the wrist comes to its limits."""
    return int(np.argmax([_hole(scene, seat)[:2].sum() for seat in range(4)]))
