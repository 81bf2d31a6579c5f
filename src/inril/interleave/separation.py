"""Joins an imitation gradient to a reinforcement update without one destroying the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inril.device import randn
from inril.interleave.aggregators import Aggregator
from inril.learning.update import Info


class Joiner:
    """Puts a joint direction in the place of a reinforcement gradient.

    Args:
        aggregator: makes one vector of two.
        per_layer: whether each layer's gradient is such a vector; else the whole network's is.
        balances: whether the longer gradient is cut to the other's length first.
    """

    def __init__(self, aggregator: Aggregator, per_layer: bool = False, balances: bool = False) -> None:
        self.aggregator, self.per_layer, self.balances = aggregator, per_layer, balances

    def join(
        self, il_parameters: Sequence[Tensor], il_loss: Callable[[], Tensor], noise: torch.Generator | None = None
    ) -> Info:
        """Replace the reinforcement gradients in `.grad` by the joint direction.

        Args:
            il_parameters: what imitation may touch; all others keep their gradient.
            il_loss: computes the imitation loss.
            noise: where it is given, a random direction drawn from it takes the place of the imitation gradient's.

        Returns:
            Imitation loss, norms and angle of the pair of gradients as they were computed, over all shared parameters.
        """
        g_rl = [gradient_of(parameter) for parameter in il_parameters]
        loss = il_loss()
        g_il = list(torch.autograd.grad(loss, list(il_parameters)))
        if noise is not None:
            g_il = random_direction(g_il, noise)
        pair = balanced(g_rl, g_il) if self.balances else (g_rl, g_il)
        for group in self._groups(il_parameters):
            joint = combine(self.aggregator, *([gradient[i] for i in group] for gradient in pair))
            for i, gradient in zip(group, joint, strict=True):
                il_parameters[i].grad = gradient
        return {"il_loss": loss.item(), **pair_info(g_rl, g_il)}

    def _groups(self, parameters: Sequence[Tensor]) -> list[list[int]]:
        """Indices of what is projected as one vector: everything, or each weight matrix with the bias after it."""
        if not self.per_layer:
            return [list(range(len(parameters)))]
        groups: list[list[int]] = []
        for i, parameter in enumerate(parameters):
            if parameter.ndim > 1 or not groups:
                groups.append([])
            groups[-1].append(i)
        return groups


def pair_info(g_rl: Sequence[Tensor], g_il: Sequence[Tensor]) -> Info:
    """Return norms and angle of a pair of gradients, to log."""
    flat_rl, flat_il = flatten(g_rl), flatten(g_il)
    norm_rl, norm_il = flat_rl.norm().item(), flat_il.norm().item()
    inner = torch.dot(flat_rl, flat_il).item()
    return {
        "grad_norm_rl": norm_rl,
        "grad_norm_il": norm_il,
        "joint_cosine": inner / max(norm_rl * norm_il, 1e-30),
        "conflict_rate": float(inner < 0),
    }


def balanced(g_rl: Sequence[Tensor], g_il: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Cut the longer of two gradients, each taken as one vector, to the length of the other.

    Under one Adam the longer one fills both moments otherwise. A zero gradient cuts nothing, since the other would
    vanish with it.
    """
    norm_rl, norm_il = flatten(g_rl).norm(), flatten(g_il).norm()
    shorter = torch.minimum(norm_rl, norm_il)
    if not shorter > 0:  # also where one is not finite, which the caller reports
        return list(g_rl), list(g_il)
    return [shorter / norm_rl * g for g in g_rl], [shorter / norm_il * g for g in g_il]


def combine(aggregator: Aggregator, g_rl: Sequence[Tensor], g_il: Sequence[Tensor]) -> list[Tensor]:
    """Aggregate two gradients given as lists of tensors of equal shapes."""
    joint = aggregator(flatten(g_rl), flatten(g_il))
    parts = joint.split([tensor.numel() for tensor in g_rl])
    return [part.view_as(tensor) for part, tensor in zip(parts, g_rl, strict=True)]


def random_direction(gradients: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return a vector of the norm of all gradients together and of a uniformly random direction, cut up like them."""
    noise = [randn(g.shape, generator, g.device).to(g.dtype) for g in gradients]
    scale = flatten(gradients).norm() / flatten(noise).norm()
    return [scale * part for part in noise]


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors into one vector (P,)."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def gradient_of(parameter: Tensor) -> Tensor:
    """Return what `.grad` holds, zeros where no loss depends on the parameter."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
