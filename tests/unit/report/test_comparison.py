import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from inril.config import ComparisonColumn, ComparisonRow, ComparisonSpec
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
