"""One arm in the operator's hands: short phases that a task's expert strings together with `yield from`.

A phase yields one action per control step and resumes after it was executed. It returns whether it got where it was
meant to go.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.operator import Operator
from inril.data.scripted.robomimic.scene import Scene
from inril.types import FloatArray

Motion = Generator[FloatArray, None, bool]

GRIP_STEPS = 12  # the fingers need 10 from open to closed
_SETTLED_M = 0.003  # per step
_STALLED_M = 0.003  # per step
_PUSH = 0.1  # per step in which the arm stalls
_RELAX = 0.9


class Pose(NamedTuple):
    """Where a gripper should be: position (3,) in metres and rotation (3, 3)."""

    pos: FloatArray
    rot: FloatArray


class Hand:
    """One arm of a scene.

    Args:
        scene: that it moves in.
        arm: which one.
        operator: who moves it.
    """

    def __init__(self, scene: Scene, arm: int, operator: Operator) -> None:
        self._scene = scene
        self._arm = arm
        self.operator = operator
        self._grip = motion.OPEN

    @property
    def pos(self) -> FloatArray:
        """Where the gripper is, (3,)."""
        return self._scene.grip_pos(self._arm)

    @property
    def rot(self) -> FloatArray:
        """How it is turned, (3, 3)."""
        return self._scene.grip_rot(self._arm)

    @property
    def pose(self) -> Pose:
        """Where the gripper is and how it is turned."""
        return Pose(self.pos, self.rot)

    @property
    def yaw(self) -> float:
        """Angle of the fingers' line about the vertical."""
        return motion.yaw(self.rot)

    def towards(self, target: Pose, speed: float, push: FloatArray | float = 0.0) -> FloatArray:
        """Return the next action (7,) on the way to a pose, as this operator commands it.

        Args:
            target: the pose.
            speed: limit on the move and on the turn, in (0, 1].
            push: (3,) added to the move, beyond the limit.
        """
        action = motion.arm_action(self.pos, self.rot, *target, self._grip, speed)
        action[:3] += push
        action[:6] += self.operator.tremor(self._arm, min(float(np.abs(action[:6]).max()), 1.0))
        return np.clip(action, -1, 1)

    def reach(
        self,
        target: Pose | Callable[[], Pose],
        *,
        tol_m: float,
        tol_rad: float = np.inf,
        max_steps: int = 80,
        speed: float = 1.0,
        settle_m: float = np.inf,
        lost: Callable[[], bool] = lambda: False,
    ) -> Motion:
        """Move to a pose, at least one step. Where the arm stalls on the way, push harder.

        Args:
            target: the pose, or what tells it afresh in every step.
            tol_m: distance at which it counts as reached.
            tol_rad: angle at which it counts as reached.
            max_steps: after which the phase ends wherever the arm is, for an operator at full speed; others take
                longer.
            speed: share of the operator's speed limit.
            settle_m: the arm has arrived only when it moves less than this in a step.
            lost: tells that there is no point in going on.
        """
        push = np.zeros(3)
        goal = target() if callable(target) else target
        for _ in range(round(max_steps / self.operator.speed)):
            before = self.pos
            yield self.towards(goal, speed * self.operator.speed, push)
            if lost():
                return False
            goal = target() if callable(target) else target
            way, moved = goal.pos - self.pos, np.linalg.norm(self.pos - before)
            near = np.linalg.norm(way) < tol_m and motion.angle_between(goal.rot, self.rot) < tol_rad
            if near and moved < settle_m:
                return True
            # Stretched or near its base, the arm stops centimetres short of where a small action sends it.
            stalls = moved < _STALLED_M and np.linalg.norm(way) > tol_m
            push = motion.limit(push + _PUSH * way / np.linalg.norm(way), 1.0) if stalls else _RELAX * push
        return False

    def grasp(self, point: Callable[[float], FloatArray], rot: FloatArray, hover_m: float) -> Motion:
        """Come from above, settle and close the fingers.

        Args:
            point: tells the point (3,) at a height over where the fingers shall close, afresh in every step.
            rot: (3, 3) of the gripper.
            hover_m: height to come from.

        Returns:
            Whether the fingers were there when they closed.
        """
        yield from self.reach(lambda: Pose(point(hover_m), rot), tol_m=0.02, tol_rad=0.1)
        # Near its base an arm swings by centimetres; fingers that close before it rests push things away.
        arrived = yield from self.reach(
            lambda: Pose(point(0.0), rot), tol_m=0.012, tol_rad=0.15, max_steps=50, settle_m=_SETTLED_M
        )
        yield from self.close()
        return arrived

    def hold(self, n_steps: int) -> Motion:
        """Stay where the arm is."""
        pose = self.pose
        for _ in range(n_steps):
            yield self.towards(pose, 1.0)
        return True

    def close(self) -> Motion:
        """Close the fingers and wait until they hold."""
        return self._move_fingers(motion.CLOSED)

    def open(self) -> Motion:
        """Open the fingers and wait until they have let go."""
        return self._move_fingers(motion.OPEN)

    def stay(self) -> Iterator[FloatArray]:
        """Stay where the arm is for good."""
        pose = self.pose
        while True:
            yield self.towards(pose, 1.0)

    def _move_fingers(self, grip: float) -> Motion:
        self._grip = grip
        return self.hold(GRIP_STEPS + self.operator.pause())


def together(*phases: tuple[Hand, Motion]) -> Generator[FloatArray, None, list[bool]]:
    """Run one phase per arm side by side; an arm that is done stays where it is until all are.

    Args:
        phases: of each arm, in the order of the arms in an action.

    Returns:
        What each phase returned.
    """
    results: list[bool | None] = [None] * len(phases)
    stays: list[Iterator[FloatArray]] = [iter(())] * len(phases)
    while True:
        actions = []
        for i, (hand, phase) in enumerate(phases):
            if results[i] is None:
                try:
                    actions.append(next(phase))
                    continue
                except StopIteration as end:
                    results[i] = end.value
                    stays[i] = hand.stay()
            actions.append(next(stays[i]))
        if all(result is not None for result in results):
            return [bool(result) for result in results]
        yield np.concatenate(actions)
