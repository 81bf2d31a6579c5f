"""Mug-Rack: pinch the mug's rim, slide its handle over a peg, and let go."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.furniture.arm import Robot
from inril.data.scripted.furniture.furniture_scene import FurnitureScene
from inril.data.scripted.operator import Operator
from inril.envs.furniture.mug_rack import HANDLE_HOLE, MUG_HEIGHT, MUG_RADIUS, PEG_REACH, PEGS, on_peg
from inril.envs.furniture.rotations import about
from inril.types import FloatArray

_PEG = 1  # low, pointing away from the rack towards the mug
_RIM_M = 0.007
_HANGING_M = 0.056  # of the handle's middle from the rack's axis
_SINK_M = 0.006


def demonstrate(scene: FurnitureScene, operator: Operator) -> Iterator[FloatArray]:
    """Yield the actions of one attempt."""
    arm = Robot(scene, operator)
    aim = operator.aim()
    mug, rot = scene.part_pos("mug"), scene.part_rot("mug")
    grasp = motion.pointing_down(motion.yaw(rot) + aim.yaw_rad)
    rim = mug + rot @ np.array([aim.offset_m[0], MUG_RADIUS, 0.0])
    yield from arm.reach(motion.at_height(rim, 0.17), grasp, tol_m=0.006)
    yield from arm.reach(motion.at_height(rim, MUG_HEIGHT - _RIM_M), grasp, tol_m=0.003, tol_rad=0.03, max_steps=30)
    yield from arm.close()
    yield from arm.reach(motion.at_height(arm.pos, 0.30), grasp, tol_m=0.01)
    if scene.part_pos("mug")[2] < 0.1:
        return
    across = about("z", PEGS[_PEG][0] - np.pi / 2)  # the opening's axis, the mug's y, along the peg

    def at(reach_m: float, lift_m: float = 0.0) -> FloatArray:
        """Return where the mug is when a peg's point is in the middle of its handle's opening."""
        offset = on_peg(_PEG, reach_m) - across @ HANDLE_HOLE + np.array([0.0, 0.0, lift_m])
        return np.add(scene.part_pos("rack"), scene.part_rot("rack") @ offset)

    def along_peg(_: FloatArray) -> FloatArray:
        return scene.part_rot("rack") @ across

    yield from arm.carry("mug", lambda: at(0.16, 0.02), along_peg, tol_m=0.008, max_steps=60, max_m=0.06)
    yield from arm.carry("mug", lambda: at(PEG_REACH + 0.025), along_peg, tol_m=0.003, max_m=0.04)
    yield from arm.carry("mug", lambda: at(_HANGING_M), along_peg, tol_m=0.003, max_m=0.02)
    yield from arm.carry("mug", lambda: at(_HANGING_M, -_SINK_M), along_peg, tol_m=0.003, max_steps=6, max_m=0.02)
    yield from arm.open()
    yield from arm.rise(0.08, tol_m=0.01)
    yield from arm.hold(15)
