from __future__ import annotations

import pytest
import torch

from inril.policies.noise_schedule import NoiseSchedule, cosine_betas

# facts/dppo.md section 1.4, from running the reference
REFERENCE_STD = [
    0, 0.0758, 0.1232, 0.1617, 0.1952, 0.2257, 0.2546, 0.2827, 0.3107, 0.3392,
    0.3690, 0.4007, 0.4354, 0.4744, 0.5194, 0.5734, 0.6412, 0.7310, 0.8573, 0.9965,
]  # fmt: skip


def test_posterior_stds_are_those_of_the_reference() -> None:
    torch.testing.assert_close(NoiseSchedule(20).std, torch.tensor(REFERENCE_STD), atol=5.1e-5, rtol=0)


def test_betas_run_from_0_008_to_the_cap() -> None:
    betas = cosine_betas(20)
    assert betas.dtype == torch.float64
    assert betas[0].item() == pytest.approx(0.0080, abs=5e-5)
    assert betas[-1].item() == 0.999
    assert (betas.diff() > 0).all()


@pytest.mark.parametrize("denoising_steps", [1, 2, 6, 20, 100])
def test_every_length_of_chain_is_finite_and_ends_without_noise(denoising_steps: int) -> None:
    schedule = NoiseSchedule(denoising_steps)
    assert all(torch.isfinite(value).all() for value in schedule.buffers())
    assert schedule.std[0] == 0


def test_adding_noise_at_once_equals_adding_it_step_by_step() -> None:
    betas = cosine_betas(20)
    schedule = NoiseSchedule(20).double()
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    signal, variance = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for t in range(20):
        signal = (1 - betas[t]).sqrt() * signal
        variance = (1 - betas[t]) * variance + betas[t]
        index = torch.tensor([t])
        torch.testing.assert_close(schedule.add_noise(one, 0 * one, index).squeeze(), signal, atol=0, rtol=1e-6)
        torch.testing.assert_close(
            schedule.add_noise(0 * one, one, index).squeeze(), variance.sqrt(), atol=0, rtol=1e-6
        )


def test_posterior_is_that_of_bayes() -> None:
    # Precisions add up: x_{t-1} is known from x_0 (variance 1 - abar_{t-1}) and from x_t / sqrt(alpha_t).
    betas = cosine_betas(20)
    alpha_bar = torch.cumprod(1 - betas, 0)
    schedule = NoiseSchedule(20).double()
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(1, 4, 3, dtype=torch.float64, generator=generator) * 1.9 - 0.95
    eps = torch.randn(1, 4, 3, dtype=torch.float64, generator=generator)
    for t in range(1, 20):
        x = alpha_bar[t].sqrt() * x0 + (1 - alpha_bar[t]).sqrt() * eps
        prior_precision = 1 / (1 - alpha_bar[t - 1])
        likelihood_precision = (1 - betas[t]) / betas[t]
        precision = prior_precision + likelihood_precision
        prior_mean = alpha_bar[t - 1].sqrt() * x0
        mean = (prior_precision * prior_mean + likelihood_precision * x / (1 - betas[t]).sqrt()) / precision
        # The noisiest coefficients reach 200, and the buffers were rounded to float32.
        torch.testing.assert_close(schedule.posterior_mean(x, eps, torch.tensor([t])), mean, atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(schedule.std[t], precision.rsqrt(), atol=0, rtol=1e-6)


def test_last_step_returns_the_clean_chunk_clipped() -> None:
    schedule = NoiseSchedule(20).double()
    t = torch.zeros(2, dtype=torch.long)
    x0 = torch.tensor([0.3, -1.7], dtype=torch.float64).view(2, 1, 1)
    eps = torch.tensor([0.5, -2.0], dtype=torch.float64).view(2, 1, 1)
    mean = schedule.posterior_mean(schedule.add_noise(x0, eps, t), eps, t)
    torch.testing.assert_close(mean.flatten(), torch.tensor([0.3, -1.0], dtype=torch.float64), atol=1e-6, rtol=0)


def test_every_row_has_its_own_index() -> None:
    schedule = NoiseSchedule(6)
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, 6, 4, 3, generator=generator)
    rows = schedule.posterior_mean(x, eps, torch.arange(6))
    for t in range(6):
        alone = schedule.posterior_mean(x[t : t + 1], eps[t : t + 1], torch.tensor([t]))
        torch.testing.assert_close(rows[t : t + 1], alone)
