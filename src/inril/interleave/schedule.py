"""When imitation is due."""

from __future__ import annotations

from typing import Literal

M = int | Literal["inf"]
Unit = Literal["grad_step", "iteration"]


class Schedule:
    """Makes one of every m reinforcement updates of the actor a joint one.

    Unit `grad_step` counts the actor's gradient steps; unit `iteration` counts iterations in which the actor learns,
    the first gradient step of which is the joint one. Updates of a critic, also those of its warm-up, do not count.
    Where imitation has networks of its own no update is joint, and whole blocks are due.

    Args:
        m: reinforcement updates per imitation update; "inf" for none.
        unit: what m counts.
        opens: whether imitation opens a cycle of m; else it ends one.
        in_blocks: whether imitation has networks of its own.
    """

    def __init__(self, m: M, unit: Unit = "grad_step", opens: bool = False, in_blocks: bool = False) -> None:
        self.m, self.unit, self.in_blocks = m, unit, in_blocks
        self.offset = 1 if opens else 0
        self.n_rl_updates = 0
        self.n_actor_itr = 0
        self._last_itr = 0
        self._opens_itr = False

    def count(self, itr: int) -> None:
        """Count one gradient step of the actor in iteration `itr`."""
        self.n_rl_updates += 1
        self._opens_itr = itr != self._last_itr
        self.n_actor_itr += self._opens_itr
        self._last_itr = itr

    @property
    def due(self) -> bool:
        """Whether imitation joins the gradient step that was counted last."""
        if self.m == "inf" or self.in_blocks:
            return False
        if self.unit == "grad_step":
            return self.n_rl_updates % self.m == self.offset % self.m
        return self._opens_itr and self.n_actor_itr % self.m == self.offset % self.m

    def block_due(self, n_itr: int) -> bool:
        """Tell whether a block of imitation follows iteration n of those in which the actor learns."""
        return self.in_blocks and self.m != "inf" and n_itr > 0 and n_itr % self.m == self.offset % self.m

    def state_dict(self) -> dict[str, int]:
        """Return the counters."""
        return {
            "n_rl_updates": self.n_rl_updates,
            "n_actor_itr": self.n_actor_itr,
            "last_itr": self._last_itr,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the counters."""
        self.n_rl_updates, self.n_actor_itr = state["n_rl_updates"], state["n_actor_itr"]
        self._last_itr = state["last_itr"]
