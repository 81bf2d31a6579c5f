"""A diffusion policy that proposes several chunks, and critics that choose among them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inril.config.policy import RankerConfig
from inril.data.normalizer import Normalizer
from inril.policies.acting import Memoryless
from inril.policies.critics import Critics
from inril.policies.diffusion import DiffusionPolicy


class RankedPolicy(Memoryless, nn.Module):
    """What IDQL executes in evaluation: of M chunks the one with the highest value.

    Args:
        base: proposes chunks.
        critic: of chunks.
        n_samples: M.
    """

    def __init__(self, base: DiffusionPolicy, critic: Critics, n_samples: int) -> None:
        super().__init__()
        self.base, self.critic, self.n_samples = base, critic, n_samples
        self.chunk_shape, self.act_steps = base.chunk_shape, base.act_steps

    @property
    def normalizer(self) -> Normalizer:
        """The base's."""
        return self.base.normalizer

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the chosen chunks (E, Tp, Da) for observations (E, Do), raw units."""
        seen = self.normalizer.normalize_obs(obs)
        chunks = self.base.sample(seen.repeat_interleave(self.n_samples, dim=0), generator)
        chunks = chunks.view(len(obs), self.n_samples, *self.chunk_shape)
        return self.normalizer.denormalize_action(take(chunks, self.critic.rank(seen, chunks).argmax(dim=1)))


def take(chunks: Tensor, chosen: Tensor) -> Tensor:
    """Return the chosen one (E,) of chunks (E, M, Tp, Da) for each environment."""
    return chunks[torch.arange(len(chosen), device=chunks.device), chosen]


def build_critics(config: RankerConfig, obs_dim: int, action_dim: int, horizon_steps: int) -> Critics:
    """Return critics with fresh weights."""
    return Critics(config.network, obs_dim, action_dim, horizon_steps, config.n_critics)
