"""What every algorithm offers, so that interleaving is a plug-in around any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from inril.envs.base import BatchedEnv
from inril.learning.update import Info, Update
from inril.policies.acting import Actor


class Algorithm(Actor, Protocol):
    """A reinforcement learning algorithm that fine-tunes a pre-trained policy.

    As an `Actor` it acts in evaluations, whose episodes are not those of its rollouts.

    `updates` is a generator: it resumes after its step was applied, so whatever follows a step (an early stop, target
    networks, buffers) stands behind the `yield` in reading order.
    """

    @property
    def choices(self) -> Mapping[str, Actor]:
        """Other ways to act in evaluations than its own, by name."""

    def collect(self, env: BatchedEnv, itr: int) -> Info:
        """Advance the environments by one iteration, fill the own rollout, return scalars to log."""

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield one iteration's gradient steps in order."""

    def diagnose(self) -> Info:
        """Return what tells whether the iteration that has ended taught anything (docs/diagnosing.md)."""

    def il_parameters(self) -> Sequence[Tensor]:
        """Return the parameters that imitation may touch, a subset of those of the actor's updates."""

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Imitation loss of a batch of normalised demonstrations (B, Do), (B, Tp, Da)."""

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """Actor loss on a random part of the current rollout, for diagnostics only.

        Args:
            size: number of samples.
            half: 0 or 1; the two draw from different environments, so that they share no episode.
            generator: of the draw.
        """

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """Imitation losses to log: `il_loss` of what is fine-tuned, `il_loss_all_steps` comparable to pre-training."""

    def policy_state(self) -> dict[str, Tensor]:
        """Return the weights of the fine-tuned policy, by which it can act."""

    def acting_state(self) -> dict[str, Tensor]:
        """Return all that `act` depends on."""

    def load_acting_state(self, state: dict[str, Tensor]) -> None:
        """Act as when `acting_state` was called; training cannot go on from there."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resume needs, as nested dicts of tensors, arrays and scalars."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
