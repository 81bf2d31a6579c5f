from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from inril.config.base import TaskSpec
from inril.config.layers import read_yaml
from inril.config.policy import DiffusionConfig
from inril.config.project import Project
from inril.policies.denoiser import sinusoidal_embedding
from inril.policies.diffusion import (
    DiffusionPolicy,
    chain_logprob,
    chain_noise,
    denoising_loss,
    draw_noise,
    evaluation_std,
    make_denoiser,
    sample_chain,
    training_std,
)
from inril.policies.noise_schedule import NoiseSchedule

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture
def policy(task: TaskSpec, diffusion_config: DiffusionConfig) -> DiffusionPolicy:
    torch.manual_seed(0)
    return DiffusionPolicy(diffusion_config, task, horizon_steps=3)


@pytest.fixture
def encoding_policy(task: TaskSpec, diffusion_config: DiffusionConfig) -> DiffusionPolicy:
    torch.manual_seed(0)
    config = diffusion_config.model_copy(update={"obs_encoder": (7, 4)})
    return DiffusionPolicy(config, task, horizon_steps=3)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("task", "n_parameters"),
    [
        ("hopper", 553_020),
        ("walker2d", 568_392),
        ("lift", 573_516),
        ("can", 575_564),
        ("square", 2_305_212),
        ("transport", 2_427_088),
    ],
)
def test_networks_have_the_references_number_of_parameters(task: str, n_parameters: int) -> None:
    settings = Project(CONFIG, read_yaml(CONFIG / "config.yaml") | {"budget": "paper"}).pretrain(task, "diffusion", 0)
    assert isinstance(settings.policy, DiffusionConfig)
    denoiser = make_denoiser(settings.policy, settings.task, settings.horizon_steps)
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == n_parameters


def test_time_embedding_is_sines_then_cosines_of_falling_frequencies() -> None:
    embedded = sinusoidal_embedding(torch.tensor([0, 1, 7]), 8)
    for row, t in zip(embedded.tolist(), (0, 1, 7), strict=True):
        frequencies = [1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4]
        expected = [math.sin(t * f) for f in frequencies] + [math.cos(t * f) for f in frequencies]
        assert row == pytest.approx(expected, abs=1e-6)


def test_denoiser_sees_chunk_time_and_observation_in_that_order(policy: DiffusionPolicy) -> None:
    net = policy.denoiser
    chunk, obs = torch.randn(4, 3, 2, generator=stream(1)), torch.randn(4, 5, generator=stream(2))
    t = torch.tensor([0, 5, 2, 2])
    time = net.time_out(F.mish(net.time_in(sinusoidal_embedding(t, 6))))
    first, inner_1, inner_2, last = net.mlp.layers
    h = first(torch.cat([chunk.reshape(4, 6), time, obs], dim=1))
    h = h + inner_2(F.mish(inner_1(F.mish(h))))
    expected = last(h).reshape(4, 3, 2)
    torch.testing.assert_close(net(chunk, net.time_table()[t], obs), expected, atol=1e-6, rtol=1e-5)


def test_denoiser_with_an_encoder_sees_the_encoding(encoding_policy: DiffusionPolicy) -> None:
    net = encoding_policy.denoiser
    assert net.obs_encoder is not None
    chunk, obs = torch.randn(4, 3, 2, generator=stream(1)), torch.randn(4, 5, generator=stream(2))
    time = net.time_table()[torch.tensor([0, 5, 2, 2])]
    hidden, last = net.obs_encoder.layers
    encoding = last(F.mish(hidden(obs)))
    expected = net.mlp(torch.cat([chunk.reshape(4, 6), time, encoding], dim=1)).reshape(4, 3, 2)
    torch.testing.assert_close(net(chunk, time, obs), expected)


