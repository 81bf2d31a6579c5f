"""Each rule of docs/claims.md on curves whose verdict is known."""

import numpy as np
import pytest
from made_up import LONG, POINTS, SEEDS, arm, bent, curve, deciding, examine, line

from inril.report.curves import Curve
from inril.report.findings import RunsBySeed

MS = ("2", "3", "5", "10", "15", "20", "30")
FLAT = line(0.4, 0.4)


def sweep(ends: dict[str, float], rl_only: RunsBySeed, il_loss: np.ndarray = FLAT) -> dict[str, RunsBySeed]:
    """Seven arms that rise from 1,400 and stay at their level, beside RL only."""
    return {m: arm(bent(1400, end, end), il_loss) for m, end in ends.items()} | {"inf": rl_only}


def equal(end: float) -> dict[str, float]:
    return dict.fromkeys(MS, end)


def declining() -> RunsBySeed:
    """RL only as the paper has it: up to 0.4 of the steps, then down, its imitation loss up by 30 %."""
    return arm(bent(1400, 3000, 2500), line(0.4, 0.52))


def steady(end: float = 3000, il_end: float = 0.42) -> RunsBySeed:
    return arm(bent(1400, end, end), line(0.4, il_end))


def test_the_paper_as_it_stands() -> None:
    found = deciding(examine(sweep(equal(2900), declining(), bent(0.4, 0.44, 0.41))))
    assert {claim: found[claim] for claim in ("C5", "C6", "C9", "C11", "C12", "C13", "C16")} == dict.fromkeys(
        ("C5", "C6", "C9", "C11", "C12", "C13", "C16"), "supported"
    )


def test_its_opposite() -> None:
    rising = arm(bent(1400, 2500, 3500), line(0.4, 0.41))
    found = deciding(examine(sweep(equal(2000), rising, line(0.4, 0.6))))
    assert (found["C6"], found["C9"], found["C5"]) == ("contradicted",) * 3
    assert found["C11"] == "contradicted"  # it rises, but by less than 10 %
    assert found["C12"] == "contradicted"
    assert found["C13"] == "contradicted"  # rises and stays
    assert found["C16"] == "not testable: RL only is not shown to degrade"


def test_ending_higher_than_what_does_not_decline_leaves_c5_open() -> None:
    found = examine(sweep(equal(3480), steady()))
    (line_of_c5,) = (f for f in found if f.claim == "C5" and f.decides)
    assert line_of_c5.verdict.startswith("undecided: it ends higher")
    assert "16 % lies inside" in line_of_c5.measure  # 3480 / 3000 - 1


@pytest.mark.parametrize(
    ("end", "verdict"),
    [(3000, "supported"), (2910, "supported"), (2400, "contradicted"), (3300, "supported")],
)
def test_a_match_is_within_five_percent(end: float, verdict: str) -> None:
    assert deciding(examine(sweep(equal(end), steady())))["C9"] == verdict


def test_a_match_that_cannot_be_told_names_the_seeds() -> None:
    rng = np.random.default_rng(0)
    arms = {m: {s: arm(line(e, e), FLAT)[s] for s, e in enumerate(2850 + 500 * rng.standard_normal(3))} for m in MS}
    (found,) = (f for f in examine(arms | {"inf": steady()}) if f.claim == "C9" and f.decides)
    assert found.verdict == "undecided"
    assert found.seeds_needed == "over 1,000" or int(found.seeds_needed) > len(SEEDS)
    assert found.detectable > 0.1


def test_three_arms_that_do_not_fall_are_several() -> None:
    falling, level = bent(1400, 3000, 2500), bent(1400, 2800, 2800)
    arms = {m: arm(level if m in ("10", "15", "20") else falling, FLAT) for m in MS}
    assert deciding(examine(arms | {"inf": declining()}))["C16"] == "supported"
    arms = {m: arm(bent(1400, 3000, 2200), FLAT) for m in MS}
    assert deciding(examine(arms | {"inf": declining()}))["C16"] == "contradicted"


def test_the_best_m_is_asked_for_twice() -> None:
    best_low = {"2": 2500.0, "3": 3300.0, "5": 3300.0, "10": 2500.0, "15": 2500.0, "20": 2500.0, "30": 2500.0}
    found = deciding(examine(sweep(best_low, steady())))
    assert found["ratios of 3 to 5"] == "supported"
    best_high = {m: 2000.0 + 30 * int(m) for m in MS}
    found = deciding(examine(sweep(best_high, steady())))
    assert found["ratios of 3 to 5"] == "contradicted"
    middle = {m: 3300.0 if m in ("5", "10", "15") else 2500.0 for m in MS}
    assert deciding(examine(sweep(middle, steady())))["m from 5 to 15"] == "supported"


