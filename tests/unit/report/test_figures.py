from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from inril.config import FigureConfig, FigureSpec, MissingRun, PlotConfig, SmoothingConfig
from inril.errors import InputError
from inril.report import aggregate, figures

WriteRun = Callable[..., Path]


def build(write_run: WriteRun, config: FigureConfig, tmp_path: Path, n_seeds: int) -> Path:
    table = tmp_path / "fig.csv"
    runs = [write_run(m, seed) for m in ("inf", "10", "2") for seed in range(n_seeds)]
    aggregate.run(config.table(), runs, table)
    return table


def drawn(spec: FigureSpec, table: Path) -> Figure:
    frame = figures.read_csv(table, figures.TABLE_COLUMNS, ("value",))
    return figures.draw(spec, [figures.panel_arms(spec, panel, frame, table) for panel in spec.figure.panels])


def texts(figure: Figure) -> str:
    labels = [text.get_text() for ax in figure.axes for text in ax.texts]
    legends = [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    return "\n".join([*labels, *legends, figure.get_supxlabel()])


@pytest.fixture(autouse=True)
def _close_figures() -> object:
    yield
    plt.close("all")


def test_same_table_gives_the_same_bytes(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=5)
    spec = FigureSpec(budget="smoke", figure=figure_config)
    contents = []
    for attempt in ("one", "two"):
        out = [tmp_path / f"{attempt}.pdf", tmp_path / f"{attempt}.png"]
        figures.run(spec, table, out)
        contents.append([path.read_bytes() for path in out])
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"%PDF")
    assert b"CreationDate" not in contents[0][0]


def test_figure_prints_what_it_rests_on(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=2)
    text = texts(drawn(FigureSpec(budget="smoke", figure=figure_config), table))
    assert "4,000 env steps, 2 seeds, 100 RL updates" in text
    assert "RL only\nm = 2 (50 IL)\nm = 10 (10 IL)" in text
    assert "Budget: smoke. Thin: each seed, thick: mean (below 5 seeds no\ninterval)." in text


def test_below_five_seeds_each_is_a_line(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=2)
    axes = drawn(FigureSpec(budget="smoke", figure=figure_config), table).axes[0]
    assert len(axes.lines) == 3 * (2 + 1)
    assert not axes.collections


def test_from_five_seeds_on_there_is_a_band(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=5)
    figure = drawn(FigureSpec(budget="smoke", figure=figure_config), table)
    assert len(figure.axes[0].lines) == len(figure.axes[0].collections) == 3
    assert "Line: interquartile mean, band: 95 % stratified bootstrap interval." in texts(figure).replace("\n", " ")


def test_smoothing_leaves_the_raw_curve(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    plot = PlotConfig(smoothing=SmoothingConfig(window=5, order=2))
    figure = drawn(FigureSpec(budget="smoke", figure=figure_config, plot=plot), table)
    assert len(figure.axes[0].lines) == 3 * 2
    assert "Savitzky-Golay, window 5" in texts(figure).replace("\n", " ")


def test_unequal_rl_updates_are_told_per_arm(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    frame = pd.read_csv(table, dtype={"m": str})
    stopped = (frame.m == "2") & (frame.metric == aggregate.RL_UPDATES)
    frame.loc[stopped, "value"] = frame.loc[stopped, "value"].clip(upper=90)
    frame.to_csv(table, index=False)
    text = texts(drawn(FigureSpec(budget="smoke", figure=figure_config), table))
    assert "90–100 RL updates" in text
    assert "m = 2 (50 IL, 90 RL)" in text


def test_rl_only_is_drawn_in_its_own_colour(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    spec = FigureSpec(budget="smoke", figure=figure_config, plot=PlotConfig(rl_color="red"))
    assert drawn(spec, table).axes[0].lines[-1].get_color() == "red"


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (PlotConfig(palette="rainbowish"), "plot: palette: expected a palette of seaborn, got 'rainbowish'"),
        (PlotConfig(rl_color="blakc"), "plot: rl_color: expected a colour of matplotlib, got 'blakc'"),
    ],
)
def test_unknown_colours_are_refused(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path, plot: PlotConfig, message: str
) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    with pytest.raises(InputError, match=message):
        figures.run(FigureSpec(budget="smoke", figure=figure_config, plot=plot), table, [tmp_path / "fig.pdf"])
    assert not (tmp_path / "fig.pdf").exists()


def test_unknown_format_is_refused(figure_config: FigureConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ending in one of pdf, png, got \.bmp"):
        figures.run(FigureSpec(budget="smoke", figure=figure_config), tmp_path / "fig.csv", [tmp_path / "fig.bmp"])


def test_table_of_another_figure_is_refused(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    other = figure_config.model_copy(update={"metrics": ("eval/success",)})
    with pytest.raises(InputError, match="panel a: expected rows of eval/success, got none"):
        figures.run(FigureSpec(budget="smoke", figure=other), table, [tmp_path / "fig.pdf"])


def missing(m: int, seed: int) -> MissingRun:
    return MissingRun(task="hopper", method="dppo", separation="surgery", m=m, seed=seed)


def test_partial_figure_says_how_many_runs_it_shows_and_which_are_missing(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=2)
    runs = (missing(2, 2), missing(5, 0), missing(5, 1))
    text = texts(drawn(FigureSpec(budget="smoke", figure=figure_config, missing=runs), table))
    assert " env steps, 6 of 9 runs, " in text
    assert "Missing: hopper dppo m = 2 (seed 2), hopper dppo m = 5 (seed 0, 1)." in text.replace("\n", " ")


def test_many_missing_runs_are_counted(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    runs = tuple(missing(m, 0) for m in range(3, 10))
    text = texts(drawn(FigureSpec(budget="smoke", figure=figure_config, missing=runs), table))
    assert "Missing: 7 of the planned runs." in text
