from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from inril.config.shown import Control, FigureConfig, FigureSpec, PlannedRun, PlotConfig, SmoothingConfig
from inril.errors import InputError
from inril.report import aggregate, figures

WriteRun = Callable[..., Path]


def build(write_run: WriteRun, config: FigureConfig, tmp_path: Path, n_seeds: int) -> Path:
    table = tmp_path / "fig.csv"
    runs = [write_run(m, seed) for m in ("inf", "10", "2") for seed in range(n_seeds)]
    aggregate.run(config.table("fig"), runs, tmp_path / "published", table)
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


def test_what_others_have_set_for_matplotlib_does_not_show(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=2)
    spec, out = FigureSpec(budget="smoke", figure=figure_config), tmp_path / "figure.png"
    figures.run(spec, table, [out])
    before = out.read_bytes()
    with plt.rc_context({"figure.facecolor": "black", "lines.linewidth": 9, "savefig.bbox": "tight", "font.size": 30}):
        figures.run(spec, table, [out])
        assert plt.rcParams["lines.linewidth"] == 9
    assert out.read_bytes() == before


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


def planned(*arms: tuple[int | str, int], **changed: str) -> list[PlannedRun]:
    run = {"task": "hopper", "method": "dppo", "separation": "surgery"} | changed
    return [PlannedRun.model_validate(run | {"m": m, "seed": seed}) for m, seed in arms]


def test_partial_figure_says_how_many_runs_it_shows_and_which_are_missing(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=2)
    runs = planned((2, 0), (2, 1), (2, 2), (5, 0), (5, 1), (10, 0), (10, 1))
    runs += planned(("inf", 0), ("inf", 1), separation="none")
    text = texts(drawn(FigureSpec(budget="smoke", figure=figure_config, planned=runs), table))
    assert " env steps, 6 of 9 runs, " in text
    assert "Missing: hopper dppo m = 2 (seed 2), hopper dppo m = 5 (seed 0, 1)." in text.replace("\n", " ")


