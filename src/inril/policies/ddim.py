"""DDIM: the reverse process in few steps, its noise all in the start."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inril.policies.noise_schedule import NoiseSchedule


def ddim_indices(denoising_steps: int, n_steps: int) -> list[int]:
    """Return n training indices, evenly spread from the noisiest, where pure noise belongs, down to 0.

    Args:
        denoising_steps: K.
        n_steps: n, 1 to K. One step alone is the noisiest.

    Source: Song et al. 2021, appendix D.3; where the indices lie is a choice (docs/deviations.md).
    """
    return [round(t) for t in torch.linspace(denoising_steps - 1, 0, n_steps, dtype=torch.float64).tolist()]


def ddim_step(schedule: NoiseSchedule, x: Tensor, eps: Tensor, t: int, t_next: int | None) -> Tensor:
    """Go from one index to a cleaner one along the predicted noise, the clean chunk clipped to [-1, 1].

    Args:
        schedule: noise schedule.
        x: (B, Tp, Da) noisy chunk.
        eps: (B, Tp, Da) predicted noise.
        t: index of `x`.
        t_next: index to go to; None for the clean chunk.

    Returns:
        (B, Tp, Da)

    Source: Song et al. 2021, "Denoising Diffusion Implicit Models", eq. 12 with eta = 0; clipping as in DDPM.
    """
    x0 = (schedule.x0_from_x[t] * x - schedule.x0_from_eps[t] * eps).clamp(-1, 1)
    if t_next is None:
        return x0
    return schedule.sqrt_alpha_bar[t_next] * x0 + schedule.sqrt_one_minus_alpha_bar[t_next] * eps


def sample_ddim(
    predict: Callable[[Tensor, int], Tensor], schedule: NoiseSchedule, noise: Tensor, n_steps: int
) -> Tensor:
    """Denoise in few steps, deterministic given the start.

    Args:
        predict: maps noisy chunks (B, Tp, Da) and their index to the predicted noise.
        schedule: noise schedule.
        noise: (B, Tp, Da) standard normal start.
        n_steps: calls of `predict`, at most K.

    Returns:
        (B, Tp, Da) clean chunks.
    """
    indices = ddim_indices(schedule.denoising_steps, n_steps)
    x = noise
    for t, t_next in zip(indices, [*indices[1:], None], strict=True):
        x = ddim_step(schedule, x, predict(x, t), t, t_next)
    return x
