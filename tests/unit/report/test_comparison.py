import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from inril.config.shown import ComparisonColumn, ComparisonRow, ComparisonSpec, PolicyColumn
from inril.errors import InputError
from inril.report import comparison
from inril.report.aggregate import RUN_COLUMNS

COLUMNS = (
    ComparisonColumn(title="IN-RIL IDQL", method="idql", m=10),
    ComparisonColumn(title="IDQL", method="idql"),
    ComparisonColumn(title="AWR", method="awr"),
)
LIFT = ComparisonRow(task="lift", title="Lift", metric="success", source="compute", paper=(1.0, 0.9, 0.99))
HOPPER = ComparisonRow(task="hopper", title="Hopper", metric="return", source="compute", paper=(3042, 2988, 1427))


def spec(*rows: ComparisonRow) -> ComparisonSpec:
    return ComparisonSpec(name="table2", columns=COLUMNS, rows=rows)


def write_run(
    folder: Path, task: str, method: str, m: str, seed: int, final: list[float], best: list[float] | None = None
) -> Path:
    run = {"task": task, "method": method, "separation": "none" if m == "inf" else "surgery", "m": m, "seed": seed}
    metric = "episode_success" if task == "lift" else "episode_return"
    rows = [run | {"itr": 3, "env_steps": 1000, "split": "eval", "metric": "return", "value": 7.0}]
    for split, values in (("report", final), ("report_best", best or [])):
        rows += [run | {"itr": 4, "env_steps": 1500, "split": split, "metric": metric, "value": v} for v in values]
    path = folder / f"{task}-{method}-{m}-{seed}.csv"
    pd.DataFrame(rows, columns=list(RUN_COLUMNS)).to_csv(path, index=False)
    return path


def test_cells_hold_levels_intervals_and_how_they_were_obtained(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, "lift", "idql", "10", seed, final=[1, 1, 1, seed], best=[1, 1, 1, 1]) for seed in (0, 1)
    ]
    runs.append(write_run(tmp_path, "lift", "awr", "inf", 0, final=[0, 1, 0, 0, 0]))
    out = [tmp_path / "table2.csv", tmp_path / "table2.md"]
    comparison.run(spec(LIFT), runs, tmp_path, out)
    table = pd.read_csv(out[0], dtype={"m": str}, keep_default_na=False, na_values=[""]).set_index("column")
    joint = table.loc["IN-RIL IDQL"]
    assert (joint.seeds, joint.env_steps, joint.episodes, joint.final) == (2, 1500, 8, 0.875)
    assert (joint.best, joint.best_by_seed) == (1.0, "100.0/100.0")
    assert 0.5 < joint.best_low < 0.8  # Wilson's, of 8 episodes that all succeeded
    awr = table.loc["AWR"]
    assert (awr.source, awr.final) == ("compute", 0.2)
    assert np.isnan(awr.best)
    assert (table.loc["IDQL"].source, table.loc["IDQL"].paper) == ("not run", 0.9)
    lines = out[1].read_text().splitlines()
    assert lines[0] == "| task | level | IN-RIL IDQL | IDQL | AWR |"
    assert re.match(r"\| Lift, success \| final \| 87\.5 % \[.*\] \| – \| 20\.0 % \[3\.6, 62\.4\] \|", lines[2])
    assert re.match(r"\|  \| best checkpoint \| 100\.0 % \[67\.6, 100\.0\] \| – \| – \|", lines[3])
    assert lines[4] == "|  | obtained | 2 × 1,500 | not run | 1 × 1,500 |"
    assert lines[5] == "|  | paper | 100.0 % | 90.0 % | 99.0 % |"


def test_rows_of_another_budget_come_from_its_published_table(tmp_path: Path) -> None:
    published = tmp_path / "published" / "workstation"
    published.mkdir(parents=True)
    runs = [write_run(tmp_path, "lift", "awr", "inf", seed, final=[0, 1], best=[1, 1]) for seed in (0, 1, 2)]
    comparison.run(spec(LIFT), runs, tmp_path, [published / "table2.csv"])
    elsewhere = LIFT.model_copy(update={"source": "workstation"})
    run = write_run(tmp_path, "hopper", "idql", "inf", 0, final=[1000.0, 2000.0])
    out = [tmp_path / "mine.csv", tmp_path / "mine.md"]
    comparison.run(spec(elsewhere, HOPPER), [run], published.parent, out)
    text = out[1].read_text()
    assert "| not run | not run | 3 × 1,500, published (workstation) |" in text
    assert "| Hopper, return | final | – | 1500 [1000, 2000] | – |" in text
    table = pd.read_csv(out[0])
    assert table[table.task == "lift"].source.tolist() == ["not run", "not run", "workstation"]
    assert table[table.task == "lift"].final.tolist()[2] == 0.5
    # What was taken from elsewhere is not published as this budget's own.
    other = tmp_path / "published" / "mine"
    other.mkdir()
    out[0].rename(other / "table2.csv")
    again = LIFT.model_copy(update={"source": "mine"})
    comparison.run(spec(again), [], published.parent, [tmp_path / "again.csv"])
    assert set(pd.read_csv(tmp_path / "again.csv").source) == {"not run"}


