from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from inril.config.base import TaskSpec
from inril.config.policy import GaussianConfig
from inril.policies.gaussian import GaussianPolicy, gaussian_logprob


@pytest.fixture
def policy(task: TaskSpec, gaussian_config: GaussianConfig) -> GaussianPolicy:
    torch.manual_seed(0)
    return GaussianPolicy(gaussian_config, task, horizon_steps=3)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_logprob_is_the_mean_gaussian_logprob_clamped_afterwards() -> None:
    generator = stream(0)
    mean = torch.randn(60, 3, 2, dtype=torch.float64, generator=generator)
    log_std = torch.tensor([-3.5, -0.5], dtype=torch.float64)
    spread = torch.linspace(0, 4, 60, dtype=torch.float64)[:, None, None]
    x = mean + spread * log_std.exp() * torch.randn(60, 3, 2, dtype=torch.float64, generator=generator)
    each = Normal(mean, log_std.exp().expand_as(mean)).log_prob(x)
    averaged = each.mean(dim=(1, 2))
    assert (averaged < -5).any()
    assert ((each < -5).any(dim=2).any(dim=1) & (averaged > -5)).any()  # clamping each first would differ
    torch.testing.assert_close(gaussian_logprob(x, mean, log_std), averaged.clamp(-5, 2), atol=1e-12, rtol=0)


def test_gradient_of_the_logprob_agrees_with_finite_differences() -> None:
    generator = stream(1)
    x, mean = torch.randn(2, 4, 3, 2, dtype=torch.float64, generator=generator)
    log_std = torch.tensor([-0.7, 0.3], dtype=torch.float64)
    inputs = tuple(value.requires_grad_() for value in (x, mean, log_std))
    assert torch.autograd.gradcheck(gaussian_logprob, inputs)


def test_imitation_loss_is_the_negative_loglikelihood(policy: GaussianPolicy) -> None:
    policy = policy.double()
    obs = torch.randn(6, 5, dtype=torch.float64, generator=stream(1))
    chunk = torch.randn(6, 3, 2, dtype=torch.float64, generator=stream(2))
    loss = policy.bc_loss(obs, chunk, stream(3))
    expected = -Normal(policy.mean(obs), torch.tensor(math.log(0.3)).exp().double()).log_prob(chunk).mean()
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    policy.log_std.requires_grad_()
    assert torch.autograd.grad(policy.bc_loss(obs, chunk, stream(3)), policy.log_std, allow_unused=True) == (None,)


def test_gradient_of_the_imitation_loss_agrees_with_finite_differences(policy: GaussianPolicy) -> None:
    policy = policy.double()
    obs = torch.randn(4, 5, dtype=torch.float64, generator=stream(1))
    chunk = torch.randn(4, 3, 2, dtype=torch.float64, generator=stream(2))

    def loss(*_: Tensor) -> Tensor:
        return policy.bc_loss(obs, chunk, stream(3))

    assert torch.autograd.gradcheck(loss, tuple(policy.mlp.parameters()))


def test_pretraining_leaves_the_standard_deviation_alone(policy: GaussianPolicy) -> None:
    assert not policy.log_std.requires_grad
    torch.testing.assert_close(policy.log_std.exp(), torch.full((2,), 0.3))


def test_acting_returns_the_mean_in_raw_units_and_sampling_spreads_around_it(policy: GaussianPolicy) -> None:
    obs = torch.randn(5, generator=stream(1)).expand(4000, 5)
    policy.normalizer.action_max.fill_(3.0)
    with torch.no_grad():
        mean = policy.mean(policy.normalizer.normalize_obs(obs))
    assert mean.shape == (4000, 3, 2)
    assert mean.abs().max() < 1
    torch.testing.assert_close(policy.act(obs, stream(2)), (mean + 1) * 2 - 1)
    normalized = policy.normalizer.normalize_obs(obs)
    chunk = policy.sample(normalized, stream(3))
    torch.testing.assert_close(chunk.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(chunk.std(0), torch.full((3, 2), 0.3), atol=0.02, rtol=0)
