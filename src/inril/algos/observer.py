"""What actor and critic see of the environments while PPO collects a rollout."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from inril.policies.acting import Memory, Memoryless
from inril.types import BoolArray


class Observer(Memory, Protocol):
    """What actor and critic see of the environments in a rollout, in normalised units.

    Attributes:
        n_extra: columns that it adds to the Do of an observation.
    """

    n_extra: int

    def see(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is seen (E, Do + n_extra) when acting on observations (E, Do)."""

    def foresee(self, obs: Tensor, wanted: BoolArray, generator: torch.Generator) -> Tensor:
        """Return what would be seen next, should episodes go on; whose value nobody asks for may be anything finite.

        Args:
            obs: (E, Do) true successors of the step that was just taken.
            wanted: (E,) successors whose value will be asked for.
            generator: of the rollout.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers of running episodes."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class PlainObserver(Memoryless):
    """Lets actor and critic see the observation; remembers nothing."""

    n_extra = 0

    def see(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """The observation."""
        return obs

    def foresee(self, obs: Tensor, wanted: BoolArray, generator: torch.Generator) -> Tensor:
        """The successor."""
        return obs

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""
