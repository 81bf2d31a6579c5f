"""Expert for Transport: two arms clear the way for a hammer and hand it over.

The giver (robot 0) takes the lid off its bin while the taker (robot 1) throws the cube from its bin into the trash bin;
then the giver takes the hammer out and hands it to the taker, who puts it where the cube was. Whatever is missed or
dropped within reach is tried again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import count

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.operator import Operator
from inril.data.scripted.robomimic.hand import Hand, Motion, Pose, together
from inril.data.scripted.robomimic.scene import Scene
from inril.types import FloatArray

_HAMMER = "payload_root"
_TRASH = "trash_main"
_LID = "transport_start_bin_lid_root"
_START_BIN = "transport_start_bin_root"
_TARGET_BIN = "transport_target_bin_root"
_TRASH_BIN = "transport_trash_bin_root"

_HANDLE_M = 0.005  # of the lid, above its centre
_LID_PLACE = np.array([-0.2, -0.45])  # free table beside the start bin
_CARRY_Z_M = 1.1  # things carried at this height clear the bins
_RIM_Z_M = 0.96
_IN_BIN_M = 0.13  # half of a bin's inside
_LOST_Z_M = 0.75  # below the tables' tops

_GIVER_GRASP_M = -0.045  # along the hammer from its centre, towards the taker
_TAKER_GRASP_M = 0.07
_DROPPED_M = 0.15  # from the giver's fingers to the hammer's centre
_HANDOVER = np.array([0.0, 0.03, 1.06])  # of the hammer; farther or higher straightens the taker's elbow for good
_TAKER_WAITS = np.array([0.0, 0.30, 1.12])
_TAKER_BACK = np.array([-0.03, 0.33, 1.15])
_GIVER_WAITS = np.array([0.0, -0.35, 1.1])


def demonstrate(scene: Scene, operator: Operator) -> Iterator[FloatArray]:
    """Carry the hammer over and the trash away.

    Args:
        scene: Transport, just reset.
        operator: who does it, with two arms.

    Yields:
        The next action (14,), robot 0 first. Ends only when something has been dropped out of reach.
    """
    giver, taker = Hand(scene, 0, operator), Hand(scene, 1, operator)
    cleared = yield from together((giver, _take_lid_off(scene, giver)), (taker, _throw_trash(scene, taker)))
    if not all(cleared):
        return
    for n_failed in count():
        if scene.body_pos(_HAMMER)[2] < _LOST_Z_M:
            return
        if (yield from _bring_to_taker(scene, giver, taker, n_failed)):
            yield from together((giver, _retreat(giver, _GIVER_WAITS)), (taker, _deposit(scene, taker)))
        if _is_in(scene, _HAMMER, _TARGET_BIN):
            yield from together((giver, giver.hold(10_000)), (taker, taker.hold(10_000)))


def _take_lid_off(scene: Scene, giver: Hand) -> Motion:
    """Grasp the lid by its handle and put it beside the bin."""
    operator = giver.operator
    place = _LID_PLACE + operator.jitter(0.01, 2)
    for n_failed in count():
        aim = operator.aim(n_failed)
        across = motion.equivalent_yaws(motion.yaw(scene.body_rot(_LID)), giver.yaw, np.pi)[0]
        rot = motion.pointing_down(across + aim.yaw_rad)

        def handle(height_m: float, offset: FloatArray = aim.offset_m) -> FloatArray:
            return motion.above(scene.body_pos(_LID) + offset, _HANDLE_M + height_m)

        yield from giver.grasp(handle, rot, 0.01 + operator.hover_m)
        yield from giver.reach(Pose(motion.above(giver.pos, 0.14), rot), tol_m=0.03)
        if scene.body_pos(_LID)[2] > _RIM_Z_M + 0.04:
            yield from giver.reach(Pose(motion.at_height(place, _CARRY_Z_M), rot), tol_m=0.03, tol_rad=0.3)
            yield from giver.reach(Pose(motion.at_height(place, 0.85), rot), tol_m=0.03, max_steps=40)
        yield from giver.open()
        yield from giver.reach(Pose(motion.at_height(giver.pos, 1.08), rot), tol_m=0.03)
        if np.abs(scene.body_pos(_LID) - scene.body_pos(_START_BIN))[:2].max() > 0.25:
            return True
        if scene.body_pos(_LID)[2] < _LOST_Z_M:
            return False
    raise AssertionError


def _throw_trash(scene: Scene, taker: Hand) -> Motion:
    """Grasp the cube and drop it into the trash bin, then wait where the hammer will come."""
    operator = taker.operator
    for n_failed in count():
        aim = operator.aim(n_failed)
        yaws = motion.equivalent_yaws(motion.yaw(scene.body_rot(_TRASH)), taker.yaw, np.pi / 2)
        rot = motion.pointing_down(operator.choose(*yaws) + aim.yaw_rad)

        def cube(height_m: float, offset: FloatArray = aim.offset_m) -> FloatArray:
            return motion.above(scene.body_pos(_TRASH) + offset, height_m)

        yield from taker.grasp(cube, rot, 0.12 + operator.hover_m)
        yield from taker.reach(Pose(motion.at_height(taker.pos, 1.08), rot), tol_m=0.03)
        if scene.body_pos(_TRASH)[2] > _RIM_Z_M:
            over = scene.body_pos(_TRASH_BIN) + np.append(operator.jitter(0.02, 2), 0)
            yield from taker.reach(Pose(motion.at_height(over, 1.08), rot), tol_m=0.03)
            yield from taker.reach(Pose(motion.at_height(over, 0.95), rot), tol_m=0.04, max_steps=40)
        yield from taker.open()
        yield from taker.reach(Pose(motion.at_height(taker.pos, 1.12), rot), tol_m=0.05)
        if _is_in(scene, _TRASH, _TRASH_BIN):
            return (yield from _retreat(taker, _TAKER_WAITS))
        if scene.body_pos(_TRASH)[2] < _LOST_Z_M:
            return False
    raise AssertionError


def _bring_to_taker(scene: Scene, giver: Hand, taker: Hand, n_failed: int) -> Generator[FloatArray, None, bool]:
    """Get the hammer into the taker's fingers, from wherever it lies."""
    if scene.body_pos(_HAMMER)[1] > 0:  # dropped on the taker's side
        results = yield from together((giver, _retreat(giver, _GIVER_WAITS)), (taker, _pick(scene, taker, 0, n_failed)))
        return results[1]
    phases = (giver, _pick(scene, giver, _GIVER_GRASP_M, n_failed)), (taker, _retreat(taker, _TAKER_WAITS))
    if not all((yield from together(*phases))):
        return False
    yield from together((giver, _present(giver)), (taker, taker.hold(0)))
    return (yield from _hand_over(scene, giver, taker, n_failed))


