"""The human-like operator behind a scripted expert: how fast, how shaky and how exact it is, and what it chooses.

The groups are those of robomimic's multi-human data. One `level` scales everything: 0 is a machine (full speed, no
noise, always the nearest choice), 1 a human; above 1 it exaggerates.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np

from inril.types import FloatArray

Group = Literal["better", "okay", "worse"]
GROUPS: tuple[Group, ...] = get_args(Group)

T = TypeVar("T")

_TREMOR_MEMORY = 0.85  # per control step of 50 ms
_TREMOR_AT_REST = 0.3  # share of the tremor that stays when the hand does not move
_CORRECTION = 0.3  # what a failed attempt leaves of the next one's errors
_SLIP = 3.0  # times the usual errors
_MIN_SPEED = 0.2


class Habits(NamedTuple):
    """What the operators of one group have in common at level 1.

    Attributes:
        speed: range of their speed limits, as a share of the controller's.
        tremor: standard deviation of the noise on their actions.
        grasp_m: standard deviation of where they grasp, per horizontal axis.
        grasp_rad: standard deviation of the grasp's yaw.
        slip: odds that a first grasp is off by several times that.
        max_pause_steps: longest hesitation at a grasp or release.
    """

    speed: tuple[float, float]
    tremor: float
    grasp_m: float
    grasp_rad: float
    slip: float
    max_pause_steps: int


HABITS: dict[Group, Habits] = {
    "better": Habits((0.7, 1.0), 0.05, 0.003, 0.03, 0.05, 3),
    "okay": Habits((0.45, 0.8), 0.1, 0.006, 0.08, 0.1, 8),
    "worse": Habits((0.25, 0.6), 0.2, 0.010, 0.15, 0.2, 16),
}


class Aim(NamedTuple):
    """How far one grasp is off.

    Attributes:
        offset_m: (3,) error of the position.
        yaw_rad: error of the yaw.
    """

    offset_m: FloatArray
    yaw_rad: float


class Operator:
    """One operator in one episode.

    Args:
        group: how skilled.
        level: how human, from 0.
        rng: of this episode's operator; the draws are in the order in which the expert asks.
        n_arms: arms that it moves.

    Attributes:
        speed: speed limit of the episode, in (0, 1].
        hover_m: height at which it approaches things.
        side_m: sideways detour, to either side with equal odds.
    """

    def __init__(self, group: Group, level: float, rng: np.random.Generator, n_arms: int = 1) -> None:
        self._habits = HABITS[group]
        self._level = level
        self._rng = rng
        self._tremor = np.zeros((n_arms, 6))
        self.speed = max(1 - level * (1 - rng.uniform(*self._habits.speed)), _MIN_SPEED)
        self.hover_m = 0.08 + level * rng.uniform(-0.03, 0.08)
        self.side_m = level * rng.uniform(0.0, 0.1) * rng.choice([-1, 1])

    def tremor(self, arm: int, move: float) -> FloatArray:
        """Return the noise on one action, an Ornstein-Uhlenbeck process that grows with the commanded move.

        Args:
            arm: whose noise.
            move: largest entry of the commanded move and turn, in [0, 1].

        Returns:
            (6,) to add to move and turn; turns shake half as much.

        Source: noise that grows with the command, Harris and Wolpert 1998.
        """
        fresh = self._rng.standard_normal(6)
        self._tremor[arm] = _TREMOR_MEMORY * self._tremor[arm] + np.sqrt(1 - _TREMOR_MEMORY**2) * fresh
        size = self._level * self._habits.tremor * (_TREMOR_AT_REST + (1 - _TREMOR_AT_REST) * move)
        noise: FloatArray = size * np.array([1, 1, 1, 0.5, 0.5, 0.5]) * self._tremor[arm]
        return noise

    def aim(self, n_failed: int = 0) -> Aim:
        """Return the error of the next grasp; failed attempts before it make it more careful."""
        slips = self._rng.random() < self._level * self._habits.slip
        scale = self._level * (_SLIP if slips and not n_failed else _CORRECTION**n_failed)
        offset_m = self._rng.normal(0, self._habits.grasp_m, 3) * np.array([1, 1, 0.6])
        return Aim(scale * offset_m, scale * self._rng.normal(0, self._habits.grasp_rad))

    def pause(self) -> int:
        """Return the steps of one hesitation."""
        return round(self._level * self._rng.uniform(0, self._habits.max_pause_steps))

    def jitter(self, std_m: float, size: int = 3) -> FloatArray:
        """Return the error (size,) of a place where exactness does not matter."""
        return self._level * self._rng.normal(0, std_m, size)

    def choose(self, usual: T, other: T) -> T:
        """Take the usual of two equally good ways, now and then the other one."""
        return other if self._rng.random() < min(0.25 * self._level, 0.5) else usual