@pytest.mark.parametrize(
    ("il_loss", "verdict"),
    [
        (bent(0.4, 0.44, 0.41), "supported"),
        (bent(0.4, 0.44, 0.439), "contradicted"),  # hardly anything is lost again
        (bent(0.4, 0.402, 0.4), "contradicted"),  # hardly a rise
        (line(0.4, 0.3), "contradicted"),  # none
    ],
)
def test_double_descent_rises_and_falls(il_loss: np.ndarray, verdict: str) -> None:
    assert deciding(examine(sweep(equal(3000), steady(), il_loss)))["C13"] == verdict


def test_imitation_alone_is_what_interleaving_has_to_beat() -> None:
    alone = {("dppo_il_only", "2"): arm(line(1400, 1400), line(0.4, 0.38))}
    for lowest, verdict in ((0.36, "supported"), (0.4, "contradicted"), (0.38, "undecided")):
        arms = sweep(equal(3000), steady(), line(0.4, lowest))
        assert deciding(examine(arms, controls=alone))["C14"] == verdict
    assert "C14" not in deciding(examine(sweep(equal(3000), steady())))


def test_short_runs_do_not_decide_about_the_decline() -> None:
    short = {m: arm(line(1400, 1800), FLAT, last_step=1e6) for m in (*MS, "inf")}
    found = deciding(examine(short))
    assert [found[claim] for claim in ("C5", "C6", "C16")] == ["not testable at this budget"] * 3


def test_declines_are_asked_for_where_the_paper_saw_them() -> None:
    found = {finding.claim for finding in examine(sweep(equal(3000), steady()), ("walker2d", "dppo"))}
    assert found == {"C9", "C11", "C12", "C13", "C18", "rho"}


def test_arms_are_compared_on_the_seeds_that_all_have() -> None:
    arms = sweep(equal(2900), steady())
    arms["3"] = {seed: run for seed, run in arms["3"].items() if seed != 1}
    found = [f for f in examine(arms) if f.claim == "C9"]
    assert {f.seeds for f in found} == {2}
    arms["5"] = {0: arms["5"][0]}  # shares too little and is left out
    found = [f for f in examine(arms) if f.claim == "C9"]
    assert "5" not in {f.m for f in found}
    lone = {m: {0: of_seed[0]} for m, of_seed in sweep(equal(2900), steady()).items()}
    (only,) = (f for f in examine(lone) if f.claim == "C9")
    assert (only.verdict, only.seeds) == ("too few seeds", 0)


def test_success_is_compared_in_points() -> None:
    arms = {m: arm(line(0.5, 0.6), FLAT) for m in MS} | {"inf": arm(line(0.5, 0.8), FLAT)}
    found = {f.m: f for f in examine(arms, ("can", "dppo"), "success") if f.claim == "C9"}
    # Over the last tenth the lines average 0.5 + 0.95 of their rise; the seeds' levels differ by 0, 5 and 10 %.
    assert found["10"].estimate == pytest.approx(-0.19 * 1.05, rel=0.05)
    assert found["10"].verdict == "contradicted"


def test_what_the_premise_is_built_on_is_shown() -> None:
    losses = {seed: curve(bent(0.3, 0.2, 0.198, at=0.9, n=20), 50_000) for seed in SEEDS}
    (premise,) = (f for f in examine(sweep(equal(3000), steady()), pretraining=losses) if f.claim == "C13" and not f.m)
    assert premise.verdict == ""
    assert -0.02 < premise.estimate < 0
    once = {seed: Curve(np.array([2500.0]), np.array([0.3])) for seed in SEEDS}
    (premise,) = (f for f in examine(sweep(equal(3000), steady()), pretraining=once) if f.claim == "C13" and not f.m)
    assert premise.estimate == 0


def test_one_mean_by_hand() -> None:
    arms = {"inf": {s: arm(line(2000, 2000), line(1.0, 1.0))[s] for s in SEEDS}}
    for seed in SEEDS:
        loss = np.concatenate([[1.0], np.full(POINTS - 1, 1.2 + 0.01 * seed)])
        arms["inf"][seed] = arms["inf"][seed]._replace(il_loss=curve(loss, LONG))
    found = [f for f in examine(arms) if f.claim == "C11"]
    assert [f.verdict for f in found] == ["supported", "supported"]
    # Student's t with 2 degrees of freedom: 4.3027 s / sqrt(3), s = 0.01.
    assert (found[0].low, found[0].high) == pytest.approx((0.21 - 0.024841, 0.21 + 0.024841), rel=1e-4)
    assert found[0].per_seed == "+0.2/+0.21/+0.22"
