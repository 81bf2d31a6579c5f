"""Critics of actions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.policy import NetworkConfig
from inril.policies.mlp import MLP


class Critics(nn.Module):
    """Independent networks of the value of a chunk; their lower answers are those that are not over-optimistic.

    Args:
        network: sizes of each.
        obs_dim: Do.
        action_dim: Da.
        horizon_steps: Tp.
        n_critics: how many, at least 2.

    Source: Fujimoto et al. 2018, "Addressing Function Approximation Error in Actor-Critic Methods", for two; Ball et
    al. 2023, "Efficient Online Reinforcement Learning with Offline Data" (RLPD), for more.
    """

    def __init__(
        self, network: NetworkConfig, obs_dim: int, action_dim: int, horizon_steps: int, n_critics: int = 2
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(MLP(network, obs_dim + horizon_steps * action_dim, 1) for _ in range(n_critics))
        # Of a random pair of n the i-th lowest of all is the smaller one with probability 2 (n - i) / (n (n - 1)).
        below = torch.arange(n_critics - 1, -1, -1)
        self._weights = 2 * below / (n_critics * (n_critics - 1))

    def forward(self, obs: Tensor, chunk: Tensor) -> Tensor:
        """Return all values (n, B) of normalised chunks (B, Tp, Da) at normalised observations (B, Do)."""
        x = torch.cat([obs, chunk.flatten(1)], dim=1)
        return torch.stack([network.fast(x).squeeze(1) for network in self.networks])  # type: ignore[operator]

    def smaller(self, obs: Tensor, chunk: Tensor) -> Tensor:
        """Return the smaller value (B,) of two critics; of more, what the smaller of a random pair is on average."""
        values = self(obs, chunk)
        if len(values) == 2:
            return values.amin(dim=0)  # type: ignore[no-any-return]
        ranked: Tensor = values.sort(dim=0).values
        return (self._weights.to(ranked)[:, None] * ranked).sum(dim=0)

    def rank(self, obs: Tensor, chunks: Tensor) -> Tensor:
        """Return the smaller value (E, M) of normalised chunks (E, M, Tp, Da) at normalised observations (E, Do)."""
        repeated = obs.repeat_interleave(chunks.shape[1], dim=0)
        return self.smaller(repeated, chunks.flatten(0, 1)).view(chunks.shape[:2])

    def loss(self, obs: Tensor, chunk: Tensor, target: Tensor) -> Tensor:
        """Sum over the networks of the mean squared distance from the targets (B,)."""
        values = self(obs, chunk)
        return F.mse_loss(values, target.expand_as(values), reduction="none").mean(dim=1).sum()
