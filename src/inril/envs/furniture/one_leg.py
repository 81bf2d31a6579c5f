"""One-Leg: push the square table's top into the corner, and screw one of its four legs into it."""

from __future__ import annotations

import numpy as np

from inril.envs.furniture.shapes import SOLID, Shape, Touch, box, cylinder, moved, ring, square
from inril.envs.furniture.task import Y_UP, Furniture, Pair, Part, Seat, axes

_TOP_HALF = 0.08125
_TOP_Z = (-0.01568, 0.01557)
_HOLE = 0.05625  # of each hole's axis from the middle, along both sides
_HOLE_FLOOR = -0.0095
_SOCKET_RADIUS, _SOCKET_WALL = 0.0110, 0.0164
_STEM_RADIUS = 0.0104
_LEG_HALF = 0.015
_LEG_SEAT = 0.046875  # of a leg's middle above the top's
_WOOD, _DARK_WOOD = (0.8, 0.7, 0.5), (0.6, 0.5, 0.3)


def _top() -> list[Shape]:
    """Draw a plate with four square windows, each filled by a socket with a floor."""
    low, high = _HOLE - _SOCKET_WALL, _HOLE + _SOCKET_WALL
    borders = [(-_TOP_HALF, -high), (-low, low), (high, _TOP_HALF)]
    windows = [(-high, -low), (low, high)]
    whole = (-_TOP_HALF, _TOP_HALF)
    inner = Touch.PARTS | Touch.HAND  # fence and table touch the outline alone
    shapes = [box(x, whole, _TOP_Z, inner) for x in borders]
    shapes += [box(x, y, _TOP_Z, inner) for x in windows for y in borders]
    socket = [
        *ring(_SOCKET_RADIUS, _SOCKET_WALL, (_HOLE_FLOOR, _TOP_Z[1]), touches=inner),
        square(2 * _SOCKET_WALL, (-0.0135, _HOLE_FLOOR), inner),
    ]
    shapes += [moved(shape, x, y) for x in (-_HOLE, _HOLE) for y in (-_HOLE, _HOLE) for shape in socket]
    return [*shapes, square(2 * _TOP_HALF, _TOP_Z, Touch.TABLE | Touch.FENCE, hollow=True)]


def _leg() -> list[Shape]:
    shaft = (-0.031, 0.0125)
    head = (0.0185, 0.03125)
    return [
        cylinder(_STEM_RADIUS, (-0.05625, shaft[0]), SOLID | Touch.TABLE, name="stem"),
        square(2 * _LEG_HALF, shaft),
        cylinder(0.0125, (shaft[1], head[0])),
        square(2 * _LEG_HALF, head),
        square(2 * _LEG_HALF, (shaft[0], head[1]), Touch.TABLE, hollow=True),
    ]


_LEG_Y = (-0.20, -0.12, 0.12, 0.20)
_LEGS = [
    Part(
        name=f"leg{i + 1}",
        shapes=_leg(),
        axis=Y_UP,
        mass_kg=0.0231,
        colour=_DARK_WOOD,
        pos=(0.3715, y, 0.0151),
        rot=axes(x=(0, 0, -1), y=(1, 0, 0)),
    )
    for i, y in enumerate(_LEG_Y)
]
_TOP = Part(
    name="top",
    shapes=_top(),
    axis=Y_UP,
    mass_kg=0.151,
    colour=_WOOD,
    pos=(0.5415, 0.0, 0.01575),
    rot=axes(x=(0, -1, 0), y=(0, 0, 1)),
)
_SEATS = [Seat((x, _LEG_SEAT, z), np.eye(3)) for x in (-_HOLE, _HOLE) for z in (-_HOLE, _HOLE)]

ONE_LEG = Furniture(
    name="one_leg",
    parts=[_TOP, *_LEGS],
    pairs=[Pair("top", "leg4", _SEATS, stem="stem")],
    opening_m=0.065,
    max_episode_steps=700,
)
