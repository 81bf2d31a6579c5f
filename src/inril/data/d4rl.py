"""Demonstrations from D4RL: one flat recording of a medium policy, downloaded and cut into episodes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import h5py
import numpy as np

from inril.config.base import TaskSpec
from inril.config.runs import DemosConfig
from inril.data.demo_file import Episode, mean_return, write_demos
from inril.data.download import ANEW, fetch
from inril.data.hdf5 import Array, check_hdf5, open_hdf5, read_array
from inril.errors import InputError

_STATE_PARTS = ("infos/qpos", "infos/qvel")


def download_d4rl(cfg: DemosConfig, out: Path) -> None:
    """Download a task's D4RL file beside `out`, convert it and write the demonstrations.

    Args:
        cfg: task, address, checksum and number of episodes.
        out: the demonstration file.

    Raises:
        InputError: the download fails, its checksum differs, or it is no such recording.
    """
    url = cfg.url if cfg.url is not None else _default_url(cfg.task.id)
    recording = out.parent / (PurePosixPath(urlparse(url).path).name or "d4rl.hdf5")
    if recording == out:
        recording = out.with_name(f"downloaded_{out.name}")
    fetch(url, recording, cfg.sha256, check_hdf5)
    episodes = read_d4rl(recording, cfg.task, cfg.max_episodes)
    write_demos(out, cfg.task, episodes, {"source": "d4rl", "url": url, "mean_return": mean_return(episodes)})


def read_d4rl(path: Path, task: TaskSpec, max_episodes: int | None = None) -> list[Episode]:
    """Cut a D4RL recording into episodes, as the reference does.

    An episode ends where `terminals` or `timeouts` says so. What follows the last end is dropped, and so are episodes
    whose rewards do not sum to more than 0.

    Args:
        path: HDF5 file with flat observations, actions, rewards, terminals, timeouts, maybe infos/qpos and infos/qvel.
        task: gives the dimensions.
        max_episodes: keep only the first ones; None keeps all.

    Raises:
        InputError: naming the file, the dataset, what was expected and what was found.

    Source: DPPO, script/dataset/.
    """
    with open_hdf5(path, ANEW) as file:
        action = read_array(file, path, "actions", (None, task.action_dim))
        obs = read_array(file, path, "observations", (len(action), task.obs_dim))
        reward, terminal, timeout = (
            read_array(file, path, name, (len(action),)) for name in ("rewards", "terminals", "timeouts")
        )
        states = _read_states(file, path, len(action))
    ends = np.flatnonzero((terminal != 0) | (timeout != 0)) + 1
    starts = np.concatenate([[0], ends])[:-1]
    episodes = [
        Episode(obs[i:j], action[i:j], reward[i:j], bool(terminal[j - 1]), None if states is None else states[i:j])
        for i, j in zip(starts, ends, strict=True)
        if reward[i:j].sum() > 0
    ]
    if not episodes:
        expected = "at least one whole episode with a positive return"
        raise InputError(path, field="terminals, timeouts", expected=expected, got="none")
    return episodes[:max_episodes]


def _read_states(file: h5py.File, path: Path, n_steps: int) -> Array | None:
    if not all(part in file for part in _STATE_PARTS):
        return None
    return np.concatenate([read_array(file, path, part, (n_steps, None)) for part in _STATE_PARTS], axis=1)


def _default_url(task_id: str) -> str:
    from inril.data.thirdparty import d4rl_url  # d4rl imports slowly, and only this source needs it

    return d4rl_url(task_id)
