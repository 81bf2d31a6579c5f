"""How robosuite's episodes start, drawn from a generator in the same order and so to the same numbers.

robosuite's own reset rebuilds controllers and observables in some milliseconds. What it draws is noise on the arms'
joints and a place for each object: position in a rectangle, angle about an axis, again until it overlaps none before.

Source: robosuite 1.5.2, robots/robot.py (`Robot.reset`), utils/placement_samplers.py (`UniformRandomSampler`) and
`_reset_internal` of the four environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inril.envs.robomimic.tasks import TRANSPORT, RobomimicTask
from inril.types import FloatArray

_MAX_TRIES = 5000
_ARM_NOISE_RAD = 0.02
# models/objects/composite/hammer.py: `HammerObject.init_quat`.
_HAMMER_ROTATIONS = ((-0.5, -0.5, -0.5, -0.5), (0.5, -0.5, 0.5, -0.5))


@dataclass(frozen=True)
class Placement:
    """Where one object may be put; ranges are (low, high).

    Attributes:
        joint: its free joint.
        x_range_m: of its centre, relative to the origin.
        y_range_m: of its centre, relative to the origin.
        origin_m: (2,) in world coordinates.
        z_m: height of its centre.
        angle_range_rad: of its turn.
        axis: component of a quaternion (w, x, y, z) that the turn is about: 1, 2 or 3.
        either_way: whether a rotation comes before the turn, with its head one way or the other.
        radius_m: two objects closer than their radii together overlap.
        bottom_m: its lower end, relative to its centre.
        top_m: its upper end, relative to its centre.
        apart: whether it must not overlap with those placed before.
        inside: joint of the object over whose centre it is put: its own place is drawn and not used.
    """

    joint: str
    x_range_m: tuple[float, float]
    y_range_m: tuple[float, float]
    origin_m: tuple[float, float]
    z_m: float
    angle_range_rad: tuple[float, float]
    axis: int
    either_way: bool
    radius_m: float
    bottom_m: float
    top_m: float
    apart: bool
    inside: str | None = None


def read_placements(task: RobomimicTask, env: Any) -> tuple[Placement, ...]:
    """Read the rules off robosuite's environment, up to the last object that the task needs.

    Args:
        task: the task.
        env: as returned by `make_robosuite`.
    """
    initializer = env.placement_initializer
    samplers = initializer.samplers.values() if hasattr(initializer, "samplers") else [initializer]
    placements = [_placement(sampler, obj) for sampler in samplers for obj in sampler.mujoco_objects if obj.joints]
    if task is TRANSPORT:
        placements = [_contained(placement, env.transport) for placement in placements]
    unused = {body.replace("_main", "_joint0") for body in task.unused_bodies}
    last = max(i for i, placement in enumerate(placements) if placement.joint not in unused)
    return tuple(placements[: last + 1])


def _placement(sampler: Any, obj: Any) -> Placement:
    margin = obj.horizontal_radius if sampler.ensure_object_boundary_in_range else 0.0
    angles = (0.0, 2 * np.pi) if sampler.rotation is None else sampler.rotation
    return Placement(
        joint=obj.joints[0],
        x_range_m=(sampler.x_range[0] + margin, sampler.x_range[1] - margin),
        y_range_m=(sampler.y_range[0] + margin, sampler.y_range[1] - margin),
        origin_m=(sampler.reference_pos[0], sampler.reference_pos[1]),
        z_m=sampler.z_offset + sampler.reference_pos[2] - obj.bottom_offset[-1],
        angle_range_rad=(min(angles), max(angles)),
        axis=1 + "xyz".index(sampler.rotation_axis),
        either_way=hasattr(obj, "init_quat"),
        radius_m=obj.horizontal_radius,
        bottom_m=obj.bottom_offset[-1],
        top_m=obj.top_offset[-1],
        apart=sampler.ensure_valid_placement,
    )


def _contained(placement: Placement, transport: Any) -> Placement:
    """Put Transport's lid on the start bin, its payload into it and its trash into the target bin."""
    start, target = transport.start_bin, transport.target_bin
    container, lift_m = {
        transport.lid.joints[0]: (start, transport.bin_size[2]),
        transport.payload.joints[0]: (start, start.wall_thickness),
        transport.trash.joints[0]: (target, target.wall_thickness),
    }.get(placement.joint, (None, 0.0))
    if container is None:
        return placement
    return replace(placement, inside=container.joints[0], z_m=placement.z_m + lift_m)


def draw_arm(rng: np.random.Generator, posture_rad: FloatArray) -> FloatArray:
    """Draw the joint angles (7,) of one arm around its usual posture."""
    noisy: FloatArray = posture_rad + rng.standard_normal(posture_rad.size) * _ARM_NOISE_RAD
    return noisy


def draw_objects(rng: np.random.Generator, placements: Sequence[Placement]) -> dict[str, FloatArray]:
    """Draw a pose for each object.

    Returns:
        Joint to (7,) position and quaternion (w, x, y, z), in the order of `placements`.

    Raises:
        RuntimeError: if an object found no free place in 5,000 tries.
    """
    poses: dict[str, FloatArray] = {}
    placed: list[tuple[Placement, FloatArray]] = []
    for placement in placements:
        position = _draw_position(rng, placement, placed)
        rotation = _draw_rotation(rng, placement)
        if placement.inside is not None:
            position[:2] = poses[placement.inside][:2]
        placed.append((placement, position))
        poses[placement.joint] = np.concatenate([position, rotation])
    return poses


def _draw_position(
    rng: np.random.Generator, placement: Placement, placed: list[tuple[Placement, FloatArray]]
) -> FloatArray:
    for _ in range(_MAX_TRIES):
        x = rng.uniform(*placement.x_range_m) + placement.origin_m[0]
        y = rng.uniform(*placement.y_range_m) + placement.origin_m[1]
        position = np.array([x, y, placement.z_m])
        if not placement.apart or not any(_overlap(placement, position, *other) for other in placed):
            return position
    raise RuntimeError(f"{placement.joint}: no free place found in {_MAX_TRIES} tries")


def _overlap(placement: Placement, position: FloatArray, other: Placement, other_position: FloatArray) -> bool:
    distance = np.linalg.norm(position[:2] - other_position[:2])
    near = distance <= other.radius_m + placement.radius_m
    return bool(near and position[2] - other_position[2] <= other.top_m - placement.bottom_m)


def _draw_rotation(rng: np.random.Generator, placement: Placement) -> FloatArray:
    """Draw a quaternion (w, x, y, z); robosuite multiplies in single precision, and as if w came last."""
    low, high = placement.angle_range_rad
    angle = rng.uniform(low, high)
    turn = np.zeros(4)
    turn[0], turn[placement.axis] = np.cos(angle / 2), np.sin(angle / 2)
    if not placement.either_way:
        return turn
    rng.random()  # robosuite draws one to find that the object has such a rotation, and another one to use
    x0, y0, z0, w0 = _HAMMER_ROTATIONS[int(rng.random() >= 0.5)]
    x1, y1, z1, w1 = turn
    product = [
        x1 * w0 + y1 * z0 - z1 * y0 + w1 * x0,
        -x1 * z0 + y1 * w0 + z1 * x0 + w1 * y0,
        x1 * y0 - y1 * x0 + z1 * w0 + w1 * z0,
        -x1 * x0 - y1 * y0 - z1 * z0 + w1 * w0,
    ]
    return np.array(product, dtype=np.float32).astype(np.float64)
