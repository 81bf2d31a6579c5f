"""Noise schedule of the diffusion policy: cosine betas and the DDPM posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def cosine_betas(denoising_steps: int) -> Tensor:
    """Return the betas (K,) of the cosine schedule, float64, at most 0.999.

    Source: Nichol & Dhariwal 2021, eq. 17, with offset 0.008.
    """
    u = torch.linspace(0, 1, denoising_steps + 1, dtype=torch.float64)
    alpha_bar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return torch.clamp(1 - alpha_bar[1:] / alpha_bar[:-1], max=0.999)


class NoiseSchedule(nn.Module):
    """Coefficients of the forward process and of its posterior, indexed by t = 0 (last) to K - 1 (noisiest).

    Args:
        denoising_steps: K.
    """

    sqrt_alpha_bar: Tensor
    sqrt_one_minus_alpha_bar: Tensor
    x0_from_x: Tensor
    x0_from_eps: Tensor
    mean_from_x0: Tensor
    mean_from_x: Tensor
    std: Tensor

    def __init__(self, denoising_steps: int) -> None:
        super().__init__()
        beta = cosine_betas(denoising_steps)
        alpha_bar = torch.cumprod(1 - beta, 0)
        alpha_bar_prev = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        coefficients = {
            "sqrt_alpha_bar": alpha_bar.sqrt(),
            "sqrt_one_minus_alpha_bar": (1 - alpha_bar).sqrt(),
            "x0_from_x": alpha_bar.rsqrt(),
            "x0_from_eps": (1 / alpha_bar - 1).sqrt(),
            "mean_from_x0": beta * alpha_bar_prev.sqrt() / (1 - alpha_bar),
            "mean_from_x": (1 - beta).sqrt() * (1 - alpha_bar_prev) / (1 - alpha_bar),
            "std": (beta * (1 - alpha_bar_prev) / (1 - alpha_bar)).sqrt(),
        }
        for name, value in coefficients.items():
            self.register_buffer(name, value.float(), persistent=False)
        self.denoising_steps = denoising_steps
        # (x0_from_x, x0_from_eps, mean_from_x0, mean_from_x) of every t, for loops over one t at a time.
        columns = (self.x0_from_x, self.x0_from_eps, self.mean_from_x0, self.mean_from_x)
        self.posterior_coefficients = list(zip(*(column.tolist() for column in columns), strict=True))

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Sample the forward process.

        Args:
            x0: (B, Tp, Da) clean chunk.
            eps: (B, Tp, Da) standard normal noise.
            t: (B,) denoising index.
        """
        return self.sqrt_alpha_bar[t, None, None] * x0 + self.sqrt_one_minus_alpha_bar[t, None, None] * eps

    def posterior_mean(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Mean of the next, cleaner chunk given the predicted noise, the clean chunk clipped to [-1, 1].

        Args:
            x: (B, Tp, Da) noisy chunk.
            eps: (B, Tp, Da) predicted noise.
            t: (B,) denoising index.

        Source: Ho et al. 2020, eqs. 7 and 15.
        """
        index = t[:, None, None]  # (B, 1, 1) broadcasts over the chunk
        x0 = (self.x0_from_x[index] * x - self.x0_from_eps[index] * eps).clamp(-1, 1)
        return self.mean_from_x0[index] * x0 + self.mean_from_x[index] * x
