from pathlib import Path

import pandas as pd
import pytest

from inril.errors import InputError
from inril.metrics import MetricsLog
from inril.publishing import ledger
from inril.train.origin import Origin, comments

RUN = {"task": "hopper", "method": "dppo", "separation": "none", "m": "inf", "seed": 0}
CPU = Origin("Some CPU, AVX2", "inril 1, commit abc")


def write_run(results: Path, name: str, cpu_s: list[float], origins: list[Origin]) -> Path:
    folder = results / "results" / "long" / "finetune" / name
    folder.mkdir(parents=True)
    metrics, timing = MetricsLog(folder / "metrics.csv", RUN), MetricsLog(folder / "timing.csv", RUN)
    for itr, seconds in enumerate(cpu_s):
        metrics.add(itr, 100 * itr, "eval", {"return": 1.0})
        timing.add(itr, 100 * itr, "seconds", {"rollout": 5.0, "update": 7.0})
        timing.add(itr, 100 * itr, "cpu_seconds", {"all": seconds})
    metrics.flush()
    timing.flush()
    (folder / "config.yaml").write_text(comments(origins) + "task: hopper\n")
    return folder


def rows(out: Path) -> dict[str, dict[str, object]]:
    return {row["run"]: row for row in pd.read_csv(out).to_dict("records")}


def test_runs_and_what_they_cost(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [1800.0, 1800.0, 900.0], [CPU, CPU._replace(processor="Other CPU")])
    write_run(tmp_path, "b", [360.0], [CPU])
    out = tmp_path / "ledger.csv"
    ledger.run("long", tmp_path, out)
    found = rows(out)
    assert list(found) == ["results/long/finetune/a", "results/long/finetune/b"]
    first = found["results/long/finetune/a"]
    assert (first["env_steps"], first["cpu_hours"]) == (200, 1.25)
    assert (first["processor"], first["code"]) == ("Some CPU, AVX2 + Other CPU", "inril 1, commit abc")


def test_pre_training_is_taken_from_snakemakes_benchmark(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", [1.0], [CPU])
    (folder / "timing.csv").unlink()
    (folder / "benchmark.tsv").write_text("s\tcpu_time\n100\t720\n")
    ledger.run("long", tmp_path, tmp_path / "ledger.csv")
    assert rows(tmp_path / "ledger.csv")["results/long/finetune/a"]["cpu_hours"] == 0.2


def test_rows_of_runs_made_elsewhere_stay(tmp_path: Path) -> None:
    out = tmp_path / "ledger.csv"
    folder = write_run(tmp_path, "a", [3600.0], [CPU])
    ledger.run("long", tmp_path, out)
    (folder / "timing.csv").unlink()  # as after a pull
    write_run(tmp_path, "b", [3600.0], [CPU])
    ledger.run("long", tmp_path, out)
    assert list(rows(out)) == ["results/long/finetune/a", "results/long/finetune/b"]


def test_a_damaged_ledger_is_no_empty_one(tmp_path: Path) -> None:
    out = tmp_path / "ledger.csv"
    out.write_text("run,processor\na,b\n")
    with pytest.raises(InputError, match="columns: expected env_steps, cpu_hours, code"):
        ledger.run("long", tmp_path, out)
    assert out.read_text() == "run,processor\na,b\n"
