import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import examine, run

from inril.errors import InputError
from inril.report import claims
from inril.report.aggregate import RUN_COLUMNS, read_run
from inril.report.curves import Curve
from inril.report.findings import RunsBySeed, RunSummary, Setting
from inril.train.origin import Origin, comments

SEEDS = (0, 1, 2)
METRICS = (("eval", "return"), ("probe_holdout", "il_loss"), ("report", "episode_return"), ("train", "grad_cosine"))


def arm(final: float) -> RunsBySeed:
    """Three seeds whose numbers differ a little."""
    level = np.linspace(1000, 1100, 21)
    return {seed: run(level, np.ones(21), seed)._replace(final=np.full(4, final + seed)) for seed in SEEDS}


def successes(rate: float, n_seeds: int = 3, steps_to_end: float = 1e6) -> RunsBySeed:
    """Seeds of 100 episodes each; evaluations rise in a straight line to the rate and stay there."""
    steps = np.linspace(0, 1e6, 21)
    return {
        seed: RunSummary(
            level=Curve(steps, rate * np.minimum(steps / steps_to_end, 1)),
            il_loss=Curve(steps, 1 + 0.1 * steps / 1e6 + 0.001 * seed),
            final=(np.arange(100) < 100 * rate + seed).astype(float),
            cosine=-0.2,
        )
        for seed in range(n_seeds)
    }


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
    assert "end success minus RL only" in {finding.measure for finding in found if finding.claim == "C9"}


def test_one_seed_tells_of_its_episodes_alone() -> None:
    arms = {"inf": successes(0.5, n_seeds=1), "10": successes(0.7, n_seeds=1)}
    found = {finding.claim: finding for finding in examine(arms, ("square", "idql"), "success")}
    gain = found["C2"]
    assert (gain.seeds, gain.verdict) == (1, "supported")
    assert (gain.estimate, gain.low, gain.high) == pytest.approx((0.2, 0.0643, 0.3257), abs=2e-3)
    assert found["C9"].verdict == found["C11"].verdict == "too few seeds"


def test_steps_are_saved_to_the_level_at_which_rl_only_ended() -> None:
    arms = {"inf": successes(0.8), "10": successes(0.8, steps_to_end=4e5)}
    found = {finding.claim: finding for finding in examine(arms, ("square", "dppo"), "success")}
    assert found["C3"].per_seed == "+0.6/+0.6/+0.6"
    assert found["C3"].verdict == "supported"
    found = {f.claim: f for f in examine({"inf": successes(0.8), "10": successes(0.7)}, ("square", "dppo"), "success")}
    assert found["C3"].verdict == "not reached by every seed"


def test_separation_is_judged_on_the_same_m() -> None:
    arms = {"inf": arm(2000), "10": arm(3000), "5": arm(3000)}
    setting = Setting("hopper", "dppo", "return", arms, {}, {"10": arm(2500)})
    (found,) = (finding for finding in claims.examine(setting, {}) if finding.claim == "C17")
    assert (found.m, found.verdict) == ("10", "supported")
    assert found.measure == "final return, relative to no separation"
    assert found.estimate == pytest.approx(np.mean([(3000 + seed) / (2500 + seed) - 1 for seed in SEEDS]))


def test_angles_are_of_the_runs_that_measured_them() -> None:
    arms = {"inf": arm(2000), "10": {s: run._replace(cosine=np.nan) for s, run in arm(2000).items()}}
    found = {finding.m: finding.verdict for finding in examine(arms) if finding.claim == "rho"}
    assert found == {"inf": "supported"}


def sort(*paths: Path) -> list[Setting]:
    return claims.sort_runs({path: read_run(path) for path in paths})


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


def write_pretraining(folder: Path, seed: int) -> Path:
    rows = [
        {"task": "hopper", "method": "diffusion", "separation": "", "m": "", "seed": seed, "itr": 100 * i}
        | {"env_steps": 0, "split": "train", "metric": "holdout_loss", "value": 1 / i}
        for i in range(1, 21)
    ]
    path = folder / f"pretrain-{seed}.csv"
    pd.DataFrame(rows, columns=list(RUN_COLUMNS)).to_csv(path, index=False)
    return path


def test_files_in_and_out(tmp_path: Path) -> None:
    named = [(m, seed) for m in ("inf", "10", "2") for seed in (0, 1)]
    runs = [write_run(tmp_path, m, seed) for m, seed in named]
    pretrain = [write_pretraining(tmp_path, seed) for _, seed in named]
    out = [tmp_path / "claims.csv", tmp_path / "claims.md"]
    claims.run(runs, pretrain, out)
    table = pd.read_csv(out[0], dtype={"m": str})
    assert table[table.claim == "C12"].m.tolist() == ["2", "10", "all"]
    assert (table[table.claim == "C12"].verdict == "undecided").all()
    text = out[1].read_text()
    assert "| C11 | RL only | change of the imitation loss by the last tenth: above 10 % | +3/+1.5 |" in text
    assert "held-out loss over the last tenth of pre-training | -0.1/-0.1 |" in text
    with pytest.raises(InputError, match="--pretrain: expected 6 files, one per run, got 5"):
        claims.run(runs, pretrain[1:], out)


def test_processors_that_differ_are_named(tmp_path: Path) -> None:
    runs, pretrain = [], []
    for seed, processor in enumerate(("Old CPU, AVX2", "New CPU, AVX512", "New CPU, AVX512")):
        folder = tmp_path / str(seed)
        folder.mkdir()
        runs.append(write_run(folder, "inf", seed))
        pretrain.append(write_pretraining(folder, seed))
        (folder / "config.yaml").write_text(comments([Origin(processor, "inril 1")]))
    out = tmp_path / "claims.md"
    claims.run(runs, pretrain, [out])
    assert "not paired exactly (2 on New CPU, AVX512; 1 on Old CPU, AVX2)." in out.read_text()
    claims.run(runs[1:], pretrain[1:], [out])
    assert "processor" not in out.read_text()


def test_controls_stand_with_the_method_that_they_are_based_on(tmp_path: Path) -> None:
    methods = ("idql", "idql_frozen", "dppo", "dppo_noise")
    settings = sort(*(write_run(tmp_path, "inf", 0, method) for method in reversed(methods)))
    assert {(s.method, *s.controls) for s in settings} == {
        ("idql", ("idql_frozen", "inf")),
        ("dppo", ("dppo_noise", "inf")),
    }


def test_runs_without_separation_stand_beside_those_with(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, m, 0) for m in ("inf", "10")]
    unseparated = write_run(tmp_path, "10", 0, separation="none")
    (setting,) = sort(*runs, unseparated)
    assert (set(setting.arms), set(setting.unseparated)) == ({"inf", "10"}, {"10"})
    (setting,) = sort(runs[0], unseparated)
    assert (set(setting.arms), set(setting.unseparated)) == ({"inf", "10"}, set())
    message = "--metrics: hopper, dppo: expected one separation, besides none, got network, surgery"
    with pytest.raises(InputError, match=message):
        sort(*runs, write_run(tmp_path, "5", 0, separation="network"))


def test_without_rl_only_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    message = "--metrics: hopper, dppo: expected runs of RL only, got none"
    with pytest.raises(InputError, match=re.escape(message)):
        claims.run([write_run(tmp_path, "2", 0)], [write_pretraining(tmp_path, 0)], [tmp_path / "claims.csv"])
    assert not (tmp_path / "claims.csv").exists()
