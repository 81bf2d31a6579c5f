from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from off_policy_oracles import denoising_errors, follow, learn
from torch import Tensor, nn
from toy_env import ToyEnv

from inril.algos.awac import AWAC
from inril.config.algos import AWACConfig
from inril.config.policy import NetworkConfig
from inril.learning.episodes import TrainingEpisodes
from inril.learning.experience import Experience
from inril.learning.replay_buffer import Replay, Transitions
from inril.policies.critics import Critics
from inril.policies.diffusion import DiffusionPolicy

PLAIN = NetworkConfig(widths=(8, 8), activation="mish", residual=False)
CONFIG = AWACConfig(
    gamma=0.9, actor_lr=1e-3, critic_lr=1e-2, batch_size=10, replay_ratio=4, buffer_rows=12, reward_factor=0.5,
    target_rate=0.1, advantage_factor=2.0, max_weight=4.0, critic_warmup_itr=1, critic_network=PLAIN,
    min_sampling_std=0.1,
)  # fmt: skip


class SumOfActions(nn.Module):
    """The critic Q(s, a) = sum of a."""

    def smaller(self, obs: Tensor, chunk: Tensor) -> Tensor:
        return chunk.sum(dim=(1, 2))


@pytest.fixture
def awac(diffusion_policy: DiffusionPolicy) -> AWAC:
    env, policy = ToyEnv(), copy.deepcopy(diffusion_policy)
    torch.manual_seed(1)
    replay = Replay(CONFIG.buffer_rows, env.n_envs, env.obs_dim, policy.chunk_shape)
    episodes = TrainingEpisodes(replay.n_envs, seed=0, reset_each_itr=False)
    experience = Experience(replay, policy.normalizer, episodes, 5, 0, CONFIG.reward_factor)
    algorithm = AWAC(CONFIG, policy, Critics(PLAIN, 2, 2, 2), experience, n_updates=3, seed=0)
    algorithm.collect(env, 1)
    return algorithm


def batch_of(chunk: Tensor) -> Transitions:
    nothing = torch.zeros(len(chunk))
    return Transitions(torch.zeros(len(chunk), 2), chunk, nothing, torch.zeros(len(chunk), 2), nothing, nothing)


def test_weights_are_exponential_in_the_advantage_over_the_policys_own_chunk(awac: Any) -> None:
    awac.q = SumOfActions()
    awac.explore = lambda obs, generator: torch.full((len(obs), 2, 2), 0.1)  # V(s) = 4 x 0.1
    batch = batch_of(torch.tensor([0.0, 0.1, 0.2, 0.9])[:, None, None].expand(4, 2, 2))  # Q = 0, 0.4, 0.8, 3.6
    weight = awac.weights(batch, torch.Generator())
    torch.testing.assert_close(weight, torch.tensor([math.exp(-0.8), 1.0, math.exp(0.8), 4.0]))  # 1 / lambda is 2


def test_actor_imitates_the_batch_by_these_weights(awac: AWAC) -> None:
    updates = awac.updates(2)
    assert next(updates).name == "critic"  # not applied: the weights below are those of the critic as it is
    batch, noise = awac.experience.replay.sample(awac.stream("minibatch", 2), 10), awac.stream("actor_noise", 2)
    weight = awac.weights(batch, noise)
    errors = denoising_errors(awac.actor, awac.policy.schedule, batch.obs, batch.chunk, noise)
    expected = torch.autograd.grad((weight * errors).mean(), list(awac.actor.parameters()))
    actor = next(updates)
    actor.zero_grad()
    actor.backward()
    assert weight.std() > 0
    for parameter, gradient in zip(actor.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_actor_waits_for_the_critic(awac: AWAC) -> None:
    assert learn(awac, 1) == ["critic"] * 3
    assert learn(awac, 2) == ["critic", "actor"] * 3


def test_target_follows_the_critic(awac: AWAC) -> None:
    expected = copy.deepcopy(awac.q_target)
    for update in awac.updates(1):
        update.zero_grad()
        update.backward()
        update.apply()
        follow(expected, awac.q, 0.1)
    for target, followed in zip(awac.q_target.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(target, followed)
