"""Who acts in environments: one contract that evaluation, films and algorithms share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from inril.data.normalizer import Normalizer
from inril.types import BoolArray, FloatArray

# Maps raw observations (E, Do) and a noise generator to raw chunks (E, Ta, Da).
Act = Callable[[FloatArray, torch.Generator], FloatArray]


class Memory(Protocol):
    """What is remembered of running episodes."""

    def start(self, n_envs: int) -> None:
        """Begin new episodes in so many environments; forget all others."""

    def drop(self, ended: BoolArray) -> None:
        """Forget the episodes that ended, (E,)."""


class Memoryless:
    """Remembers nothing of running episodes; see `Memory`."""

    def start(self, n_envs: int) -> None:
        """Nothing to forget."""

    def drop(self, ended: BoolArray) -> None:
        """Nothing to forget."""


class Actor(Memory, Protocol):
    """Acts in environments, whatever it remembers of their running episodes."""

    @property
    def act_steps(self) -> int:
        """Ta of the environments that it acts in."""

    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """Return chunks (E, Ta, Da) in raw units for raw observations (E, Do)."""


class ActingPolicy(Memory, Protocol):
    """A policy in torch: an `Actor` on tensors."""

    @property
    def normalizer(self) -> Normalizer:
        """Its normaliser."""

    @property
    def act_steps(self) -> int:
        """Ta of the environments that it acts in."""

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return chunks (E, Ta, Da) in raw units for raw observations (E, Do)."""


class PolicyActor:
    """A policy in torch as an `Actor`, on the device that it lies on.

    Args:
        policy: acts, and remembers.
    """

    def __init__(self, policy: ActingPolicy) -> None:
        self.policy, self.act_steps = policy, policy.act_steps
        self.start, self.drop = policy.start, policy.drop

    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """What the policy does."""
        chunk = self.policy.act(torch.from_numpy(obs).float().to(self.policy.normalizer.device), generator)
        return chunk.double().cpu().numpy()


class FunctionActor(Memoryless):
    """A function as an `Actor` that remembers nothing.

    Args:
        function: acts.
        act_steps: Ta of its chunks.
    """

    def __init__(self, function: Act, act_steps: int) -> None:
        self.function, self.act_steps = function, act_steps

    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """What the function says."""
        return self.function(obs, generator)
