"""Imitation by a step of its own: the paper's two-phase update, which leaves reinforcement's moments alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from inril.interleave.aggregators import dot
from inril.interleave.separation import flatten, gradient_of, pair_info, random_direction
from inril.learning.optimizer import AdamW, load_optimizer_state, optimizer_state
from inril.learning.update import Info, Update


class OwnStep:
    """Imitation steps after reinforcement's, with an AdamW of their own.

    Args:
        parameters: what both train.
        lr: rate of imitation, alpha_IL.
        projects: whether the imitation gradient is projected on the dual cone with the reinforcement gradient of the
            step before, so that to first order it does not undo that step.

    Source: paper, eq. for theta_{t + 1/(1 + m)}; with imitation at the end of a cycle.
    """

    def __init__(self, parameters: Sequence[Tensor], lr: float, projects: bool) -> None:
        self.parameters, self.projects = list(parameters), projects
        self.optimizer = AdamW(self.parameters, lr)

    def update(self, il_loss: Callable[[], Tensor], noise: torch.Generator | None = None) -> Update:
        """Return a step; the gradient of reinforcement's is still in `.grad`.

        It logs imitation loss, norms and angle of the pair of gradients, before any projection.

        Args:
            il_loss: computes the imitation loss.
            noise: where it is given, a random direction drawn from it takes the place of the imitation gradient's.
        """
        g_rl = [gradient_of(parameter) for parameter in self.parameters]

        def backward() -> Info:
            loss = il_loss()
            g_il = list(torch.autograd.grad(loss, self.parameters))
            if noise is not None:
                g_il = random_direction(g_il, noise)
            weight = _overlap(flatten(g_il), flatten(g_rl)) if self.projects else 0.0
            for parameter, rl, il in zip(self.parameters, g_rl, g_il, strict=True):
                parameter.grad = il - weight * rl
            return {"il_loss": loss.item(), **pair_info(g_rl, g_il)}

        return Update("il", backward, self.parameters, self.optimizer, max_grad_norm=None, is_actor=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return optimizer_state(self.optimizer)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the optimiser's state."""
        load_optimizer_state(self.optimizer, state)


def _overlap(g_il: Tensor, g_rl: Tensor) -> float:
    """Return how often the reinforcement gradient is to be taken from the imitation gradient, 0 without a conflict."""
    inner = dot(g_il, g_rl)
    return inner / dot(g_rl, g_rl) if inner < 0 else 0.0
