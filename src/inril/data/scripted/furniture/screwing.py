"""Phases with screws: putting a stem into a socket, and turning it in."""

from __future__ import annotations

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.furniture.arm import Motion, Pos, Robot, Rot

_STUCK_M, _STUCK_STEPS, _LIFT_STEPS = 0.0004, 3, 4
_LOWER_M = 0.008  # per step
_MAX_OFFSET_M = 0.003
_OFFSET_RATE = 0.2
_FURTHEST_YAW_RAD = np.deg2rad(62)  # of the hand, before and after a turn
_LAST_YAW_RAD = -np.deg2rad(50)
_TURN_STEP_RAD, _TURN_LEAD_RAD = 0.2, 0.12
_MAX_TURNS = 12
_STANDING_COSINE = 0.9


def insert(
    arm: Robot,
    pair: int,
    part: str,
    socket_xy: Pos,
    rot: Rot,
    *,
    hover_m: float,
    stem_m: float,
    seat: int = 0,
    max_steps: int = 150,
) -> Motion:
    """Lower a held part's stem into its socket, until it is in the thread.

    The part waits above the rim until the axes agree, is lowered only while they do, and lifted when it sticks.

    Args:
        arm: that holds the part.
        pair: which is assembled.
        part: what is held.
        socket_xy: tells where the socket's axis is, (2,).
        rot: tells the rotation that the part should have from the one that it has.
        hover_m: height above the assembled place at which it waits.
        stem_m: height at which the stem's end is at the rim.
        seat: of the pair.
        max_steps: after which the phase gives up.

    Returns:
        Whether the stem is in the thread; False also if the part got lost.
    """
    scene = arm.scene
    lifting = stuck = 0
    last_height = np.inf
    offset = np.zeros(2)
    for k in range(max_steps):
        if scene.is_engaged(pair):
            return True
        at = scene.screw(pair, seat)
        if at.cosine < 0.8 or at.height_m < -0.02:
            return False
        sticks = last_height - _STUCK_M < at.height_m < hover_m - 0.003
        stuck = stuck + 1 if sticks else 0
        if stuck > _STUCK_STEPS:
            lifting, stuck = _LIFT_STEPS, 0
        last_height, lifting = at.height_m, max(0, lifting - 1)
        inside = at.height_m < stem_m - 0.002 and at.lateral_m < 0.002
        # Patience wears: the longer it takes, the less exact the axes have to agree.
        in_line = at.lateral_m < min(0.0022, 0.0012 + 2e-5 * k) and at.cosine > max(0.996, 0.9986 - 5e-5 * k)
        lowers = not lifting and (inside or in_line)
        dz = -_LOWER_M if lowers else np.clip(hover_m - at.height_m, -0.03, 0.03)
        away = socket_xy() - scene.part_pos(part)[:2]
        if not inside:  # against the arm's steady offset
            offset = np.clip(offset + _OFFSET_RATE * away, -_MAX_OFFSET_M, _MAX_OFFSET_M)
        is_rot = scene.part_rot(part)
        turn = motion.rotation_vector(rot(is_rot) @ is_rot.T)
        yield arm.carry_step(part, np.array([*(away + offset), dz]), turn)
    return scene.is_engaged(pair)


def turn_in(
    arm: Robot,
    pair: int,
    part: str,
    axis: int,
    *,
    grip_m: float,
    period_rad: float,
    phase_rad: float = 0.0,
    held: bool = False,
) -> Motion:
    """Turn a part clockwise from above until its pair is assembled, grasping it again and again.

    Args:
        arm: free, or holding the part from above.
        pair: which is assembled.
        part: what is turned.
        axis: the part's own axis that points up: 0, 1 or 2.
        grip_m: where it is grasped, along its axis from its origin.
        period_rad: of its grasps.
        phase_rad: of its grasps with respect to its x axis.
        held: whether it is held from above already.

    Returns:
        Whether the pair is assembled; False also if the part has fallen.
    """
    scene = arm.scene
    for turns in range(_MAX_TURNS):
        upwards = scene.part_rot(part)[:, axis]
        if upwards[2] < _STANDING_COSINE:
            return False
        if turns or not held:
            angle = motion.yaw(scene.part_rot(part)) + phase_rad
            yaw, _ = motion.equivalent_yaws(angle, _FURTHEST_YAW_RAD - period_rad / 2, period_rad)
            rot, point = motion.pointing_down(yaw), scene.part_pos(part) + grip_m * upwards
            yield from arm.reach(motion.above(point, 0.06), rot, tol_m=0.012, tol_rad=0.1)
            yield from arm.reach(point, rot, max_steps=25)
            yield from arm.close(6)
        yaw = motion.yaw(arm.rot)
        for turned in np.arange(_TURN_STEP_RAD, yaw - _LAST_YAW_RAD, _TURN_STEP_RAD):
            x, y, _ = scene.part_pos(part)
            rot = motion.pointing_down(yaw - turned - _TURN_LEAD_RAD)
            for _ in range(2):
                yield arm.action(np.array([x, y, arm.pos[2] - 0.004]), rot)
            if scene.is_assembled(pair):
                break
        yield from arm.open(4)
        yield from arm.rise(0.05, tol_m=0.015, max_steps=15)
        if scene.is_assembled(pair):
            return True
    return False
