"""AdamW, its rate over a run, and its state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def adamw(parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0, eps: float = 1e-8) -> torch.optim.AdamW:
    """Return AdamW in its fused form, which touches every parameter once."""
    return torch.optim.AdamW(list(parameters), lr=lr, weight_decay=weight_decay, eps=eps, fused=True)


def warmup_cosine(itr: int, warmup_itr: int, n_itr: int) -> float:
    """Return the factor of a learning rate in iteration `itr` of 1 to n: a linear rise, then a cosine that nears 0.

    Args:
        itr: iteration.
        warmup_itr: iterations of the rise; the next one has the full rate.
        n_itr: n.
    """
    if itr <= warmup_itr:
        return itr / (warmup_itr + 1)
    progress = (itr - 1 - warmup_itr) / max(1, n_itr - warmup_itr)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """Return moments and step counts by position of the parameter; empty before the first step."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {str(i): dict(optimizer.state[p]) for i, p in enumerate(parameters) if p in optimizer.state}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore what `optimizer_state` returned."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for position, values in state.items():
        parameter = parameters[int(position)]
        optimizer.state[parameter] = {name: value.to(parameter.device, copy=True) for name, value in values.items()}
