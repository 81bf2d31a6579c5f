"""The `object` observation of robosuite 1.4 and 1.5, in the order and signs of 1.4.1, which are the project's.

Both versions observe the same poses in vectors of the same size, so nothing fails where they are mixed up: a policy
just learns from the wrong numbers. Version 1.5 differs in three ways. It orders the parts of Can, Square and Transport
differently; Lift's vector between gripper and cube has the opposite sign; and Can's and Square's pose in the gripper's
frame pairs the gripper with where the object was one step before. So positions and orientations are taken as they are,
and what is relative in a 1.5 file is computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from inril.data.hdf5 import Array
from inril.envs.robomimic.tasks import LIFT, TRANSPORT, RobomimicTask
from inril.errors import InputError

# Rounding stays far below; another order is off by tens of centimetres and has no unit quaternions.
_TOLERANCE_M = 0.01
_TOLERANCE_NORM = 0.001


def object_as_in_1_4(path: Path, group: str, task: RobomimicTask, obs: Mapping[str, Array], version_1_5: bool) -> Array:
    """Return the `object` observation in the order and signs of robosuite 1.4.1.

    Args:
        path: the file, for messages.
        group: where in the file the observations are, for messages.
        task: the task.
        obs: observations of one episode by key, (N, .) each; positions in [m], quaternions (x, y, z, w).
        version_1_5: whether they come from robosuite 1.5, and not from 1.4.1.

    Returns:
        (N, D), of the size of `obs["object"]`.

    Raises:
        InputError: a quaternion has no unit norm, or relative positions do not fit the poses: the numbers stand in
            another order than that of the version.

    Source: `_setup_observables` of robosuite's environments in versions 1.4.1 and 1.5.0 to 1.5.2.
    """
    parts = _split(task, obs["object"], version_1_5)
    named = {f"{group}/{key}": array for key, array in obs.items()}
    named |= {f"{group}/object ({name})": part for name, part in parts.items() if "_to_" not in name}
    for field, array in named.items():
        if "_quat" in field:
            _check_norm(path, field, array)
    _check_distance(path, f"{group}/object", _distance(task, obs, parts, version_1_5))
    if version_1_5:
        parts |= _relative(task, obs, parts)
    return np.concatenate([parts[name] for name in task.object_layout], axis=1)


def _split(task: RobomimicTask, vector: Array, version_1_5: bool) -> dict[str, Array]:
    """Return the parts of an `object` vector by name, with the signs of 1.4.1."""
    order = tuple(task.object_layout)
    if version_1_5 and task is TRANSPORT:
        order = (*order[:8], *order[12:], *order[8:12])  # the two flags before the four differences
    elif version_1_5 and task is not LIFT:
        order = (*order[2:], *order[:2])  # the relative pose before the pose
    edges = np.cumsum([task.object_layout[name] for name in order])[:-1]
    parts = dict(zip(order, np.split(vector, edges, axis=1), strict=True))
    if version_1_5 and task is LIFT:
        parts["gripper_to_cube_pos"] = -parts["gripper_to_cube_pos"]
    return parts


def _relative(task: RobomimicTask, obs: Mapping[str, Array], parts: Mapping[str, Array]) -> dict[str, Array]:
    """Return the parts that are relative to a gripper, computed from the poses."""
    gripper0 = obs["robot0_eef_pos"]
    if task is LIFT:
        return {"gripper_to_cube_pos": gripper0 - parts["cube_pos"]}  # in spite of its name
    if task is TRANSPORT:
        gripper1 = obs["robot1_eef_pos"]
        return {
            "gripper0_to_payload": parts["payload_pos"] - gripper0,
            "gripper0_to_lid_handle": parts["lid_handle_pos"] - gripper0,
            "gripper1_to_payload": parts["payload_pos"] - gripper1,
            "gripper1_to_trash": parts["trash_pos"] - gripper1,
        }
    pos, quat, relative_pos, relative_quat = task.object_layout
    to_gripper = Rotation.from_quat(obs["robot0_eef_quat"]).inv()
    return {
        relative_pos: to_gripper.apply(parts[pos] - gripper0),
        relative_quat: (to_gripper * Rotation.from_quat(parts[quat])).as_quat(canonical=True),  # w >= 0
    }


def _distance(task: RobomimicTask, obs: Mapping[str, Array], parts: Mapping[str, Array], version_1_5: bool) -> Array:
    """Return how far the recorded relative positions are from where the poses put them, (N,) in [m]."""
    distance = _apart(parts, _relative(task, obs, parts))
    if version_1_5 and task not in (LIFT, TRANSPORT):
        pos, quat, *_ = task.object_layout
        before = {name: np.roll(parts[name], 1, axis=0) for name in (pos, quat)}
        distance = np.minimum(distance, _apart(parts, _relative(task, obs, before)))
        distance[0] = 0.0  # no file says where the object was before the first step
    return distance


def _apart(parts: Mapping[str, Array], relative: Mapping[str, Array]) -> Array:
    positions = [name for name, part in relative.items() if part.shape[1] == 3]
    errors: Array = np.stack([np.abs(parts[name] - relative[name]).max(axis=1) for name in positions])
    return np.asarray(errors.max(axis=0))


def _check_norm(path: Path, field: str, quat: Array) -> None:
    norm = np.linalg.norm(quat, axis=1)
    worst = int(np.abs(norm - 1).argmax())
    if abs(norm[worst] - 1) > _TOLERANCE_NORM:
        got = f"norm {norm[worst]:.3f} at step {worst}"
        raise InputError(path, field=field, expected="quaternions of unit norm", got=got)


def _check_distance(path: Path, field: str, distance: Array) -> None:
    if distance.max() > _TOLERANCE_M:
        expected = f"positions relative to the gripper that fit the poses within {_TOLERANCE_M} m"
        got = f"{distance.max():.2f} m between them at step {distance.argmax()}"
        raise InputError(path, field=field, expected=expected, got=got)
