"""The compiled operational-space controller against its formula in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inril.envs.robomimic.osc import arm_torques, rotation_about, solve, workspace
from inril.types import FloatArray


def expected_torques(
    mass: FloatArray,
    jacobian: FloatArray,
    errors: FloatArray,
    rest_error: FloatArray,
    velocity: FloatArray,
) -> FloatArray:
    """robosuite's way: pseudo-inverses and an explicit null space matrix."""
    inverse = np.linalg.inv(mass)
    wrench = 150 * errors - 2 * np.sqrt(150) * jacobian @ velocity
    position, rotation = jacobian[:3], jacobian[3:]
    force = np.linalg.pinv(position @ inverse @ position.T) @ wrench[:3]
    torque = np.linalg.pinv(rotation @ inverse @ rotation.T) @ wrench[3:]
    full = np.linalg.pinv(jacobian @ inverse @ jacobian.T, rcond=1e-12)
    null_space = np.eye(7) - inverse @ jacobian.T @ full @ jacobian
    rest = mass @ (10 * rest_error - 2 * np.sqrt(10) * velocity)
    return jacobian.T @ np.concatenate([force, torque]) + null_space.T @ rest


@pytest.mark.parametrize("stretched", [False, True])
def test_torques_are_those_of_the_formula(stretched: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        root = rng.normal(size=(7, 7))
        mass, jacobian = root @ root.T + 0.1 * np.eye(7), rng.normal(size=(6, 7))
        if stretched:  # cannot move along x, as if the elbow were straight
            jacobian[0] = 0
        errors, rest_error, velocity = rng.normal(size=6), rng.normal(size=7), rng.normal(size=7)
        torques = np.empty(7)
        arm_torques(mass, jacobian, errors[:3], errors[3:], rest_error, velocity, workspace(), torques)
        np.testing.assert_allclose(torques, expected_torques(mass, jacobian, errors, rest_error, velocity), rtol=1e-7)


def test_torques_are_none_without_finite_numbers() -> None:
    torques = np.ones(7)
    arm_torques(
        np.full((7, 7), np.nan), np.ones((6, 7)), *np.zeros((2, 3)), *np.zeros((2, 7)), workspace(), torques
    )  # fmt: skip
    np.testing.assert_array_equal(torques, 0)
    vector = np.ones(3)
    solve(np.full((3, 3), np.inf), vector, np.empty((3, 3)))
    np.testing.assert_array_equal(vector, 0)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-4, 0.3, 3.0])
def test_rotation_about_is_rodrigues(angle: float) -> None:
    vector = angle * np.array([1.0, -2.0, 2.0]) / 3
    rotation = np.empty((3, 3))
    rotation_about(vector, rotation)
    np.testing.assert_allclose(rotation, Rotation.from_rotvec(vector).as_matrix(), rtol=0, atol=1e-12)
