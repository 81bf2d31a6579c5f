"""PPO on a Gaussian policy with action chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inril.algos.actor import PlainHead, Sample, chosen_rows
from inril.algos.ppo import PPO, make_ppo
from inril.config.algos import PPOConfig
from inril.config.runs import FinetuneConfig
from inril.learning.update import Info
from inril.policies.gaussian import GaussianPolicy


class GaussianHead(PlainHead):
    """Actor of Gaussian PPO; see `ActorHead` for the methods. The standard deviation is learned within bounds.

    Args:
        policy: pre-trained, or fresh for training from scratch; trained in place.
        config: bounds of the standard deviation.
    """

    ft_denoising_steps = 1
    gamma_denoising = 1.0

    def __init__(self, policy: GaussianPolicy, config: PPOConfig) -> None:
        self.policy = policy.requires_grad_(True)
        self.normalizer = policy.normalizer
        self.act_steps = policy.act_steps
        low, high = config.std_range
        self.log_std_range = torch.tensor([low, high], device=policy.normalizer.device).log()

    def parameters(self) -> Sequence[Tensor]:
        """Mean network and standard deviation."""
        return list(self.policy.parameters())

    def il_parameters(self) -> Sequence[Tensor]:
        """The mean network: imitation would only shrink the standard deviation."""
        return list(self.policy.mlp.parameters())

    def sample(self, obs: Tensor, generator: torch.Generator) -> Sample:
        """Draw chunks; the trace is the chunk itself."""
        chunk = self.policy.sample(obs, generator)
        return Sample(chunk, chunk, self.policy.logprob(obs, chunk)[:, None])

    def trace_shape(self) -> tuple[int, ...]:
        """(Tp, Da)."""
        return self.policy.chunk_shape

    def logprob(self, obs: Tensor, trace: Tensor, k: Tensor, row: Tensor | None = None) -> Tensor:
        """Log-probability of the chunk."""
        return self.policy.logprob(*chosen_rows(row, obs, trace))

    def entropy(self) -> Tensor:
        """Mean over action dimensions, up to a constant."""
        return self.policy.log_std.mean()

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the standard deviation within its bounds."""
        self.policy.log_std.clamp_(self.log_std_range[0], self.log_std_range[1])

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Negative log-likelihood of the demonstrations."""
        return self.policy.bc_loss(obs, chunk, generator)

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """Mean squared error of the mean: unlike the likelihood it does not move with the standard deviation."""
        error = float((self.policy.mean(obs) - chunk).square().mean())
        return {"il_loss": error, "il_loss_all_steps": error}

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean."""
        return self.policy.mean(obs)

    def policy_state(self) -> dict[str, Tensor]:
        """The whole policy."""
        return self.policy.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """The whole policy."""
        return self.policy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the policy."""
        self.policy.load_state_dict(state)


def make_ppo_gaussian(config: FinetuneConfig, policy: GaussianPolicy, _: object = None) -> PPO:
    """Build Gaussian PPO for one run.

    Args:
        config: resolved settings of the run.
        policy: pre-trained Gaussian policy.
    """
    assert isinstance(config.algo, PPOConfig)
    return make_ppo(config, GaussianHead(policy, config.algo))
