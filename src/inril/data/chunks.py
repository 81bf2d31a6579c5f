"""Windows of demonstrations: index maths, and the training data made from it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inril.config.runs import HoldoutConfig
from inril.data.demo_file import Demos
from inril.data.normalizer import Normalizer
from inril.data.split import split_episodes
from inril.errors import InputError
from inril.types import IntArray


class DemoBatch(NamedTuple):
    """Pairs to imitate, normalised.

    Attributes:
        obs: (B, Do) observation at the start of the chunk.
        action_chunk: (B, Tp, Da) the demonstrator's next actions.
    """

    obs: Tensor
    action_chunk: Tensor


class ChunkDataset:
    """All chunks of some episodes, cut out of the flat arrays only when they are asked for.

    Args:
        obs: (N, Do) normalised float32.
        action: (N, Da) normalised float32.
        starts: (n,) first step of each chunk.
        horizon_steps: Tp.

    Raises:
        InputError: there is no chunk.
    """

    def __init__(self, obs: Tensor, action: Tensor, starts: IntArray, horizon_steps: int) -> None:
        if not len(starts):
            expected = f"an episode of at least {horizon_steps} steps"
            raise InputError("demonstrations", field="episodes", expected=expected, got="shorter ones only")
        self._obs = obs
        self._action = action
        self._starts = torch.from_numpy(starts).to(obs.device)
        self._offsets = torch.arange(horizon_steps, device=obs.device)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Tensor) -> DemoBatch:
        """Return the chunks `index` (B,) int64."""
        starts = self._starts[index]
        return DemoBatch(self._obs[starts], self._action[starts[:, None] + self._offsets])

    def sample(self, generator: torch.Generator, batch_size: int) -> DemoBatch:
        """Draw chunks uniformly, with replacement."""
        index = torch.randint(len(self), (batch_size,), generator=generator, device=generator.device)
        return self[index.to(self._starts.device)]


class SplitDemos(NamedTuple):
    """Demonstrations ready for learning.

    Attributes:
        train: what is imitated.
        holdout: what measures generalisation; disjoint episodes.
        normalizer: fitted on `train` alone, or the one that was given.
        file: that they were read from; None for others.
    """

    train: ChunkDataset
    holdout: ChunkDataset
    normalizer: Normalizer
    file: Path | None = None


def split_demos(
    demos: Demos,
    horizon_steps: int,
    holdout: HoldoutConfig,
    seed: int = 0,
    normalizer: Normalizer | None = None,
    device: torch.device | str = "cpu",
    range_floor: float | None = None,
    clip: float | None = None,
) -> SplitDemos:
    """Split by episode, normalise and cut into chunks.

    Args:
        demos: raw demonstrations.
        horizon_steps: Tp.
        holdout: how many episodes to hold out.
        seed: seed of the split, see `split_episodes`.
        normalizer: that of a pre-trained policy; None fits one.
        device: where the arrays and the normaliser go.
        range_floor: of a normaliser that is fitted, see `Normalizer.fit`.
        clip: of a normaliser that is fitted, see `Normalizer`.

    Raises:
        InputError: there are too few episodes, or only episodes shorter than the horizon.
    """
    train_ids, holdout_ids = split_episodes(len(demos.episode_ends), holdout, seed)
    if normalizer is None:
        steps = episode_steps(demos.episode_ends, train_ids)
        normalizer = Normalizer.fit(demos.obs[steps], demos.action[steps], range_floor)
        normalizer.clip = clip
    normalizer = normalizer.to(device)
    obs = normalizer.normalize_obs(torch.from_numpy(demos.obs).to(device))  # (N, Do)
    action = normalizer.normalize_action(torch.from_numpy(demos.action).to(device))  # (N, Da)
    train, held_out = (
        ChunkDataset(obs, action, chunk_starts(demos.episode_ends, horizon_steps, ids), horizon_steps)
        for ids in (train_ids, holdout_ids)
    )
    return SplitDemos(train, held_out, normalizer, demos.file)


def chunk_starts(episode_ends: IntArray, horizon_steps: int, episode_ids: IntArray) -> IntArray:
    """Return every step at which a whole chunk begins inside its episode; nothing is padded.

    Args:
        episode_ends: (n_episodes,) index after the last step of each episode.
        horizon_steps: Tp, length of a chunk.
        episode_ids: episodes to cut.

    Source: windows as in DPPO pre-training.
    """
    first, end = _bounds(episode_ends, episode_ids)
    return _ranges(first, end - horizon_steps + 1)


def episode_steps(episode_ends: IntArray, episode_ids: IntArray) -> IntArray:
    """Return the indices of all steps of some episodes."""
    return _ranges(*_bounds(episode_ends, episode_ids))


def _bounds(episode_ends: IntArray, episode_ids: IntArray) -> tuple[IntArray, IntArray]:
    first = np.concatenate([np.zeros(1, dtype=np.int64), episode_ends[:-1]])
    return first[episode_ids], episode_ends[episode_ids]


def _ranges(first: IntArray, end: IntArray) -> IntArray:
    """Concatenate the ranges [first, end); those with end <= first are empty."""
    parts = [np.arange(i, j, dtype=np.int64) for i, j in zip(first, end, strict=True)]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def fixed_probe(data: ChunkDataset, size: int) -> DemoBatch:
    """Draw the chunks on which a loss is measured again and again, evenly spread over the data."""
    index = torch.linspace(0, len(data) - 1, min(size, len(data))).long()
    return data[index]
