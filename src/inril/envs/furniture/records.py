"""What compiled code knows and remembers of a furniture task."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inril.types import BoolArray, FloatArray, IntArray

UNMOVED = -1
"""In place of a part: table and fence, which never move."""
MOVED = -2
"""In place of a part: the robot."""


class FurnitureRules(NamedTuple):
    """What compiled code knows of a task with P pairs, at most N seats each; ids are -1 where nothing is screwed.

    Attributes:
        n_substeps: physics steps per action.
        grip_site: site between the pads.
        finger_qpos: (2,) addresses of the fingers' positions.
        part_body: (parts,) bodies in the order of the observation.
        part_dof: (parts,) first address of their velocities, three linear ones and three angular ones.
        geom_part: (geoms,) part that a shape belongs to; UNMOVED, MOVED.
        geom_conaffinity: (geoms,) contact bits of shapes.
        base_part: (P,) part with the seats.
        male_part: (P,) part that belongs there.
        base_body: (P,) body with the seats.
        male_body: (P,) body that belongs there.
        n_seats: (P,) seats of each pair.
        seat_pos: (P, N, 3) pose of the male body at its seat, as seen from the base.
        seat_rot: (P, N, 3, 3).
        any_rotation: (P,) whether any rotation will do.
        male_axis: (P, 3, 3) frame in the male body whose z axis is the screw's.
        carrier_quat: (P, N, 4) the same frame at the seat, as seen from the base.
        carrier_body: (P,) body that moves along the thread.
        stem_geom: (P,) shape that the carrier stands for when engaged.
        stem_contype: (P,) its contact bits.
        stem_conaffinity: (P,) its contact bits.
        helix: (P,) equality that couples the carrier's slide and turn.
        weld: (P,) equality that fixes the male body to the carrier.
        slide_qpos: (P,) addresses of the carrier's joints.
        turn_qpos: (P,)
        slide_dof: (P,)
        turn_dof: (P,)
        fence_front: (3,) middle of the fence's front bar before it is moved.
    """

    n_substeps: int
    grip_site: int
    finger_qpos: IntArray
    part_body: IntArray
    part_dof: IntArray
    geom_part: IntArray
    geom_conaffinity: npt.NDArray[np.int32]
    base_part: IntArray
    male_part: IntArray
    base_body: IntArray
    male_body: IntArray
    n_seats: IntArray
    seat_pos: FloatArray
    seat_rot: FloatArray
    any_rotation: BoolArray
    male_axis: FloatArray
    carrier_quat: FloatArray
    carrier_body: IntArray
    stem_geom: IntArray
    stem_contype: npt.NDArray[np.int32]
    stem_conaffinity: npt.NDArray[np.int32]
    helix: IntArray
    weld: IntArray
    slide_qpos: IntArray
    turn_qpos: IntArray
    slide_dof: IntArray
    turn_dof: IntArray
    fence_front: FloatArray


class Progress(NamedTuple):
    """What an environment remembers beside MuJoCo's state; of E environments with an axis in front of each array.

    Attributes:
        grip: (1,) whether the gripper was told to close (1) or to open (-1).
        assembled: (P,) 1 for each pair that has been rewarded.
        seat: (P,) seat whose thread the stem is in.
        entry_rad: (P,) turn at which it entered; 0: it has not, -1: it was turned out and not lifted yet.
        still: (parts,) actions that a part has lain still for, up to those after which it sleeps.
    """

    grip: FloatArray
    assembled: FloatArray
    seat: FloatArray
    entry_rad: FloatArray
    still: FloatArray
