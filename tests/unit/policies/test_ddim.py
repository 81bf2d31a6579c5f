from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig
from inril.policies.ddim import ddim_indices, ddim_step, sample_ddim
from inril.policies.diffusion import DiffusionPolicy, chain_noise, sample_chain
from inril.policies.noise_schedule import NoiseSchedule


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def policy(task: TaskSpec, diffusion_config: DiffusionConfig) -> DiffusionPolicy:
    torch.manual_seed(0)
    config = diffusion_config.model_copy(update={"ddim_steps": 3})
    return DiffusionPolicy(config, task, horizon_steps=3)


@pytest.mark.parametrize(
    ("n_steps", "expected"),
    [(1, [99]), (2, [99, 0]), (4, [99, 66, 33, 0]), (5, [99, 74, 50, 25, 0]), (100, list(range(99, -1, -1)))],
)
def test_indices_are_spread_evenly_over_the_whole_chain(n_steps: int, expected: list[int]) -> None:
    indices = ddim_indices(100, n_steps)
    assert indices == pytest.approx(expected, abs=1)  # halves may be rounded either way
    assert (indices[0], len(set(indices))) == (99, n_steps)


def plain_ddim(x: np.ndarray, n_denoising: int, indices: list[int], weight: np.ndarray) -> np.ndarray:
    """The formula of the paper in float64, for the predictor eps = tanh(weight x + t / 10)."""
    u = np.arange(n_denoising + 1) / n_denoising
    level = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    alpha_bar = np.cumprod(1 - np.minimum(1 - level[1:] / level[:-1], 0.999))
    for i, t in enumerate(indices):
        eps = np.tanh(weight * x + t / 10)
        x0 = np.clip((x - np.sqrt(1 - alpha_bar[t]) * eps) / np.sqrt(alpha_bar[t]), -1, 1)
        target = alpha_bar[indices[i + 1]] if i + 1 < len(indices) else 1.0
        x = np.sqrt(target) * x0 + np.sqrt(1 - target) * eps
    return x


@pytest.mark.parametrize("n_steps", [1, 2, 4, 20])
def test_sampling_agrees_with_the_formula_in_double_precision(n_steps: int) -> None:
    noise, weight = torch.randn(5, 3, 2, generator=stream(1)), torch.randn(3, 2, generator=stream(2))

    def predict(x: Tensor, t: int) -> Tensor:
        return torch.tanh(weight * x + t / 10)

    sampled = sample_ddim(predict, NoiseSchedule(20), noise, n_steps)
    expected = plain_ddim(noise.double().numpy(), 20, ddim_indices(20, n_steps), weight.double().numpy())
    np.testing.assert_allclose(sampled, expected, atol=1e-5)
    assert np.abs(expected).max() <= 1


def test_last_step_is_the_mean_of_ddpm() -> None:
    schedule = NoiseSchedule(20)
    x, eps = torch.randn(2, 5, 3, 2, generator=stream(1))
    expected = schedule.posterior_mean(x, eps, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(ddim_step(schedule, x, eps, 0, None), expected, atol=1e-6, rtol=1e-5)


def test_chain_of_one_step_is_that_of_ddpm_without_noise(task: TaskSpec, diffusion_config: DiffusionConfig) -> None:
    policy = DiffusionPolicy(diffusion_config.model_copy(update={"denoising_steps": 1}), task, horizon_steps=3)
    obs, noise = torch.randn(4, 5, generator=stream(1)), chain_noise(policy.schedule, (4, 3, 2), stream(2))
    chain = sample_chain([policy.denoiser], policy.schedule, obs, noise, [0.0])

    @torch.no_grad()
    def predict(x: Tensor, t: int) -> Tensor:
        return policy.denoiser(x, policy.denoiser.time_table()[[t] * 4], obs)  # type: ignore[no-any-return]

    torch.testing.assert_close(sample_ddim(predict, policy.schedule, noise[0], 1), chain.x[-1])


def test_both_chains_end_in_the_one_chunk_that_a_perfect_prediction_knows(task: TaskSpec) -> None:
    schedule, chunk = NoiseSchedule(20), torch.rand(3, 2, generator=stream(1)) - 0.5

    def predict(x: Tensor, t: int) -> Tensor:
        return (x - schedule.sqrt_alpha_bar[t] * chunk) / schedule.sqrt_one_minus_alpha_bar[t]

    x = noise = torch.randn(4, 3, 2, generator=stream(2))
    for t in reversed(range(20)):
        x = schedule.posterior_mean(x, predict(x, t), torch.full((4,), t))
    torch.testing.assert_close(x, chunk.expand(4, 3, 2), atol=1e-5, rtol=1e-4)
    for n_steps in (1, 4, 20):
        sampled = sample_ddim(predict, schedule, noise, n_steps)
        # What one step from the noisiest index can know: float32 leaves little of the chunk there.
        torch.testing.assert_close(sampled, chunk.expand(4, 3, 2), atol=1e-2 if n_steps == 1 else 1e-5, rtol=1e-4)


def test_a_policy_acts_by_ddim_where_its_settings_say_so(policy: DiffusionPolicy) -> None:
    obs = torch.randn(4, 5, generator=stream(1))
    nets = policy.denoisers()

    @torch.no_grad()
    def predict(x: Tensor, t: int) -> Tensor:
        return nets[t](x, nets[t].time_table()[[t] * 4], normalized)  # type: ignore[no-any-return]

    normalized = policy.normalizer.normalize_obs(obs)
    chunk = sample_ddim(predict, policy.schedule, torch.randn(4, 3, 2, generator=stream(2)), 3)
    torch.testing.assert_close(policy.act(obs, stream(2)), policy.normalizer.denormalize_action(chunk))
    policy.ddim_steps = None
    assert not torch.allclose(policy.act(obs, stream(2)), policy.normalizer.denormalize_action(chunk))


def test_more_steps_than_the_chain_has_are_refused(diffusion_config: DiffusionConfig) -> None:
    values = diffusion_config.model_dump()
    assert "ddim_steps" not in values
    assert DiffusionConfig(**values, ddim_steps=6).ddim_steps == 6
    with pytest.raises(ValidationError, match="ddim_steps of at most the 6 denoising_steps"):
        DiffusionConfig(**values, ddim_steps=7)
