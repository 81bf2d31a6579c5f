"""Residual policy: a network that corrects, step by step, the actions that a chunked base policy plans."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inril.config.algos import ResidualConfig
from inril.data.normalizer import Normalizer
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.mlp import MLP
from inril.types import BoolArray

# Maps normalised observations (B, Do) to normalised chunks (B, Ta, Da).
Plan = Callable[[Tensor], Tensor]


class ChunkQueue:
    """The base actions that each environment has still to execute: what is remembered of its episode.

    Args:
        plan_steps: Ta, executed steps of a base chunk.
        action_dim: Da.
    """

    def __init__(self, plan_steps: int, action_dim: int) -> None:
        self.plan_steps, self.action_dim = plan_steps, action_dim
        self.start(0)

    def start(self, n_envs: int) -> None:
        """Begin with empty queues."""
        self._chunk = torch.zeros(n_envs, self.plan_steps, self.action_dim)  # goes to where observations are
        self._next = np.full(n_envs, self.plan_steps)  # (E,) index of the next action; Ta where there is none

    def drop(self, ended: BoolArray) -> None:
        """Empty the queues of some environments, (E,)."""
        self._next[ended] = self.plan_steps

    def pop(self, obs: Tensor, plan: Plan) -> Tensor:
        """Take the next action (E, Da) out of each queue, an empty one being filled by a plan first.

        Args:
            obs: (E, Do) normalised.
            plan: is asked for the environments whose queue is empty, all at once.
        """
        assert len(obs) == len(self._next), "start() tells the number of environments"
        self._chunk = self._chunk.to(obs.device)
        empty = np.flatnonzero(self._next == self.plan_steps)
        if len(empty):
            self._chunk[empty] = plan(obs[empty])
            self._next[empty] = 0
        action = self._chunk[np.arange(len(obs)), self._next]
        self._next += 1
        return action

    def peek(self, obs: Tensor, wanted: BoolArray, plan: Plan) -> Tensor:
        """Return the action (E, Da) that `pop` would take, leaving the queues as they are.

        Args:
            obs: (E, Do) normalised, for which an empty queue's action is planned.
            wanted: (E,) environments to ask; the others get zeros.
            plan: as in `pop`.
        """
        action = obs.new_zeros(len(obs), self.action_dim)
        queued = np.flatnonzero(wanted & (self._next < self.plan_steps))
        action[queued] = self._chunk[queued, self._next[queued]]
        empty = np.flatnonzero(wanted & (self._next == self.plan_steps))
        if len(empty):
            action[empty] = plan(obs[empty])[:, 0]
        return action

    def state_dict(self) -> dict[str, Any]:
        """Return the queues."""
        return {"chunk": self._chunk, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the queues."""
        self._chunk = state["chunk"].clone()
        self._next = np.array(state["next"])


class ResidualPolicy(nn.Module):
    """A diffusion policy as base, and a Gaussian around its actions whose mean is learned: action = base + scale r.

    The network of the mean sees the observation and the base action, both normalised. Its last layer is zero at first:
    the policy begins as its base.

    Args:
        base: diffusion policy, executed chunk by chunk.
        config: sizes, scale and noise of the residual, and how the base acts.
    """

    act_steps = 1

    def __init__(self, base: DiffusionPolicy, config: ResidualConfig) -> None:
        super().__init__()
        self.base = base
        self.chunk_shape = base.chunk_shape
        horizon_steps, self.action_dim = base.chunk_shape
        self.plan_steps = config.act_steps or horizon_steps
        self.scale, self.std, self.ddim_steps = config.scale, math.exp(config.log_std), config.ddim_steps
        self.in_dim = len(base.normalizer.obs_min) + self.action_dim
        self.residual = MLP(config.network, self.in_dim, self.action_dim)
        init_hidden_layers(self.residual)
        self.residual.layers[-1] = nn.Linear(config.network.widths[-1], self.action_dim, bias=False)
        nn.init.zeros_(next(self.residual.layers[-1].parameters()))
        self.residual.to(base.normalizer.device)
        self.plans = self.queue()

    @property
    def normalizer(self) -> Normalizer:
        """The base's."""
        return self.base.normalizer

    def queue(self) -> ChunkQueue:
        """Return queues of base actions, to be started."""
        return ChunkQueue(self.plan_steps, self.action_dim)

    def start(self, n_envs: int) -> None:
        """Forget all plans; from now on there are so many environments."""
        self.plans.start(n_envs)

    def drop(self, ended: BoolArray) -> None:
        """Forget the plans of episodes that ended, (E,)."""
        self.plans.drop(ended)

    def plan(self, generator: torch.Generator) -> Plan:
        """Return the base as a function: the part of its chunks (B, Ta, Da) that is executed, without a gradient."""
        return lambda obs: self.base.sample(obs, generator, self.ddim_steps)[:, : self.plan_steps]

    def see(self, obs: Tensor, plans: ChunkQueue, generator: torch.Generator) -> Tensor:
        """Return [observation, base action] (E, Do + Da), the action taken out of plans, for observations (E, Do)."""
        return torch.cat([obs, plans.pop(obs, self.plan(generator))], dim=1)

    def mean(self, seen: Tensor) -> Tensor:
        """Return the mean residual (B, Da), not scaled, for normalised [observation, base action] (B, Do + Da)."""
        return self.residual(seen)  # type: ignore[no-any-return]

    def corrected(self, seen: Tensor, residual: Tensor) -> Tensor:
        """Return the normalised action (B, Da) that a residual (B, Da) makes of the base action in `seen`."""
        return seen[:, -self.action_dim :] + self.scale * residual

    @torch.no_grad()
    def exploit(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the actions (E, 1, Da) without noise, normalised, for normalised observations (E, Do).

        Plans are kept between steps: the policy must be started, and told of episodes that end.
        """
        seen = self.see(obs, self.plans, generator)
        return self.corrected(seen, self.mean(seen))[:, None]

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions (E, 1, Da) for observations (E, Do), raw units; see `exploit`."""
        return self.normalizer.denormalize_action(self.exploit(self.normalizer.normalize_obs(obs), generator))


def gaussian_logprob(residual: Tensor, mean: Tensor, std: float | Tensor) -> Tensor:
    """Log-probability (B,) of residuals (B, Da), summed over their dimensions.

    Args:
        residual: (B, Da) before they are scaled.
        mean: (B, Da).
        std: one number, or (B, 1).

    Source: ResiP; unlike DPPO, which averages and clamps.
    """
    z = (residual - mean) / std
    size = std * math.sqrt(2 * math.pi)
    log_size = math.log(size) if isinstance(size, float) else size.log().squeeze(1)
    return (-0.5 * z * z).sum(dim=1) - residual.shape[1] * log_size


def init_hidden_layers(network: MLP) -> None:
    """Draw the weights of a ReLU network's hidden layers as He et al. 2015 do; their biases are zero."""
    for layer in network.layers[:-1]:
        weight, bias = layer.parameters()
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        nn.init.zeros_(bias)
