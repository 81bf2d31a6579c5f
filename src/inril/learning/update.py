"""One gradient step of an algorithm, before it is taken: where imitation can join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inril.learning.optimizer import Optimizer

Info = dict[str, float]


@dataclass(frozen=True)
class Update:
    """One gradient step, not yet taken.

    Attributes:
        name: which network it trains.
        backward: accumulates the gradient into the parameters' `.grad` (micro-batch by micro-batch, so that memory
            stays bounded) and returns scalars to log.
        parameters: what it trains.
        optimizer: takes the step.
        max_grad_norm: gradient clipping; None for none.
        is_actor: whether imitation may join it.
    """

    name: str
    backward: Callable[[], Info]
    parameters: Sequence[Tensor]
    optimizer: Optimizer
    max_grad_norm: float | None
    is_actor: bool

    def zero_grad(self) -> None:
        """Forget the gradients of the parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def apply(self) -> None:
        """Clip and take the step."""
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
