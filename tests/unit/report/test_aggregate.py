from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from inril.config.shown import Control, FigureConfig
from inril.errors import InputError
from inril.report import aggregate

WriteRun = Callable[..., Path]


def build(config: FigureConfig, runs: list[Path], out: Path) -> None:
    aggregate.run(config.table("fig"), runs, out.parent / "published", out)


def test_table_is_sorted_and_complete(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    runs = [write_run("inf"), write_run("10", 1), write_run("10", 0), write_run("2")]
    out = tmp_path / "fig.csv"
    build(figure_config, runs, out)
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
    build(both, [write_run("inf"), write_run("2"), write_run("2", separation="none")], out)
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
        build(figure_config, [write_run(), twin], tmp_path / "fig.csv")


def test_wrong_run_is_refused_and_nothing_written(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    out = tmp_path / "fig.csv"
    out.write_text("before")
    with pytest.raises(InputError) as error:
        build(figure_config, [write_run(), write_run(task="walker2d")], out)
    assert "expected a run of a panel: task hopper, method dppo, separation surgery" in str(error.value)
    assert "got task walker2d, method dppo, separation surgery, m 2, seed 0" in str(error.value)
    assert out.read_text() == "before"


def test_panel_without_runs_has_no_rows(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    other = figure_config.panels[0].model_copy(update={"label": "b", "task": "walker2d"})
    both = figure_config.model_copy(update={"panels": (figure_config.panels[0], other)})
    out = tmp_path / "fig.csv"
    build(both, [write_run()], out)
    assert set(pd.read_csv(out).panel) == {"a"}


def test_figure_without_runs_is_refused(figure_config: FigureConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--metrics: fig: expected a run of any panel, got none$"):
        build(figure_config, [], tmp_path / "fig.csv")


def test_controls_stand_beside_the_method(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    control = Control(method="dppo_noise", m=10, title="noise")
    panel = figure_config.panels[0].model_copy(update={"controls": (control,)})
    config = figure_config.model_copy(update={"panels": (panel,)})
    out = tmp_path / "fig.csv"
    build(config, [write_run("inf"), write_run("2"), write_run("10", method="dppo_noise")], out)
    table = pd.read_csv(out, dtype={"m": str})
    lines = list(dict.fromkeys(zip(table.method, table.m, strict=True)))
    assert lines == [("dppo", "2"), ("dppo", "inf"), ("dppo_noise", "10")]
    with pytest.raises(InputError, match=r"expected a run of a panel: .*, got .* method dppo_noise, .* m 2"):
        build(config, [write_run("2", method="dppo_noise")], out)


def test_published_panel_is_taken_from_its_table(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "published" / "workstation" / "fig.csv"
    elsewhere.parent.mkdir(parents=True)
    lift = figure_config.panels[0].model_copy(update={"label": "b", "task": "lift"})
    both = figure_config.model_copy(update={"panels": (figure_config.panels[0], lift)})
    build(both, [write_run(offset=500.0), write_run(task="lift")], elsewhere)

    from_there = lift.model_copy(update={"source": "workstation"})
    drawn = both.model_copy(update={"panels": (figure_config.panels[0], from_there)})
    out = tmp_path / "fig.csv"
    build(drawn, [write_run()], out)
    mine, theirs = pd.read_csv(out), pd.read_csv(elsewhere)
    assert mine[mine.panel == "b"].reset_index(drop=True).equals(theirs[theirs.panel == "b"].reset_index(drop=True))
    assert set(mine[mine.panel == "a"].task) == {"hopper"}


def test_published_panel_without_a_table_has_no_rows(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    lift = figure_config.panels[0].model_copy(update={"label": "b", "task": "lift", "source": "workstation"})
    both = figure_config.model_copy(update={"panels": (figure_config.panels[0], lift)})
    out = tmp_path / "fig.csv"
    build(both, [write_run()], out)
    assert set(pd.read_csv(out).panel) == {"a"}


def test_missing_metric_is_refused(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    other = figure_config.model_copy(update={"metrics": ("eval/success",)})
    with pytest.raises(InputError, match="metric: expected eval/success, got eval/return, probe_holdout/il_loss"):
        build(other, [write_run()], tmp_path / "fig.csv")
