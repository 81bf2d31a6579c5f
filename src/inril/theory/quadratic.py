"""Two quadratic losses with noisy gradients: a problem on which every term of the bounds is known.

A run has R repeats side by side, which differ by their noise; their means stand for the expectations of the bounds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inril.theory.bounds import Array, Descent


class Quadratic(NamedTuple):
    """L(theta) = (theta - optimum)^T H (theta - optimum) / 2.

    Attributes:
        hessian: H, (D, D), symmetric and positive definite.
        optimum: (D,)
    """

    hessian: Array
    optimum: Array

    @property
    def smoothness(self) -> float:
        """The largest eigenvalue of H."""
        return float(np.linalg.eigvalsh(self.hessian)[-1])

    def loss(self, theta: Array) -> Array:
        """Return the loss (R,) at theta (R, D)."""
        away = theta - self.optimum
        loss: Array = 0.5 * np.einsum("ri,ij,rj->r", away, self.hessian, away)
        return loss

    def gradient(self, theta: Array) -> Array:
        """Return the gradient (R, D) at theta (R, D)."""
        return (theta - self.optimum) @ self.hessian


class Course(NamedTuple):
    """What happened, as means over the repeats; gradients without their noise.

    Attributes:
        gap: reinforcement loss at the start; its least value is 0.
        rl_grad_sq: (T, m) |g_R|^2 before each reinforcement step.
        inner: (T,) <direction, g_R> before each imitation step, whose direction is g_I, projected if steps are.
        il_grad_sq: (T,) squared norm of that direction.
    """

    gap: float
    rl_grad_sq: Array
    inner: Array
    il_grad_sq: Array


def random_quadratic(rng: np.random.Generator, dim: int, smoothness: float, condition: float = 10.0) -> Quadratic:
    """Draw a loss with the given largest eigenvalue and ratio to the least, and an optimum of norm 1."""
    basis, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    eigenvalues = smoothness * np.geomspace(1 / condition, 1, dim)
    optimum = rng.normal(size=dim)
    return Quadratic(basis * eigenvalues @ basis.T, optimum / np.linalg.norm(optimum))


def descend(
    losses: tuple[Quadratic, Quadratic],
    steps: tuple[Descent, Descent],
    start: Array,
    m: int,
    n_cycles: int,
    rng: np.random.Generator,
    imitates: bool = True,
    projects: bool = False,
) -> Course:
    """Take T cycles of one imitation step and m reinforcement steps.

    Args:
        losses: of reinforcement and of imitation.
        steps: on each of them.
        start: (R, D)
        m: reinforcement steps of a cycle.
        n_cycles: T.
        rng: draws the noise.
        imitates: False for reinforcement alone.
        projects: take from an imitation gradient that opposes the reinforcement gradient its part along that one, as
            surgery does (dual cone of two); by gradients without noise.
    """
    (rl_loss, il_loss), (rl, il) = losses, steps
    theta = start.copy()
    rl_grad_sq, inner, il_grad_sq = np.zeros((n_cycles, m)), np.zeros(n_cycles), np.zeros(n_cycles)
    for t in range(n_cycles):
        if imitates:
            g_rl, direction = rl_loss.gradient(theta), il_loss.gradient(theta)
            if projects:
                direction = _out_of_the_way(direction, g_rl)
            inner[t] = (direction * g_rl).sum(axis=1).mean()
            il_grad_sq[t] = np.square(direction).sum(axis=1).mean()
            theta -= il.step_size * (direction + _noise(rng, theta, il))
        for j in range(m):
            g_rl = rl_loss.gradient(theta)
            rl_grad_sq[t, j] = np.square(g_rl).sum(axis=1).mean()
            theta -= rl.step_size * (g_rl + _noise(rng, theta, rl))
    return Course(float(rl_loss.loss(start).mean()), rl_grad_sq, inner, il_grad_sq)


def _out_of_the_way(direction: Array, g_rl: Array) -> Array:
    along = (direction * g_rl).sum(axis=1) / np.maximum(np.square(g_rl).sum(axis=1), 1e-300)
    projected: Array = direction - np.minimum(along, 0)[:, None] * g_rl
    return projected


def _noise(rng: np.random.Generator, theta: Array, of: Descent) -> Array:
    return rng.normal(scale=np.sqrt(of.error / theta.shape[1]), size=theta.shape)
