"""The corrected bounds hold on quadratics, and the printed one does not."""

from __future__ import annotations

import numpy as np
import pytest

from inril.theory.bounds import (
    Array,
    Descent,
    grad_sq_bound,
    least_descent,
    least_side_effect,
    printed_grad_sq_bound,
    total_side_effect,
)
from inril.theory.quadratic import Course, Quadratic, descend, random_quadratic

DIM, REPEATS = 8, 200
RL = Descent(smoothness=0.2, c=0.5, variance=0.01, batch=10)
IL = Descent(smoothness=0.5, c=0.5, variance=0.01, batch=10)


def losses(seed: int, one_optimum: bool = False) -> tuple[Quadratic, Quadratic]:
    rng = np.random.default_rng(seed)
    rl, il = random_quadratic(rng, DIM, RL.smoothness), random_quadratic(rng, DIM, IL.smoothness)
    return rl, il._replace(optimum=rl.optimum) if one_optimum else il


def course(pair: tuple[Quadratic, Quadratic], m: int, n_cycles: int = 20, projects: bool = False) -> Course:
    return descend(pair, (RL, IL), np.zeros((REPEATS, DIM)), m, n_cycles, np.random.default_rng(1), projects=projects)


def expected_loss(loss: Quadratic, theta: Array, step: Array, of: Descent) -> float:
    """Of one step with isotropic noise: a quadratic's expectation in closed form."""
    noise = of.step_size**2 * of.error / DIM * np.trace(loss.hessian) / 2
    return float(loss.loss(theta[None] - of.step_size * step[None])[0] + noise)


def test_a_loss_has_the_smoothness_and_the_gradient_that_it_says() -> None:
    rl, _ = losses(0)
    assert rl.smoothness == pytest.approx(RL.smoothness)
    theta, eps = np.linspace(-1, 1, DIM)[None], 1e-6
    numeric = [(rl.loss(theta + eps * unit) - rl.loss(theta - eps * unit)).item() / (2 * eps) for unit in np.eye(DIM)]
    np.testing.assert_allclose(rl.gradient(theta)[0], numeric, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("c", [0.1, 1.0, 1.9])
def test_a_step_takes_at_least_the_bound_from_its_own_loss(seed: int, c: float) -> None:
    rl, _ = losses(seed)
    of = RL._replace(c=c)
    theta = np.random.default_rng(seed).normal(size=DIM)
    gradient = rl.gradient(theta[None])[0]
    taken = rl.loss(theta[None])[0] - expected_loss(rl, theta, gradient, of)
    assert taken >= least_descent(of, np.array(gradient @ gradient)) - 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_an_imitation_step_takes_at_least_the_bound_from_the_other_loss(seed: int) -> None:
    rl, il = losses(seed)
    theta = np.random.default_rng(seed).normal(size=DIM)
    g_rl, g_il = rl.gradient(theta[None])[0], il.gradient(theta[None])[0]
    taken = rl.loss(theta[None])[0] - expected_loss(rl, theta, g_il, IL)
    assert taken >= least_side_effect(RL, IL, np.array(g_il @ g_rl), np.array(g_il @ g_il)) - 1e-12


@pytest.mark.parametrize("projects", [False, True])
@pytest.mark.parametrize("one_optimum", [False, True])
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_corrected_bound_holds(seed: int, m: int, one_optimum: bool, projects: bool) -> None:
    ran = course(losses(seed, one_optimum), m, projects=projects)
    delta = total_side_effect(RL, IL, ran.inner, ran.il_grad_sq)
    assert ran.rl_grad_sq.mean() <= grad_sq_bound(RL, ran.gap, ran.rl_grad_sq.size, delta)


@pytest.mark.parametrize("seed", range(3))
def test_reinforcement_alone_keeps_to_half_of_the_printed_bound(seed: int) -> None:
    start, rng = np.zeros((REPEATS, DIM)), np.random.default_rng(1)
    ran = descend(losses(seed), (RL, IL), start, 1, 50, rng, imitates=False)
    assert ran.rl_grad_sq.mean() <= grad_sq_bound(RL, ran.gap, 50)


def test_the_printed_bound_can_be_below_zero() -> None:
    ran = course(losses(0, one_optimum=True), m=1)
    assert printed_grad_sq_bound(RL, IL, ran.gap, ran.rl_grad_sq.size, ran.inner) < 0 < ran.rl_grad_sq.mean()


def test_a_projected_imitation_step_never_opposes_reinforcement() -> None:
    pair = losses(0)
    free, projected = course(pair, m=1), course(pair, m=1, projects=True)
    assert free.inner.min() < 0
    assert projected.inner.min() >= -1e-12
    assert projected.rl_grad_sq.mean() < free.rl_grad_sq.mean()


def test_steps_that_agree_are_not_projected() -> None:
    loss, _ = losses(0)
    free, projected = course((loss, loss), m=2), course((loss, loss), m=2, projects=True)
    np.testing.assert_array_equal(free.rl_grad_sq, projected.rl_grad_sq)
