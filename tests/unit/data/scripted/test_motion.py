from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inril.data.scripted import motion


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, np.pi / 2, 2.6, 2.7, 3.1, np.pi - 1e-6])
def test_rotation_vector_is_scipys(angle: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        axis = rng.standard_normal(3)
        vector = angle * axis / np.linalg.norm(axis)
        rot = Rotation.from_rotvec(vector).as_matrix()
        np.testing.assert_allclose(motion.rotation_vector(rot), vector, atol=1e-8)


def test_half_a_turn_about_any_axis() -> None:
    for axis in [*np.eye(3), np.array([0.6, 0.0, 0.8]), np.array([-1, 1, -1]) / np.sqrt(3)]:
        vector = motion.rotation_vector(Rotation.from_rotvec(np.pi * axis).as_matrix())
        np.testing.assert_allclose(np.linalg.norm(vector), np.pi)
        np.testing.assert_allclose(np.abs(vector @ axis), np.pi)


def test_angle_between_rotations_is_scipys() -> None:
    first, second = Rotation.random(2, random_state=0)
    angle = motion.angle_between(first.as_matrix(), second.as_matrix())
    np.testing.assert_allclose(angle, (first * second.inv()).magnitude())


def test_gripper_points_down_at_its_yaw() -> None:
    for yaw in (-3.0, -0.5, 0.0, 2.0):
        rot = motion.pointing_down(yaw)
        expected = Rotation.from_euler("z", yaw) * Rotation.from_euler("x", np.pi)
        np.testing.assert_allclose(rot, expected.as_matrix(), atol=1e-12)
        np.testing.assert_allclose(motion.yaw(rot), yaw)


def test_action_asks_for_what_is_missing_at_full_scale() -> None:
    turn = np.array([0.1, -0.2, 0.05])
    rot = Rotation.random(random_state=1)
    target_rot = (Rotation.from_rotvec(turn) * rot).as_matrix()  # in the world's frame
    move = np.array([0.01, -0.02, 0.03])
    action = motion.arm_action(np.ones(3), rot.as_matrix(), 1 + move, target_rot, motion.CLOSED, speed=1.0)
    np.testing.assert_allclose(action, [*(move / 0.05), *(turn / 0.5), 1.0], atol=1e-12)


def test_speed_shortens_move_and_turn_and_keeps_their_directions() -> None:
    target_rot = Rotation.from_rotvec([0.0, 0.0, 1.0]).as_matrix()
    move = np.array([0.3, -0.15, 0.0])
    action = motion.arm_action(np.zeros(3), np.eye(3), move, target_rot, motion.OPEN, speed=0.4)
    np.testing.assert_allclose(action, [0.4, -0.2, 0.0, 0.0, 0.0, 0.4, -1.0], atol=1e-12)


def test_short_vectors_are_not_limited() -> None:
    np.testing.assert_array_equal(motion.limit(np.array([0.1, -0.2, 0.0]), 0.5), [0.1, -0.2, 0.0])
    np.testing.assert_array_equal(motion.limit(np.zeros(3), 0.5), np.zeros(3))


def test_equivalent_yaws_are_the_two_nearest() -> None:
    rng = np.random.default_rng(0)
    for yaw, reference, period in rng.uniform(0.3, 6, (50, 3)):
        candidates = sorted(yaw + period * np.arange(-30, 31), key=lambda angle: abs(angle - reference))
        np.testing.assert_allclose(motion.equivalent_yaws(yaw, reference, period), candidates[:2])


def test_wrapped_angles_differ_by_periods_and_are_small() -> None:
    for angle in np.linspace(-20, 20, 41):
        for period in (np.pi / 2, 2 * np.pi):
            wrapped = motion.wrap(angle, period)
            assert -period / 2 <= wrapped < period / 2
            np.testing.assert_allclose((angle - wrapped) / period, np.round((angle - wrapped) / period), atol=1e-9)


def test_heights() -> None:
    np.testing.assert_array_equal(motion.above(np.array([1.0, 2.0, 3.0]), 0.5), [1.0, 2.0, 3.5])
    np.testing.assert_array_equal(motion.at_height(np.array([1.0, 2.0]), 0.5), [1.0, 2.0, 0.5])