def _pick(scene: Scene, hand: Hand, along_m: float, n_failed: int) -> Motion:
    """Grasp the hammer across its handle, `along_m` from its centre, and raise it."""
    aim = hand.operator.aim(n_failed)

    def point(height_m: float) -> FloatArray:
        return motion.above(scene.body_pos(_HAMMER) + along_m * _hammer_axis(scene) + aim.offset_m, height_m)

    rot = motion.pointing_down(_across_hammer(scene, hand) + aim.yaw_rad)
    yield from hand.grasp(point, rot, 0.12 + hand.operator.hover_m)
    # Faster, and the head's weight turns the hammer in the fingers.
    yield from hand.reach(Pose(motion.at_height(hand.pos, 1.12), rot), tol_m=0.03, speed=0.4)
    if scene.body_pos(_HAMMER)[2] > _RIM_Z_M:
        return True
    yield from hand.open()
    return (yield from _rise(hand)) and False


def _present(giver: Hand) -> Motion:
    """Carry the hammer between the arms, turned along the line from one to the other."""
    rot = motion.pointing_down(motion.equivalent_yaws(0.0, giver.yaw, np.pi)[0])
    place = _HANDOVER + np.array([0.0, _GIVER_GRASP_M, 0.0])
    return giver.reach(Pose(place, rot), tol_m=0.03, tol_rad=0.2, max_steps=60, settle_m=0.003)