POLICIES = (PolicyColumn(title="Gaussian", policy="gaussian"), PolicyColumn(title="DP", policy="diffusion"))


def write_pretraining(folder: Path, task: str, policy: str, seed: int, successes: list[float]) -> Path:
    run = {"task": task, "method": policy, "separation": "", "m": "", "seed": seed, "env_steps": 0}
    rows = [run | {"itr": 500, "split": "train", "metric": "select_success", "value": 1.0}]
    for value in successes:
        rows += [run | {"itr": 400, "split": "report", "metric": "episode_return", "value": 2 * value}]
        rows += [run | {"itr": 400, "split": "report", "metric": "episode_success", "value": value}]
    path = folder / f"{task}-{policy}-{seed}.csv"
    pd.DataFrame(rows, columns=list(RUN_COLUMNS)).to_csv(path, index=False)
    return path


def test_pre_trained_policies_are_compared_on_their_report_episodes(tmp_path: Path) -> None:
    lift = LIFT.model_copy(update={"paper": (0.38, None)})
    table1 = ComparisonSpec(name="table1", columns=POLICIES, rows=(lift,), note="50 % of it & more.")
    runs = [write_pretraining(tmp_path, "lift", "diffusion", seed, [1, 0, 0, 0]) for seed in (0, 1, 2)]
    out = [tmp_path / f"table1.{suffix}" for suffix in ("csv", "md", "tex", "html")]
    comparison.run(table1, runs, tmp_path, out)
    table = pd.read_csv(out[0]).set_index("column")
    cell = table.loc["DP"]
    assert (cell.method, cell.seeds, cell.episodes, cell.final) == ("diffusion", 3, 12, 0.25)
    assert cell.final_low < 0.25 < cell.final_high
    assert table.loc["Gaussian"].source == "not run"
    text = out[1].read_text()
    lines = text.splitlines()
    assert lines[0] == "| task | level | Gaussian | DP |"
    assert re.match(r"\| Lift, success \| pre-trained \| – \| 25\.0 % \[.*\] \|", lines[2])
    assert lines[3] == "|  | obtained | not run | 3 × 4 episodes |"
    assert lines[4] == "|  | paper | 38.0 % | – |"
    assert text.endswith("|\n\n50 % of it & more.\n")
    assert r"50 \% of it \& more." in out[2].read_text()
    assert "<p>50 % of it &amp; more.</p>" in out[3].read_text()
    published = tmp_path / "published" / "workstation"
    published.mkdir(parents=True)
    out[0].rename(published / "table1.csv")
    elsewhere = lift.model_copy(update={"source": "workstation"})
    comparison.run(table1.model_copy(update={"rows": (elsewhere,)}), [], published.parent, [out[1]])
    assert "| not run | 3 × 4 episodes, published (workstation) |" in out[1].read_text()


def test_pre_training_of_another_policy_is_refused(tmp_path: Path) -> None:
    stray = write_pretraining(tmp_path, "lift", "unet", 0, [1.0])
    table1 = ComparisonSpec(name="table1", columns=POLICIES, rows=(LIFT.model_copy(update={"paper": (None, None)}),))
    with pytest.raises(InputError, match="expected a run of a cell of table1, got task lift, method unet"):
        comparison.run(table1, [stray], tmp_path, [tmp_path / "x.csv"])


def test_runs_of_no_cell_and_twins_are_refused(tmp_path: Path) -> None:
    stray = write_run(tmp_path, "hopper", "dipo", "inf", 0, final=[1.0])
    with pytest.raises(InputError, match="expected a run of a cell of table2, got task hopper, method dipo"):
        comparison.run(spec(HOPPER), [stray], tmp_path, [tmp_path / "x.csv"])
    run = write_run(tmp_path, "hopper", "awr", "inf", 0, final=[1.0])
    twin = tmp_path / "twin.csv"
    twin.write_bytes(run.read_bytes())
    with pytest.raises(InputError, match="expected each run once"):
        comparison.run(spec(HOPPER), [run, twin], tmp_path, [tmp_path / "x.csv"])
    assert not (tmp_path / "x.csv").exists()
