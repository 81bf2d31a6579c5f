"""When imitation is due."""

from __future__ import annotations

from inril.config.base import M
from inril.config.runs import IlConfig


class Schedule:
    """Makes one of every m reinforcement updates of the actor a joint one.

    Unit `grad_step` counts the actor's gradient steps; unit `iteration` counts iterations in which the actor learns,
    the first gradient step of which is the joint one. Updates of a critic, also those of its warm-up, do not count.
    Where imitation has networks of its own no update is joint, and whole phases are due.

    Args:
        m: reinforcement updates per imitation update; "inf" for none.
        config: unit, and phase: whether imitation ends a cycle of m or opens it.
        in_phases: whether imitation has networks of its own.
    """

    def __init__(self, m: M, config: IlConfig, in_phases: bool = False) -> None:
        self.m = m
        self.in_phases = in_phases
        self.unit = config.unit
        self.offset = 0 if config.phase == "last" else 1
        self.n_rl_updates = 0
        self.n_il_updates = 0
        self.n_actor_itr = 0
        self._last_itr = 0

    def due(self, itr: int) -> bool:
        """Count one gradient step of the actor in iteration `itr` and tell whether imitation joins it."""
        self.n_rl_updates += 1
        first = itr != self._last_itr
        if first:
            self._last_itr = itr
            self.n_actor_itr += 1
        if self.m == "inf" or self.in_phases:
            return False
        count = self.n_rl_updates if self.unit == "grad_step" else self.n_actor_itr
        joint = count % self.m == self.offset % self.m and (first or self.unit == "grad_step")
        self.n_il_updates += joint
        return joint

    def phase_due(self, n_itr: int) -> bool:
        """Tell whether a phase of imitation follows iteration n of those in which the actor learns."""
        return self.in_phases and self.m != "inf" and n_itr > 0 and n_itr % self.m == self.offset % self.m

    def state_dict(self) -> dict[str, int]:
        """Return the counters."""
        return {
            "n_rl_updates": self.n_rl_updates,
            "n_il_updates": self.n_il_updates,
            "n_actor_itr": self.n_actor_itr,
            "last_itr": self._last_itr,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the counters."""
        self.n_rl_updates, self.n_il_updates = state["n_rl_updates"], state["n_il_updates"]
        self.n_actor_itr, self._last_itr = state["n_actor_itr"], state["last_itr"]
