"""Peg-in-Hole: grasp the standing peg, carry it over the hole, turn it into line and let it in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.furniture.arm import Robot
from inril.data.scripted.furniture.furniture_scene import FurnitureScene
from inril.data.scripted.operator import Operator
from inril.envs.furniture.rotations import about
from inril.types import FloatArray

_GRIP_M = 0.04  # above the peg's lower end
# Height of the peg's lower end, how near it has to be there, and steps that may take.
_APPROACH = ((0.05, 0.002, 25), (0.02, 0.0004, 25), (0.0105, 0.00012, 30), (0.002, 0.0, 30))


def demonstrate(scene: FurnitureScene, operator: Operator) -> Iterator[FloatArray]:
    """Yield the actions of one attempt."""
    arm = Robot(scene, operator)
    peg, aim = scene.part_pos("peg"), operator.aim()
    rot = motion.pointing_down(motion.yaw(scene.part_rot("peg")) + aim.yaw_rad)
    grip_m = _GRIP_M + aim.offset_m[2]
    yield from arm.reach(motion.above(peg, 0.01 + operator.hover_m), rot, tol_m=0.008)
    yield from arm.reach(motion.above(peg, grip_m), rot, tol_m=0.003, max_steps=30)
    yield from arm.close(6)
    yield from arm.reach(motion.above(arm.pos, 0.05), rot, tol_m=0.01)
    for z, tol_m, max_steps in _APPROACH:
        for _ in range(max_steps):
            peg, hole = scene.part_pos("peg"), scene.part_pos("hole")
            is_rot = scene.part_rot("peg")
            upright = about("z", motion.yaw(scene.part_rot("hole")))
            turn = motion.rotation_vector(upright @ is_rot.T)
            move = np.array([hole[0], hole[1], z]) - peg
            if z < 0.01:
                move[2] = max(move[2], -0.004)
            if np.linalg.norm(move[:2]) < tol_m and np.linalg.norm(turn) < 0.01 and abs(move[2]) < 0.003:
                break
            if np.linalg.norm(move) < 0.01:  # small errors are worked off slowly
                move[:2] *= 1.6
            yield arm.carry_step("peg", move, turn, max_rad=np.pi)
    yield from arm.open()
