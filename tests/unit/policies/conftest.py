from __future__ import annotations

import pytest
import torch

from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, GaussianConfig, NetworkConfig

torch.set_num_threads(1)


@pytest.fixture
def task() -> TaskSpec:
    return TaskSpec(
        id="hopper", title="Hopper", suite="gym", obs_dim=5, action_dim=2, max_episode_steps=50, metric="return"
    )


@pytest.fixture
def diffusion_config() -> DiffusionConfig:
    network = NetworkConfig(widths=(8, 8, 8), activation="mish")
    return DiffusionConfig(network=network, time_dim=6, denoising_steps=6)


@pytest.fixture
def gaussian_config() -> GaussianConfig:
    network = NetworkConfig(widths=(8, 8), activation="tanh", residual=False)
    return GaussianConfig(network=network, std=0.3)