def test_chain_sees_the_encoding(encoding_policy: DiffusionPolicy) -> None:
    net, schedule = encoding_policy.denoiser, encoding_policy.schedule
    obs = torch.randn(4, 5, generator=stream(2))
    noise = chain_noise(schedule, (4, 3, 2), stream(3))
    chain = sample_chain([net] * 6, schedule, obs, noise, evaluation_std(schedule))
    for i, t in enumerate(reversed(range(6))):
        index = torch.full((4,), t)
        mean = schedule.posterior_mean(chain.x[i], net(chain.x[i], net.time_table()[index], obs), index)
        torch.testing.assert_close(chain.mean[i], mean, atol=1e-5, rtol=1e-4)


def test_chain_logprob_is_the_mean_of_clamped_gaussian_logprobs() -> None:
    generator = stream(0)
    mean = torch.randn(50, 4, 3, dtype=torch.float64, generator=generator)
    std = torch.rand(50, 1, 1, dtype=torch.float64, generator=generator) + 0.02
    x = mean + 2.5 * std * torch.randn(50, 4, 3, dtype=torch.float64, generator=generator)
    each = Normal(mean, std.expand_as(mean)).log_prob(x)
    assert (each < -5).any()
    assert (each > 2).any()
    expected = torch.stack([row.clamp(-5, 2).mean() for row in each])
    torch.testing.assert_close(chain_logprob(x, mean, std), expected, atol=1e-12, rtol=0)


def test_stds_of_acting_have_their_floors() -> None:
    schedule = NoiseSchedule(20)
    training, evaluation = training_std(schedule, 0.1), evaluation_std(schedule)
    assert training[:2] == pytest.approx([0.1, 0.1])  # the last step included
    assert training[2:] == schedule.std[2:].tolist()  # a floor of 0.1 changes t = 0 and t = 1 only
    assert evaluation[0] == 0
    assert evaluation[1:] == schedule.std[1:].tolist()  # K = 20 never comes near 1e-3
    assert schedule.std[0] == 0  # neither changed the schedule
    schedule.std[3] = 1e-5
    assert evaluation_std(schedule)[3] == pytest.approx(1e-3)


def test_noise_is_truncated_except_for_the_start_of_the_chain() -> None:
    noise = chain_noise(NoiseSchedule(6), (500, 3, 2), stream(0), clip=0.5)
    assert noise.shape == (7, 500, 3, 2)
    assert noise[0].abs().max() > 2
    assert noise[1:].abs().max() == 0.5
    assert abs(noise[0].std().item() - 1) < 0.05


def test_default_truncation_is_at_three() -> None:
    noise = chain_noise(NoiseSchedule(6), (5000, 3, 2), stream(0))
    assert noise[1:].abs().max() == 3
    assert noise[0].abs().max() > 3


