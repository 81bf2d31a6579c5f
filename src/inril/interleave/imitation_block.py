"""Imitation on parameters that reinforcement does not touch: separation by network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from inril.learning.optimizer import AdamW, Optimizer, load_optimizer_state, optimizer_state
from inril.learning.update import Info, Update


class ImitationBlock:
    """Gradient steps of imitation between two iterations, with an optimiser of their own.

    Args:
        parameters: what imitation trains.
        after: called when a block has ended.
        n_steps: gradient steps of a block.
        batch_size: chunks of one of them.
        lr: of an AdamW that keeps its moments from block to block.
        weight_decay: of it.
        max_grad_norm: gradient clipping; None for none.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        after: Callable[[], None],
        n_steps: int,
        batch_size: int,
        lr: float,
        weight_decay: float = 0.0,
        max_grad_norm: float | None = None,
    ) -> None:
        self.parameters, self.after = list(parameters), after
        self.n_steps, self.batch_size, self.max_grad_norm = n_steps, batch_size, max_grad_norm
        self.optimizer: Optimizer = AdamW(self.parameters, lr, weight_decay)

    def updates(self, il_loss: Callable[[], Tensor]) -> Iterator[Update]:
        """Yield one block's gradient steps.

        Args:
            il_loss: computes the imitation loss on a new batch.
        """

        def backward() -> Info:
            loss = il_loss()
            loss.backward()
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
            return {"il_loss": loss.item(), "grad_norm_il": norm.item()}

        for _ in range(self.n_steps):
            yield Update(
                name="il",
                backward=backward,
                parameters=self.parameters,
                optimizer=self.optimizer,
                max_grad_norm=self.max_grad_norm,
                is_actor=False,
            )
        self.after()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return optimizer_state(self.optimizer)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the optimiser's state."""
        load_optimizer_state(self.optimizer, state)
