from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from inril.config import FigureConfig
from inril.errors import InputError
from inril.report import aggregate

WriteRun = Callable[..., Path]


def test_table_is_sorted_and_complete(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    runs = [write_run("inf"), write_run("10", 1), write_run("10", 0), write_run("2")]
    out = tmp_path / "fig.csv"
    aggregate.run(figure_config.table(), runs, out)
    table = pd.read_csv(out, dtype={"m": str})
    assert tuple(table.columns) == aggregate.TABLE_COLUMNS
    assert list(dict.fromkeys(zip(table.m, table.seed, strict=True))) == [("2", 0), ("10", 0), ("10", 1), ("inf", 0)]
    assert list(table.metric.unique()) == [*figure_config.metrics, aggregate.RL_UPDATES, aggregate.IL_UPDATES]
    final = table[(table.m == "10") & (table.seed == 1) & (table.metric == "eval/return")].iloc[-1]
    assert (final.env_steps, final.value) == (4000, 1051)


def test_rl_only_is_shared_by_panels(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    panel = figure_config.panels[0]
    naive = panel.model_copy(update={"label": "b", "separation": "none"})
    both = figure_config.model_copy(update={"panels": (panel, naive)})
    out = tmp_path / "fig.csv"
    aggregate.run(both.table(), [write_run("inf"), write_run("2"), write_run("2", separation="none")], out)
    table = pd.read_csv(out, dtype={"m": str})
    arms = table.groupby("panel")["m"].unique().map(list).to_dict()
    assert arms == {"a": ["2", "inf"], "b": ["2", "inf"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a CSV file, got No columns to parse from file"),
        ("task,method\nhopper,dppo\n", "columns: expected separation, m, seed, itr, env_steps, split, metric, value"),
        (",".join(aggregate.RUN_COLUMNS) + "\n", "expected at least one row, got only a header"),
    ],
)
def test_what_is_no_metrics_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        aggregate.read_run(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a CSV file, got nothing there"):
        aggregate.read_run(tmp_path / "metrics.csv")


def test_text_in_place_of_a_number_is_refused(write_run: WriteRun) -> None:
    path = write_run()
    path.write_text(path.read_text().replace("1010.0", "many", 1))
    with pytest.raises(InputError, match=r"value, line 7: expected a number, got 'many'"):
        aggregate.read_run(path)


def test_two_runs_in_one_file_are_refused(write_run: WriteRun) -> None:
    path = write_run(seed=0)
    path.write_text(path.read_text() + "\n".join(write_run(seed=1).read_text().splitlines()[1:]))
    with pytest.raises(InputError, match="seed: expected one run in one file, got 0, 1"):
        aggregate.read_run(path)


def test_one_run_given_twice_is_refused(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    twin = tmp_path / "twin.csv"
    twin.write_text(write_run().read_text())
    with pytest.raises(InputError, match="expected each run once, got the run of "):
        aggregate.run(figure_config.table(), [write_run(), twin], tmp_path / "fig.csv")


def test_wrong_run_is_refused_and_nothing_written(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    out = tmp_path / "fig.csv"
    out.write_text("before")
    with pytest.raises(InputError) as error:
        aggregate.run(figure_config.table(), [write_run(), write_run(task="walker2d")], out)
    assert "expected a run of a panel: task hopper, method dppo, separation surgery" in str(error.value)
    assert "got task walker2d, method dppo, separation surgery, m 2, seed 0" in str(error.value)
    assert out.read_text() == "before"


def test_panel_without_runs_is_refused(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"panel a: expected task hopper.*got no such run"):
        aggregate.run(figure_config.table(), [write_run(task="walker2d")], tmp_path / "fig.csv")


def test_missing_metric_is_refused(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    spec = figure_config.table().model_copy(update={"metrics": ("eval/success",)})
    with pytest.raises(InputError, match="metric: expected eval/success, got eval/return, probe_holdout/il_loss"):
        aggregate.run(spec, [write_run()], tmp_path / "fig.csv")
