"""The paper's bounds for plain stochastic gradient descent, each as a function; docs/theory.md derives them.

One cycle is one imitation step, then m reinforcement steps. g_R and g_I are the gradients of the two losses, G is how
far the reinforcement loss is above its least value at the start. Where the paper prints another formula, it stands
beside the corrected one as `printed_...`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Descent(NamedTuple):
    """A loss and the steps that are taken on it.

    Attributes:
        smoothness: l, the Lipschitz constant of the gradient.
        c: step size times smoothness, between 0 and 2.
        variance: sigma^2, expected squared error of the gradient of one sample.
        batch: N, samples per step.
    """

    smoothness: float
    c: float
    variance: float
    batch: int

    @property
    def step_size(self) -> float:
        """Alpha, c / l."""
        return self.c / self.smoothness

    @property
    def error(self) -> float:
        """Expected squared error of a step's gradient, sigma^2 / N."""
        return self.variance / self.batch


def least_descent(on: Descent, grad_sq: Array) -> Array:
    """Return what a step takes from its own loss at least, in expectation; negative: what it may add.

    Args:
        on: the loss and its steps.
        grad_sq: squared norms of the gradients, any shape.

    Source: lemmas 1 to 3.
    """
    return on.step_size * (1 - on.c / 2) * grad_sq - on.smoothness * on.step_size**2 * on.error / 2


def least_side_effect(rl: Descent, il: Descent, inner: Array, il_grad_sq: Array) -> Array:
    """Return what an imitation step takes from the reinforcement loss at least, in expectation; negative: may add.

    Args:
        rl: the loss that is looked at.
        il: the step that is taken.
        inner: <g_I, g_R>, which is -rho |g_I| |g_R| in the paper's terms; any shape.
        il_grad_sq: |g_I|^2, of the same shape.

    Source: the proof of theorem 4, with the term in |g_I|^2 that it drops.
    """
    return il.step_size * inner - rl.smoothness * il.step_size**2 / 2 * (il_grad_sq + il.error)


def total_side_effect(rl: Descent, il: Descent, inner: Array, il_grad_sq: Array) -> float:
    """Return Delta', what the imitation steps of a run take from the reinforcement loss at least.

    Args:
        rl: of the reinforcement loss.
        il: of the imitation loss.
        inner: (T,) <g_I, g_R> where the imitation step of each cycle is taken.
        il_grad_sq: (T,) |g_I|^2 there.

    Source: theorem 4, corrected: a loss, to be compared with G, and not with l_R G.
    """
    return float(least_side_effect(rl, il, inner, il_grad_sq).sum())


def grad_sq_bound(rl: Descent, gap: float, n_rl_steps: int, side_effect: float = 0.0) -> float:
    """Return what the mean of |g_R|^2 over a run's reinforcement steps cannot exceed, in expectation.

    Args:
        rl: of the reinforcement loss.
        gap: G.
        n_rl_steps: T for reinforcement alone, m T with interleaving.
        side_effect: Delta'; 0 for reinforcement alone.

    Source: theorem 3 (half of what is printed) and theorem 4, corrected.
    """
    slope = rl.c * (1 - rl.c / 2)
    return rl.smoothness * (gap - side_effect) / (slope * n_rl_steps) + rl.c**2 * rl.error / (2 * slope)


def printed_grad_sq_bound(rl: Descent, il: Descent, gap: float, n_rl_steps: int, inner: Array) -> float:
    """Return theorem 4's bound as it is printed, where Delta is taken from l_R G: a loss from a loss times a curvature.

    Args:
        rl: of the reinforcement loss.
        il: of the imitation loss.
        gap: G.
        n_rl_steps: m T.
        inner: (T,) <g_I, g_R> where the imitation steps are taken.
    """
    slope = rl.c * (1 - rl.c / 2)
    delta = il.step_size * inner.sum() - len(inner) * il.c**2 * il.error / (2 * il.smoothness)
    return float(2 * (rl.smoothness * gap - delta) / (slope * n_rl_steps) + rl.c**2 * rl.error / slope)


def progress_per_step(m: float, gain: float, harm: float) -> float:
    """Return what a step takes from the reinforcement loss at least, averaged over a cycle: h(m) of theorem 1.

    Args:
        m: reinforcement steps of a cycle; inf for reinforcement alone.
        gain: of a reinforcement step (A - C of the paper; `least_descent`).
        harm: of an imitation step (B; minus `least_side_effect`).
    """
    return gain if math.isinf(m) else (m * gain - harm) / (1 + m)


def best_m(gain: float, harm: float) -> float:
    """Return the m that makes most progress per step: 1 or inf, since h(m) has no stationary point.

    h'(m) = (gain + harm) / (1 + m)^2 has one sign for all m. Theorem 1 says that an optimum of at least 1 exists; by
    its own h it is reinforcement alone, unless an imitation step helps reinforcement more than a step of its own does.
    """
    return math.inf if gain + harm > 0 else 1.0


def break_even_m(gain: float, harm: float) -> float:
    """Return the least m at which a cycle makes no progress backwards; inf if there is none.

    Source: the paper's "practical" rule before its square root; a lower limit, not an optimum.
    """
    if harm <= 0:
        return 0.0
    return harm / gain if gain > 0 else math.inf


def printed_square_root_m(rl: Descent, il: Descent, rl_grad_sq: float, il_grad_sq: float, rho: float) -> float:
    """Return the paper's formula for m, as printed; inf where its radicand has no positive denominator.

    It falls as the gradients come to oppose each other (rho grows), where the break-even rule rises.

    Args:
        rl: of the reinforcement loss.
        il: of the imitation loss.
        rl_grad_sq: |g_R|^2.
        il_grad_sq: |g_I|^2.
        rho: minus the cosine of the two.
    """
    denominator = rho * math.sqrt(rl_grad_sq * il_grad_sq) - il.c * rl.smoothness * il.error / (2 * il.smoothness)
    return max(1.0, math.sqrt(rl_grad_sq / denominator)) if denominator > 0 else math.inf


def steps_saved(side_effect: float, gap: float) -> float:
    """Return T_RL / T_IN-RIL in reinforcement steps, G / (G - Delta'), noise left aside.

    Source: theorem 2, corrected; the ratio of environment steps where each reinforcement step takes the same number.
    """
    return gap / (gap - side_effect)


def updates_saved(m: int, side_effect: float, gap: float) -> float:
    """Return the same in all updates, imitation's included: m / (1 + m) times as much."""
    return m / (1 + m) * steps_saved(side_effect, gap)


def least_side_effect_that_saves(m: int, gap: float) -> float:
    """Return the Delta' above which interleaving needs fewer updates than reinforcement alone, G / (1 + m).

    Source: theorem 2, whose threshold has a smoothness constant too many.
    """
    return gap / (1 + m)
