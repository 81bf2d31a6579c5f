"""Diffusion policy: predicts the noise in an action chunk, given the observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, UNetConfig
from inril.data.normalizer import Normalizer
from inril.device import randn
from inril.policies import compiled_chain
from inril.policies.acting import Memoryless
from inril.policies.ddim import sample_ddim
from inril.policies.denoiser import Denoiser, MLPDenoiser
from inril.policies.noise_schedule import NoiseSchedule
from inril.policies.unet import UNetDenoiser


def make_denoiser(config: DiffusionConfig, task: TaskSpec, horizon_steps: int) -> Denoiser:
    """Return a denoiser with fresh weights.

    Args:
        config: sizes.
        task: dimensions of observation and action.
        horizon_steps: Tp.
    """
    if isinstance(config.network, UNetConfig):
        return UNetDenoiser(config, config.network, task)
    return MLPDenoiser(config, config.network, task, horizon_steps)


class DiffusionPolicy(Memoryless, nn.Module):
    """Normaliser, noise schedule and denoiser: all that acting needs.

    Args:
        config: sizes.
        task: dimensions of observation and action.
        horizon_steps: Tp, all of which are executed.
        ft_denoising_steps: K', last steps that a fine-tuned copy of the network takes; 0 before fine-tuning.
    """

    def __init__(
        self, config: DiffusionConfig, task: TaskSpec, horizon_steps: int, ft_denoising_steps: int = 0
    ) -> None:
        super().__init__()
        self.chunk_shape = (horizon_steps, task.action_dim)
        self.act_steps = horizon_steps
        self.normalizer = Normalizer(task.obs_dim, task.action_dim)
        self.schedule = NoiseSchedule(config.denoising_steps)
        self.ddim_steps = config.ddim_steps
        self.denoiser = make_denoiser(config, task, horizon_steps)
        self.ft_denoising_steps = ft_denoising_steps
        if ft_denoising_steps:
            self.denoiser_ft = make_denoiser(config, task, horizon_steps)

    def denoisers(self) -> list[Denoiser]:
        """Return the network of each denoising index t."""
        n_frozen = self.schedule.denoising_steps - self.ft_denoising_steps
        fine_tuned = [self.denoiser_ft] * self.ft_denoising_steps if self.ft_denoising_steps else []
        return [*fine_tuned, *([self.denoiser] * n_frozen)]

    def bc_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Imitation loss with random denoising steps and noise, all steps equally likely.

        Args:
            obs: (B, Do) normalised.
            chunk: (B, Tp, Da) normalised demonstration.
            generator: of steps and noise.
        """
        t, eps = draw_noise(chunk, self.schedule.denoising_steps, generator)
        return denoising_loss(self.denoiser, self.schedule, obs, chunk, t, eps)

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Sample chunks as in evaluation.

        Args:
            obs: (E, Do) raw units.
            generator: of the noise.

        Returns:
            (E, Tp, Da) raw units.
        """
        chunk = self.sample(self.normalizer.normalize_obs(obs), generator, self.ddim_steps)
        return self.normalizer.denormalize_action(chunk)

    @torch.no_grad()
    def sample(self, obs: Tensor, generator: torch.Generator, ddim_steps: int | None = None) -> Tensor:
        """Sample chunks as in evaluation, all normalised.

        Args:
            obs: (E, Do).
            generator: of the noise.
            ddim_steps: of DDIM; None runs the whole chain, with the evaluation noise.

        Returns:
            (E, Tp, Da)
        """
        shape = (len(obs), *self.chunk_shape)
        denoisers = self.denoisers()
        if ddim_steps is None:
            noise = chain_noise(self.schedule, shape, generator)
            return sample_chain(denoisers, self.schedule, obs, noise, evaluation_std(self.schedule)).x[-1]

        predict = {net: net.given(obs) for net in set(denoisers)}
        noise = randn(shape, generator, obs.device)
        return sample_ddim(lambda x, t: predict[denoisers[t]](x, t), self.schedule, noise, ddim_steps)


def draw_noise(chunk: Tensor, n_steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw denoising indices (B,) uniformly below `n_steps` and noise of the chunk's shape."""
    t = torch.randint(n_steps, (len(chunk),), generator=generator).to(chunk.device)
    return t, randn(chunk.shape, generator, chunk.device)


