"""Generalised advantage estimation and reward scaling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from inril.types import BoolArray, FloatArray


class Advantages(NamedTuple):
    """(S, E) each."""

    advantage: Tensor
    returns: Tensor


def gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Advantages:
    """Generalised advantage estimation over chunks.

    Args:
        reward: (S, E).
        value: (S, E) of the observation that was acted on.
        next_value: (S, E) of the true successor (final_obs), never of the observation after a reset.
        terminated: (S, E) bool; the successor's value counts as 0.
        truncated: (S, E) bool; the successor's value counts, but the trace is cut.
        gamma: discount per chunk.
        gae_lambda: lambda.

    Returns:
        advantage and returns = advantage + value, (S, E) each.

    Source: Schulman et al. 2016, eq. 16; the reference treats time limits differently (docs/deviations.md).
    """
    delta = reward + gamma * next_value * ~terminated - value
    carry = gamma * gae_lambda * (~(terminated | truncated)).to(delta.dtype)
    advantage = torch.empty_like(delta)
    last = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        last = delta[t] + carry[t] * last
        advantage[t] = last
    return Advantages(advantage, advantage + value)


def successor_values(values: Callable[[Tensor], Tensor], value: Tensor, next_obs: Tensor, ended: Tensor) -> Tensor:
    """Value (S, E) of each chunk's true successor.

    Most successors are the next chunk's observation, whose value is known already.

    Args:
        values: maps observations (B, Do) to values (B,).
        value: (S, E) of the observations that were acted on.
        next_obs: (S, E, Do) true successors.
        ended: (S, E) bool; the environment's next chunk began elsewhere.
    """
    unknown = ended.clone()
    unknown[-1] = True
    next_value = torch.cat([value[1:], torch.empty_like(value[:1])])
    next_value[unknown] = values(next_obs[unknown])
    return next_value


class RewardScaler:
    """Divides rewards by the running standard deviation of the discounted return.

    Args:
        n_envs: E.
        gamma: discount of the running return; the reference fixes 0.99 whatever the algorithm's discount is. With 0
            it is the standard deviation of the reward itself.
        clip: bound on scaled rewards.
    """

    def __init__(self, n_envs: int, gamma: float = 0.99, clip: float = 10.0) -> None:
        self.gamma, self.clip = gamma, clip
        self.running_return = np.zeros(n_envs)
        self.mean, self.var, self.count = 0.0, 1.0, 1e-4

    def __call__(self, reward: FloatArray, done: BoolArray) -> FloatArray:
        """Scale one iteration's rewards after updating the statistics with them.

        Args:
            reward: (S, E).
            done: (S, E) the episode ended with this reward.

        Returns:
            (S, E) within +-clip.
        """
        returns = np.empty_like(reward)
        for t in range(len(reward)):
            self.running_return = reward[t] + self.gamma * self.running_return
            returns[t] = self.running_return
            self.running_return = self.running_return * ~done[t]
        self._update(returns)
        scaled: FloatArray = np.clip(reward / np.sqrt(self.var + 1e-8), -self.clip, self.clip)
        return scaled

    def _update(self, returns: FloatArray) -> None:
        # Parallel variance (Chan et al. 1983).
        n, mean, var = returns.size, float(returns.mean()), float(returns.var())
        total, delta = self.count + n, mean - self.mean
        m2 = self.var * self.count + var * n + delta**2 * self.count * n / total
        self.mean, self.var, self.count = self.mean + delta * n / total, m2 / total, total

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics."""
        return {"running_return": self.running_return, "mean": self.mean, "var": self.var, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the statistics."""
        self.running_return = np.asarray(state["running_return"])
        self.mean, self.var, self.count = state["mean"], state["var"], state["count"]


def explained_variance(value: Tensor, target: Tensor) -> float:
    """Return 1 - Var(target - value) / Var(target): 1 for a perfect critic, 0 for a constant one; 0 if nothing varies.

    Args:
        value: (B,) what the critic says.
        target: (B,) what it should say.
    """
    variance = target.var().item()
    return 1 - (target - value).var().item() / variance if variance > 0 else 0.0
