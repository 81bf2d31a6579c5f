"""Expert for Square: grasp the nut by its handle and thread it onto the square peg."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.operator import Operator
from inril.data.scripted.robomimic.hand import Hand, Motion, Pose
from inril.data.scripted.robomimic.scene import Scene
from inril.types import FloatArray

_NUT = "SquareNut_main"
_HANDLE = "SquareNut_handle_site"
_PEG = "peg1"
_QUARTER_TURN = np.pi / 2  # the nut and the peg look the same after one

_CARRY_Z_M = 1.04  # the nut clears the peg
_ALIGN_Z_M = 0.985  # of the nut, whose lower side then is 2.5 cm above the peg
_LIFTED_Z_M = 0.88
_THREADED_Z_M = 0.94  # of the nut, a centimetre and a half below which the peg's top sticks out
_DROPPED_M = 0.12  # from the gripper to the nut's centre
_DONE_Z_M = 0.87  # of the nut; the task's own limit
_LOST_Z_M = 0.7  # below the table's top

_GRIP_M = 0.008  # from the handle's site outwards: the fingers need the part that sticks out of the nut
_ALIGNED_M = 0.0025
_ASTRAY_M = 0.01  # the hole leaves 7 mm to each side of the peg
_ALIGNED_RAD = 0.03
_STEADY_STEPS = 3
_LOWER_M = 0.004  # per step
_THREAD_STEPS = 150
_MAX_YAW = 2.2  # of the gripper, before its last joint comes near its limit


def demonstrate(scene: Scene, operator: Operator) -> Iterator[FloatArray]:
    """Thread the nut onto the peg; what fails is tried again.

    Args:
        scene: Square, just reset.
        operator: who does it.

    Yields:
        The next action (7,). Ends only when the nut has left the table.
    """
    hand = Hand(scene, 0, operator)
    for n_failed in count():
        yield from _grasp(scene, hand, n_failed)
        yield from hand.reach(
            Pose(motion.at_height(hand.pos, _CARRY_Z_M + 0.5 * operator.hover_m), hand.rot), tol_m=0.03
        )
        if scene.site_pos(_HANDLE)[2] > _LIFTED_Z_M:
            yield from _carry(scene, hand)
            yield from _thread(scene, hand)
            yield from hand.open()
            yield from hand.reach(Pose(motion.above(hand.pos, 0.12), hand.rot), tol_m=0.03)
            if _is_threaded(scene):
                yield from hand.stay()
        else:
            yield from hand.open()
        if scene.body_pos(_NUT)[2] < _LOST_Z_M:
            return


def _grasp(scene: Scene, hand: Hand, n_failed: int) -> Motion:
    """Grasp the handle across, somewhere along its length."""
    operator = hand.operator
    aim = operator.aim(n_failed)
    outwards = scene.site_pos(_HANDLE) - scene.body_pos(_NUT)
    direction = np.arctan2(outwards[1], outwards[0])
    along = (_GRIP_M + operator.jitter(0.004, 1)[0]) * np.array([np.cos(direction), np.sin(direction), 0.0])
    yaws = motion.equivalent_yaws(direction + np.pi / 2, hand.yaw, np.pi)
    rot = motion.pointing_down(yaws[0] + aim.yaw_rad)

    def handle(height_m: float) -> FloatArray:
        return motion.above(scene.site_pos(_HANDLE) + aim.offset_m + along, height_m)

    return hand.grasp(handle, rot, operator.hover_m)


def _carry(scene: Scene, hand: Hand) -> Motion:
    """Bring the nut over the peg, turned to one of the four ways in which it fits."""
    operator = hand.operator
    fits = motion.equivalent_yaws(0.0, motion.yaw(scene.body_rot(_NUT)), _QUARTER_TURN)
    turns = [fit - motion.yaw(scene.body_rot(_NUT)) for fit in fits]
    near, far = (hand.yaw + turn for turn in turns)
    rot = motion.pointing_down(operator.choose(near, far) if abs(far) < _MAX_YAW else near)
    detour = np.array([0.0, 0.5 * operator.side_m, 0.0])

    def target() -> Pose:
        pos = scene.body_pos(_PEG) + hand.pos - scene.body_pos(_NUT) + detour
        return Pose(motion.at_height(pos, _CARRY_Z_M + 0.5 * operator.hover_m), rot)

    def lost() -> bool:
        return bool(np.linalg.norm(hand.pos - scene.body_pos(_NUT)) > _DROPPED_M)

    return hand.reach(target, tol_m=0.03, tol_rad=0.15, max_steps=100, lost=lost)


def _thread(scene: Scene, hand: Hand) -> Motion:
    """Align the nut above the peg and lower it until it has caught.

    The nut and not the gripper is led, by proportional and integral feedback: the grasp is never exact, and the
    stretched arm stops centimetres short of where an action sends it.
    """
    peg = scene.body_pos(_PEG)[:2] + hand.operator.jitter(0.0015, 2)
    integral = np.zeros(3)
    n_aligned = 0
    z = _ALIGN_Z_M
    for _ in range(_THREAD_STEPS):
        error = motion.at_height(peg, z) - scene.body_pos(_NUT)
        turn = -motion.wrap(motion.yaw(scene.body_rot(_NUT)), _QUARTER_TURN)
        distance = np.linalg.norm(error[:2])
        lowering = n_aligned >= _STEADY_STEPS and distance < _ASTRAY_M
        if lowering:
            z -= _LOWER_M
        else:
            z = _ALIGN_Z_M
            n_aligned = n_aligned + 1 if distance < _ALIGNED_M and abs(turn) < _ALIGNED_RAD else 0
        integral = np.clip(integral + (0.02 if lowering else 0.06) * error, -0.05, 0.05)
        rot = motion.pointing_down(hand.yaw + 1.5 * turn)
        yield hand.towards(Pose(hand.pos + 0.7 * error + integral, rot), 1.0)
        if lowering and scene.body_pos(_NUT)[2] < _THREADED_Z_M:
            return True
        if np.linalg.norm(hand.pos - scene.body_pos(_NUT)) > _DROPPED_M:
            return False
    return False


def _is_threaded(scene: Scene) -> bool:
    offset = scene.body_pos(_NUT) - scene.body_pos(_PEG)
    return bool((np.abs(offset[:2]) < 0.03).all() and scene.body_pos(_NUT)[2] < _DONE_Z_M)
