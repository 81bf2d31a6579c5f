"""The paper's bounds beside what gradient descent does, on two quadratic losses with noise (docs/theory.md).

    python -m studies.theory

First the mean of |g_R|^2 over a run's reinforcement steps: measured, the corrected bound and the printed one, and
Delta' as a share of G. Then Delta' over theorem 2's corrected threshold, beside the measured mean over that of as many
updates without imitation. Last the m of the paper's two rules as the gradients come to oppose each other.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from inril.theory.bounds import (
    Array,
    Descent,
    break_even_m,
    grad_sq_bound,
    least_descent,
    least_side_effect,
    least_side_effect_that_saves,
    printed_grad_sq_bound,
    printed_square_root_m,
    total_side_effect,
)
from inril.theory.quadratic import Course, Quadratic, descend, random_quadratic

_DIM, _REPEATS, _CYCLES, _SEED = 20, 400, 20, 0
_FEW_CYCLES = 10  # where it is early enough for updates to be saved
_M = (1, 3, 10)
_RL = Descent(smoothness=0.2, c=0.5, variance=0.01, batch=10)
_IL = Descent(smoothness=0.5, c=0.5, variance=0.01, batch=10)


class Case(NamedTuple):
    """Two losses and where descent begins.

    Attributes:
        name: says how the losses stand to each other.
        rl: of reinforcement.
        il: of imitation.
        start: (D,)
    """

    name: str
    rl: Quadratic
    il: Quadratic
    start: Array


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Yield losses with one optimum, any two, and opposite ones, from 0; and any two from imitation's optimum."""
    rl, other = random_quadratic(rng, _DIM, _RL.smoothness), random_quadratic(rng, _DIM, _IL.smoothness)
    origin = np.zeros(_DIM)
    yield Case("one optimum", rl, other._replace(optimum=rl.optimum), origin)
    yield Case("any two", rl, other, origin)
    yield Case("opposite", rl, Quadratic(rl.hessian * _IL.smoothness / _RL.smoothness, -rl.optimum), origin)
    yield Case("pre-trained", rl, other, other.optimum)


def course_of(case: Case, m: int, n_cycles: int, imitates: bool = True, projects: bool = False) -> Course:
    """Run a case, always with the same noise."""
    start = np.tile(case.start, (_REPEATS, 1))
    rng = np.random.default_rng(_SEED)
    return descend((case.rl, case.il), (_RL, _IL), start, m, n_cycles, rng, imitates, projects)


def show_bounds(case: Case) -> None:
    """Print a line for reinforcement alone and two for each m, without and with projection."""
    alone = course_of(case, 1, _CYCLES, imitates=False)
    bound = grad_sq_bound(_RL, alone.gap, _CYCLES)
    print(f"{case.name:12} {'RL only':17} {alone.rl_grad_sq.mean():9.5f} {bound:9.5f} {2 * bound:9.5f}")
    for m in _M:
        for projects in (False, True):
            course = course_of(case, m, _CYCLES, projects=projects)
            delta = total_side_effect(_RL, _IL, course.inner, course.il_grad_sq)
            bound = grad_sq_bound(_RL, course.gap, m * _CYCLES, delta)
            printed = printed_grad_sq_bound(_RL, _IL, course.gap, m * _CYCLES, course.inner)
            arm, share = f"m = {m}{', projected' if projects else ''}", delta / course.gap
            print(f"{'':12} {arm:17} {course.rl_grad_sq.mean():9.5f} {bound:9.5f} {printed:9.5f} {share:9.2f}")


def show_savings(case: Case) -> None:
    """Print a line for each m."""
    for m in _M:
        course = course_of(case, m, _FEW_CYCLES)
        alone = course_of(case, 1 + m, _FEW_CYCLES, imitates=False)
        delta = total_side_effect(_RL, _IL, course.inner, course.il_grad_sq)
        over = delta / least_side_effect_that_saves(m, course.gap)
        print(f"{case.name:12} m = {m:<5} {over:9.2f} {course.rl_grad_sq.mean() / alone.rl_grad_sq.mean():9.2f}")


def show_rules() -> None:
    """Print the m of both rules for gradients of one length at growing rho."""
    print(f"\n{'rho':>6} {'break-even':>12} {'square root':>12}")
    for rho in (-0.5, 0.0, 0.1, 0.3, 0.6, 1.0):
        gain = float(least_descent(_RL, np.array(1.0)))
        harm = -float(least_side_effect(_RL, _IL, np.array(-rho), np.array(1.0)))
        root = printed_square_root_m(_RL, _IL, 1.0, 1.0, rho)
        shown = "none" if math.isinf(root) else f"{root:.2f}"
        print(f"{rho:6.1f} {break_even_m(gain, harm):12.2f} {shown:>12}")


def main() -> None:
    """Print all three."""
    argparse.ArgumentParser(prog="python -m studies.theory", description=__doc__).parse_args()
    all_cases = list(cases(np.random.default_rng(_SEED)))
    print(f"{'losses':12} {'arm':17} {'measured':>9} {'bound':>9} {'printed':>9} {'Delta/G':>9}")
    for case in all_cases:
        show_bounds(case)
    print(f"\n{'losses':12} {'arm':9} {'Delta/thr':>9} {'|g_R|^2':>9}")
    for case in all_cases:
        show_savings(case)
    show_rules()


if __name__ == "__main__":
    main()