def denoising_loss(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    obs: Tensor,
    chunk: Tensor,
    t: Tensor,
    eps: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the predicted noise.

    Args:
        denoiser: network that is trained.
        schedule: noise schedule.
        obs: (B, Do) normalised.
        chunk: (B, Tp, Da) normalised demonstration.
        t: (B,) denoising index.
        eps: (B, Tp, Da) noise that is added.
        weight: (B,) of each sample in the mean; None weighs all the same.

    Source: Ho et al. 2020, eq. 14.
    """
    time = denoiser.time_table().index_select(0, t)
    predicted = denoiser(schedule.add_noise(chunk, eps, t), time, obs)
    if weight is None:
        return F.mse_loss(predicted, eps)
    return (weight * F.mse_loss(predicted, eps, reduction="none").mean(dim=(1, 2))).mean()


class Chain(NamedTuple):
    """A batch of denoising chains.

    Attributes:
        x: (K + 1, E, Tp, Da) from pure noise to the clean chunk.
        mean: (K, E, Tp, Da) mean of the Gaussian that each later entry was drawn from.
    """

    x: Tensor
    mean: Tensor


def training_std(schedule: NoiseSchedule, floor: float) -> list[float]:
    """K standard deviations of acting in training: never below the floor, the last step included."""
    return schedule.std.clamp(min=floor).tolist()


def evaluation_std(schedule: NoiseSchedule) -> list[float]:
    """K standard deviations of acting in evaluation: at least 1e-3, and none in the last step."""
    return [0.0, *schedule.std[1:].clamp(min=1e-3).tolist()]


def chain_noise(
    schedule: NoiseSchedule, shape: tuple[int, ...], generator: torch.Generator, clip: float = 3.0
) -> Tensor:
    """Draw the noise (K + 1, *shape) of a batch of chains; all but the first entry truncated at +-clip."""
    noise = randn((schedule.denoising_steps + 1, *shape), generator, schedule.std.device)
    noise[1:].clamp_(-clip, clip)
    return noise


@torch.no_grad()
def sample_chain(
    denoisers: Sequence[Denoiser], schedule: NoiseSchedule, obs: Tensor, noise: Tensor, std: Sequence[float]
) -> Chain:
    """Run the reverse process.

    Args:
        denoisers: network of each denoising index t.
        schedule: noise schedule.
        obs: (E, Do) normalised.
        noise: (K + 1, E, Tp, Da) from `chain_noise`.
        std: K standard deviations, one of each index t.
    """
    predict = {net: net.given(obs) for net in set(denoisers)}
    chain = Chain(torch.empty_like(noise), torch.empty_like(noise[1:]))
    chain.x[0].copy_(noise[0])
    networks = compiled_chain.networks_of([predict[net] for net in denoisers])
    if networks is not None:
        compiled_chain.run(networks, schedule.posterior_coefficients, std, noise, *chain)
        return chain
    x, mean, z = chain.x.unbind(), chain.mean.unbind(), noise.unbind()
    for i, t in enumerate(reversed(range(schedule.denoising_steps))):
        eps = predict[denoisers[t]](x[i], t)
        # The posterior mean as in NoiseSchedule.posterior_mean, in place: compiled chains round as this does.
        x0_from_x, x0_from_eps, mean_from_x0, mean_from_x = schedule.posterior_coefficients[t]
        x0 = torch.sub(x[i] * x0_from_x, eps, alpha=x0_from_eps).clamp_(-1, 1)
        torch.add(x0.mul_(mean_from_x0), x[i], alpha=mean_from_x, out=mean[i])
        torch.add(mean[i], z[i + 1], alpha=std[t], out=x[i + 1])
    return chain


def chain_logprob(x_next: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-probability of denoising transitions, averaged over chunk steps and action dimensions.

    The mean in place of the sum makes the PPO ratio the (Ta Da)-th root of the true one; clip values of 0.001 to 0.01
    make sense on that scale only. Each dimension is clamped to [-5, 2] first, and the truncation of the noise is
    ignored, as in the reference.

    Args:
        x_next: (..., Tp, Da) entry that was drawn.
        mean: (..., Tp, Da) its mean.
        std: broadcastable to them.

    Returns:
        (...)
    """
    z = (x_next - mean) / std
    logprob = -0.5 * z * z - std.log() - 0.5 * math.log(2 * math.pi)
    return logprob.clamp(-5, 2).mean(dim=(-2, -1))
