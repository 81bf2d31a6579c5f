"""Demonstrations with rewards are the transitions that a learner would have made of the same steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from inril.config.base import TaskSpec
from inril.config.runs import HoldoutConfig
from inril.data.demo_file import Episode, read_demos, write_demos
from inril.data.normalizer import Normalizer
from inril.data.scripted.attempt import Recipe, attempt, reset_rng
from inril.data.scripted.robomimic.scene import make_scene
from inril.data.split import split_episodes
from inril.envs import make
from inril.envs.robomimic.suite import FastRobomimic
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS
from inril.errors import InputError
from inril.learning.replay_buffer import Transitions
from inril.learning.rewarded_demos import RewardedDemos, read_rewarded_demos
from inril.types import ChunkStep

MakeEpisodes = Callable[..., list[Episode]]
ONE = HoldoutConfig(fraction=0.0, min_episodes=1)


def read(path: Path, task: TaskSpec, horizon_steps: int, reward_factor: float = 1.0) -> RewardedDemos:
    demos = read_demos(path, task)
    return read_rewarded_demos(path, task, horizon_steps, ONE, Normalizer.fit(demos.obs, demos.action), reward_factor)


def everything(demos: RewardedDemos) -> Transitions:
    return demos[torch.arange(len(demos))]


@pytest.mark.parametrize("horizon_steps", [1, 3, 4])
def test_transitions_equal_those_cut_by_hand(
    tmp_path: Path, task: TaskSpec, make_episodes: MakeEpisodes, horizon_steps: int
) -> None:
    episodes = make_episodes([5, 9, 3, 8, 4, 7])
    write_demos(tmp_path / "demos.hdf5", task, episodes, {})
    demos = read_demos(tmp_path / "demos.hdf5", task)
    normalizer = Normalizer.fit(demos.obs, demos.action)
    expected = []
    for i in split_episodes(len(episodes), ONE)[0]:
        obs, action, reward, terminated, *_ = episodes[i]
        for start in range(len(action)):
            end = start + horizon_steps
            if end < len(action) or (end == len(action) and terminated):
                total = 0.25 * sum(float(r) for r in reward[start:end])
                successor = None if end == len(action) else obs[end]
                expected.append((obs[start], action[start:end], total, successor))
    got = everything(read(tmp_path / "demos.hdf5", task, horizon_steps, reward_factor=0.25))
    assert len(got.obs) == len(expected)
    assert 0 < got.terminated.sum() < len(expected)
    assert not got.truncated.any()
    for k, (obs, action, total, successor) in enumerate(expected):
        assert torch.equal(got.obs[k], normalizer.normalize_obs(torch.from_numpy(obs)))
        assert torch.equal(got.chunk[k], normalizer.normalize_action(torch.from_numpy(action)))
        assert got.reward[k].item() == pytest.approx(total, rel=1e-6)
        assert got.terminated[k] == (successor is None)
        if successor is not None:
            assert torch.equal(got.next_obs[k], normalizer.normalize_obs(torch.from_numpy(successor)))


def test_samples_are_drawn_from_all_transitions(tmp_path: Path, task: TaskSpec, make_episodes: MakeEpisodes) -> None:
    write_demos(tmp_path / "demos.hdf5", task, make_episodes([6, 5, 4]), {})
    demos = read(tmp_path / "demos.hdf5", task, 2)
    drawn = demos.sample(torch.Generator().manual_seed(0), 300)
    assert drawn.chunk.shape == (300, 2, 3)
    assert set(drawn.reward.tolist()) == set(everything(demos).reward.tolist())


def test_gym_transitions_are_what_the_simulator_gives_a_learner(tmp_path: Path, task: TaskSpec) -> None:
    n_envs, n_steps, seed = 6, 40, 3
    action = np.random.default_rng(0).uniform(-1, 1, (n_steps, n_envs, 3)).astype(np.float32)
    single, chunked = (make("hopper", n_envs, act_steps, max_episode_steps=n_steps) for act_steps in (1, 2))
    obs, log = single.reset(seed), []
    for t in range(n_steps):
        step = single.step_chunk(action[t, :, None].astype(np.float64))
        log.append((obs, step))
        obs = step.obs
    episodes = []
    for e in range(n_envs):  # the first episode of each environment
        end = 1 + next(t for t, (_, step) in enumerate(log) if step.terminated[e] or step.truncated[e])
        recorded = np.array([before[e] for before, _ in log[:end]], dtype=np.float32)
        reward = np.array([step.reward[e] for _, step in log[:end]], dtype=np.float32)
        episodes.append(Episode(recorded, action[:end, e], reward, bool(log[end - 1][1].terminated[e])))
    assert {episode.terminated for episode in episodes} == {True, False}  # the others ran into the time limit
    assert {len(episode.action) % 2 for episode in episodes} == {0, 1}
    write_demos(tmp_path / "demos.hdf5", task, episodes, {})
    got = everything(read(tmp_path / "demos.hdf5", task, 2))

    normalizer = Normalizer.fit(*read_demos(tmp_path / "demos.hdf5", task)[:2])
    obs, learnt = chunked.reset(seed), []
    for t in range(0, n_steps, 2):
        step = chunked.step_chunk(action[t : t + 2].swapaxes(0, 1).astype(np.float64))
        learnt.append((obs, step))
        obs = step.obs
    n_terminal = 0
    row = 0
    for e in split_episodes(n_envs, ONE)[0]:
        n_windows = len(episodes[e].action) - 1 - (not episodes[e].terminated)
        for t in range(0, n_windows, 2):  # whole chunks alone; a learner's last one may be cut short
            before, step = learnt[t // 2]
            k = row + t
            expected = normalizer.normalize_obs(torch.from_numpy(before[e].astype(np.float32)))
            assert torch.equal(got.obs[k], expected)
            assert got.reward[k].item() == pytest.approx(step.reward[e], rel=1e-6)
            assert got.terminated[k] == step.terminated[e]
            n_terminal += int(step.terminated[e])
            if not step.terminated[e]:
                expected = normalizer.normalize_obs(torch.from_numpy(step.final_obs[e].astype(np.float32)))
                assert torch.equal(got.next_obs[k], expected)
        row += n_windows
    assert n_terminal
    assert row == len(got.obs)
    single.close()
    chunked.close()


def test_robomimic_transitions_are_what_the_simulator_gives_a_learner(tmp_path: Path, robot_task: TaskSpec) -> None:
    recipe = Recipe("lift", level=0.5, seed=0, max_steps=300)
    episode = attempt(make_scene("lift"), recipe, "better", 0).episode
    assert episode is not None
    write_demos(tmp_path / "demos.hdf5", robot_task, [episode, episode], {})
    got = everything(read(tmp_path / "demos.hdf5", robot_task, 4))
    normalizer = Normalizer.fit(*read_demos(tmp_path / "demos.hdf5", robot_task)[:2])

    suite = FastRobomimic(ROBOMIMIC_TASKS["lift"], 1)
    obs, elapsed_steps = np.zeros((1, 19)), np.zeros(1, dtype=np.int64)
    suite.start(np.zeros(1, dtype=np.int64), [reset_rng(recipe, "better", 0)], obs)
    rewards = []
    for start in range(0, len(episode.action) - 4, 4):
        chunk = episode.action[None, start : start + 4].astype(np.float64)
        flags = np.zeros((4, 1), dtype=np.bool_)
        step = ChunkStep(obs, obs, np.zeros(1), np.zeros(1, dtype=np.int64), *flags)
        suite.advance(slice(0, 1), chunk, elapsed_steps, 10_000, step)
        successor = normalizer.normalize_obs(torch.from_numpy(obs[0].astype(np.float32)))
        torch.testing.assert_close(got.next_obs[start], successor, rtol=0, atol=1e-5)
        assert got.reward[start] == step.reward[0]
        rewards.append(float(step.reward[0]))
    assert {0.0, 4.0} <= set(rewards)
    assert len(got.obs) == len(episode.action) - 4  # what the last chunk led to was not recorded
    assert not got.terminated.any()
    suite.close()


def test_robomimic_episodes_never_terminate_whatever_their_dones_say(
    tmp_path: Path, robot_task: TaskSpec, make_episodes: MakeEpisodes
) -> None:
    episodes = [
        episode._replace(reward=np.ones(6), terminated=False, dones=np.ones(6), states=None)
        for episode in make_episodes([6, 6, 6], obs_dim=19, action_dim=7)
    ]
    write_demos(tmp_path / "demos.hdf5", robot_task, episodes, {})
    got = everything(read(tmp_path / "demos.hdf5", robot_task, 4))
    assert len(got.obs) == 2 * 2
    assert not got.terminated.any()
    assert set(got.reward.tolist()) == {4.0}


def test_shaped_rewards_of_a_robomimic_file_are_refused(
    tmp_path: Path, robot_task: TaskSpec, make_episodes: MakeEpisodes
) -> None:
    path = tmp_path / "demos.hdf5"
    episodes = make_episodes([6, 6], obs_dim=19, action_dim=7)
    rewards = (np.zeros(6), np.array([0, 1, 0.3, 1, 1, 1]))
    write_demos(path, robot_task, [e._replace(reward=r) for e, r in zip(episodes, rewards, strict=True)], {})
    with pytest.raises(InputError) as caught:
        read(path, robot_task, 4)
    assert str(caught.value) == (
        f"{path}: data/demo_1/rewards: expected 1 on steps after which the goal holds and 0 on others, "
        "as the simulator pays, got 0.30000001192092896 at step 2"
    )
