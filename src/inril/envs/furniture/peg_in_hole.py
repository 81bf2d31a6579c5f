"""Peg-in-Hole: put the rectangular peg into the hole, which is 0.1 mm wider to each side."""

from __future__ import annotations

import numpy as np

from inril.envs.furniture.shapes import SOLID, Shape, Touch, box, square
from inril.envs.furniture.task import Z_UP, Furniture, Pair, Part, Seat

_HOLE_HALF_X, _HOLE_HALF_Y = 0.008109, 0.005079
_FRAME_HALF = 0.0125
_FRAME_HEIGHT = 0.009


def _peg() -> list[Shape]:
    return [box((-0.008, 0.008), (-0.005, 0.005), (0.0, 0.050), SOLID | Touch.TABLE)]


def _hole() -> list[Shape]:
    x, y, outer, z = _HOLE_HALF_X, _HOLE_HALF_Y, _FRAME_HALF, (0.0, _FRAME_HEIGHT)
    return [
        box((-outer, -x), (-outer, outer), z),
        box((x, outer), (-outer, outer), z),
        box((-x, x), (-outer, -y), z),
        box((-x, x), (y, outer), z),
        square(2 * outer, z, Touch.TABLE, hollow=True),
    ]


PEG_IN_HOLE = Furniture(
    name="peg_in_hole",
    parts=[
        Part("peg", _peg(), Z_UP, 0.0040, (0.8, 0.3, 0.2), (0.40, 0.05, 0.0), np.eye(3)),
        Part("hole", _hole(), Z_UP, 0.0020, (0.3, 0.4, 0.6), (0.40, -0.05, 0.0), np.eye(3)),
    ],
    pairs=[Pair("peg", "hole", [Seat((0, 0, 0), np.eye(3))])],
    opening_m=0.070,
    max_episode_steps=200,
    friction=0.25,
)
