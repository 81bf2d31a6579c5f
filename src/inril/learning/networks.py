"""The networks of an algorithm, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from inril.learning.optimizer import AdamW, Optimizer, load_optimizer_state, optimizer_state
from inril.learning.update import Info, Update


class Networks:
    """Networks and the optimisers of those that are trained: what there is to step, to save and to restore.

    Args:
        networks: all of them; imitation may join the steps of the one named "actor".
        lr: learning rate of each that is trained; the others are moved in other ways.
    """

    def __init__(self, networks: Mapping[str, nn.Module], lr: Mapping[str, float]) -> None:
        self.networks = dict(networks)
        for name, network in self.networks.items():
            network.requires_grad_(name in lr)
        self.optimizers: dict[str, Optimizer] = {
            name: AdamW(self.networks[name].parameters(), rate) for name, rate in lr.items()
        }

    def update(self, name: str, backward: Callable[[], Info]) -> Update:
        """Return a gradient step of one network."""
        return Update(
            name=name,
            backward=backward,
            parameters=list(self.networks[name].parameters()),
            optimizer=self.optimizers[name],
            max_grad_norm=None,
            is_actor=name == "actor",
        )

    def state_dict(self) -> dict[str, Any]:
        """Return weights, moments and step counts."""
        weights = {name: network.state_dict() for name, network in self.networks.items()}
        return {"networks": weights, "optimizers": {n: optimizer_state(o) for n, o in self.optimizers.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            load_optimizer_state(optimizer, state["optimizers"].get(name, {}))  # nothing before its first step
