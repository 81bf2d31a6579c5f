"""Mug-Rack: hang the mug by its handle on one of the rack's four pegs.

The original mug's mesh is not published, so mug, rack and the poses that count as hung are our own.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from inril.envs.furniture.rotations import rotation_of
from inril.envs.furniture.shapes import SOLID, Point, Shape, Touch, cylinder, ring, rod, square
from inril.envs.furniture.task import Z_UP, Furniture, Pair, Part, Seat
from inril.types import FloatArray

_ON_TABLE = SOLID | Touch.TABLE

# Pegs: direction about the rack's axis [rad], height of the root.
PEGS = ((0.0, 0.25), (np.pi / 2, 0.16), (np.pi, 0.16), (-np.pi / 2, 0.25))
PEG_REACH = 0.075  # of a tip from the axis
_PEG_SLOPE = np.tan(np.deg2rad(38))
_PEG_RADIUS = 0.005

MUG_RADIUS, MUG_HEIGHT = 0.040, 0.090  # radius of the middle of the wall
_WALL = 0.004
HANDLE_HOLE = np.array([MUG_RADIUS + 0.016, 0.0, 0.045])
"""Middle of the opening between mug and handle, as seen from the mug, whose handle points along x."""


def on_peg(peg: int, reach: float) -> FloatArray:
    """Return the point (3,) of a peg's axis at a distance from the rack's axis, as seen from the rack."""
    direction, root = PEGS[peg]
    return np.array([reach * np.cos(direction), reach * np.sin(direction), root + reach * _PEG_SLOPE])


def _point(vector: FloatArray) -> Point:
    x, y, z = map(float, vector)
    return x, y, z


def _rack() -> list[Shape]:
    ends = [(_point(on_peg(i, 0.006)), _point(on_peg(i, PEG_REACH))) for i in range(len(PEGS))]
    pegs = [rod(root, tip, _PEG_RADIUS, _ON_TABLE) for root, tip in ends]
    return [square(0.110, (0.0, 0.025), _ON_TABLE), square(0.0195, (0.025, 0.406), _ON_TABLE), *pegs]


def _mug() -> list[Shape]:
    """Draw a cup with a handle of two rods that meet in a V, so that it hangs in one way alone."""
    half = _WALL / 2
    handle = [(MUG_RADIUS, 0.0, 0.083), (MUG_RADIUS + 0.038, 0.0, 0.045), (MUG_RADIUS, 0.0, 0.007)]
    return [
        *ring(MUG_RADIUS - half, MUG_RADIUS + half, (0.002, MUG_HEIGHT), n=12, touches=_ON_TABLE),
        cylinder(MUG_RADIUS, (0.0, 0.005), _ON_TABLE),
        square(0.054, (0.0, 0.003), Touch.TABLE, hollow=True),
        *(rod(start, end, 0.004, _ON_TABLE) for start, end in pairwise(handle)),
    ]


# Medoids of six settled drops over each peg: position, quaternion.
_HUNG = (
    ((0.0519, -0.0344, 0.2018), (-0.3871, 0.3251, 0.5550, 0.6606)),
    ((0.0392, 0.0519, 0.1146), (0.7165, 0.1699, -0.6502, -0.1871)),
    ((-0.0519, 0.0395, 0.1148), (0.6377, 0.5813, -0.3405, 0.3736)),
    ((-0.0371, -0.0519, 0.2033), (0.1899, 0.6379, 0.1666, 0.7275)),
)

MUG_RACK = Furniture(
    name="mug_rack",
    parts=[
        Part("rack", _rack(), Z_UP, 0.047, (0.6, 0.5, 0.3), (0.40, -0.175, 0.0002), np.eye(3)),
        Part("mug", _mug(), Z_UP, 0.0335, (0.4, 0.6, 0.8), (0.40, 0.175, 0.0002), np.eye(3)),
    ],
    pairs=[Pair("rack", "mug", [Seat(pos, rotation_of(np.array(quat))) for pos, quat in _HUNG])],
    opening_m=0.070,
    max_episode_steps=400,
)
