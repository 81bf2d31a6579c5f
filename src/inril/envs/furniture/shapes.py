"""The language in which furniture is drawn: a few primitives, arrangements of them, and what each may touch.

A shape is drawn in the frame of its part, whose z axis is the part's own axis of turning. Lengths are in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag

import mujoco
import numpy as np

from inril.envs.furniture.rotations import about
from inril.types import FloatArray

Span = tuple[float, float]
Point = tuple[float, float, float]


class Touch(IntFlag):
    """What a shape can be in contact with; the fewer, the faster the simulation."""

    NOTHING = 0
    PARTS = 1
    HAND = 2
    TABLE = 4
    FENCE = 8


SOLID = Touch.PARTS | Touch.HAND | Touch.FENCE
"""What most shapes touch: a part lies on the table with few of its shapes."""


@dataclass(frozen=True, eq=False)
class Shape:
    """One primitive.

    Attributes:
        geom: kind of primitive.
        size: MuJoCo's three numbers: half sizes, or radius and half length.
        pos: (3,) centre.
        rot: (3, 3) rotation.
        touches: what it can be in contact with.
        volume: m^3, its share of the part's mass; 0 for a shape that only helps contacts.
        name: to find it by, if not empty.
        rolls: whether it resists rolling; all others do not.
    """

    geom: mujoco.mjtGeom
    size: Point
    pos: FloatArray
    rot: FloatArray
    touches: Touch
    volume: float
    name: str = ""
    rolls: bool = False


def box(x: Span, y: Span, z: Span, touches: Touch = SOLID, hollow: bool = False) -> Shape:
    """Draw a box between two coordinates per axis; a hollow one has no mass."""
    low, high = np.array([x, y, z]).T
    half = (high - low) / 2
    volume = 0.0 if hollow else float(np.prod(high - low))
    return Shape(mujoco.mjtGeom.mjGEOM_BOX, _size(*half), (low + high) / 2, np.eye(3), touches, volume)


def square(side: float, z: Span, touches: Touch = SOLID, hollow: bool = False) -> Shape:
    """Draw a box around the axis."""
    half = (-side / 2, side / 2)
    return box(half, half, z, touches, hollow)


def cylinder(radius: float, z: Span, touches: Touch = SOLID, name: str = "") -> Shape:
    """Draw a cylinder around the axis."""
    half = (z[1] - z[0]) / 2
    pos = np.array([0.0, 0.0, sum(z) / 2])
    volume = float(np.pi) * radius**2 * 2 * half
    return Shape(mujoco.mjtGeom.mjGEOM_CYLINDER, _size(radius, half), pos, np.eye(3), touches, volume, name)


def ball(radius: float, z: float, touches: Touch = SOLID) -> Shape:
    """Draw a sphere on the axis, which resists rolling."""
    volume = 4 / 3 * float(np.pi) * radius**3
    pos = np.array([0.0, 0.0, z])
    return Shape(mujoco.mjtGeom.mjGEOM_SPHERE, _size(radius), pos, np.eye(3), touches, volume, rolls=True)


def rod(start: Point, end: Point, radius: float, touches: Touch = SOLID) -> Shape:
    """Draw a capsule from one point to another."""
    line = np.subtract(end, start)
    length = float(np.linalg.norm(line))
    lean = about("y", float(np.arctan2(np.hypot(line[0], line[1]), line[2])))
    rot = about("z", float(np.arctan2(line[1], line[0]))) @ lean
    volume = float(np.pi) * radius**2 * (length + 4 / 3 * radius)
    pos = np.add(start, end) / 2
    return Shape(mujoco.mjtGeom.mjGEOM_CAPSULE, _size(radius, length / 2), pos, rot, touches, volume)


def ring(inner: float, outer: float, z: Span, n: int = 8, touches: Touch = SOLID) -> list[Shape]:
    """Draw a tube around the axis as n boxes; its radii are those of the inscribed circles."""
    return [_stave(i, n, inner, inner, outer - inner, z, touches) for i in range(n)]


def cone_shell(low_radius: float, high_radius: float, wall: float, z: Span, n: int = 16) -> list[Shape]:
    """Draw a tapering tube as n tilted boxes, of which every fourth can touch the table.

    Args:
        low_radius: inner radius at the lower end.
        high_radius: the same at the upper end.
        wall: thickness of the boxes.
        z: ends on the axis.
        n: boxes.
    """
    return [_stave(i, n, low_radius, high_radius, wall, z, SOLID if i % 4 else SOLID | Touch.TABLE) for i in range(n)]


def moved(shape: Shape, x: float, y: float) -> Shape:
    """Draw a shape again, elsewhere across the axis."""
    return replace(shape, pos=shape.pos + np.array([x, y, 0.0]))


def _stave(i: int, n: int, low_radius: float, high_radius: float, wall: float, z: Span, touches: Touch) -> Shape:
    """Draw one board of a barrel: its inner face touches the circles of both radii at their ends."""
    height, widening = z[1] - z[0], high_radius - low_radius
    turned = about("z", 2 * np.pi * i / n)
    rot = turned @ about("y", float(np.arctan2(widening, height)))
    middle = np.array([(low_radius + high_radius) / 2, 0.0, sum(z) / 2])
    half_width = (max(low_radius, high_radius) + wall) * float(np.tan(np.pi / n))
    half = (wall / 2, half_width, float(np.hypot(height, widening)) / 2)
    pos = turned @ middle + rot @ np.array([wall / 2, 0.0, 0.0])
    return Shape(mujoco.mjtGeom.mjGEOM_BOX, half, pos, rot, touches, 8 * float(np.prod(half)))


def _size(first: float, second: float = 0.0, third: float = 0.0) -> Point:
    return float(first), float(second), float(third)
