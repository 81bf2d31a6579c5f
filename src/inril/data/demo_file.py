"""Demonstration files in robomimic's HDF5 layout: the one format that learners read, whatever the source.

    data            attrs total, env_args (JSON: env_name, type, env_version, env_kwargs)
    data/demo_<i>   attrs num_samples; obs/<key> (N, .), actions (N, Da), rewards (N,), dones (N,),
                    states (N, Ds) where available
    mask/train      names of the demonstrations to learn from, by the default split; mask/valid those held out
    mask/<name>     others that the source tells apart, such as operators of one skill
    /               attrs content_sha256, inril_version, generator_version and what the source adds

An observation is the parts `obs/<key>` side by side, in the order of the task's `obs_keys`; Gym tasks have one, `flat`.
`dones` marks true terminal states only, never a time limit, unless the source records something else.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

import inril
from inril.config.base import TaskSpec
from inril.config.numerics import VERSIONS
from inril.config.runs import HoldoutConfig
from inril.data.env_args import check_task, env_args
from inril.data.hdf5 import Array, check_finite, check_shape, open_hdf5, read_array
from inril.data.layout import check_total, dataset_shapes, demo_names, read_demo, read_env_name
from inril.data.split import holdout_size, split_episodes
from inril.errors import InputError, WrongContent
from inril.files import write_atomically
from inril.types import FloatArray, IntArray

CONTENT_HASH = "content_sha256"  # attribute of a whole file: of all arrays, whatever their compression

Float32Array = npt.NDArray[np.float32]

_REMAKE = "Move it away and make the demonstrations again"
_COMPLETE = "`inril check-demos` says what a file of your own lacks, and completes a copy"


class Episode(NamedTuple):
    """One whole episode.

    Attributes:
        obs: (N, Do) observation that each action answers.
        action: (N, Da) executed actions.
        reward: (N,) what the environment paid for each.
        terminated: whether it ended in a terminal state (else at a time limit).
        states: (N, Ds) simulator states, where the source has them.
        dones: (N,) what the source calls done, where that is something else than `terminated`.
    """

    obs: Array
    action: Array
    reward: Array
    terminated: bool
    states: Array | None = None
    dones: Array | None = None


class Demos(NamedTuple):
    """What a learner may see: all episodes concatenated on time, without rewards.

    Attributes:
        obs: (N, Do) raw units.
        action: (N, Da) raw units.
        episode_ends: (n_episodes,) index after the last step of each episode.
        file: that they were read from; None for others.
    """

    obs: Float32Array
    action: Float32Array
    episode_ends: IntArray
    file: Path | None = None


class DemoReturns(NamedTuple):
    """Quality of demonstrations, for reports.

    Attributes:
        returns: (n_episodes,) undiscounted sums of rewards.
        lengths: (n_episodes,) steps.
    """

    returns: FloatArray
    lengths: IntArray


def write_demos(
    path: Path,
    task: TaskSpec,
    episodes: Sequence[Episode],
    provenance: Mapping[str, str | int | float],
    masks: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Write a demonstration file; it appears whole or not at all.

    Args:
        path: the file, replaced if it is there; its folder is made.
        task: names the environment and the dimensions.
        episodes: at least one, none empty.
        provenance: what the file's attributes record of the source, such as source and seed.
        masks: indices of episodes under names of their own, beside train and valid.

    Raises:
        InputError: an episode is empty, misshapen or not finite, the folder is not writable or the disk is full.
    """
    if not episodes:
        raise InputError(path, field="data", expected="at least one demonstration", got="none")
    digest = hashlib.sha256()
    # Built in memory (compressed, some 50 MB for a million steps): HDF5 does not recover from a failed write. In the
    # format of HDF5 1.10: older ones spend kilobytes of index on each small dataset, a third of the file.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        data = file.create_group("data")
        for index, episode in enumerate(episodes):
            arrays = _episode_arrays(path, task, index, episode)
            _update_hash(digest, arrays)
            _write_demo(data.create_group(f"demo_{index}"), arrays)
        data.attrs["total"] = sum(len(episode.action) for episode in episodes)
        data.attrs["env_args"] = json.dumps(env_args(task))
        _write_masks(file, len(episodes), masks or {})
        file.attrs.update(provenance)
        file.attrs["generator_version"] = VERSIONS["demos"]
        file.attrs["inril_version"] = inril.__version__
        file.attrs[CONTENT_HASH] = digest.hexdigest()
    write_atomically(path, buffer.getbuffer())


