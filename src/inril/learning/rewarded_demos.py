"""Demonstrations with their rewards, for one control alone: `idql_demos_both`, whose critics learn from them too.

It is the exception. Demonstrations need no rewards, and whatever else learns gets them from `read_demos`, without.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inril.config.base import TaskSpec
from inril.config.runs import HoldoutConfig
from inril.data.chunks import ChunkDataset, chunk_starts
from inril.data.demo_file import read_demos
from inril.data.hdf5 import Array, open_hdf5, read_array
from inril.data.layout import demo_names
from inril.data.normalizer import Normalizer
from inril.data.split import split_episodes
from inril.errors import InputError
from inril.learning.replay_buffer import Transitions
from inril.types import BoolArray, FloatArray


class RewardedDemos:
    """Chunks of demonstrations as the transitions that a learner would have made of them.

    Args:
        chunks: observation and actions of each.
        reward: (n,) of each chunk, scaled as the learner's own.
        next_obs: (n, Do) normalised true successors; of terminal chunks anything.
        terminated: (n,) 1 where the episode ended in a terminal state, else 0.
    """

    def __init__(self, chunks: ChunkDataset, reward: Tensor, next_obs: Tensor, terminated: Tensor) -> None:
        self._chunks, self._reward, self._next_obs, self._terminated = chunks, reward, next_obs, terminated

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, index: Tensor) -> Transitions:
        """Return the transitions `index` (B,) int64."""
        obs, chunk = self._chunks[index]
        terminated = self._terminated[index]
        not_truncated = torch.zeros_like(terminated)
        return Transitions(obs, chunk, self._reward[index], self._next_obs[index], terminated, not_truncated)

    def sample(self, generator: torch.Generator, batch_size: int) -> Transitions:
        """Draw transitions uniformly, with replacement."""
        index = torch.randint(len(self), (batch_size,), generator=generator)
        return self[index.to(self._reward.device)]


def read_rewarded_demos(
    path: Path,
    task: TaskSpec,
    horizon_steps: int,
    holdout: HoldoutConfig,
    normalizer: Normalizer,
    reward_factor: float,
) -> RewardedDemos:
    """Read the training part of a demonstration file, rewards included.

    The last chunk of an episode is left out unless the episode terminated: files do not hold what it led to.

    Args:
        path: demonstration file.
        task: task that it must belong to.
        horizon_steps: Tp.
        holdout: how many episodes are held out.
        normalizer: of the policy.
        reward_factor: what the learner's own rewards are multiplied by.

    Raises:
        InputError: as `read_demos`; or a Robomimic file pays other rewards than the simulator.
    """
    demos = read_demos(path, task)
    reward, terminated = _read_rewards(path, task)
    train_ids, _ = split_episodes(len(demos.episode_ends), holdout)
    starts = chunk_starts(demos.episode_ends, horizon_steps, train_ids)
    ends = starts + horizon_steps
    terminal = np.isin(ends, demos.episode_ends[terminated])
    known = terminal | ~np.isin(ends, demos.episode_ends)
    starts, ends, terminal = starts[known], ends[known], terminal[known]
    steps = starts[:, None] + np.arange(horizon_steps)
    device = normalizer.device
    obs = normalizer.normalize_obs(torch.from_numpy(demos.obs).to(device))
    action = normalizer.normalize_action(torch.from_numpy(demos.action).to(device))
    return RewardedDemos(
        chunks=ChunkDataset(obs, action, starts, horizon_steps),
        reward=torch.from_numpy(reward[steps].sum(axis=1) * reward_factor).float().to(device),
        next_obs=obs[torch.from_numpy(np.where(terminal, starts, ends)).to(device)],
        terminated=torch.from_numpy(terminal).float().to(device),
    )


def _read_rewards(path: Path, task: TaskSpec) -> tuple[FloatArray, BoolArray]:
    """Read the reward of each step (N,) and whether each episode terminated (n_episodes,).

    Robomimic's episodes never do, whatever `dones` says: the learner's own go on after a success.
    """
    rewards: list[Array] = []
    terminated = []
    with open_hdf5(path) as file:
        for name in demo_names(file, path, hint=""):
            rewards.append(read_array(file, path, f"data/{name}/rewards", (None,)))
            dones = read_array(file, path, f"data/{name}/dones", (len(rewards[-1]),))
            terminated.append(task.suite == "gym" and bool(dones[-1]))
            if task.suite == "robomimic":
                _check_sparse(path, f"data/{name}/rewards", rewards[-1])
    return np.concatenate(rewards, dtype=np.float64), np.array(terminated)


def _check_sparse(path: Path, field: str, reward: Array) -> None:
    other = np.flatnonzero((reward != 0) & (reward != 1))
    if len(other):
        expected = "1 on steps after which the goal holds and 0 on others, as the simulator pays"
        raise InputError(path, field=field, expected=expected, got=f"{reward[other[0]]} at step {other[0]}")
