"""Lamp: push the base into a corner, screw the bulb in, and put the hood over it."""

from __future__ import annotations

import numpy as np

from inril.envs.furniture.rotations import about
from inril.envs.furniture.shapes import SOLID, Shape, Touch, ball, box, cone_shell, cylinder, ring, square
from inril.envs.furniture.task import Y_DOWN, Y_UP, Furniture, Pair, Part, Seat, axes

_ON_TABLE = SOLID | Touch.TABLE
_SOCKET_RADIUS, _SOCKET_WALL = 0.0110, 0.0165
_FLANGE_HALF = 0.0277
_BULB_TILT_RAD = np.deg2rad(8.2)  # lying on its globe and its stem's end


def _base() -> list[Shape]:
    """Draw a foot, a socket, and the square flange that the hood will rest on."""
    inner, outer, flange = _SOCKET_RADIUS, _FLANGE_HALF, (0.038, 0.0458)
    return [
        square(0.0847, (-0.0172, -0.0085)),
        square(0.0847, (-0.0172, -0.0085), Touch.TABLE, hollow=True),
        square(0.060, (-0.0085, 0.008)),
        cylinder(_SOCKET_WALL, (0.008, 0.014)),
        *ring(inner, _SOCKET_WALL, (0.014, flange[0])),
        square(2 * outer, flange, Touch.TABLE, hollow=True),
        box((inner, outer), (-outer, outer), flange),
        box((-outer, -inner), (-outer, outer), flange),
        box((-inner, inner), (inner, outer), flange),
        box((-inner, inner), (-outer, -inner), flange),
    ]


def _bulb() -> list[Shape]:
    return [
        cylinder(0.0104, (-0.053, -0.022), _ON_TABLE, name="stem"),
        cylinder(0.0223, (-0.022, -0.0135), _ON_TABLE),
        square(0.036, (-0.0135, 0.0135), _ON_TABLE),
        ball(0.03, 0.038, _ON_TABLE),
    ]


def _hood() -> list[Shape]:
    """Draw a shade, and inside it the ledge by which it rests on the flange's corners."""
    shade = cone_shell(0.0407, 0.0267, 0.004, (-0.0486, 0.0514))
    ledge = ring(0.034, 0.0395, (-0.0425, -0.0395), touches=Touch.PARTS)
    return [*shade, *ledge, square(0.064, (-0.0488, -0.044), Touch.TABLE, hollow=True)]


_UPSIDE_DOWN = axes(x=(0, 1, 0), y=(0, 0, -1))
_LYING = axes(x=(0, 1, 0), y=(1, 0, 0))

LAMP = Furniture(
    name="lamp",
    parts=[
        Part("base", _base(), Y_DOWN, 0.0597, (0.4, 0.45, 0.5), (0.4415, 0.05, 0.0174), _UPSIDE_DOWN),
        Part(
            "bulb",
            _bulb(),
            Y_UP,
            0.0385,
            (0.9, 0.9, 0.6),
            (0.5365, -0.05, 0.0255),
            about("y", -_BULB_TILT_RAD) @ _LYING,
        ),
        Part("hood", _hood(), Y_DOWN, 0.0600, (0.7, 0.5, 0.4), (0.4315, -0.08, 0.0488), _UPSIDE_DOWN),
    ],
    pairs=[
        Pair("base", "bulb", [Seat((0, -0.0678, 0), about("z", np.pi))], stem="stem"),
        Pair("base", "hood", [Seat((0, -0.088324, 0), None)]),
    ],
    opening_m=0.070,
    max_episode_steps=1000,
)