def test_many_missing_runs_are_counted(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    runs = planned(*((m, 1) for m in range(3, 10)))
    text = texts(drawn(FigureSpec(budget="smoke", figure=figure_config, planned=runs), table))
    assert "Missing: 7 of the planned runs." in text


def with_lift(figure_config: FigureConfig, **changed: object) -> FigureConfig:
    lift = figure_config.panels[0].model_copy(update={"label": "b", "title": "Lift", "task": "lift", **changed})
    return figure_config.model_copy(update={"panels": (figure_config.panels[0], lift)})


def test_panel_without_runs_says_so(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    table = build(write_run, figure_config, tmp_path, n_seeds=1)
    both = with_lift(figure_config)
    runs = planned((2, 0), task="lift")
    figure = drawn(FigureSpec(budget="smoke", figure=both, planned=runs), table)
    empty = [ax for ax in figure.axes if "not run" in [text.get_text() for text in ax.texts]]
    assert [(len(ax.lines), ax.get_legend()) for ax in empty] == [(0, None), (0, None)]
    assert "Missing: lift dppo m = 2 (seed 0)." in texts(figure).replace("\n", " ")


def test_published_panel_is_marked(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    computed = with_lift(figure_config)
    runs = [write_run(m, task=task) for m in ("2", "inf") for task in ("hopper", "lift")]
    elsewhere = tmp_path / "published" / "workstation" / "fig.csv"
    elsewhere.parent.mkdir(parents=True)
    aggregate.run(computed.table("fig"), runs, tmp_path, elsewhere)
    both, table = with_lift(figure_config, source="workstation"), tmp_path / "fig.csv"
    aggregate.run(both.table("fig"), [path for path in runs if "hopper" in path.name], tmp_path / "published", table)
    text = texts(drawn(FigureSpec(budget="smoke", figure=both), table)).replace("\n", " ")
    assert "Published (workstation): 4,000 env steps" in text
    assert "Drawn from the published runs of budget workstation: b." in text


def test_panel_may_show_metrics_of_its_own(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    both = with_lift(figure_config, metrics=("train/n_rl_updates", "probe_holdout/il_loss"))
    table = tmp_path / "fig.csv"
    aggregate.run(both.table("fig"), [write_run(task=task) for task in ("hopper", "lift")], tmp_path, table)
    figure = drawn(FigureSpec(budget="smoke", figure=both), table)
    names = [ax.get_ylabel() for ax in figure.axes]
    assert names == ["Return", "train/n_rl_updates", "IL loss (held out)", ""]


def test_panels_wrap(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    both = with_lift(figure_config).model_copy(update={"columns": 1})
    table = tmp_path / "fig.csv"
    aggregate.run(both.table("fig"), [write_run(task=task) for task in ("hopper", "lift")], tmp_path, table)
    figure = drawn(FigureSpec(budget="smoke", figure=both), table)
    assert [ax.get_subplotspec().rowspan.start for ax in figure.axes if ax.get_title("left")] == [0, 2]


def test_controls_are_lines_of_their_own(write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path) -> None:
    control = Control(method="dppo_noise", m=10, title="noise")
    panel = figure_config.panels[0].model_copy(update={"controls": (control,)})
    config = figure_config.model_copy(update={"panels": (panel,)})
    runs = [write_run("inf"), write_run("10"), write_run("10", method="dppo_noise")]
    table = tmp_path / "fig.csv"
    aggregate.run(config.table("fig"), runs, tmp_path, table)
    figure = drawn(FigureSpec(budget="smoke", figure=config), table)
    assert "RL only\nm = 10 (10 IL)\nnoise (10 IL)" in texts(figure)
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3


def test_lines_of_two_separations_stand_in_one_panel(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    control = Control(method="dppo", m=10, separation="none", title="no separation")
    panel = figure_config.panels[0].model_copy(update={"controls": (control,)})
    config = figure_config.model_copy(update={"panels": (panel,), "paper_m": (10, 20)})
    runs = [write_run("inf"), write_run("10"), write_run("10", separation="none", offset=100.0, seed=1)]
    table = tmp_path / "fig.csv"
    aggregate.run(config.table("fig"), runs, tmp_path, table)
    plan = planned((10, 0), (10, 1)) + planned((10, 0), (10, 1), separation="none")
    plan += planned(("inf", 0), separation="none")
    figure = drawn(FigureSpec(budget="smoke", figure=config, planned=plan), table)
    text = texts(figure).replace("\n", " ")
    assert "RL only m = 10 (10 IL) no separation (10 IL)" in text
    assert "3 of 5 runs" in text
    assert "not run: m = 20" in text
    missing = "hopper dppo m = 10, separation surgery (seed 1), hopper dppo m = 10, separation none (seed 0)."
    assert missing in text
    ends = {line.get_color(): line.get_ydata()[-1] for line in figure.axes[0].lines}
    assert sorted(ends.values()) == [1050, 1050, 1150]  # of seeds 0, 0 and 1
    with pytest.raises(InputError, match="separation surgery or none"):
        aggregate.run(config.table("fig"), [write_run("5", separation="none")], tmp_path, table)


def test_level_of_imitation_alone_is_that_before_fine_tuning(
    write_run: WriteRun, figure_config: FigureConfig, tmp_path: Path
) -> None:
    config = figure_config.model_copy(update={"il_level": True})
    table = tmp_path / "fig.csv"
    runs = [write_run(m, seed, offset=4.0) for m in ("inf", "2") for seed in (0, 1)]
    aggregate.run(config.table("fig"), runs, tmp_path, table)
    figure = drawn(FigureSpec(budget="smoke", figure=config), table)
    returns, il_loss = figure.axes
    levels = [line for line in returns.lines if line.get_color() == "0.6"]
    assert [list(line.get_ydata()) for line in levels] == [[1002.0, 1002.0]]
    assert len(returns.lines) == len(il_loss.lines) + 1
    assert "Grey: imitation alone (first evaluations, before any update)." in texts(figure).replace("\n", " ")
