"""Round-Table: push the round top into a corner, screw the leg into it, and the cross-shaped base onto the leg."""

from __future__ import annotations

import numpy as np

from inril.envs.furniture.rotations import about
from inril.envs.furniture.shapes import SOLID, Shape, Touch, box, cylinder, ring, square
from inril.envs.furniture.task import Y_UP, Z_UP, Furniture, Pair, Part, Seat, axes

_ON_TABLE = SOLID | Touch.TABLE
_SOCKET_RADIUS = 0.0110
_STEM_RADIUS = 0.0104
_HUB_RADIUS = 0.0212


def _top() -> list[Shape]:
    """Draw a disc around a hub with the socket; a square underneath carries it."""
    return [
        square(0.1414, (-0.0012, 0.03125), Touch.TABLE, hollow=True),
        cylinder(_HUB_RADIUS, (0.0, 0.0045)),
        *ring(_SOCKET_RADIUS, 0.02125, (0.0045, 0.03125)),
        *ring(0.02125, 0.100, (-0.0008, 0.0175), n=16, touches=_ON_TABLE),
    ]


def _leg() -> list[Shape]:
    """Draw a stem, a square section to grip, and the socket for the base; lying, it does not roll."""
    return [
        cylinder(_STEM_RADIUS, (-0.0394, -0.0131), _ON_TABLE, name="stem"),
        square(0.0325, (-0.0131, 0.0135), _ON_TABLE),
        cylinder(_HUB_RADIUS, (0.0135, 0.024)),
        *ring(_SOCKET_RADIUS, _HUB_RADIUS, (0.024, 0.0519), touches=_ON_TABLE),
    ]


def _base() -> list[Shape]:
    """Draw a cross with the stem under its middle, on which it stands, carried by a small square."""
    arm, side, cross = (-0.065, 0.065), (-0.0141, 0.0141), (-0.0012, 0.0112)
    return [
        cylinder(_STEM_RADIUS, (-0.0288, cross[0]), name="stem"),
        square(0.014, (-0.0288, -0.026), Touch.TABLE, hollow=True),
        box(arm, side, cross, _ON_TABLE),
        box(side, arm, cross, _ON_TABLE),
    ]


_LEG_SEAT = Seat((0, 0, 0.044375), about("z", np.deg2rad(185)) @ about("x", np.pi / 2))
_BASE_SEAT = Seat((0, 0.053125, 0), about("y", np.pi / 2) @ about("x", -np.pi / 2))

ROUND_TABLE = Furniture(
    name="round_table",
    parts=[
        Part("top", _top(), Z_UP, 0.1217, (0.8, 0.7, 0.5), (0.5065, 0, 0.0013), axes(x=(0, -1, 0), y=(1, 0, 0))),
        Part("leg", _leg(), Y_UP, 0.0323, (0.6, 0.5, 0.3), (0.4015, 0.13, 0.0214), axes(x=(0, 1, 0), y=(1, 0, 0))),
        Part("base", _base(), Z_UP, 0.0437, (0.5, 0.6, 0.4), (0.4215, -0.12, 0.0289), axes(x=(0, 1, 0), y=(-1, 0, 0))),
    ],
    pairs=[Pair("top", "leg", [_LEG_SEAT], stem="stem"), Pair("leg", "base", [_BASE_SEAT], stem="stem")],
    opening_m=0.065,
    max_episode_steps=1000,
)
