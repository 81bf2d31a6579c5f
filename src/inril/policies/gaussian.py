"""Gaussian policy over action chunks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from inril.config.base import TaskSpec
from inril.config.policy import GaussianConfig
from inril.data.normalizer import Normalizer
from inril.device import randn
from inril.policies.acting import Memoryless
from inril.policies.mlp import MLP


class GaussianPolicy(Memoryless, nn.Module):
    """Normaliser and network; the mean passes through tanh, the standard deviation does not depend on the state.

    Pre-training leaves the standard deviation alone; PPO may learn it.

    Args:
        config: sizes and standard deviation.
        task: dimensions of observation and action.
        horizon_steps: Tp, all of which are executed.
    """

    def __init__(self, config: GaussianConfig, task: TaskSpec, horizon_steps: int) -> None:
        super().__init__()
        self.chunk_shape = (horizon_steps, task.action_dim)
        self.act_steps = horizon_steps
        self.normalizer = Normalizer(task.obs_dim, task.action_dim)
        self.mlp = MLP(config.network, task.obs_dim, horizon_steps * task.action_dim)
        self.log_std = nn.Parameter(torch.full((task.action_dim,), math.log(config.std)), requires_grad=False)

    def mean(self, obs: Tensor) -> Tensor:
        """Return the mean chunk (B, Tp, Da), normalised, for normalised observations (B, Do)."""
        return torch.tanh(self.mlp(obs)).view(-1, *self.chunk_shape)

    def logprob(self, obs: Tensor, chunk: Tensor) -> Tensor:
        """Log-probability (B,) of normalised chunks (B, Tp, Da), averaged over their dimensions, within [-5, 2]."""
        return gaussian_logprob(chunk, self.mean(obs), self.log_std)

    def bc_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Negative log-likelihood of demonstrations, the standard deviation held fixed.

        Args:
            obs: (B, Do) normalised.
            chunk: (B, Tp, Da) normalised demonstration.
            generator: unused; the diffusion policy's loss needs it.
        """
        z = (chunk - self.mean(obs)) / self.log_std.detach().exp()
        return (0.5 * z * z + self.log_std.detach()).mean() + 0.5 * math.log(2 * math.pi)

    @torch.no_grad()
    def sample(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw normalised chunks (E, Tp, Da) for normalised observations (E, Do)."""
        mean = self.mean(obs)
        return mean + self.log_std.exp() * randn(mean.shape, generator, mean.device)

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean chunk (E, Tp, Da) in raw units for raw observations (E, Do); evaluation adds no noise."""
        return self.normalizer.denormalize_action(self.mean(self.normalizer.normalize_obs(obs)))


def gaussian_logprob(chunk: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-probability averaged over chunk steps and action dimensions, then clamped to [-5, 2].

    Args:
        chunk: (B, Tp, Da).
        mean: (B, Tp, Da).
        log_std: (Da,).

    Returns:
        (B,)
    """
    z = (chunk - mean) * torch.exp(-log_std)
    logprob = -0.5 * z * z - log_std - 0.5 * math.log(2 * math.pi)
    return logprob.mean(dim=(-2, -1)).clamp(-5, 2)
