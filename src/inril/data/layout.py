"""Reading robomimic's HDF5 layout, whoever wrote the file: each function finds one fault and says which."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from inril.config.base import TaskSpec
from inril.data.hdf5 import Array, read_array
from inril.errors import InputError

_DEMO_NAME = re.compile(r"demo_(\d+)")
_RENAMED = {"train": "robomimic_train", "valid": "robomimic_valid"}  # the project holds out its own part


def dataset_shapes(task: TaskSpec, n_steps: int | None) -> dict[str, tuple[int | None, ...]]:
    """Return the shape of every dataset of a demonstration, in the order in which they are hashed."""
    return {
        "actions": (n_steps, task.action_dim),
        **{f"obs/{key}": (n_steps, size) for key, size in task.obs_layout.items()},
        "rewards": (n_steps,),
        "dones": (n_steps,),
        "states": (n_steps, None),
    }


def demo_names(file: h5py.File, path: Path, hint: str) -> list[str]:
    """Return the names of the demonstrations in order of their numbers.

    Raises:
        InputError: there are none, or something else stands among them.
    """
    names = list(_data_group(file, path, hint))
    if not names:
        raise InputError(path, field="data", expected="at least one demonstration", got="none", hint=hint)
    for name in names:
        if not _DEMO_NAME.fullmatch(name):
            raise InputError(path, field=f"data/{name}", expected="a name like demo_0", got=repr(name), hint=hint)
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def read_demo(file: h5py.File, path: Path, name: str, task: TaskSpec, hint: str) -> dict[str, Array]:
    """Read the arrays of one demonstration, as they are; `states` may be missing.

    Raises:
        InputError: an array is missing, misshapen or not finite, or `num_samples` is there and not their length.
    """
    group = f"data/{name}"
    arrays: dict[str, Array] = {}
    n_steps = None
    for dataset, shape in dataset_shapes(task, None).items():
        if dataset == "states" and "states" not in file[group]:
            continue
        arrays[dataset] = read_array(file, path, f"{group}/{dataset}", (n_steps, *shape[1:]))
        n_steps = len(arrays["actions"])
    if not n_steps:
        raise InputError(path, field=group, expected="at least one step", got="none", hint=hint)
    _check_count(file[group], path, "num_samples", n_steps, hint)
    return arrays


def read_masks(file: h5py.File, names: Sequence[str]) -> dict[str, list[int]]:
    """Return the filter keys that name any of the demonstrations, and the indices of these."""
    index = {name.encode(): i for i, name in enumerate(names)}
    masks: dict[str, list[int]] = {}
    for key, node in file.get("mask", {}).items():
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "SO":
            members = sorted(index[name] for name in np.unique(node[()]) if name in index)
            if members:
                masks[_RENAMED.get(key, key)] = members
    return masks


def check_total(file: h5py.File, path: Path, n_steps: int, hint: str) -> None:
    """Raise InputError where a file says that it has another number of steps than were found."""
    _check_count(file["data"], path, "total", n_steps, hint)


def read_env_args(file: h5py.File, path: Path, hint: str) -> Any:
    """Return what a file says about its environment.

    Raises:
        InputError: it is not JSON.
    """
    text = _data_group(file, path, hint).attrs.get("env_args", "{}")
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        raise InputError(path, field="data@env_args", expected="JSON", got=repr(text), hint=hint) from None


def read_env_name(file: h5py.File, path: Path, hint: str) -> str | None:
    """Return the name of the environment that a file says it is of; None where it names none.

    Raises:
        InputError: what it says is not JSON.
    """
    found = read_env_args(file, path, hint)
    name = found.get("env_name") if isinstance(found, dict) else None
    return None if name is None else str(name)


def _check_count(group: h5py.Group, path: Path, name: str, n_steps: int, hint: str) -> None:
    got = str(group.attrs.get(name, n_steps))
    if got != str(n_steps):
        raise InputError(path, field=f"{group.name[1:]}@{name}", expected=str(n_steps), got=got, hint=hint)


def _data_group(file: h5py.File, path: Path, hint: str) -> h5py.Group:
    data = file.get("data")
    if not isinstance(data, h5py.Group):
        got = "nothing there" if data is None else "a dataset"
        raise InputError(path, field="data", expected="a group", got=got, hint=hint)
    return data
