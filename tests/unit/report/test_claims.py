import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from inril.config.base import Metric
from inril.errors import InputError
from inril.report import claims
from inril.report.aggregate import RUN_COLUMNS

SEEDS = (0, 1, 2)
METRICS = (("eval", "return"), ("probe_holdout", "il_loss"), ("report", "episode_return"), ("train", "grad_cosine"))


def curve(last_step: float, change: float, start: float = 1000.0) -> claims.Curve:
    """A straight line over 20 evaluations."""
    steps = np.linspace(0, last_step, 21)
    return claims.Curve(steps, start + change * np.linspace(0, 1, 21))


def arm(final: float, il_rise: float, trend: float = 100.0, last_step: float = 1e6) -> claims.Arm:
    """Three seeds whose numbers differ a little."""
    return {
        seed: claims.Run(
            level=curve(last_step, trend * (1 + 0.01 * seed)),
            il_loss=curve(last_step, il_rise + 0.001 * seed, start=1.0),
            final=np.full(4, final + seed),
            cosine=-0.2 - 0.001 * seed,
        )
        for seed in SEEDS
    }


def successes(rate: float, n_seeds: int = 3, steps_to_end: float = 1e6) -> claims.Arm:
    """Seeds of 100 episodes each; evaluations rise in a straight line to the rate and stay there."""
    steps = np.linspace(0, 1e6, 21)
    return {
        seed: claims.Run(
            level=claims.Curve(steps, rate * np.minimum(steps / steps_to_end, 1)),
            il_loss=curve(1e6, 0.1, start=1.0),
            final=(np.arange(100) < 100 * rate + seed).astype(float),
            cosine=-0.2,
        )
        for seed in range(n_seeds)
    }


def examine(
    arms: dict[str, claims.Arm],
    about: tuple[str, str] = ("hopper", "dppo"),
    metric: Metric = "return",
    controls: Mapping[tuple[str, str], claims.Arm] = MappingProxyType({}),
) -> list[claims.Finding]:
    return list(claims.examine(claims.Setting(*about, metric, arms, dict(controls))))


def verdicts(arms: dict[str, claims.Arm]) -> dict[tuple[str, str], str]:
    return {(finding.claim, finding.m): finding.verdict for finding in examine(arms)}


def test_claims_follow_the_curves() -> None:
    said = verdicts({"inf": arm(2000, 0.1), "5": arm(1000, 0.05), "10": arm(3000, 0.2)})
    assert said["C11", "inf"] == "supported"
    assert (said["C12", "5"], said["C12", "10"]) == ("supported", "contradicted")
    assert (said["C9", "5"], said["C9", "10"]) == ("contradicted", "supported")
    assert said["C5", ""] == said["C6", ""] == "not testable at this budget"
    assert said["C16", "inf"] == "no degradation shown"
    assert said["C16", "5"] == "not testable: no degradation to prevent"
    assert said["rho", "inf"] == said["rho", "5"] == "supported"


def test_long_runs_decide_about_the_decline() -> None:
    said = verdicts({"inf": arm(1000, 0.1, trend=-500, last_step=6e6), "10": arm(1160, 0.05, 500, 6e6)})
    assert said["C6", "inf"] == said["C5", "10"] == said["C16", "10"] == "supported"
    assert said["C16", "inf"] == "RL only degrades"


def test_numbers_by_hand() -> None:
    findings = {
        (finding.claim, finding.m): finding for finding in examine({"inf": arm(2000, 0.1), "2": arm(1500, 0.0)})
    }
    rise = findings["C11", "inf"]
    assert (rise.seeds, rise.per_seed) == (3, "+0.1/+0.101/+0.102")
    # Student's t with 2 degrees of freedom: 4.3027 s / sqrt(3), s = 0.001.
    assert rise.estimate == pytest.approx(0.101)
    assert (rise.low, rise.high) == pytest.approx((0.101 - 0.0024841, 0.101 + 0.0024841), rel=1e-4)
    assert findings["C12", "2"].estimate == pytest.approx(-0.1)
    assert findings["C9", "2"].estimate == pytest.approx(np.mean([(1500 + s) / (2000 + s) - 1 for s in SEEDS]))
    assert findings["C16", "inf"].estimate == pytest.approx(101.0)  # of 100, 101 and 102 per million steps


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    partial = {seed: run for seed, run in arm(1000, 0.05).items() if seed != 1}
    found = {(finding.claim, finding.m): finding for finding in examine({"inf": arm(2000, 0.1), "5": partial})}
    assert found["C9", "5"].seeds == 2
    lone = {0: arm(1000, 0.05)[0]}
    found = {(finding.claim, finding.m): finding for finding in examine({"inf": arm(2000, 0.1), "5": lone})}
    assert (found["C9", "5"].verdict, found["C9", "5"].per_seed) == ("too few seeds", "-0.5")


def test_declines_are_asked_for_where_the_paper_saw_them() -> None:
    found = {finding.claim for finding in examine({"inf": arm(2000, 0.1), "5": arm(1000, 0.05)}, ("walker2d", "dppo"))}
    assert found == {"C9", "C11", "C12", "C16", "rho"}


