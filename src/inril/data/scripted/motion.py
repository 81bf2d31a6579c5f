"""Geometry of the scripted experts: what a 20 Hz action has to be for an arm to move towards a pose.

Positions are in metres and rotations matrices, both in the world frame. A gripper that points down has its z axis
down; its fingers close along its x axis.
"""

from __future__ import annotations

import numpy as np

from inril.types import FloatArray

OPEN, CLOSED = -1.0, 1.0

_MOVE_M = 0.05  # that an action of 1 asks for in one control step
_TURN_RAD = 0.5


def arm_action(
    pos: FloatArray, rot: FloatArray, target_pos: FloatArray, target_rot: FloatArray, grip: float, speed: float
) -> FloatArray:
    """Return the action that moves an arm straight towards a pose.

    Args:
        pos: (3,) where the gripper is.
        rot: (3, 3) how it is turned.
        target_pos: (3,) where it should be.
        target_rot: (3, 3) how it should be turned.
        grip: OPEN or CLOSED.
        speed: largest entry of the move and of the turn, in (0, 1].

    Returns:
        action: (7,) move, turn and gripper, within [-1, 1].
    """
    move = limit((target_pos - pos) / _MOVE_M, speed)
    turn = limit(rotation_vector(target_rot @ rot.T) / _TURN_RAD, speed)
    return np.concatenate([move, turn, [grip]])


def limit(vector: FloatArray, bound: float) -> FloatArray:
    """Shorten a vector, direction kept, until no entry exceeds `bound` in size."""
    scale = bound / max(float(np.abs(vector).max()), bound)
    return vector * scale


def rotation_vector(rot: FloatArray) -> FloatArray:
    """Return axis times angle of a rotation matrix.

    Args:
        rot: (3, 3) rotation by an angle theta about a unit axis u.

    Returns:
        (3,) theta u with theta in [0, pi] rad; at pi either sign of u is right.

    Source: with c = cos theta, rot = c I + sin theta [u]x + (1 - c) u u^T.
    """
    sine = 0.5 * np.array([rot[2, 1] - rot[1, 2], rot[0, 2] - rot[2, 0], rot[1, 0] - rot[0, 1]])  # u sin theta
    cosine = 0.5 * (np.trace(rot) - 1)
    sine_size = float(np.linalg.norm(sine))
    angle = np.arctan2(sine_size, cosine)
    if cosine > -0.9:
        return sine * (angle / sine_size) if sine_size > 1e-12 else sine
    # Near half a turn the sine fades, and u u^T gives the axis up to its sign.
    outer = 0.5 * (rot + rot.T) - cosine * np.eye(3)
    axis = outer[:, np.argmax(np.diag(outer))]
    sign = -1.0 if axis @ sine < 0 else 1.0
    vector: FloatArray = axis * (sign * angle / np.linalg.norm(axis))
    return vector


def angle_between(first: FloatArray, second: FloatArray) -> float:
    """Return the angle between two rotations (3, 3), in [0, pi] rad."""
    return float(np.linalg.norm(rotation_vector(first @ second.T)))


def pointing_down(yaw_rad: float) -> FloatArray:
    """Return the rotation (3, 3) of a gripper that points down with its x axis at `yaw_rad` from the world's."""
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])


def yaw(rot: FloatArray) -> float:
    """Return the angle of a frame's x axis about the vertical, in (-pi, pi] rad."""
    return float(np.arctan2(rot[1, 0], rot[0, 0]))


def equivalent_yaws(yaw_rad: float, reference_rad: float, period_rad: float) -> tuple[float, float]:
    """Return the two angles nearest to a reference that differ from `yaw_rad` by whole periods, the nearest first."""
    nearest = yaw_rad + period_rad * np.round((reference_rad - yaw_rad) / period_rad)
    other = nearest + (period_rad if nearest < reference_rad else -period_rad)
    return float(nearest), float(other)


def wrap(angle_rad: float, period_rad: float = 2 * np.pi) -> float:
    """Return the angle modulo a period, in [-period/2, period/2)."""
    return float((angle_rad + period_rad / 2) % period_rad - period_rad / 2)


def above(pos: FloatArray, height_m: float) -> FloatArray:
    """Return the point (3,) `height_m` above a point."""
    return np.array([pos[0], pos[1], pos[2] + height_m])


def at_height(pos: FloatArray, z_m: float) -> FloatArray:
    """Return the point (3,) over or under a point (3,) or (2,) at height `z_m` of the world."""
    return np.array([pos[0], pos[1], z_m])
