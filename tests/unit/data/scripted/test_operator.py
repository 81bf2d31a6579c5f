from __future__ import annotations

import numpy as np
import pytest

from inril.data.scripted.operator import GROUPS, Group, Operator


def draws(operator: Operator) -> list[float]:
    """All that an operator can be asked, several times."""
    values = [operator.speed, operator.hover_m, operator.side_m]
    for i in range(20):
        values += [*operator.tremor(0, 0.5), *operator.jitter(0.01), operator.pause(), operator.choose(0.0, 1.0)]
        aim = operator.aim(i % 3)
        values += [*aim.offset_m, aim.yaw_rad]
    return values


def make(group: Group, level: float, seed: int = 0, n_arms: int = 1) -> Operator:
    return Operator(group, level, np.random.default_rng(seed), n_arms)


@pytest.mark.parametrize("group", GROUPS)
def test_draws_are_a_function_of_the_seed(group: Group) -> None:
    assert draws(make(group, 1.0)) == draws(make(group, 1.0)) != draws(make(group, 1.0, seed=1))


@pytest.mark.parametrize("group", GROUPS)
def test_level_0_is_a_machine(group: Group) -> None:
    speed, hover_m, *others = draws(make(group, 0.0))
    assert (speed, hover_m) == (1.0, 0.08)
    np.testing.assert_array_equal(others, 0.0)


def test_level_scales_all_errors() -> None:
    half, full = make("worse", 0.5), make("worse", 1.0)
    np.testing.assert_allclose(2 * half.tremor(0, 0.5), full.tremor(0, 0.5))
    np.testing.assert_allclose(2 * half.jitter(0.01), full.jitter(0.01))
    np.testing.assert_allclose(2 * half.side_m, full.side_m)
    np.testing.assert_allclose(2 * (1 - half.speed), 1 - full.speed)


def test_worse_operators_are_slower_and_err_more() -> None:
    n = 200
    operators = {group: [make(group, 1.0, seed) for seed in range(n)] for group in GROUPS}
    speeds = [np.mean([operator.speed for operator in operators[group]]) for group in GROUPS]
    errors = [np.std([operator.aim(1).offset_m[:2] for operator in operators[group]]) for group in GROUPS]
    pauses = [np.mean([operator.pause() for operator in operators[group]]) for group in GROUPS]
    assert speeds[0] > speeds[1] > speeds[2]
    assert errors[0] < errors[1] < errors[2]
    assert pauses[0] < pauses[1] < pauses[2]


def test_tremor_has_the_stated_size_and_memory_and_grows_with_the_move() -> None:
    moving, resting = make("worse", 1.0), make("worse", 1.0)
    for _ in range(100):
        moving.tremor(0, 1.0), resting.tremor(0, 0.0)
    noise = np.array([moving.tremor(0, 1.0) for _ in range(20_000)])
    still = np.array([resting.tremor(0, 0.0) for _ in range(20_000)])
    np.testing.assert_allclose(noise.std(axis=0), [0.2] * 3 + [0.1] * 3, rtol=0.1)
    np.testing.assert_allclose(still, 0.3 * noise, rtol=1e-9)
    memory = (noise[1:] * noise[:-1]).mean(axis=0) / noise.var(axis=0)
    np.testing.assert_allclose(memory, 0.85, atol=0.03)


def test_arms_tremble_independently() -> None:
    operator = make("worse", 1.0, n_arms=2)
    noise = np.array([[operator.tremor(arm, 1.0)[0] for arm in range(2)] for _ in range(5_000)])
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.15


def test_failed_attempts_make_the_next_more_exact() -> None:
    spreads = [
        np.std([make("worse", 1.0, seed).aim(n_failed).offset_m for seed in range(300)]) for n_failed in range(3)
    ]
    np.testing.assert_allclose(spreads[2] / spreads[1], 0.3, rtol=1e-6)
    assert spreads[0] > spreads[1] / 0.3  # some first grasps are far off


def test_detours_go_left_and_right_equally_often() -> None:
    sides = np.array([make("okay", 1.0, seed).side_m for seed in range(400)])
    assert 0.4 < (sides > 0).mean() < 0.6
    assert np.abs(sides).max() <= 0.1


def test_the_other_way_is_taken_now_and_then() -> None:
    chosen = [make("okay", 1.0, seed).choose("usual", "other") for seed in range(400)]
    assert 0.15 < np.mean([choice == "other" for choice in chosen]) < 0.35
