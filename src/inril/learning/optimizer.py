"""AdamW, its rate over a run, and its state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class Optimizer(Protocol):
    """What is asked of an optimiser, torch's own included.

    Attributes:
        param_groups: each with "params" and their rate, "lr".
        state: of each parameter that has taken a step.
    """

    param_groups: list[dict[str, Any]]
    state: dict[Tensor, dict[str, Tensor]]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Train more parameters; settings that the group lacks are those of the others."""

    def step(self) -> Any:
        """Take a step of every parameter that has a gradient."""

    def zero_grad(self) -> None:
        """Forget the gradients."""


class AdamW:
    """torch's AdamW in its fused form, which touches every parameter once; see `Optimizer`.

    The step is torch's own, to the last bit. What holds the state is not `torch.optim.AdamW`, since the first one that
    is made imports torch's compiler, which takes longer than all other imports of a run and is never used.

    Args:
        parameters: to be trained.
        lr: learning rate.
        weight_decay: per unit of the rate.
        eps: in the denominator.
    """

    _BETAS = (0.9, 0.999)

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0, eps: float = 1e-8) -> None:
        self._defaults = {"lr": lr, "weight_decay": weight_decay, "eps": eps}
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.add_param_group({"params": list(parameters)})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Train more parameters."""
        self.param_groups.append({**self._defaults, **param_group})

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take a step of every parameter that has a gradient."""
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not trained:
                continue
            states = [self._state_of(parameter) for parameter in trained]
            adamw(
                trained,
                [parameter.grad for parameter in trained],
                exp_avgs=[state["exp_avg"] for state in states],
                exp_avg_sqs=[state["exp_avg_sq"] for state in states],
                max_exp_avg_sqs=[],
                state_steps=[state["step"] for state in states],
                fused=True,
                amsgrad=False,
                maximize=False,
                beta1=self._BETAS[0],
                beta2=self._BETAS[1],
                **{name: group[name] for name in self._defaults},
            )
            # The fused step writes to memory and says so to nobody; what is kept beside weights goes by their version.
            torch.autograd.graph.increment_version(trained)

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.state[parameter]


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


def optimizer_state(optimizer: Optimizer) -> dict[str, dict[str, Tensor]]:
    """Return moments and step counts by position of the parameter; empty before the first step."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {str(i): dict(optimizer.state[p]) for i, p in enumerate(parameters) if p in optimizer.state}


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore what `optimizer_state` returned."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for position, values in state.items():
        parameter = parameters[int(position)]
        optimizer.state[parameter] = {name: value.to(parameter.device, copy=True) for name, value in values.items()}
