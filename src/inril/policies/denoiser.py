"""What a denoiser is, and the one that is a multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, NetworkConfig
from inril.policies.mlp import MLP

# Maps noisy chunks (B, Tp, Da), all at the same denoising index, and the index to the noise.
Predict = Callable[[Tensor, int], Tensor]
_OfWeights = Callable[[Tensor], Predict]  # what `MLP.sharing` returns


@dataclass(frozen=True)
class OfFlatChunks:
    """Prediction by a network of flat chunks (B, Tp Da)."""

    network: Callable[[Tensor, int], Tensor]

    def __call__(self, chunk: Tensor, t: int) -> Tensor:
        """Map noisy chunks (B, Tp, Da), all at the same denoising index, to the noise."""
        return self.network(chunk.flatten(1), t).view_as(chunk)


def sinusoidal_embedding(t: Tensor, dim: int) -> Tensor:
    """Embed integer times (B,) as sines and cosines (B, dim) of geometric frequencies."""
    half = dim // 2
    frequency = torch.exp(-math.log(10_000.0) / (half - 1) * torch.arange(half, device=t.device))
    angle = t[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class Denoiser(nn.Module):
    """Noise prediction network: embeds denoising steps; subclasses say what is made of them.

    Args:
        config: number of denoising steps and size of their embedding.
        expansion: width of the embedding's hidden layer, in multiples of its size.
    """

    def __init__(self, config: DiffusionConfig, expansion: int) -> None:
        super().__init__()
        self.time_in = nn.Linear(config.time_dim, expansion * config.time_dim)
        self.time_out = nn.Linear(expansion * config.time_dim, config.time_dim)
        times = sinusoidal_embedding(torch.arange(config.denoising_steps), config.time_dim)
        self.register_buffer("times", times, persistent=False)

    def time_table(self) -> Tensor:
        """Return the time embedding (K, time_dim) of every denoising index: K rows in place of one per sample."""
        return self.time_out(F.mish(self.time_in(self.times)))  # type: ignore[no-any-return]

    def given(self, obs: Tensor) -> Predict:
        """Return the prediction for sampling, without autograd; all but the chunk is worked in, at the weights of now.

        Args:
            obs: (B, Do) normalised.
        """
        raise NotImplementedError

    def forward(self, chunk: Tensor, time: Tensor, obs: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            chunk: (B, Tp, Da) noisy chunk.
            time: (B, time_dim) rows of the time table.
            obs: (B, Do) normalised observation.

        Returns:
            (B, Tp, Da) predicted noise.
        """
        raise NotImplementedError


class MLPDenoiser(Denoiser):
    """Multilayer perceptron over [noisy chunk, time embedding, observation or its encoding].

    Args:
        config: sizes.
        network: widths and activation.
        task: dimensions of observation and action.
        horizon_steps: Tp.
    """

    def __init__(self, config: DiffusionConfig, network: NetworkConfig, task: TaskSpec, horizon_steps: int) -> None:
        super().__init__(config, expansion=2)
        chunk_dim = horizon_steps * task.action_dim
        self.seen_dim = task.obs_dim
        self.obs_encoder: MLP | None = None
        if config.obs_encoder is not None:
            hidden, self.seen_dim = config.obs_encoder
            layers = NetworkConfig(widths=(hidden,), activation=network.activation, residual=False)
            self.obs_encoder = MLP(layers, task.obs_dim, self.seen_dim)
        self.mlp = MLP(network, chunk_dim + config.time_dim + self.seen_dim, chunk_dim)
        self._worked_out: tuple[list[tuple[int, int]], _OfWeights] | None = None

    def given(self, obs: Tensor) -> Predict:
        """Work in the observation, once for all indices, and the embeddings of all indices, once for all weights."""
        return OfFlatChunks(self._of_weights()(self._seen(obs)))

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what was worked out from the weights."""
        return {**super().__getstate__(), "_worked_out": None}  # type: ignore[no-untyped-call]

    def _of_weights(self) -> _OfWeights:
        """Return `MLP.sharing` at the weights of now, worked out again if they have changed."""
        time_layers = (self.time_in.weight, self.time_in.bias, self.time_out.weight, self.time_out.bias)
        weights = [*time_layers, *self.mlp.parameters_of_layers()]
        # What torch writes into a tensor raises its version.
        state = [(weight.data_ptr(), weight._version) for weight in weights]
        if self._worked_out is None or self._worked_out[0] != state or self.times.device.type != "cpu":
            # On a GPU a chain is recorded, this included: there it has to see the weights in each replay.
            with torch.no_grad():
                self._worked_out = state, self.mlp.sharing(self.time_table(), self.seen_dim)
        return self._worked_out[1]

    def forward(self, chunk: Tensor, time: Tensor, obs: Tensor) -> Tensor:
        """Predict the noise; see `Denoiser`."""
        return self.mlp(torch.cat([chunk.flatten(1), time, self._seen(obs)], dim=1)).view_as(chunk)  # type: ignore[no-any-return]

    def _seen(self, obs: Tensor) -> Tensor:
        return obs if self.obs_encoder is None else self.obs_encoder(obs)
