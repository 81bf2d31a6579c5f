from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from inril.config.base import TaskSpec
from inril.config.runs import HoldoutConfig
from inril.data.chunks import chunk_starts, episode_steps, split_demos
from inril.data.demo_file import Demos, Episode, read_demos, write_demos
from inril.data.normalizer import Normalizer
from inril.data.split import split_episodes
from inril.errors import InputError
from inril.seeding import torch_stream


@pytest.fixture
def demos(tmp_path: Path, task: TaskSpec, make_episodes: Callable[..., list[Episode]]) -> Demos:
    write_demos(tmp_path / "demos.hdf5", task, make_episodes([5, 9, 1, 3, 8, 4, 6, 7]), {})
    return read_demos(tmp_path / "demos.hdf5", task)


@pytest.mark.parametrize("horizon_steps", [1, 2, 4, 5, 9, 10])
@pytest.mark.parametrize("lengths", [[5], [4, 1, 9, 4], [1, 1, 1], [3, 10, 2, 5]])
def test_starts_equal_brute_force(horizon_steps: int, lengths: list[int]) -> None:
    ends = np.cumsum(lengths)
    episode_of = np.repeat(np.arange(len(lengths)), lengths)
    for episode_ids in (np.arange(len(lengths)), np.arange(len(lengths))[::2]):
        expected = [
            start
            for start in range(ends[-1] - horizon_steps + 1)
            if len(set(episode_of[start : start + horizon_steps])) == 1 and episode_of[start] in episode_ids
        ]
        np.testing.assert_array_equal(chunk_starts(ends, horizon_steps, episode_ids), expected)


def test_last_chunk_ends_with_its_episode() -> None:
    starts = chunk_starts(np.array([5, 9]), 4, np.array([0, 1]))
    np.testing.assert_array_equal(starts, [0, 1, 5])


def test_steps_of_episodes() -> None:
    np.testing.assert_array_equal(episode_steps(np.array([2, 5, 6]), np.array([0, 2])), [0, 1, 5])


def test_dataset_holds_the_normalised_chunks_of_its_episodes(demos: Demos) -> None:
    holdout = HoldoutConfig(fraction=0.25, min_episodes=1)
    split = split_demos(demos, 4, holdout, seed=3)
    for dataset, episode_ids in zip((split.train, split.holdout), split_episodes(8, holdout, 3), strict=True):
        starts = chunk_starts(demos.episode_ends, 4, episode_ids)
        assert len(dataset) == len(starts)
        batch = dataset[torch.arange(len(dataset))]
        raw = torch.from_numpy(demos.action[starts[:, None] + np.arange(4)])
        torch.testing.assert_close(batch.action_chunk, split.normalizer.normalize_action(raw))
        torch.testing.assert_close(
            batch.obs, split.normalizer.normalize_obs(torch.from_numpy(demos.obs[starts])), rtol=0, atol=0
        )
        assert batch.obs.dtype == batch.action_chunk.dtype == torch.float32


def test_normalizer_sees_the_training_part_only(demos: Demos) -> None:
    holdout = HoldoutConfig(fraction=0.25, min_episodes=1)
    train_ids, holdout_ids = split_episodes(8, holdout)
    demos.obs[episode_steps(demos.episode_ends, holdout_ids)] = 1e6
    normalizer = split_demos(demos, 1, holdout).normalizer
    train = demos.obs[episode_steps(demos.episode_ends, train_ids)]
    np.testing.assert_array_equal(normalizer.obs_max.numpy(), train.max(axis=0))
    np.testing.assert_array_equal(normalizer.obs_min.numpy(), train.min(axis=0))


def test_given_normalizer_is_kept(demos: Demos) -> None:
    normalizer = Normalizer(11, 3)
    split = split_demos(demos, 1, HoldoutConfig(min_episodes=1), normalizer=normalizer)
    assert split.normalizer is normalizer
    torch.testing.assert_close(normalizer.action_max, torch.ones(3), rtol=0, atol=0)


def test_samples_follow_the_generator(demos: Demos) -> None:
    train = split_demos(demos, 2, HoldoutConfig(min_episodes=1)).train
    first, again = (train.sample(torch_stream(0, "demo"), 16) for _ in range(2))
    other = train.sample(torch_stream(1, "demo"), 16)
    assert first.obs.shape == (16, 11)
    assert first.action_chunk.shape == (16, 2, 3)
    assert torch.equal(first.action_chunk, again.action_chunk)
    assert not torch.equal(first.action_chunk, other.action_chunk)


def test_samples_reach_every_chunk(demos: Demos) -> None:
    train = split_demos(demos, 4, HoldoutConfig(min_episodes=1)).train
    sampled = train.sample(torch_stream(0, "demo"), 50 * len(train)).obs
    assert torch.equal(sampled.unique(dim=0), train[torch.arange(len(train))].obs.unique(dim=0))


def test_horizon_longer_than_every_episode(demos: Demos) -> None:
    with pytest.raises(InputError, match="episodes: expected an episode of at least 10 steps, got shorter ones only"):
        split_demos(demos, 10, HoldoutConfig(min_episodes=1))


# Split


@pytest.mark.parametrize(("n_episodes", "n_holdout"), [(6, 5), (30, 5), (50, 5), (60, 6), (300, 30), (2186, 219)])
def test_a_tenth_but_at_least_five_are_held_out(n_episodes: int, n_holdout: int) -> None:
    train_ids, holdout_ids = split_episodes(n_episodes, HoldoutConfig(), seed=0)
    assert len(holdout_ids) == n_holdout
    np.testing.assert_array_equal(np.sort(np.concatenate([train_ids, holdout_ids])), np.arange(n_episodes))
    for ids in (train_ids, holdout_ids):
        assert all(a < b for a, b in pairwise(ids))


def test_split_follows_the_seed() -> None:
    first, again, other = (split_episodes(100, HoldoutConfig(), seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("n_episodes", [1, 4, 5])
def test_too_few_episodes(n_episodes: int) -> None:
    with pytest.raises(InputError, match=f"episodes: expected more than the 5 that are held out, got {n_episodes}"):
        split_episodes(n_episodes, HoldoutConfig())


def test_file_names_the_default_split(demo_path: Path) -> None:
    with h5py.File(demo_path) as file:
        names = [name.decode() for name in file["mask/valid"]]
    assert names == [f"demo_{i}" for i in split_episodes(7, HoldoutConfig())[1]]
