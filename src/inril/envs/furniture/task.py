"""A furniture task as data: parts, where they start, and how they are assembled.

Poses are those of FurnitureBench's part frames, so that its numbers hold here; shapes are our own. All are given in the
frame of the robot's base, in metres, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inril.envs.furniture.rotations import about
from inril.envs.furniture.shapes import Point, Shape
from inril.types import FloatArray

# Drawing frames: the part's axis that a shape's z axis stands for.
Z_UP = np.eye(3)
Y_UP = about("x", -np.pi / 2)
Y_DOWN = about("x", np.pi / 2)

ROBOT_OBS, POSE_OBS = 16, 7
ACTION = 10


class Randomness(NamedTuple):
    """How far an episode's start can be from the nominal one, to either side, uniformly.

    Attributes:
        part_m: each part, per horizontal axis.
        part_rad: each part, about the vertical.
        fence_m: the fence, per horizontal axis.
        joint_rad: each joint of the arm.
    """

    part_m: float
    part_rad: float
    fence_m: float
    joint_rad: float


LOW = Randomness(0.015, np.deg2rad(15), 0.02, np.deg2rad(5))
MED = Randomness(0.05, np.deg2rad(45), 0.04, np.deg2rad(10))


@dataclass(frozen=True, eq=False)
class Part:
    """A rigid piece of furniture.

    Attributes:
        name: within its task.
        shapes: what it is made of.
        axis: (3, 3) the frame in which they are drawn, as seen from the part's own.
        mass_kg: spread over the shapes by volume.
        colour: red, green, blue in [0, 1].
        pos: (3,) nominal start.
        rot: (3, 3) nominal start.
    """

    name: str
    shapes: Sequence[Shape]
    axis: FloatArray
    mass_kg: float
    colour: Point
    pos: Point
    rot: FloatArray


class Seat(NamedTuple):
    """Where a part belongs, as seen from the part that it is fixed to.

    Attributes:
        pos: (3,) position.
        rot: (3, 3) rotation; None if any will do.
    """

    pos: Point
    rot: FloatArray | None


class Pair(NamedTuple):
    """Two parts to be assembled.

    Attributes:
        base: the part with the seats.
        part: the part that goes there.
        seats: any of these will do.
        stem: shape of `part` that is screwed into a socket at the seat; empty if nothing is screwed.
    """

    base: str
    part: str
    seats: Sequence[Seat]
    stem: str = ""


@dataclass(frozen=True, eq=False)
class Furniture:
    """What levels of randomness share.

    Attributes:
        name: as in task ids.
        parts: in the order of the observation.
        pairs: to be assembled, in any order.
        opening_m: largest distance of the fingers.
        max_episode_steps: time limit in the reference.
        friction: sliding, of parts.
    """

    name: str
    parts: Sequence[Part]
    pairs: Sequence[Pair]
    opening_m: float
    max_episode_steps: int
    friction: float = 0.15


@dataclass(frozen=True, eq=False)
class FurnitureTask:
    """One task.

    Attributes:
        task_id: as in config, paths and figures.
        furniture: what is to be assembled.
        randomness: of its start.
    """

    task_id: str
    furniture: Furniture
    randomness: Randomness

    @property
    def obs_dim(self) -> int:
        """Do: the robot, each part, and the fence."""
        return ROBOT_OBS + POSE_OBS * (len(self.furniture.parts) + 1)

    @property
    def max_episode_steps(self) -> int:
        """Time limit in the reference."""
        return self.furniture.max_episode_steps


def axes(x: Point, y: Point) -> FloatArray:
    """Return the rotation (3, 3) of a frame whose x and y axes point so."""
    return np.column_stack([x, y, np.cross(x, y)])
