"""Demonstrations from robomimic: its low-dimensional files, downloaded and brought into the project's layout.

Two layouts are known: that of the v1.4.1 files, which the reference and the paper used, and that of the v1.5 files.
Whatever else a file says about its task, robots or controller is refused: the numbers would mean something else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlparse

import h5py
import numpy as np

from inril.config.base import TaskSpec
from inril.config.runs import DemosConfig
from inril.data.demo_file import Episode, mean_return, write_demos
from inril.data.download import ANEW, fetch
from inril.data.env_args import LAYOUT_VERSION, robomimic_task
from inril.data.hdf5 import Array, check_hdf5, open_hdf5
from inril.data.layout import check_total, demo_names, read_demo, read_env_args, read_masks
from inril.data.object_obs import object_as_in_1_4
from inril.data.robomimic_env import robosuite_version
from inril.errors import InputError


class RobomimicDemos(NamedTuple):
    """What a file of robomimic's holds.

    Attributes:
        episodes: in the order of their numbers, observed as in robosuite 1.4.1.
        masks: indices of episodes by filter key.
        version: of robosuite, as the file names it.
    """

    episodes: list[Episode]
    masks: dict[str, list[int]]
    version: str


def download_robomimic(cfg: DemosConfig, out: Path) -> None:
    """Download a task's robomimic file beside `out`, convert it and write the demonstrations.

    Args:
        cfg: task, quality, address, checksum and number of episodes.
        out: the demonstration file.

    Raises:
        InputError: the download fails, its checksum differs, or the file is not what `read_robomimic` knows.
    """
    url = cfg.url if cfg.url is not None else _default_url(cfg.task.id, cfg.quality)
    path = recording(url, out)
    fetch(url, path, cfg.sha256, check_hdf5)
    episodes, masks, version = read_robomimic(path, cfg.task, cfg.max_episodes, ANEW)
    origin = {"source": "robomimic", "url": url, "robosuite_version": version}
    write_demos(out, cfg.task, episodes, {**origin, "mean_return": mean_return(episodes)}, masks)


def read_robomimic(path: Path, task: TaskSpec, max_episodes: int | None = None, hint: str = "") -> RobomimicDemos:
    """Read a low-dimensional file of robomimic's, for robosuite 1.4.1 or 1.5.

    Rewards and dones are taken as they are. No episode counts as terminated: the simulation goes on after a success,
    and the reference stores no terminal state either.

    Args:
        path: the HDF5 file.
        task: the Robomimic task that it must be of.
        max_episodes: keep only the first ones; None keeps all.
        hint: what to do where what it holds is unusable.

    Raises:
        InputError: naming the file, the group, what was expected and what was found.

    Source: robomimic 0.3.0, scripts/dataset_states_to_obs.py; DPPO, script/dataset/process_robomimic_dataset.py.
    """
    with open_hdf5(path, hint) as file:
        version = robosuite_version(path, task, read_env_args(file, path, hint))
        names = demo_names(file, path, hint)
        episodes = [_read_episode(file, path, name, task, version, hint) for name in names]
        check_total(file, path, sum(len(episode.action) for episode in episodes), hint)
        masks = read_masks(file, names[:max_episodes])
    return RobomimicDemos(episodes[:max_episodes], masks, version)


def _read_episode(file: h5py.File, path: Path, name: str, task: TaskSpec, version: str, hint: str) -> Episode:
    arrays = read_demo(file, path, name, task, hint)
    group = f"data/{name}"
    _check_actions(path, f"{group}/actions", arrays["actions"])
    obs = {key: arrays[f"obs/{key}"] for key in task.obs_layout}
    obs["object"] = object_as_in_1_4(path, f"{group}/obs", robomimic_task(task), obs, version != LAYOUT_VERSION)
    return Episode(
        obs=np.concatenate([obs[key] for key in task.obs_layout], axis=1),
        action=arrays["actions"],
        reward=arrays["rewards"],
        terminated=False,
        states=arrays.get("states"),
        dones=arrays["dones"],
    )


def _check_actions(path: Path, field: str, action: Array) -> None:
    outside = np.argwhere(np.abs(action) > 1)
    if len(outside):
        index = tuple(int(i) for i in outside[0])
        raise InputError(path, field=field, expected="numbers in [-1, 1]", got=f"{action[index]} at index {index}")


def recording(url: str, out: Path) -> Path:
    """Return where a download goes. Files of all tasks and qualities share few names, so the address is part of it."""
    name = PurePosixPath(PurePosixPath(urlparse(url).path).name or "robomimic.hdf5")
    return out.with_name(f"{name.stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}{name.suffix}")


def _default_url(task_id: str, quality: str) -> str:
    from inril.data.thirdparty import robomimic_url  # robomimic imports slowly, and only this source needs it

    return robomimic_url(task_id, quality)