def _hand_over(scene: Scene, giver: Hand, taker: Hand, n_failed: int) -> Generator[FloatArray, None, bool]:
    """Let the taker grasp the hammer, then the giver let go of it."""
    while not (yield from together((giver, giver.hold(0)), (taker, _take(scene, taker, n_failed))))[1]:
        n_failed += 1
        if np.linalg.norm(scene.body_pos(_HAMMER) - giver.pos) > _DROPPED_M:
            return False
    yield from together((giver, giver.open()), (taker, taker.hold(0)))
    rise = giver.reach(Pose(motion.above(giver.pos, 0.12), giver.rot), tol_m=0.03, max_steps=30)
    yield from together((giver, rise), (taker, taker.hold(0)))
    if scene.body_pos(_HAMMER)[2] > _RIM_Z_M:
        return True
    yield from together((giver, giver.hold(0)), (taker, taker.open()))
    return False


def _take(scene: Scene, taker: Hand, n_failed: int) -> Motion:
    """Grasp the hammer that the giver holds; where the arm does not get there, back off for another attempt."""
    aim = taker.operator.aim(n_failed)

    def point(height_m: float) -> FloatArray:
        return motion.above(scene.body_pos(_HAMMER) + _TAKER_GRASP_M * _hammer_axis(scene) + aim.offset_m, height_m)

    rot = motion.pointing_down(_across_hammer(scene, taker) + aim.yaw_rad)
    if (yield from taker.grasp(point, rot, 0.1)):
        return True
    yield from taker.open()
    yield from _retreat(taker, _TAKER_WAITS)
    return False


def _deposit(scene: Scene, taker: Hand) -> Motion:
    """Carry the hammer over the target bin, lower it and let go."""
    rot = motion.pointing_down(motion.equivalent_yaws(0.0, taker.yaw, np.pi)[0])
    over = scene.body_pos(_TARGET_BIN) + np.array([0.0, 0.03, 0.0])
    yield from taker.reach(Pose(_TAKER_BACK, rot), tol_m=0.04, tol_rad=0.3, max_steps=60)
    yield from taker.reach(Pose(motion.at_height(over, 1.13), rot), tol_m=0.03, tol_rad=0.3)
    yield from taker.reach(Pose(motion.at_height(over, 0.88), rot), tol_m=0.03, max_steps=50)
    yield from taker.open()
    return (yield from _rise(taker))


def _rise(hand: Hand) -> Motion:
    return hand.reach(Pose(motion.at_height(hand.pos, 1.12), hand.rot), tol_m=0.05, max_steps=40)


def _retreat(hand: Hand, place: FloatArray) -> Motion:
    """Go, by way of above the bins, where the other arm is not in the way."""
    rot = motion.pointing_down(motion.equivalent_yaws(0.0, hand.yaw, np.pi)[0])
    if hand.pos[2] < _CARRY_Z_M - 0.05:
        yield from _rise(hand)
    return (yield from hand.reach(Pose(place, rot), tol_m=0.05, tol_rad=0.4))


def _hammer_axis(scene: Scene) -> FloatArray:
    """Direction (3,) along the hammer's handle, towards the taker's side."""
    axis = scene.body_rot(_HAMMER)[:, 2]
    return axis if axis[1] > 0 else -axis


def _across_hammer(scene: Scene, hand: Hand) -> float:
    axis = _hammer_axis(scene)
    return motion.equivalent_yaws(np.arctan2(axis[1], axis[0]) + np.pi / 2, hand.yaw, np.pi)[0]


def _is_in(scene: Scene, thing: str, container: str) -> bool:
    offset = scene.body_pos(thing) - scene.body_pos(container)
    return bool(np.abs(offset[:2]).max() < _IN_BIN_M and scene.body_pos(thing)[2] < _RIM_Z_M)
