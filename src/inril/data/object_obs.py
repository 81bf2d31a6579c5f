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
from inril.errors import InputError

# Rounding stays far below; another order is off by tens of centimetres and has no unit quaternions.
_TOLERANCE_M = 0.01
_TOLERANCE_NORM = 0.001

_OBJECT_IN_HAND = {"pos": 3, "quat": 4, "pos_in_gripper": 3, "quat_in_gripper": 4}
# Parts in the order of robosuite 1.4.1, with their sizes.
_PARTS = {
    "lift": {"cube_pos": 3, "cube_quat": 4, "gripper_to_cube_pos": 3},
    "can": _OBJECT_IN_HAND,
    "square": _OBJECT_IN_HAND,
    "transport": {
        "payload_pos": 3,
        "payload_quat": 4,
        "trash_pos": 3,
        "trash_quat": 4,
        "lid_handle_pos": 3,
        "lid_handle_quat": 4,
        "target_bin_pos": 3,
        "trash_bin_pos": 3,
        "gripper0_to_payload": 3,
        "gripper0_to_lid_handle": 3,
        "gripper1_to_payload": 3,
        "gripper1_to_trash": 3,
        "payload_in_target_bin": 1,
        "trash_in_trash_bin": 1,
    },
}
_TRANSPORT = tuple(_PARTS["transport"])
# Their order in 1.5, where it is another one.
_ORDER_1_5 = {
    "can": ("pos_in_gripper", "quat_in_gripper", "pos", "quat"),
    "square": ("pos_in_gripper", "quat_in_gripper", "pos", "quat"),
    "transport": (*_TRANSPORT[:8], *_TRANSPORT[12:], *_TRANSPORT[8:12]),  # the two flags before the four vectors
}


def object_as_in_1_4(path: Path, group: str, task_id: str, obs: Mapping[str, Array], is_1_5: bool) -> Array:
    """Return the `object` observation in the order and signs of robosuite 1.4.1.

    Args:
        path: the file, for messages.
        group: where in the file the observations are, for messages.
        task_id: lift, can, square or transport.
        obs: observations of one episode by key, (N, .) each; positions in [m], quaternions (x, y, z, w).
        is_1_5: whether they come from robosuite 1.5, and not from 1.4.1.

    Returns:
        (N, D), of the size of `obs["object"]`.

    Raises:
        InputError: a quaternion has no unit norm, or relative positions do not fit the poses: the numbers stand in
            another order than that of the version.

    Source: `_setup_observables` of robosuite's environments in versions 1.4.1 and 1.5.0 to 1.5.2.
    """
    parts = _split(task_id, obs["object"], is_1_5)
    field = f"{group}/object"
    quats = {f"{group}/{key}": obs[key] for key in obs if key.endswith("_quat")}
    quats |= {f"{field} ({name})": part for name, part in parts.items() if name.split("_")[-1] == "quat"}
    _check_quaternions(path, quats)
    relative = _relative(task_id, obs, parts)
    _check_positions(path, field, _distance(task_id, obs, parts, relative, is_1_5))
    if is_1_5:
        parts |= relative
    return np.concatenate([parts[name] for name in _PARTS[task_id]], axis=1)


def _split(task_id: str, vector: Array, is_1_5: bool) -> dict[str, Array]:
    """Return the parts of an `object` vector by name, with the signs of 1.4.1."""
    sizes = _PARTS[task_id]
    order = _ORDER_1_5.get(task_id, tuple(sizes)) if is_1_5 else tuple(sizes)
    edges = np.cumsum([sizes[name] for name in order])[:-1]
    parts = dict(zip(order, np.split(vector, edges, axis=1), strict=True))
    if is_1_5 and task_id == "lift":
        parts["gripper_to_cube_pos"] = -parts["gripper_to_cube_pos"]
    return parts


def _relative(task_id: str, obs: Mapping[str, Array], parts: Mapping[str, Array]) -> dict[str, Array]:
    """Return the parts that are relative to a gripper, computed from the poses."""
    gripper0 = obs["robot0_eef_pos"]
    if task_id == "lift":
        return {"gripper_to_cube_pos": gripper0 - parts["cube_pos"]}  # points from the cube to the gripper, in 1.4.1
    if task_id == "transport":
        gripper1 = obs["robot1_eef_pos"]
        return {
            "gripper0_to_payload": parts["payload_pos"] - gripper0,
            "gripper0_to_lid_handle": parts["lid_handle_pos"] - gripper0,
            "gripper1_to_payload": parts["payload_pos"] - gripper1,
            "gripper1_to_trash": parts["trash_pos"] - gripper1,
        }
    to_gripper = Rotation.from_quat(obs["robot0_eef_quat"]).inv()
    quat = to_gripper * Rotation.from_quat(parts["quat"])
    return {
        "pos_in_gripper": to_gripper.apply(parts["pos"] - gripper0),
        "quat_in_gripper": quat.as_quat(canonical=True),  # w >= 0, as robosuite has it
    }


def _distance(
    task_id: str, obs: Mapping[str, Array], parts: Mapping[str, Array], relative: Mapping[str, Array], is_1_5: bool
) -> Array:
    """Return how far the recorded relative positions are from computed ones, (N,) in [m]."""
    distance = _apart(parts, relative)
    if is_1_5 and "pos_in_gripper" in parts:
        before = {name: np.roll(parts[name], 1, axis=0) for name in ("pos", "quat")}
        distance = np.minimum(distance, _apart(parts, _relative(task_id, obs, before)))
        distance[0] = 0.0  # no file says where the object was before the first step
    return distance


def _apart(parts: Mapping[str, Array], relative: Mapping[str, Array]) -> Array:
    positions = [name for name in relative if not name.startswith("quat")]
    errors: Array = np.stack([np.abs(parts[name] - relative[name]).max(axis=1) for name in positions])
    return np.asarray(errors.max(axis=0))


def _check_positions(path: Path, field: str, distance: Array) -> None:
    if distance.max() > _TOLERANCE_M:
        expected = f"positions relative to the gripper that fit the poses within {_TOLERANCE_M} m"
        got = f"{distance.max():.2f} m between them at step {distance.argmax()}"
        raise InputError(path, field=field, expected=expected, got=got)


def _check_quaternions(path: Path, quats: Mapping[str, Array]) -> None:
    for field, quat in quats.items():
        norm = np.linalg.norm(quat, axis=1)
        worst = int(np.abs(norm - 1).argmax())
        if abs(norm[worst] - 1) > _TOLERANCE_NORM:
            got = f"norm {norm[worst]:.3f} at step {worst}"
            raise InputError(path, field=field, expected="quaternions of unit norm", got=got)
