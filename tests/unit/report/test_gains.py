import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from inril.errors import InputError
from inril.report import gains
from inril.report.aggregate import RUN_COLUMNS
from inril.report.levels import mean_gain, mean_level
from inril.report.statistics import newcombe, wilson

Episodes = list[float]


def write_metrics(
    path: Path, task: str, m: str, seed: int, episodes: dict[str, dict[str, Episodes]], method: str = "dppo"
) -> Path:
    """Episodes by split and metric; counts and imitation loss of two iterations."""
    run = {"task": task, "method": method, "separation": "none" if m == "inf" else "surgery", "m": m, "seed": seed}
    rows = []
    for itr in (0, 1):
        counts = {("train", "n_rl_updates"): 20, ("train", "n_il_updates"): 2, ("probe_holdout", "il_loss"): 0.1}
        rows += [
            run | {"itr": itr, "env_steps": 500 * itr, "split": split, "metric": metric, "value": value * (1 + itr)}
            for (split, metric), value in counts.items()
        ]
    for split, metrics in episodes.items():
        for metric, values in metrics.items():
            rows += [
                run | {"itr": 1, "env_steps": 500, "split": split, "metric": f"episode_{metric}", "value": value}
                for value in values
            ]
    pd.DataFrame(rows, columns=list(RUN_COLUMNS)).to_csv(path, index=False)
    return path


def solved(rate: float) -> dict[str, Episodes]:
    """100 episodes of this success rate; solved ones pay 50."""
    success = (np.arange(100) < 100 * rate).astype(float)
    return {"success": success.tolist(), "return": (50 * success).tolist()}


def tabulate(
    tmp_path: Path,
    task: str,
    before: dict[str, Episodes],
    after: dict[str, dict[str, Episodes]],
    method: str = "dppo",
    m: str = "10",
) -> Path:
    finetune = [write_metrics(tmp_path / f"after{seed}.csv", task, m, seed, after, method) for seed in (0, 1)]
    pretrain = [write_metrics(tmp_path / f"before{seed}.csv", task, "inf", seed, {"report": before}) for seed in (0, 1)]
    gains.run(finetune, pretrain, ["dppo", "idql"], [tmp_path / "gains.csv", tmp_path / "gains.md"])
    return tmp_path / "gains.csv"


def test_success_is_what_counts_where_a_task_has_it(tmp_path: Path) -> None:
    csv = tabulate(tmp_path, "lift", solved(0.5), {"report": solved(0.7), "report_best": solved(0.8)})
    (row,) = pd.read_csv(csv).to_dict("records")
    assert (row["metric"], row["pretrained"], row["final"], row["best"]) == ("success", 0.5, 0.7, 0.8)
    assert row["gain"] == pytest.approx(0.2)
    assert 0.05 < row["gain_low"] < 0.15 < 0.25 < row["gain_high"] < 0.35
    text = csv.with_suffix(".md").read_text()
    assert "| success | 50.0 % | 70.0 % (70.0/70.0) | +20.0 points [" in text
    assert "| 80.0 % (80.0/80.0) | 0.1000 → 0.2000 |" in text


def test_returns_elsewhere_and_a_dash_for_a_best_policy_that_was_not_kept(tmp_path: Path) -> None:
    csv = tabulate(tmp_path, "hopper", {"return": [100.0, 100.0]}, {"report": {"return": [150.0, 250.0]}})
    (row,) = pd.read_csv(csv).to_dict("records")
    assert (row["metric"], row["gain"], row["final_by_seed"]) == ("return", 100, "200/200")
    assert np.isnan(row["best"])
    assert re.search(
        r"\| return \| 100 \| 200 \(200/200\) \| \+100 \[\+50, \+150\] \| – \|", csv.with_suffix(".md").read_text()
    )


def test_every_run_needs_the_policy_that_it_started_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--pretrain: expected 1 files, one per run, got 0"):
        gains.run([tmp_path / "a.csv"], [], [], [tmp_path / "gains.csv"])


def test_intervals_of_success_have_a_width_where_a_bootstrap_has_none() -> None:
    ones, zeros, mixed = np.ones(50), np.zeros(50), np.repeat([0.0, 1.0], 25)
    assert mean_level([ones, ones], "success") == wilson(np.ones(100))
    assert mean_gain([zeros, zeros], [ones, ones], "success") == newcombe(np.zeros(100), np.ones(100))
    assert mean_level([mixed], "success") == wilson(mixed)
    # With several seeds and mixed outcomes, seeds count too.
    seeds = mean_level([ones, mixed], "success")
    pooled = wilson(np.concatenate([ones, mixed]))
    assert seeds.high - seeds.low > 2 * (pooled.high - pooled.low)


def test_arms_are_called_rl_only_where_nothing_else_teaches(tmp_path: Path) -> None:
    returns = {"return": [100.0, 100.0]}
    for method, m, name in (
        ("idql", "inf", "RL only"),
        ("idql", "10", "10"),
        ("idql_frozen", "inf", "not interleaved"),
    ):
        csv = tabulate(tmp_path, "hopper", returns, {"report": returns}, method=method, m=m)
        assert f"| {name} |" in csv.with_suffix(".md").read_text()