def test_chain_follows_the_reverse_process(policy: DiffusionPolicy) -> None:
    obs, noise = torch.randn(4, 5, generator=stream(1)), chain_noise(policy.schedule, (4, 3, 2), stream(2))
    nets = [policy.denoiser] * 3 + [copy.deepcopy(policy.denoiser) for _ in range(3)]
    with torch.no_grad():
        for net in nets[3:]:
            net.mlp.layers[-1].bias.add_(1.0)
    std = torch.rand(6, generator=stream(3))
    chain = sample_chain(nets, policy.schedule, obs, noise, std.tolist())
    x = noise[0]
    with torch.no_grad():
        for i, t in enumerate([5, 4, 3, 2, 1, 0]):
            assert torch.equal(chain.x[i], x)
            eps = nets[t](x, nets[t].time_table()[torch.full((4,), t)], obs)
            mean = policy.schedule.posterior_mean(x, eps, torch.full((4,), t))
            torch.testing.assert_close(chain.mean[i], mean, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(chain.x[i + 1], chain.mean[i] + std[t] * noise[i + 1], atol=1e-6, rtol=1e-6)
            x = chain.x[i + 1]


def test_sampling_without_noise_is_deterministic_given_the_start(policy: DiffusionPolicy) -> None:
    obs, first = torch.randn(4, 5, generator=stream(1)), torch.randn(4, 3, 2, generator=stream(2))
    ends = []
    for seed in (3, 4):
        noise = chain_noise(policy.schedule, (4, 3, 2), stream(seed))
        noise[0] = first
        ends.append(sample_chain([policy.denoiser] * 6, policy.schedule, obs, noise, [0.0] * 6).x[-1])
    assert torch.equal(*ends)
    assert ends[0].abs().max() <= 1  # the mean of the last step is the clipped clean chunk


def test_denoising_indices_are_uniform_below_the_number_given() -> None:
    t, eps = draw_noise(torch.zeros(6000, 3, 2), 4, stream(0))
    counts = torch.bincount(t)
    assert len(counts) == 4
    assert counts.min() > 1350
    assert eps.shape == (6000, 3, 2)
    assert abs(eps.std().item() - 1) < 0.02


def test_denoising_loss_is_the_mean_squared_error_of_the_noise(policy: DiffusionPolicy) -> None:
    obs, chunk = torch.randn(7, 5, generator=stream(1)), torch.rand(7, 3, 2, generator=stream(2))
    t, eps = draw_noise(chunk, 6, stream(3))
    errors = []
    for i in range(7):
        a, b = policy.schedule.sqrt_alpha_bar[t[i]], policy.schedule.sqrt_one_minus_alpha_bar[t[i]]
        predicted = policy.denoiser(
            (a * chunk[i] + b * eps[i])[None], policy.denoiser.time_table()[t[i]][None], obs[i : i + 1]
        )
        errors.append((predicted[0] - eps[i]).square().mean())
    loss = denoising_loss(policy.denoiser, policy.schedule, obs, chunk, t, eps)
    torch.testing.assert_close(loss, torch.stack(errors).mean())
    torch.testing.assert_close(policy.bc_loss(obs, chunk, stream(3)), loss)


def test_gradient_of_the_denoising_loss_agrees_with_finite_differences(policy: DiffusionPolicy) -> None:
    policy = policy.double()
    obs = torch.randn(5, 5, dtype=torch.float64, generator=stream(1))
    chunk = torch.rand(5, 3, 2, dtype=torch.float64, generator=stream(2))
    t, eps = torch.tensor([0, 5, 3, 3, 1]), torch.randn(5, 3, 2, dtype=torch.float64, generator=stream(3))

    def loss(*_: Tensor) -> Tensor:
        return denoising_loss(policy.denoiser, policy.schedule, obs, chunk, t, eps)

    assert torch.autograd.gradcheck(loss, tuple(policy.denoiser.parameters()))


def test_acting_takes_and_returns_raw_units(policy: DiffusionPolicy) -> None:
    obs = torch.randn(4, 5, generator=stream(1))
    plain = policy.act(obs, stream(2))
    low, high = torch.tensor([-3.0, 10.0]), torch.tensor([-1.0, 30.0])
    policy.normalizer.action_min.copy_(low)
    policy.normalizer.action_max.copy_(high)
    torch.testing.assert_close(policy.act(obs, stream(2)), (plain + 1) / 2 * (high - low) + low)
    assert not torch.equal(policy.act(obs, stream(2)), policy.act(obs, stream(3)))
    policy.normalizer.obs_max.add_(1.0)
    assert not torch.allclose(policy.act(obs, stream(2)), (plain + 1) / 2 * (high - low) + low)


def test_evaluation_keeps_the_noise_of_the_chain_but_not_of_its_end(policy: DiffusionPolicy) -> None:
    obs = torch.zeros(2, 5)
    noise = chain_noise(policy.schedule, (2, 3, 2), stream(2))
    with torch.no_grad():
        normalized = policy.normalizer.normalize_obs(obs)
    chain = sample_chain([policy.denoiser] * 6, policy.schedule, normalized, noise, evaluation_std(policy.schedule))
    assert torch.equal(policy.act(obs, stream(2)), policy.normalizer.denormalize_action(chain.x[-1]))
    np.testing.assert_array_equal(chain.x[-1], chain.mean[-1])
    assert not torch.equal(chain.x[-2], chain.mean[-2])
