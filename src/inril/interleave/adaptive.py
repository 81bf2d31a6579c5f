"""An m that follows what is measured.

The paper proposes two rules for m(t) and runs neither; a third one holds the imitation loss.
Rules are pure functions. What they return is no whole number; it is rounded, and kept within bounds, where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from inril.config.base import AdaptiveRule
from inril.theory.bounds import Descent, break_even_m, printed_square_root_m

_EXACT = Descent(smoothness=1.0, c=1.0, variance=0.0, batch=1)  # steps without noise, on equally smooth losses


def break_even(rl_norm: float, il_norm: float, rho: float) -> float:
    """Return the least m at which a cycle does reinforcement no harm: rho |g_I| / |g_R|, for small steps of one size.

    Args:
        rl_norm: |g_R|, free of noise.
        il_norm: |g_I|, free of noise.
        rho: minus the cosine of the two.

    Source: the paper's "practical" rule, its terms of curvature and noise left out (they hold constants that nobody
        knows).
    """
    return break_even_m(gain=rl_norm**2, harm=rho * rl_norm * il_norm)


def square_root(rl_norm: float, il_norm: float, rho: float) -> float:
    """Return the paper's formula for the best m, likewise without curvature and noise; inf where gradients agree.

    Args:
        rl_norm: |g_R|, free of noise.
        il_norm: |g_I|, free of noise.
        rho: minus the cosine of the two.

    Source: theorem 1, as printed (docs/theory.md).
    """
    return printed_square_root_m(_EXACT, _EXACT, rl_norm**2, il_norm**2, rho)


def within_budget(m: float, rise: float, budget: float) -> float:
    """Return m, larger the further the imitation loss is below what it may be, smaller the further it is above.

    A factor of two at most either way: the loss follows m with a delay.

    Args:
        m: of now.
        rise: of the held-out imitation loss over its value before fine-tuning, as a share of that.
        budget: the rise that is wanted.
    """
    return m * math.exp2(max(-1.0, min(1.0, 1.0 - rise / budget)))


class AdaptiveM:
    """The m of a run, set anew by a rule whenever something was measured.

    Args:
        rule: `loss_budget` is `within_budget`.
        m: to begin with.
        least: bound.
        most: bound; also where a rule asks for no imitation at all.
        budget: of `loss_budget`.
    """

    def __init__(self, rule: AdaptiveRule, m: int, least: int, most: int, budget: float) -> None:
        self.rule, self.least, self.most, self.budget = rule, least, most, budget
        self.exact = float(m)  # before rounding
        self.first_loss: float | None = None

    @property
    def m(self) -> int:
        """A whole number within the bounds."""
        return round(self.exact)

    def follow(self, measured: Mapping[str, float]) -> None:
        """Set m by what was measured before the next gradient steps.

        Args:
            measured: "il_loss", held out; where it was measured, the gradients' angle as `gradient_angle` tells it.
                Without a signal in it, m stays.
        """
        if self.rule == "loss_budget":
            if self.first_loss is None:
                self.first_loss = measured["il_loss"]
            wanted = within_budget(self.exact, measured["il_loss"] / self.first_loss - 1.0, self.budget)
        elif measured.get("grad_signal"):
            formula = break_even if self.rule == "break_even" else square_root
            wanted = formula(measured["grad_norm_rl_corrected"], measured["grad_norm_il_corrected"], measured["rho"])
        else:
            return
        if not math.isnan(wanted):
            self.exact = max(float(self.least), min(float(self.most), wanted))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from."""
        return {"exact": self.exact, "first_loss": self.first_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.exact, self.first_loss = state["exact"], state["first_loss"]
