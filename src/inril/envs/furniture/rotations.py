"""Rotation matrices and MuJoCo's quaternions (w, x, y, z)."""

from __future__ import annotations

from typing import Literal

import mujoco
import numpy as np

from inril.types import FloatArray

_COLUMN = {"x": 0, "y": 1, "z": 2}


def about(axis: Literal["x", "y", "z"], angle_rad: float) -> FloatArray:
    """Return the rotation (3, 3) by an angle about a coordinate axis."""
    i = _COLUMN[axis]
    j, k = (i + 1) % 3, (i + 2) % 3
    rot = np.eye(3)
    rot[j, j] = rot[k, k] = np.cos(angle_rad)
    rot[j, k], rot[k, j] = -np.sin(angle_rad), np.sin(angle_rad)
    return rot


def quat_of(rot: FloatArray) -> FloatArray:
    """Return the quaternion (4,) of a rotation (3, 3)."""
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(rot, dtype=np.float64).ravel())
    return quat


def rotation_of(quat: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) of a quaternion (4,), whose length does not matter."""
    rot, unit = np.empty(9), np.array(quat, dtype=np.float64)
    mujoco.mju_quat2Mat(rot, unit / np.linalg.norm(unit))
    return rot.reshape(3, 3)


def rotation_by(rotation_vector: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) by |v| radians about v (3,)."""
    angle = float(np.linalg.norm(rotation_vector))
    if angle < 1e-12:
        return np.eye(3)
    quat = np.empty(4)
    mujoco.mju_axisAngle2Quat(quat, rotation_vector / angle, angle)
    return rotation_of(quat)


def aligning(direction: FloatArray, wanted: FloatArray) -> FloatArray:
    """Return the smallest rotation (3, 3) that turns one unit vector (3,) into another one."""
    axis = np.cross(direction, wanted)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return np.eye(3)
    return rotation_by(axis / sine * np.arctan2(sine, direction @ wanted))
