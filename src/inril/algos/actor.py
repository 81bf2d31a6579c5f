"""What PPO asks of the policy that it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from inril.algos.observer import Observer, PlainObserver
from inril.data.normalizer import Normalizer
from inril.learning.update import Info
from inril.policies.acting import Memory, Memoryless


class Sample(NamedTuple):
    """What an actor head draws for E environments.

    Attributes:
        chunk: (E, Ta, Da) normalised, to be executed.
        trace: (E, ...) what the head needs to evaluate the log-probability again.
        logprob: (E, K') log-probability of each denoising step (K' = 1 for a Gaussian).
    """

    chunk: Tensor
    trace: Tensor
    logprob: Tensor


def chosen_rows(row: Tensor | None, *arrays: Tensor) -> tuple[Tensor, ...]:
    """Return the rows (B,) of arrays (N, ...); all of them where none are chosen."""
    return arrays if row is None else tuple(array.index_select(0, row) for array in arrays)


class ActorHead(Memory, Protocol):
    """The trained part of a policy, as PPO sees it.

    It remembers episodes of evaluations, its observer those of rollouts: an evaluation leaves the rollout alone.
    """

    normalizer: Normalizer
    act_steps: int  # Ta
    ft_denoising_steps: int  # K'
    gamma_denoising: float

    @property
    def observer(self) -> Observer:
        """What it and the critic see in a rollout: what `sample` and `logprob` call observations."""

    def parameters(self) -> Sequence[Tensor]:
        """Return what RL trains."""

    def il_parameters(self) -> Sequence[Tensor]:
        """Return what imitation may touch."""

    def sample(self, obs: Tensor, generator: torch.Generator) -> Sample:
        """Draw chunks with exploration noise for normalised observations (E, Do)."""

    def trace_shape(self) -> tuple[int, ...]:
        """Return the shape of one trace."""

    def logprob(self, obs: Tensor, trace: Tensor, k: Tensor, row: Tensor | None = None) -> Tensor:
        """Log-probability (B,) of step k (B,) of traces, differentiable.

        Args:
            obs: (N, Do) normalised.
            trace: (N, ...).
            k: (B,) steps.
            row: (B,) whose steps; None for each one's, where B = N.
        """

    def entropy(self) -> Tensor:
        """Entropy of the exploration noise; 0 where it is not learned."""

    def after_step(self) -> None:
        """Project parameters back into their bounds."""

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Imitation loss of a normalised batch."""

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """Imitation losses to log."""

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Evaluation chunks (E, Ta, Da), normalised, for normalised observations."""

    def policy_state(self) -> dict[str, Tensor]:
        """Weights of the whole policy."""

    def state_dict(self) -> dict[str, Any]:
        """Trained parameters."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore trained parameters."""


class PlainHead(Memoryless):
    """What heads share that see the observation alone and remember nothing of episodes; see `ActorHead`."""

    observer: Observer = PlainObserver()
