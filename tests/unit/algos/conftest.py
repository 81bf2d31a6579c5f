from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from toy_env import ToyEnv

from inril.algos.dppo import DiffusionHead
from inril.algos.ppo import PPO, Regularizer
from inril.algos.ppo_gaussian import GaussianHead
from inril.config.algos import ClipSchedule, DPPOConfig, PPOConfig
from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, GaussianConfig, NetworkConfig
from inril.learning.episodes import TrainingEpisodes
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.gaussian import GaussianPolicy
from inril.policies.mlp import MLP

torch.set_num_threads(1)

SMALL = NetworkConfig(widths=(8, 8, 8), activation="mish")
SHARED: dict[str, Any] = {
    "gamma": 0.9, "gae_lambda": 0.8, "actor_lr": 1e-3, "critic_lr": 1e-3, "minibatch": 30, "epochs": 2,
    "clip_coef": ClipSchedule(base=0.01, top=0.02), "vf_coef": 0.5, "target_kl": None, "critic_network": SMALL,
}  # fmt: skip


@pytest.fixture
def task() -> TaskSpec:
    return TaskSpec(
        id="hopper", title="Toy", suite="gym", obs_dim=2, action_dim=2, max_episode_steps=9, metric="return"
    )


@pytest.fixture
def diffusion_policy(task: TaskSpec) -> DiffusionPolicy:
    torch.manual_seed(0)
    policy = DiffusionPolicy(DiffusionConfig(network=SMALL, time_dim=6, denoising_steps=6), task, horizon_steps=2)
    with torch.no_grad():
        policy.denoiser.mlp.layers[-1].weight.mul_(3)  # noise predictions of a fair size
    return policy


@pytest.fixture
def make_head(diffusion_policy: DiffusionPolicy) -> Callable[..., DiffusionHead]:
    def make(n_steps: int = 3, **changed: Any) -> DiffusionHead:
        settings = {"gamma_denoising": 0.9, "min_sampling_std": 0.1, "min_logprob_std": 0.1, **SHARED, **changed}
        return DiffusionHead(diffusion_policy, DPPOConfig(ft_denoising_steps=n_steps, **settings))

    return make


@pytest.fixture
def make_dppo(make_head: Callable[..., DiffusionHead]) -> Callable[..., PPO]:
    """PPO on the toy environment with one rollout in it."""

    def make(
        env: ToyEnv | None = None,
        n_steps: int = 5,
        ft_denoising_steps: int = 3,
        regularize: Callable[[DiffusionHead], Regularizer] | None = None,
        **changed: Any,
    ) -> PPO:
        env = env or ToyEnv()
        settings = {"gamma_denoising": 0.9, "min_sampling_std": 0.1, "min_logprob_std": 0.1, **SHARED, **changed}
        config = DPPOConfig(ft_denoising_steps=ft_denoising_steps, **settings)
        head = make_head(ft_denoising_steps)
        torch.manual_seed(1)
        critic = MLP(SMALL, env.obs_dim, 1)
        regularizer = None if regularize is None else regularize(head)
        ppo = PPO(
            config, head, critic, TrainingEpisodes(env.n_envs, 0, False), n_steps, seed=0, regularizer=regularizer
        )
        ppo.collect(env, 1)
        return ppo

    return make


@pytest.fixture
def make_gaussian(task: TaskSpec) -> Callable[..., PPO]:
    def make(env: ToyEnv | None = None, n_steps: int = 5, **changed: Any) -> PPO:
        env = env or ToyEnv()
        torch.manual_seed(0)
        network = NetworkConfig(widths=(8, 8), activation="tanh", residual=False)
        policy = GaussianPolicy(GaussianConfig(network=network, std=0.1), task, horizon_steps=2)
        config = PPOConfig(std_range=(0.05, 0.2), **{**SHARED, **changed})
        critic = MLP(SMALL, env.obs_dim, 1)
        ppo = PPO(config, GaussianHead(policy, config), critic, TrainingEpisodes(env.n_envs, 0, False), n_steps, seed=0)
        ppo.collect(env, 1)
        return ppo

    return make
