"""AdamW, and its state as plain tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def adamw(parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> torch.optim.AdamW:
    """Return AdamW in its fused form, which touches every parameter once."""
    return torch.optim.AdamW(list(parameters), lr=lr, weight_decay=weight_decay, fused=True)


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
