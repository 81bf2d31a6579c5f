"""Expert for Lift: grasp the cube from above and raise it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from inril.data.scripted import motion
from inril.data.scripted.operator import Operator
from inril.data.scripted.robomimic.hand import Hand, Motion, Pose
from inril.data.scripted.robomimic.scene import Scene
from inril.types import FloatArray

_CUBE = "cube_main"
_RAISE_M = 0.15
_LOST_Z_M = 0.7  # below the table's top


def demonstrate(scene: Scene, operator: Operator) -> Iterator[FloatArray]:
    """Lift the cube; a failed grasp is followed by another one.

    Args:
        scene: Lift, just reset.
        operator: who does it.

    Yields:
        The next action (7,). Ends only when the cube has left the table.
    """
    hand = Hand(scene, 0, operator)
    rest_z = scene.body_pos(_CUBE)[2]
    for n_failed in count():
        yield from _grasp(scene, hand, n_failed)
        yield from hand.reach(Pose(motion.above(hand.pos, _RAISE_M), hand.rot), tol_m=0.02, max_steps=60)
        cube_z = scene.body_pos(_CUBE)[2]
        if cube_z > rest_z + 0.5 * _RAISE_M:
            yield from hand.stay()
        yield from hand.open()
        if cube_z < _LOST_Z_M:
            return


def _grasp(scene: Scene, hand: Hand, n_failed: int) -> Motion:
    operator = hand.operator
    aim = operator.aim(n_failed)
    yaws = motion.equivalent_yaws(motion.yaw(scene.body_rot(_CUBE)), hand.yaw, np.pi / 2)
    rot = motion.pointing_down(operator.choose(*yaws) + aim.yaw_rad)
    detour = np.array([0.5, 1.0, 0.0]) * operator.side_m

    def cube(height_m: float) -> FloatArray:
        return motion.above(scene.body_pos(_CUBE) + aim.offset_m, height_m)

    yield from hand.reach(lambda: Pose(cube(operator.hover_m) + detour, rot), tol_m=0.02, tol_rad=0.3)
    return (yield from hand.grasp(cube, rot, operator.hover_m))
