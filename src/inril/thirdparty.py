"""The two libraries that name public demonstrations, D4RL and robomimic, behind three functions.

Both are installed without their own requirements (see requirements.in), and only those parts of them are touched that
need neither mujoco_py nor torchvision. They are imported on first use: each takes up to a second.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from inril.data.hdf5 import open_hdf5
from inril.errors import InputError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

_D4RL_SUFFIX = "-medium-v2"


def d4rl_url(task_id: str) -> str:
    """Return the address of D4RL's medium (v2) dataset of a locomotion task.

    Args:
        task_id: hopper, walker2d, halfcheetah or another task that D4RL has such data of.

    Raises:
        InputError: D4RL has none for this task.
    """
    # d4rl imports every suite that it can and reports the others; gym announces its end. Neither concerns the user.
    os.environ.setdefault("D4RL_SUPPRESS_IMPORT_ERROR", "1")
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        from d4rl.infos import DATASET_URLS

    urls: dict[str, str] = {
        name.removesuffix(_D4RL_SUFFIX): url for name, url in DATASET_URLS.items() if name.endswith(_D4RL_SUFFIX)
    }
    if task_id not in urls:
        raise _unknown("d4rl", "task", task_id, urls)
    return urls[task_id]


def robomimic_url(task_id: str, quality: str) -> str:
    """Return the address of robomimic's low-dimensional demonstrations of a task.

    Args:
        task_id: lift, can, square, transport or tool_hang.
        quality: who demonstrated: ph (one proficient human) or mh (several humans), where robomimic has it.

    Raises:
        InputError: robomimic has no such task, or no such data of it.
    """
    from robomimic import DATASET_REGISTRY

    urls: dict[str, dict[str, str]] = {
        task: {name: files["low_dim"]["url"] for name, files in kinds.items() if "low_dim" in files}
        for task, kinds in DATASET_REGISTRY.items()
    }
    urls = {task: kinds for task, kinds in urls.items() if kinds}
    if task_id not in urls:
        raise _unknown("robomimic", "task", task_id, urls)
    if quality not in urls[task_id]:
        raise _unknown(f"robomimic: {task_id}", "quality", quality, urls[task_id])
    return urls[task_id][quality]


def sequence_dataset(
    path: Path, *, seq_length: int = 1, frame_stack: int = 1, filter_key: str | None = None
) -> Dataset[dict[str, Any]]:
    """Open a demonstration file with robomimic's own reader: the proof that a file fits its layout.

    robomimic keeps the kinds of observations in a global table; this call replaces it by those of this file.

    Args:
        path: HDF5 file in robomimic's layout.
        seq_length: steps per item, padded at an episode's end.
        frame_stack: observations per item before the first step, padded at an episode's start.
        filter_key: name under `mask/` of the demonstrations to use; None takes all.

    Raises:
        InputError: the file is missing or not HDF5, or has no demonstrations or no such filter key.
    """
    with open_hdf5(path) as file:
        obs_keys = _obs_keys(file, path)
        masks = sorted(file.get("mask", {}))
        if filter_key is not None and filter_key not in masks:
            raise _unknown(str(path), "mask", filter_key, masks)

    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    with redirect_stdout(io.StringIO()):  # it prints the table
        obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": obs_keys}})
    dataset: Dataset[dict[str, Any]] = SequenceDataset(
        hdf5_path=str(path),
        obs_keys=obs_keys,
        dataset_keys=("actions", "rewards", "dones"),
        seq_length=seq_length,
        frame_stack=frame_stack,
        filter_by_attribute=filter_key,
        load_next_obs=False,
        hdf5_use_swmr=False,  # with it, no ordinary reader of this process could open the file beside it
    )
    return dataset


def _obs_keys(file: h5py.File, path: Path) -> list[str]:
    """Names of the observations of a file's first demonstration; all have the same."""
    demos = file.get("data")
    if not isinstance(demos, h5py.Group) or not len(demos):
        raise InputError(path, field="data", expected="demonstrations", got="none")
    name = next(iter(demos))
    obs = demos[name].get("obs")
    if not isinstance(obs, h5py.Group):
        raise InputError(path, field=f"data/{name}/obs", expected="a group of observations", got="nothing there")
    return sorted(obs)


def _unknown(where: str, field: str, got: str, choices: Sequence[str] | dict[str, Any]) -> InputError:
    return InputError(where, field=field, expected=f"one of {', '.join(sorted(choices)) or 'none'}", got=repr(got))