def test_what_controls_reach_decides_what_a_gain_is_due_to() -> None:
    arms = {"inf": successes(0.12), "10": successes(0.8)}
    controls = {("idql_frozen", "inf"): successes(0.78), ("idql_demos_actor", "inf"): successes(0.2)}
    found = examine(arms, ("transport", "idql"), "success", controls)
    said = {finding.measure: finding for finding in found if finding.claim == "C1"}
    assert said["final success minus RL only"].verdict == "supported"
    assert said["final success minus RL only"].estimate == pytest.approx(0.68)
    assert said["frozen: final success minus RL only"].verdict == "supported"
    assert said["final success minus frozen"].verdict == "undecided"
    assert said["final success minus demos_actor"].verdict == "supported"
    assert "final success minus RL only" in {finding.measure for finding in found if finding.claim == "C9"}


def test_one_seed_tells_of_its_episodes_alone() -> None:
    arms = {"inf": successes(0.5, n_seeds=1), "10": successes(0.7, n_seeds=1)}
    found = {finding.claim: finding for finding in examine(arms, ("square", "idql"), "success")}
    gain = found["C2"]
    assert (gain.seeds, gain.verdict) == (1, "supported")
    assert (gain.estimate, gain.low, gain.high) == pytest.approx((0.2, 0.0643, 0.3257), abs=2e-3)
    assert found["C9"].verdict == "too few seeds"


def test_steps_are_saved_to_the_level_at_which_rl_only_ended() -> None:
    arms = {"inf": successes(0.8), "10": successes(0.8, steps_to_end=4e5)}
    found = {finding.claim: finding for finding in examine(arms, ("square", "dppo"), "success")}
    assert found["C3"].per_seed == "+0.6/+0.6/+0.6"
    assert found["C3"].verdict == "supported"
    found = {f.claim: f for f in examine({"inf": successes(0.8), "10": successes(0.7)}, ("square", "dppo"), "success")}
    assert found["C3"].verdict == "not reached by every seed"


def test_separation_is_judged_on_the_same_m() -> None:
    setting = claims.Setting(
        "hopper", "dppo", "return", {"inf": arm(2000, 0.1), "10": arm(3000, 0.1), "5": arm(3000, 0.1)}, {},
        {"10": arm(2500, 0.1)},
    )  # fmt: skip
    (found,) = (finding for finding in claims.examine(setting) if finding.claim == "C17")
    assert (found.m, found.verdict) == ("10", "supported")
    assert found.measure == "final return, relative to no separation"
    assert found.estimate == pytest.approx(np.mean([(3000 + seed) / (2500 + seed) - 1 for seed in SEEDS]))


def write_run(folder: Path, m: str, seed: int, method: str = "dppo", separation: str = "surgery") -> Path:
    separation = "none" if m == "inf" else separation
    run = {"task": "hopper", "method": method, "separation": separation, "m": m, "seed": seed}
    rows = [
        run | {"itr": itr, "env_steps": 100 * itr, "split": split, "metric": metric, "value": 1 + itr + seed}
        for itr in range(4)
        for split, metric in METRICS
    ]
    path = folder / f"{method}-{separation}-{m}-{seed}.csv"
    pd.DataFrame(rows, columns=list(RUN_COLUMNS)).to_csv(path, index=False)
    return path


def test_files_in_and_out(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, m, seed) for m in ("inf", "10", "2") for seed in (0, 1)]
    out = [tmp_path / "claims.csv", tmp_path / "claims.md"]
    claims.run(runs, out)
    table = pd.read_csv(out[0], dtype={"m": str})
    assert table[table.claim == "C12"].m.tolist() == ["2", "10"]
    assert (table[table.claim == "C12"].verdict == "undecided").all()
    assert "| hopper | dppo | C11 | RL only | relative change of the imitation loss | +3/+1.5 |" in out[1].read_text()


def test_controls_stand_with_the_method_that_they_are_based_on(tmp_path: Path) -> None:
    methods = ("idql", "idql_frozen", "dppo", "dppo_noise")
    settings = claims.read_settings([write_run(tmp_path, "inf", 0, method) for method in reversed(methods)])
    assert {(s.method, *s.controls) for s in settings} == {
        ("idql", ("idql_frozen", "inf")),
        ("dppo", ("dppo_noise", "inf")),
    }


def test_runs_without_separation_stand_beside_those_with(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, m, 0) for m in ("inf", "10")]
    unseparated = write_run(tmp_path, "10", 0, separation="none")
    (setting,) = claims.read_settings([*runs, unseparated])
    assert (set(setting.arms), set(setting.unseparated)) == ({"inf", "10"}, {"10"})
    (setting,) = claims.read_settings([runs[0], unseparated])
    assert (set(setting.arms), set(setting.unseparated)) == ({"inf", "10"}, set())
    message = "--metrics: hopper, dppo: expected one separation, besides none, got network, surgery"
    with pytest.raises(InputError, match=message):
        claims.read_settings([*runs, write_run(tmp_path, "5", 0, separation="network")])


def test_without_rl_only_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    message = "--metrics: hopper, dppo: expected runs of RL only, got none"
    with pytest.raises(InputError, match=re.escape(message)):
        claims.run([write_run(tmp_path, "2", 0)], [tmp_path / "claims.csv"])
    assert not (tmp_path / "claims.csv").exists()
