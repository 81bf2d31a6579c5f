"""Losses and schedules of PPO as pure functions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from inril.config.algos import ClipSchedule


def clip_schedule(config: ClipSchedule, ft_denoising_steps: int) -> Tensor:
    """Clip coefficient of each fine-tuned denoising step, growing exponentially from the noisiest to the last.

    Args:
        config: end points and rate.
        ft_denoising_steps: K'.

    Returns:
        (K',), index 0 the noisiest step. One step alone has the last step's coefficient (the reference divides 0 by 0).

    Source: Ren et al. 2024 (DPPO), released code.
    """
    u = (
        torch.linspace(0, 1, ft_denoising_steps, dtype=torch.float64)
        if ft_denoising_steps > 1
        else torch.ones(1, dtype=torch.float64)
    )
    growth = torch.expm1(config.rate * u) / torch.expm1(torch.tensor(config.rate, dtype=torch.float64))
    return (config.base + (config.top - config.base) * growth).float()


def denoising_discount(gamma_denoising: float, ft_denoising_steps: int) -> Tensor:
    """Weight (K',) of the advantage at each fine-tuned denoising step: 1 at the last, smallest at the noisiest.

    Source: Ren et al. 2024 (DPPO), eq. 4.4.
    """
    return gamma_denoising ** torch.arange(ft_denoising_steps - 1, -1, -1, dtype=torch.float32)


class Surrogate(NamedTuple):
    """PPO's loss sample by sample, (B,) each.

    Attributes:
        loss: pessimistic surrogate, to be minimised.
        approx_kl: non-negative estimate of KL(old || new).
        clipped: whether the ratio left the trusted range.
        active: whether the loss has a gradient; clipping in the direction of improvement leaves none.
    """

    loss: Tensor
    approx_kl: Tensor
    clipped: Tensor
    active: Tensor


def clipped_surrogate(logprob: Tensor, old_logprob: Tensor, advantage: Tensor, clip_coef: Tensor) -> Surrogate:
    """Compare the policy that is trained with the one that acted.

    Args:
        logprob: (B,) under the policy that is trained.
        old_logprob: (B,) under the policy that acted.
        advantage: (B,).
        clip_coef: (B,), or () for all.

    Source: Schulman et al. 2017, eq. 7; Schulman 2020, "Approximating KL divergence", estimator k3.
    """
    log_ratio = logprob - old_logprob
    ratio = torch.exp(log_ratio)
    plain = -advantage * ratio
    clipped = -advantage * torch.clamp(ratio, 1 - clip_coef, 1 + clip_coef)
    with torch.no_grad():
        approx_kl = torch.expm1(log_ratio) - log_ratio
        outside = (ratio - 1).abs() > clip_coef
        active = ~outside | (plain > clipped)
    return Surrogate(torch.maximum(plain, clipped), approx_kl, outside, active)


def normalize_advantage(advantage: Tensor) -> Tensor:
    """Shift and scale (B,) to mean 0 and standard deviation 1; a lone sample is only shifted."""
    centred = advantage - advantage.mean()
    return centred if len(advantage) < 2 else centred / (advantage.std() + 1e-8)
