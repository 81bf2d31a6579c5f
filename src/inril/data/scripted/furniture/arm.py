"""The Panda in the operator's hands: short phases that an expert strings together with `yield from`.

A phase yields one action (10,) per control step, the pose that the hand should have, and resumes after it was executed.
It returns whether it got where it was meant to go.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.furniture.furniture_scene import FurnitureScene
from inril.data.scripted.operator import Operator
from inril.envs.furniture.rotations import rotation_by
from inril.types import FloatArray

Motion = Generator[FloatArray, None, bool]
Pos = Callable[[], FloatArray]
Rot = Callable[[FloatArray], FloatArray]

_CLOSING_STEPS = 7
_TREMOR_M, _TREMOR_RAD = 0.05, 0.25  # of an operator's noise of 1


class Robot:
    """The robot of a scene.

    Args:
        scene: that it moves in.
        operator: who moves it.
    """

    def __init__(self, scene: FurnitureScene, operator: Operator) -> None:
        self.scene = scene
        self.operator = operator
        self._grip = motion.OPEN

    @property
    def pos(self) -> FloatArray:
        """Where the hand is, (3,)."""
        return self.scene.hand_pos

    @property
    def rot(self) -> FloatArray:
        """How it is turned, (3, 3)."""
        return self.scene.hand_rot

    def action(self, pos: FloatArray, rot: FloatArray, effort: float = 0.0) -> FloatArray:
        """Return the action (10,) that asks for a pose, as this operator commands it.

        Args:
            pos: (3,) of the hand.
            rot: (3, 3) of the hand.
            effort: size of the move, in [0, 1]: an operator's noise grows with it.
        """
        noise = self.operator.tremor(0, effort)
        shaky = rotation_by(_TREMOR_RAD * noise[3:]) @ rot
        return np.concatenate([pos + _TREMOR_M * noise[:3], shaky[:2].ravel(), [self._grip]])

    def towards(self, pos: FloatArray, rot: FloatArray, max_m: float, max_rad: float) -> FloatArray:
        """Return the next action on the straight way to a pose, at most so far from where the hand is."""
        move, turn = pos - self.pos, motion.rotation_vector(rot @ self.rot.T)
        step, arc = _shorten(move, max_m), _shorten(turn, max_rad)
        effort = max(float(np.linalg.norm(step)) / max_m, float(np.linalg.norm(arc)) / max_rad)
        return self.action(self.pos + step, rotation_by(arc) @ self.rot, effort)

    def reach(
        self,
        pos: FloatArray | Pos,
        rot: FloatArray,
        *,
        tol_m: float = 0.004,
        tol_rad: float = 0.05,
        max_steps: int = 60,
        max_m: float = 0.06,
        max_rad: float = 0.5,
    ) -> Motion:
        """Move the hand to a pose.

        Args:
            pos: (3,) of the hand, or what tells it afresh in every step.
            rot: (3, 3) of the hand.
            tol_m: distance at which it counts as reached.
            tol_rad: angle at which it counts as reached.
            max_steps: after which the phase ends wherever the hand is, for an operator at full speed.
            max_m: largest step, of an operator at full speed.
            max_rad: largest turn per step.
        """
        speed = self.operator.speed
        for _ in range(round(max_steps / speed)):
            goal = pos() if callable(pos) else pos
            near = np.linalg.norm(goal - self.pos) < tol_m and motion.angle_between(rot, self.rot) < tol_rad
            if near:
                return True
            yield self.towards(goal, rot, speed * max_m, speed * max_rad)
        return False

    def hold(self, n_steps: int) -> Motion:
        """Stay where the hand is."""
        pos, rot = self.pos, self.rot
        for _ in range(n_steps):
            yield self.action(pos, rot)
        return True

    def close(self, n_steps: int = _CLOSING_STEPS) -> Motion:
        """Close the fingers and wait until they hold."""
        self._grip = motion.CLOSED
        yield from self.hold(n_steps + self.operator.pause())
        return True

    def open(self, n_steps: int = 5) -> Motion:
        """Open the fingers and wait until they have let go."""
        self._grip = motion.OPEN
        yield from self.hold(n_steps + self.operator.pause())
        return True

    def rise(self, height_m: float, *, back_m: float = 0.0, tol_m: float = 0.02, max_steps: int = 20) -> Motion:
        """Draw back along the hand's axis, then go up."""
        rot = self.rot
        if back_m:
            yield from self.reach(self.pos - back_m * rot[:, 2], rot, tol_m=tol_m, max_steps=max_steps)
        return (yield from self.reach(motion.above(self.pos, height_m), rot, tol_m=tol_m, max_steps=max_steps))

    def carry(
        self,
        part: str,
        pos: FloatArray | Pos,
        rot: Rot,
        *,
        tol_m: float = 0.002,
        tol_rad: float = 0.04,
        max_steps: int = 40,
        max_m: float = 0.05,
        max_rad: float = 0.3,
    ) -> Motion:
        """Move a held part to a pose, whose place in the hand is looked up in every step.

        Args:
            part: what is held.
            pos: (3,) of the part, or what tells it afresh in every step.
            rot: tells the rotation (3, 3) that the part should have from the one that it has.
            tol_m: distance at which it counts as reached.
            tol_rad: angle at which it counts as reached.
            max_steps: after which the phase ends wherever the part is.
            max_m: largest step.
            max_rad: largest turn per step.
        """
        for _ in range(max_steps):
            goal = pos() if callable(pos) else pos
            is_rot = self.scene.part_rot(part)
            move = goal - self.scene.part_pos(part)
            turn = motion.rotation_vector(rot(is_rot) @ is_rot.T)
            if np.linalg.norm(move) < tol_m and np.linalg.norm(turn) < tol_rad:
                return True
            yield self.carry_step(part, move, turn, max_m, max_rad)
        return False

    def carry_step(
        self, part: str, move: FloatArray, turn: FloatArray, max_m: float = 0.05, max_rad: float = 0.3
    ) -> FloatArray:
        """Return the action that moves a held part by so much and turns it by a rotation vector about its origin."""
        step, arc = _shorten(move, max_m), rotation_by(_shorten(turn, max_rad))
        lever = self.pos - self.scene.part_pos(part)
        effort = min(float(np.linalg.norm(step)) / max_m, 1.0)
        return self.action(self.pos + step + (arc @ lever - lever), arc @ self.rot, effort)


def _shorten(vector: FloatArray, bound: float) -> FloatArray:
    """Shorten a vector to a length, direction kept."""
    return vector * (bound / max(float(np.linalg.norm(vector)), bound))
