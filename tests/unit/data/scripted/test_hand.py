from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from inril.data.scripted import motion
from inril.data.scripted.operator import Group, Operator
from inril.data.scripted.robomimic.hand import GRIP_STEPS, Hand, Pose, together
from inril.types import FloatArray


def run(scene: Any, phase: Generator[FloatArray, None, Any]) -> tuple[Any, list[FloatArray]]:
    """Execute a phase; returns its result and its actions."""
    actions: list[FloatArray] = []
    while True:
        try:
            action = next(phase)
        except StopIteration as end:
            return end.value, actions
        actions.append(action)
        scene.step(action)


def make(scene: Any, arm: int = 0, group: Group = "better", level: float = 0.0) -> Hand:
    return Hand(scene, arm, Operator(group, level, np.random.default_rng(0), scene.action_dim // 7))


def pose(*pos: float) -> Pose:
    return Pose(np.array(pos), np.eye(3))


def test_reaches_a_pose(point_hands: Any) -> None:
    scene = point_hands()
    arrived, actions = run(scene, make(scene).reach(pose(0.22, 0.0, -0.11), tol_m=0.001))
    assert arrived
    np.testing.assert_allclose(scene.pos[0], [0.22, 0.0, -0.11], atol=0.001)
    assert len(actions) == 5  # 5 cm per step


def test_follows_a_target_that_moves(point_hands: Any) -> None:
    scene = point_hands()
    arrived, _ = run(scene, make(scene).reach(lambda: Pose(scene.pos[0] * 0.5 + 0.1, np.eye(3)), tol_m=0.005))
    assert arrived
    np.testing.assert_allclose(scene.pos[0], 0.2, atol=0.01)


def test_gives_up_in_the_end(point_hands: Any) -> None:
    scene = point_hands()
    arrived, actions = run(scene, make(scene).reach(pose(9.0, 0.0, 0.0), tol_m=0.01, max_steps=7))
    assert not arrived
    assert len(actions) == 7


def test_slow_operators_have_more_time(point_hands: Any) -> None:
    scene = point_hands()
    hand = make(scene, group="worse", level=1.0)
    _, actions = run(scene, hand.reach(pose(9.0, 0.0, 0.0), tol_m=0.01, max_steps=10))
    assert len(actions) == round(10 / hand.operator.speed) > 10


def test_pushes_where_the_arm_stalls(point_hands: Any) -> None:
    scene = point_hands(stiff=0.5)  # ignores what a distance of 2.5 cm asks for
    arrived, _ = run(scene, make(scene).reach(pose(0.1, 0.0, 0.0), tol_m=0.005))
    assert arrived


def test_stops_when_the_thing_is_lost(point_hands: Any) -> None:
    scene = point_hands()
    phase = make(scene).reach(pose(1.0, 0.0, 0.0), tol_m=0.01, lost=lambda: scene.pos[0, 0] > 0.12)
    arrived, actions = run(scene, phase)
    assert not arrived
    assert len(actions) == 3


def test_waits_until_the_arm_has_settled(point_hands: Any) -> None:
    scene = point_hands()
    quick, _ = run(scene, make(scene).reach(pose(0.08, 0.0, 0.0), tol_m=0.04))
    assert quick
    assert scene.pos[0, 0] == pytest.approx(0.05)
    run(scene, make(scene).reach(pose(0.16, 0.0, 0.0), tol_m=0.1, settle_m=0.001))
    assert scene.pos[0, 0] == pytest.approx(0.16)


def test_grasps_from_above_and_releases(point_hands: Any) -> None:
    scene = point_hands()
    hand = make(scene)
    run(scene, hand.grasp(lambda height_m: np.array([0.2, 0.0, height_m]), np.eye(3), hover_m=0.1))
    np.testing.assert_allclose(scene.pos[0], [0.2, 0.0, 0.0], atol=0.012)
    _, closed = run(scene, hand.hold(2))
    _, opened = run(scene, hand.open())
    assert [action[6] for action in closed] == [motion.CLOSED] * 2
    assert [action[6] for action in opened] == [motion.OPEN] * GRIP_STEPS


def test_actions_stay_in_their_range(point_hands: Any) -> None:
    scene = point_hands(stiff=0.9)
    _, actions = run(scene, make(scene, group="worse", level=2.0).reach(pose(0.5, -0.5, 0.5), tol_m=0.001))
    assert np.abs(actions).max() <= 1


def test_arms_work_side_by_side_and_wait_for_each_other(point_hands: Any) -> None:
    scene = point_hands(n_arms=2)
    left, right = make(scene, 0), make(scene, 1)
    far = right.reach(pose(0.0, 0.5, 0.0), tol_m=0.001, max_steps=4)
    results, actions = run(scene, together((left, left.reach(pose(0.1, 0.0, 0.0), tol_m=0.001)), (right, far)))
    assert results == [True, False]
    assert [action.shape for action in actions] == [(14,)] * 4
    np.testing.assert_allclose(scene.pos, [[0.1, 0.0, 0.0], [0.0, 0.2, 0.0]], atol=1e-9)


def test_phases_without_steps_take_none(point_hands: Any) -> None:
    scene = point_hands(n_arms=2)
    left, right = make(scene, 0), make(scene, 1)
    assert run(scene, together((left, left.hold(0)), (right, right.hold(0)))) == ([True, True], [])
