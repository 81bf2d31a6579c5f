from __future__ import annotations

from collections.abc import Callable

import pytest

from inril.config.runs import IlConfig
from inril.interleave.schedule import Schedule
from inril.train.interleaving import make_schedule

N_ITR, STEPS_PER_ITR = 20, 6
Make = Callable[..., IlConfig]


def due(schedule: Schedule, itr: int) -> bool:
    """Count a step; whether it is a joint one does not depend on how often that is asked."""
    schedule.count(itr)
    assert schedule.due == schedule.due
    return schedule.due


def joint_steps(schedule: Schedule, itrs: range = range(1, N_ITR + 1), steps: int = STEPS_PER_ITR) -> list[int]:
    """Ordinal numbers, from 1, of the joint steps among those asked for."""
    joint = [due(schedule, itr) for itr in itrs for _ in range(steps)]
    return [i for i, is_joint in enumerate(joint, start=1) if is_joint]


@pytest.mark.parametrize("m", [1, 2, 3, 5, 10, 30])
def test_every_mth_gradient_step_is_joint(il_config: Make, m: int) -> None:
    last, first = make_schedule(m, il_config()), make_schedule(m, il_config(phase="first"))
    assert joint_steps(last) == list(range(m, 121, m))
    assert joint_steps(first) == list(range(1, 121, m))
    for schedule in (last, first):
        assert schedule.n_rl_updates == 120


def test_cycle_that_did_not_close_has_its_imitation_only_when_it_comes_first(il_config: Make) -> None:
    last, first = make_schedule(50, il_config()), make_schedule(50, il_config(phase="first"))
    assert joint_steps(last) == [50, 100]
    assert joint_steps(first) == [1, 51, 101]


@pytest.mark.parametrize("unit", ["grad_step", "iteration"])
@pytest.mark.parametrize("phase", ["last", "first"])
def test_infinite_m_never_imitates(il_config: Make, unit: str, phase: str) -> None:
    schedule = make_schedule("inf", il_config(unit=unit, phase=phase))
    assert joint_steps(schedule) == []
    assert schedule.n_rl_updates == 120


@pytest.mark.parametrize("m", [1, 2, 3, 5, 10, 30])
def test_first_step_of_every_mth_iteration_is_joint(il_config: Make, m: int) -> None:
    last = make_schedule(m, il_config(unit="iteration"))
    first = make_schedule(m, il_config(unit="iteration", phase="first"))
    assert joint_steps(last) == [6 * (itr - 1) + 1 for itr in range(m, 21, m)]
    assert joint_steps(first) == [6 * (itr - 1) + 1 for itr in range(1, 21, m)]


def test_iterations_in_which_the_actor_rested_do_not_count(il_config: Make) -> None:
    # The caller asks about the actor's steps only: iterations 1 to 3 were the critic's.
    for unit in ("grad_step", "iteration"):
        config = il_config(unit=unit)
        assert joint_steps(make_schedule(2, config), range(4, 14)) == joint_steps(
            make_schedule(2, config), range(1, 11)
        )


def test_iterations_of_unequal_length_keep_the_count(il_config: Make) -> None:
    schedule = make_schedule(5, il_config())
    joint = [due(schedule, itr) for itr, n in enumerate([3, 1, 4, 0, 2], start=1) for _ in range(n)]
    assert [i for i, is_joint in enumerate(joint, start=1) if is_joint] == [5, 10]


@pytest.mark.parametrize("unit", ["grad_step", "iteration"])
@pytest.mark.parametrize("phase", ["last", "first"])
@pytest.mark.parametrize("m", [1, 3, 7, "inf"])
def test_schedule_saved_anywhere_in_a_cycle_goes_on(il_config: Make, unit: str, phase: str, m: int | str) -> None:
    config = il_config(unit=unit, phase=phase)
    asked = [itr for itr in range(1, 9) for _ in range(4)]
    whole = make_schedule(m, config)  # type: ignore[arg-type]
    expected = [due(whole, itr) for itr in asked]
    for cut in range(len(asked)):
        before, after = make_schedule(m, config), make_schedule(m, config)  # type: ignore[arg-type]
        first_part = [due(before, itr) for itr in asked[:cut]]
        after.load_state_dict(before.state_dict())
        assert first_part + [due(after, itr) for itr in asked[cut:]] == expected
        assert after.state_dict() == whole.state_dict()


@pytest.mark.parametrize("m", [1, 2, 3, 7])
def test_blocks_follow_every_mth_iteration_and_no_update_is_joint(il_config: Make, m: int) -> None:
    last = make_schedule(m, il_config(unit="iteration"), in_blocks=True)
    first = make_schedule(m, il_config(unit="iteration", phase="first"), in_blocks=True)
    assert joint_steps(last) == []
    assert last.n_rl_updates == 120
    n_warmup = 2  # iterations -1 and 0 of those in which the actor learns
    assert [itr for itr in range(1 - n_warmup, 21) if last.block_due(itr)] == list(range(m, 21, m))
    assert [itr for itr in range(1 - n_warmup, 21) if first.block_due(itr)] == list(range(1, 21, m))


def test_phases_belong_to_finite_m_and_networks_of_their_own(il_config: Make) -> None:
    assert not any(make_schedule("inf", il_config(), in_blocks=True).block_due(itr) for itr in range(9))
    assert not any(make_schedule(1, il_config()).block_due(itr) for itr in range(9))
