"""Critics of actions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.base import TaskSpec
from inril.config.policy import NetworkConfig
from inril.policies.mlp import MLP


class TwinQ(nn.Module):
    """Two independent networks of the value of a chunk; their smaller answer is the one that is not over-optimistic.

    Args:
        network: sizes of each.
        task: dimensions of observation and action.
        horizon_steps: Tp.

    Source: Fujimoto et al. 2018, "Addressing Function Approximation Error in Actor-Critic Methods".
    """

    def __init__(self, network: NetworkConfig, task: TaskSpec, horizon_steps: int) -> None:
        super().__init__()
        in_dim = task.obs_dim + horizon_steps * task.action_dim
        self.networks = nn.ModuleList(MLP(network, in_dim, 1) for _ in range(2))

    def forward(self, obs: Tensor, chunk: Tensor) -> Tensor:
        """Return both values (2, B) of normalised chunks (B, Tp, Da) at normalised observations (B, Do)."""
        x = torch.cat([obs, chunk.flatten(1)], dim=1)
        return torch.stack([network.fast(x).squeeze(1) for network in self.networks])  # type: ignore[operator]

    def smaller(self, obs: Tensor, chunk: Tensor) -> Tensor:
        """Return the smaller value (B,)."""
        return self(obs, chunk).amin(dim=0)  # type: ignore[no-any-return]

    def loss(self, obs: Tensor, chunk: Tensor, target: Tensor) -> Tensor:
        """Sum over both networks of the mean squared distance from the targets (B,)."""
        return F.mse_loss(self(obs, chunk), target.expand(2, -1), reduction="none").mean(dim=1).sum()
