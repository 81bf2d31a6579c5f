"""Imitation by a step of its own: the paper's two-phase update, which leaves reinforcement's moments alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from inril.algos.base import Info
from inril.interleave.separation import flatten, pair_info, random_direction
from inril.train.optimizer import adamw, load_optimizer_state, optimizer_state


class OwnStep:
    """Takes an imitation step after a reinforcement step, with an AdamW of its own.

    Args:
        parameters: what both train.
        lr: rate of imitation, alpha_IL.
        projects: whether the imitation gradient is projected on the dual cone with the reinforcement gradient of the
            step before, so that to first order it does not undo that step.

    Source: paper, eq. for theta_{t + 1/(1 + m)}; with the phase at the end of a cycle.
    """

    def __init__(self, parameters: Sequence[Tensor], lr: float, projects: bool) -> None:
        self.parameters, self.projects = list(parameters), projects
        self.optimizer = adamw(self.parameters, lr)

    def take(self, il_loss: Callable[[], Tensor], noise: torch.Generator | None = None) -> Info:
        """Take the step; the gradient of the reinforcement step, still in `.grad`, is replaced.

        Args:
            il_loss: computes the imitation loss at the parameters as they are now.
            noise: where it is given, a random direction drawn from it takes the place of the imitation gradient's.

        Returns:
            Imitation loss, norms and angle of the pair of gradients, before any projection.
        """
        g_rl = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        loss = il_loss()
        g_il = list(torch.autograd.grad(loss, self.parameters))
        if noise is not None:
            g_il = random_direction(g_il, noise)
        weight = _overlap(flatten(g_il), flatten(g_rl)) if self.projects else 0.0
        for parameter, rl, il in zip(self.parameters, g_rl, g_il, strict=True):
            parameter.grad = il - weight * rl
        self.optimizer.step()
        return {"il_loss": loss.item(), **pair_info(g_rl, g_il)}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return optimizer_state(self.optimizer)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the optimiser's state."""
        load_optimizer_state(self.optimizer, state)


def _overlap(g_il: Tensor, g_rl: Tensor) -> float:
    """Return how often the reinforcement gradient is to be taken from the imitation gradient, 0 without a conflict."""
    inner = torch.dot(g_il.double(), g_rl.double()).item()
    return inner / torch.dot(g_rl.double(), g_rl.double()).item() if inner < 0 else 0.0