def read_demos(path: Path, task: TaskSpec) -> Demos:
    """Read and check a demonstration file.

    Args:
        path: file in the layout above.
        task: task that the demonstrations must belong to.

    Raises:
        InputError: naming the file, the HDF5 group, what was expected and what was found.
        WrongContent: it is damaged, or its arrays are not those that its hash was taken of.
    """
    digest = hashlib.sha256()
    obs, action = [], []
    obs_parts = [f"obs/{key}" for key in task.obs_layout]
    with open_hdf5(path, hint=_REMAKE) as file:
        hint = _REMAKE if "inril_version" in file.attrs else _COMPLETE
        check_task(path, task, read_env_name(file, path, hint))
        for name in demo_names(file, path, hint):
            arrays = read_demo(file, path, name, task, hint)
            _update_hash(digest, arrays)
            obs.append(np.concatenate([arrays[part] for part in obs_parts], axis=1, dtype=np.float32))
            action.append(arrays["actions"].astype(np.float32, copy=False))
        ends = np.cumsum([len(part) for part in obs], dtype=np.int64)
        check_total(file, path, int(ends[-1]), hint)
        recorded = file.attrs.get(CONTENT_HASH, "nothing there")
    if recorded != digest.hexdigest():
        expected = f"the hash of the arrays, {digest.hexdigest()}"
        raise WrongContent(path, field=CONTENT_HASH, expected=expected, got=str(recorded), hint=hint)
    return Demos(np.concatenate(obs), np.concatenate(action), ends, path)


def demo_returns(path: Path) -> DemoReturns:
    """Read the return and length of each demonstration.

    Raises:
        InputError: as `read_demos`.
    """
    with open_hdf5(path, hint=_REMAKE) as file:
        rewards = [read_array(file, path, f"data/{name}/rewards", (None,)) for name in demo_names(file, path, _REMAKE)]
    returns = np.array([reward.sum(dtype=np.float64) for reward in rewards])
    return DemoReturns(returns, np.array([len(reward) for reward in rewards], dtype=np.int64))


def read_provenance(path: Path) -> dict[str, str | int | float]:
    """Read what a file's attributes record: source, versions, content hash and so on.

    Raises:
        InputError: the file is missing or not HDF5.
    """
    with open_hdf5(path, hint=_REMAKE) as file:
        return {key: value.item() if isinstance(value, np.generic) else value for key, value in file.attrs.items()}


def mean_return(episodes: Sequence[Episode]) -> float:
    """Return the mean undiscounted return, as the file will hold it."""
    return float(np.mean([episode.reward.sum(dtype=np.float64) for episode in episodes]))


def _episode_arrays(path: Path, task: TaskSpec, index: int, episode: Episode) -> dict[str, Array]:
    n_steps = len(episode.action)
    if not n_steps:
        raise InputError(path, field=f"data/demo_{index}", expected="at least one step", got="none")
    dones = np.zeros(n_steps, dtype=np.uint8)
    dones[-1] = episode.terminated
    if episode.dones is not None:
        dones = np.asarray(episode.dones, dtype=np.uint8)
    edges = np.cumsum([*task.obs_layout.values()])[:-1]
    obs_parts = np.split(np.asarray(episode.obs, dtype=np.float32), edges, axis=-1)
    arrays: dict[str, Array] = {
        "actions": np.asarray(episode.action, dtype=np.float32),
        **{f"obs/{key}": part for key, part in zip(task.obs_layout, obs_parts, strict=True)},
        "rewards": np.asarray(episode.reward, dtype=np.float32),
        "dones": dones,
    }
    if episode.states is not None:
        arrays["states"] = np.asarray(episode.states)
    shapes = dataset_shapes(task, n_steps)
    for name, array in arrays.items():
        field = f"data/demo_{index}/{name}"
        check_shape(array.shape, shapes[name], path, field)
        check_finite(array, path, field)
    return arrays


def _update_hash(digest: hashlib._Hash, arrays: Mapping[str, Array]) -> None:
    # Over the arrays and not the file, whose bytes also depend on compression and on HDF5's version.
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())


def _write_demo(group: h5py.Group, arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        group.create_dataset(name, data=array, chunks=array.shape, compression="gzip", shuffle=True)
    group.attrs["num_samples"] = len(arrays["actions"])


def _write_masks(file: h5py.File, n_episodes: int, masks: Mapping[str, Sequence[int]]) -> None:
    parts: dict[str, Sequence[int] | IntArray] = {"train": np.arange(n_episodes)}
    if n_episodes > holdout_size(n_episodes, HoldoutConfig()):
        parts["train"], parts["valid"] = split_episodes(n_episodes, HoldoutConfig())
    mask = file.create_group("mask")  # made in passing, it would record the time: the same content is the same file
    for part, ids in (*parts.items(), *masks.items()):
        mask[part] = np.array([f"demo_{i}" for i in ids], dtype="S")
