"""Slow recomputations of what off-policy algorithms on a diffusion policy do, and the switch to double precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inril.policies.denoiser import Denoiser
from inril.policies.noise_schedule import NoiseSchedule


class Adam:
    """Adam as in its paper, parameter by parameter."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, eps: float = 1e-8) -> None:
        self.parameters, self.lr, self.eps, self.n = list(parameters), lr, eps, 0
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def descend(self, gradients: Sequence[Tensor]) -> None:
        self.n += 1
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.999 * self.v[i] + 0.001 * g**2
            m, v = self.m[i] / (1 - 0.9**self.n), self.v[i] / (1 - 0.999**self.n)
            p -= self.lr * m / (v.sqrt() + self.eps)

    def minimise(self, loss: Tensor) -> None:
        self.descend(torch.autograd.grad(loss, self.parameters))


def follow(target: nn.Module, network: nn.Module, rate: float) -> None:
    with torch.no_grad():
        for a, b in zip(target.parameters(), network.parameters(), strict=True):
            a.copy_((1 - rate) * a + rate * b)


def end_of_chain(
    net: Denoiser, schedule: NoiseSchedule, obs: Tensor, floor: float, generator: torch.Generator
) -> Tensor:
    """Chunks (B, 2, 2) at the ends of chains with exploration noise."""
    n_steps = schedule.denoising_steps
    noise = torch.randn(n_steps + 1, len(obs), 2, 2, generator=generator).double()
    x = noise[0]
    for t in reversed(range(n_steps)):
        to_x0, to_eps, of_x0, of_x = schedule.posterior_coefficients[t]
        eps = net(x, net.time_table()[t].expand(len(obs), -1), obs)
        x0 = (to_x0 * x - to_eps * eps).clamp(-1, 1)
        std = max(float(schedule.std[t]), float(torch.tensor(floor)))
        x = of_x0 * x0 + of_x * x + std * noise[n_steps - t].clamp(-3, 3)
    return x


def denoising_errors(
    net: Denoiser, schedule: NoiseSchedule, obs: Tensor, chunk: Tensor, generator: torch.Generator
) -> Tensor:
    """Squared error of the predicted noise of each sample (B,), at random steps of the whole chain."""
    t = torch.randint(schedule.denoising_steps, (len(obs),), generator=generator)
    eps = torch.randn(chunk.shape, generator=generator).to(chunk.dtype)
    signal, spread = schedule.sqrt_alpha_bar[t], schedule.sqrt_one_minus_alpha_bar[t]
    noisy = signal[:, None, None] * chunk + spread[:, None, None] * eps
    return ((net(noisy, net.time_table()[t], obs) - eps) ** 2).mean(dim=(1, 2))


def to_double(algorithm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Continue in float64 from experience that was collected in float32."""
    algorithm.policy.double()
    for network in algorithm.networks.networks.values():
        network.double()
    data = algorithm.experience.replay._data
    for name in data:
        data[name] = data[name].double()
    monkeypatch.setattr(
        "inril.policies.diffusion.randn",
        lambda shape, generator, device: torch.randn(shape, generator=generator).double(),
    )


def learn(algorithm: Any, itr: int) -> list[str]:
    names = []
    for update in algorithm.updates(itr):
        update.zero_grad()
        update.backward()
        update.apply()
        names.append(update.name)
    return names


def batches_of(algorithm: Any) -> list[Tensor]:
    """Positions in the replay buffer that an iteration draws."""
    replay, drawn = algorithm.experience.replay, []
    draw = replay.positions

    def watched(generator: torch.Generator, size: int) -> Tensor:
        drawn.append(draw(generator, size))
        return drawn[-1]

    replay.positions = watched
    learn(algorithm, 1)
    return drawn


def weights(algorithm: Any) -> list[Tensor]:
    return [p.detach().clone() for network in algorithm.networks.networks.values() for p in network.parameters()]
