"""Demonstrations of one's own: a file in robomimic's layout, checked, and completed to what training reads.

What such a file may lack is what the project writes beside the data: the hash of the contents, the number of steps,
the filter keys `train` and `valid`, and, where the task is told otherwise, `env_args`. The file itself is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from inril.config.base import TaskSpec
from inril.config.runs import DemosConfig
from inril.data.demo_file import CONTENT_HASH, Episode, mean_return, read_demos, write_demos
from inril.data.env_args import check_task, env_name, is_called
from inril.data.hdf5 import open_hdf5
from inril.data.layout import check_total, demo_names, read_demo, read_env_name, read_masks
from inril.data.robomimic import read_robomimic
from inril.errors import InputError, WrongContent


class OwnDemos(NamedTuple):
    """What a file of one's own holds.

    Attributes:
        episodes: in the order of their numbers; of a Robomimic task observed as in robosuite 1.4.1.
        masks: indices of episodes by filter key.
        about: what else a copy records of it.
    """

    episodes: list[Episode]
    masks: dict[str, list[int]]
    about: dict[str, str]


def copy_demos(cfg: DemosConfig, out: Path) -> None:
    """Write the demonstrations that a task's settings name.

    Args:
        cfg: task, file and number of episodes.
        out: the demonstration file.

    Raises:
        InputError: as `read_own_demos`, or `out` is the file itself or cannot be written.
    """
    assert cfg.path is not None
    write_own_demos(out, cfg.path, cfg.task, read_own_demos(cfg.path, cfg.task, cfg.max_episodes))


def write_own_demos(out: Path, path: Path, task: TaskSpec, demos: OwnDemos) -> None:
    """Write a completed copy.

    Args:
        out: the demonstration file.
        path: the file that they were read from.
        task: that they are of.
        demos: what was read.

    Raises:
        InputError: `out` is that file or cannot be written.
    """
    if out.exists() and out.samefile(path):
        raise InputError(out, expected="a place for the copy", got="the file itself", hint="It is left as it is")
    origin = {"source": "file", "file": path.name, **demos.about}
    write_demos(out, task, demos.episodes, {**origin, "mean_return": mean_return(demos.episodes)}, demos.masks)


def read_own_demos(path: Path, task: TaskSpec, max_episodes: int | None = None) -> OwnDemos:
    """Read a file of one's own.

    Args:
        path: HDF5 file in robomimic's layout; rewards and dones are taken as they are.
        task: that it must be of.
        max_episodes: keep only the first ones; None keeps all.

    Raises:
        InputError: naming the file, the group, what was expected and what was found.
    """
    if _has_hash(path):
        _verify(path, task)
    if task.suite == "robomimic":
        episodes, masks, version = read_robomimic(path, task, max_episodes)
        return OwnDemos(episodes, masks, {"robosuite_version": version})
    with open_hdf5(path) as file:
        if (name := read_env_name(file, path, "")) is not None:  # else the settings alone say of which task it is
            check_task(path, task, name)
        names = demo_names(file, path, "")
        episodes = [_read_episode(file, path, name, task) for name in names]
        check_total(file, path, sum(len(episode.action) for episode in episodes), "")
        return OwnDemos(episodes[:max_episodes], read_masks(file, names[:max_episodes]), {})


def find_task(path: Path, tasks: Sequence[TaskSpec]) -> TaskSpec:
    """Return the task that a file names.

    Raises:
        InputError: the file names none of them, or cannot be read.
    """
    with open_hdf5(path) as file:
        name = read_env_name(file, path, "")
    for task in tasks:
        if name is not None and is_called(task, name):
            return task
    known = f"one of {', '.join(env_name(task) for task in tasks)}"
    got = "nothing there" if name is None else repr(name)
    raise InputError(path, field="data@env_args.env_name", expected=known, got=got, hint="Or name the task: --task")


def _verify(path: Path, task: TaskSpec) -> None:
    try:
        read_demos(path, task)
    except WrongContent as wrong:
        hint = f"If you changed it on purpose, remove {CONTENT_HASH} from it" if wrong.field == CONTENT_HASH else ""
        raise WrongContent(path, field=wrong.field, expected=wrong.expected, got=wrong.got, hint=hint) from None


def _has_hash(path: Path) -> bool:
    with open_hdf5(path) as file:
        return CONTENT_HASH in file.attrs


def _read_episode(file: h5py.File, path: Path, name: str, task: TaskSpec) -> Episode:
    arrays = read_demo(file, path, name, task, "")
    return Episode(
        obs=np.concatenate([arrays[f"obs/{key}"] for key in task.obs_layout], axis=1),
        action=arrays["actions"],
        reward=arrays["rewards"],
        terminated=bool(arrays["dones"][-1]),
        states=arrays.get("states"),
        dones=arrays["dones"],
    )
