"""Draws figures from tables: panels side by side, the metrics of each one below the other, one colour per arm.

A figure prints what its numbers rest on: budget, env steps, seeds, RL and IL updates of every arm, kind of interval,
which panels show published runs of another budget, and which of the planned runs are missing. A panel none of whose
runs is there says so.
The same table and settings give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from inril.config.base import COMPUTE, RL_NAME
from inril.config.shown import FigureSpec, PanelConfig, PlannedRun, PlotConfig, SmoothingConfig
from inril.errors import InputError
from inril.report.aggregate import IL_UPDATES, RL_UPDATES, TABLE_COLUMNS, read_csv
from inril.report.arms import LABELS, Arm, Dashes
from inril.report.frontier import draw_frontier
from inril.report.levels import RL_ONLY
from inril.report.statistics import MIN_SEEDS, on_common_grid, savgol, stratified_iqm
from inril.report.style import figure_style, require_formats, write_figure

_RUN = ["method", "separation", "m", "seed"]  # what tells the runs of a panel apart
_COLUMN_INCHES, _ROW_INCHES, _LEGEND_INCHES, _NOTE_INCHES = 3.4, 1.9, 0.8, 0.2
_FRONTIER_INCHES = 3.4
_NOTE_CHARACTERS = 70  # of a footnote that fits under one column
_FACTS_CHARACTERS = 58  # of a line that fits over one panel
_LEGEND_CHARACTERS = 24  # of labels of which two fit beside each other under one panel
_MISSING_NAMED = 6  # missing runs that a footnote names; of more it gives the number
_FAINT, _BAND = 0.35, 0.15
_IL_COLOR = "0.6"
_ABOVE: dict[str, Any] = {
    "xycoords": "axes fraction",
    "textcoords": "offset points",
    "fontsize": "small",
    "color": "0.35",
    "linespacing": 1.1,
    "in_layout": False,  # text that sticks out would narrow all panels, and then stick out the more
}
# Neighbouring arms also differ in their dashes: for print without colour, and for eyes that tell few greens apart.
_SOLID: Dashes = "-"
_DASHED: Dashes = (0, (4, 1))
_DOTTED: Dashes = (0, (1, 1))  # controls
# A row whose values span more than this is drawn on a logarithmic axis.
_LOG_SPAN = 30.0


def run(spec: FigureSpec, table: Path, out: Sequence[Path]) -> None:
    """Draw a figure into one file per format.

    Raises:
        InputError: the table lacks something that the figure shows, or a colour or file format is unknown.
    """
    require_formats(out)
    frame = read_csv(table, TABLE_COLUMNS, ("seed", "env_steps", "value"))
    panels = [panel_arms(spec, panel, frame, table) for panel in spec.figure.panels]
    with figure_style(spec.plot.font_size):
        write_figure(draw(spec, panels), out)


def panel_arms(spec: FigureSpec, panel: PanelConfig, frame: pd.DataFrame, table: Path) -> list[Arm]:
    """Split a panel's rows into arms: RL only, m from small to large, controls. A panel without runs has none.

    Raises:
        InputError: a metric or the counts of updates are missing from the table, or a colour is unknown.
    """
    rows = frame[frame["panel"] == panel.label]
    if not is_color_like(spec.plot.rl_color):
        raise InputError("plot", field="rl_color", expected="a colour of matplotlib", got=repr(spec.plot.rl_color))
    own = _own(panel, rows)
    finite = sorted(set(own["m"]) - {RL_ONLY}, key=int)
    styles = [_SOLID if rank % 2 else _DASHED for rank in range(1, len(finite) + 1)]
    lines = [
        ((panel.method, "none", RL_ONLY), RL_NAME, spec.plot.rl_color, _SOLID),
        *(
            ((panel.method, panel.separation, m), f"m = {m}", color, style)
            for m, color, style in zip(finite, _palette(spec.plot, "palette", len(finite)), styles, strict=True)
        ),
        *(
            (panel.arm_of(control), control.title, color, _DOTTED)
            for control, color in zip(
                panel.controls, _palette(spec.plot, "control_palette", len(panel.controls)), strict=True
            )
        ),
    ]
    if rows.empty:
        return []
    for metric in (*spec.figure.metrics_of(panel), RL_UPDATES, IL_UPDATES):
        if not (rows["metric"] == metric).any():
            raise InputError(
                table, field=f"panel {panel.label}", expected=f"rows of {metric}", got="none", hint="Aggregate again"
            )
    rl_updates = _last(rows, RL_UPDATES)
    with_rl = bool((rl_updates != rl_updates.iloc[0]).any())
    arms: list[Arm] = []
    for (method, separation, m), name, color, dashes in lines:
        of_arm = rows[(rows["method"] == method) & (rows["separation"] == separation) & (rows["m"] == str(m))]
        if not of_arm.empty:
            arms.append(Arm(name, color, dashes, _arm_label(name, str(m), of_arm, with_rl), of_arm))
    return arms


def _own(panel: PanelConfig, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the panel's method, without those of its controls."""
    own = rows[["method", "separation", "m"]].apply(lambda arm: panel.is_own(*arm), axis="columns")
    return rows[own.astype(bool)]


def draw(spec: FigureSpec, panels: Sequence[Sequence[Arm]]) -> Figure:
    """Draw all panels; call inside the figure's style."""
    columns = min(spec.figure.columns, len(panels))
    frontier = spec.figure.kind == "frontier"
    blocks, rows = -(-len(panels) // columns), 1 if frontier else len(spec.figure.metrics)
    height = _FRONTIER_INCHES if frontier else _ROW_INCHES * rows + _LEGEND_INCHES
    size = (_COLUMN_INCHES * columns, height * blocks + _NOTE_INCHES)
    figure, axes = plt.subplots(rows * blocks, columns, figsize=size, squeeze=False, layout="constrained")
    for unused in axes.flat:
        unused.set_visible(False)
    for number, (panel, arms) in enumerate(zip(spec.figure.panels, panels, strict=True)):
        block, column = divmod(number, columns)
        own = list(axes[block * rows : (block + 1) * rows, column])
        _draw_panel(own, spec, panel, arms, first=not column)
    figure.align_ylabels()
    note = fill(_footnote(spec, panels), _NOTE_CHARACTERS * columns)
    figure.supxlabel(note, fontsize="small", color="0.35")
    return figure


def _draw_panel(axes: Sequence[Axes], spec: FigureSpec, panel: PanelConfig, arms: Sequence[Arm], first: bool) -> None:
    """Draw one panel into its axes; the first of a row names its metrics, others where they differ."""
    if spec.figure.kind == "frontier":
        axes[0].set_visible(True)
        if arms:
            draw_frontier(axes[0], panel, spec.figure.metrics_of(panel), arms)
        _draw_title(axes[0], spec, panel, arms)
        return
    for ax, metric, usual in zip(axes, spec.figure.metrics_of(panel), spec.figure.metrics, strict=True):
        ax.set_visible(True)
        if first or metric != usual:
            ax.set_ylabel(LABELS.get(metric, metric))
        if arms:
            _draw_axes(ax, arms, metric, spec.plot.smoothing)
            if spec.figure.il_level and metric.startswith("eval/"):
                ax.axhline(_first(arms[0], metric), color=_IL_COLOR, linewidth=1.0, zorder=1)
        else:
            ax.set(xticks=[], yticks=[])
            ax.annotate("not run", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color="0.5")
    _draw_title(axes[0], spec, panel, arms)
    if arms:
        axes[-1].set_xlabel("Environment steps")
        _draw_legend(axes[-1], arms)


def _draw_title(ax: Axes, spec: FigureSpec, panel: PanelConfig, arms: Sequence[Arm]) -> None:
    facts = fill(_facts(spec, panel, arms), _FACTS_CHARACTERS) if arms else ""
    ax.annotate(facts, (0, 1), (0, 4), **_ABOVE)
    pad = 14 + 9 * facts.count("\n")
    ax.set_title(f"({panel.label}) {panel.title}", loc="left", fontweight="bold", pad=pad)


def _draw_axes(ax: Axes, arms: Sequence[Arm], metric: str, smoothing: SmoothingConfig | None) -> None:
    values = np.concatenate([curve for arm in arms for _, curve in arm.curves(metric)])
    if values.min() > 0 and values.max() > _LOG_SPAN * values.min():
        ax.set_yscale("log")
    # RL only is the yardstick: drawn last, on top.
    for arm in reversed(arms):
        _draw_arm(ax, arm, metric, smoothing)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.margins(x=0.01)


def _first(arm: Arm, metric: str) -> float:
    """Return the mean over an arm's seeds of the first evaluation, which comes before any update."""
    return float(np.mean([values[0] for _, values in arm.curves(metric)]))


def _draw_arm(ax: Axes, arm: Arm, metric: str, smoothing: SmoothingConfig | None) -> None:
    curves = arm.curves(metric)
    steps, values = on_common_grid(curves)
    if len(curves) < MIN_SEEDS:
        center = values.mean(axis=0)
        for seed_steps, seed_values in curves if len(curves) > 1 else ():
            ax.plot(seed_steps, seed_values, color=arm.color, alpha=_FAINT, linewidth=0.6)
    else:
        # One generator per line, so that an arm's interval does not depend on which others are drawn.
        interval = stratified_iqm(values[:, None], np.random.default_rng(0))
        center = interval.estimate
        ax.fill_between(steps, interval.low, interval.high, color=arm.color, alpha=_BAND, linewidth=0)
    if smoothing is not None:
        ax.plot(steps, center, color=arm.color, alpha=_FAINT, linewidth=0.6)
        center = savgol(center, smoothing.window, smoothing.order)
    width = 1.8 if arm.name == RL_NAME else 1.3
    ax.plot(steps, center, color=arm.color, linestyle=arm.dashes, linewidth=width)


def _draw_legend(ax: Axes, arms: Sequence[Arm]) -> None:
    handles = [Line2D([], [], color=arm.color, linestyle=arm.dashes, linewidth=1.8, label=arm.label) for arm in arms]
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.3),
        ncols=2 if max(len(arm.label) for arm in arms) < _LEGEND_CHARACTERS else 1,
        fontsize="small",
        handlelength=1.9,
        columnspacing=1.0,
    )


def _arm_label(name: str, m: str, runs: pd.DataFrame, with_rl: bool) -> str:
    counts = [] if m == RL_ONLY else [f"{_span(_last(runs, IL_UPDATES))} IL"]
    if with_rl:
        counts.append(f"{_span(_last(runs, RL_UPDATES))} RL")
    return f"{name} ({', '.join(counts)})" if counts else name


def _missing(spec: FigureSpec, panel: PanelConfig, arms: Sequence[Arm]) -> list[PlannedRun]:
    """Return the planned runs of a panel that are not in its arms."""
    shown = {run for arm in arms for run in zip(*(arm.runs[name] for name in _RUN), strict=True)}
    planned = [run for run in spec.planned if panel.holds(run.task, run.method, run.separation, run.m)]
    return [run for run in planned if (run.method, run.separation, str(run.m), run.seed) not in shown]


def _facts(spec: FigureSpec, panel: PanelConfig, arms: Sequence[Arm]) -> str:
    """Return what a panel's lines rest on, and which of the paper's it lacks."""
    missing = _missing(spec, panel, arms)
    runs = pd.concat([arm.runs for arm in arms])
    env_steps = _span(runs.groupby(_RUN)["env_steps"].max())
    seeds = _span(pd.Series([_n_seeds(arm) for arm in arms]))
    amount = f"{seeds} {'seed' if seeds == '1' else 'seeds'}"
    if missing:
        n_runs = sum(_n_seeds(arm) for arm in arms)
        amount = f"{n_runs} of {n_runs + len(missing)} runs"
    source = "" if panel.source == COMPUTE else f"Published ({panel.source}): "
    own_m = set(_own(panel, runs)["m"])
    lacking = [str(m) for m in spec.figure.paper_m if str(m) not in own_m]
    not_run = f"; not run: m = {', '.join(lacking)}" if lacking else ""
    return f"{source}{env_steps} env steps, {amount}, {_span(_last(runs, RL_UPDATES))} RL updates{not_run}"


def _footnote(spec: FigureSpec, panels: Sequence[Sequence[Arm]]) -> str:
    """Return the budget, what is published or missing, the kind of interval and what was smoothed."""
    n_seeds = {_n_seeds(arm) for arms in panels for arm in arms}
    both = list(zip(spec.figure.panels, panels, strict=True))
    missing = list(dict.fromkeys(run for panel, arms in both for run in _missing(spec, panel, arms)))
    parts = [f"Budget: {spec.budget}."]
    published = [panel for panel, arms in both if arms and panel.source != COMPUTE]
    for source in dict.fromkeys(panel.source for panel in published):
        labels = [panel.label for panel in published if panel.source == source]
        parts.append(f"Drawn from the published runs of budget {source}: {', '.join(labels)}.")
    if missing:
        parts.append(f"Missing: {_list_missing(missing, spec.planned)}.")
    if n_seeds == {1}:
        parts.append("One seed, no interval.")
    elif spec.figure.kind == "frontier":
        parts.append("Means over the last tenth of the steps; crosses: each seed, markers: their mean.")
    elif min(n_seeds) < MIN_SEEDS:
        parts.append(f"Thin: each seed, thick: mean (below {MIN_SEEDS} seeds no interval).")
    if max(n_seeds) >= MIN_SEEDS and spec.figure.kind == "curves":
        parts.append("Line: interquartile mean, band: 95 % stratified bootstrap interval.")
    if spec.figure.il_level:
        parts.append("Grey: imitation alone (first evaluations, before any update).")
    if spec.plot.smoothing is not None:
        parts.append(f"Smoothed (Savitzky-Golay, window {spec.plot.smoothing.window}), faint: raw.")
    return " ".join(parts)


def _list_missing(missing: Sequence[PlannedRun], planned: Sequence[PlannedRun]) -> str:
    """Name missing runs, their separation where arms that are planned differ by it alone."""
    if len(missing) > _MISSING_NAMED:
        return f"{len(missing)} of the planned runs"
    arms: dict[str, list[int]] = {}
    for run in missing:
        separations = {other.separation for other in planned if _but_separation(other) == _but_separation(run)}
        separation = f", separation {run.separation}" if len(separations) > 1 else ""
        arms.setdefault(f"{run.task} {run.method} m = {run.m}{separation}", []).append(run.seed)
    return ", ".join(f"{arm} (seed {', '.join(map(str, seeds))})" for arm, seeds in arms.items())


def _but_separation(run: PlannedRun) -> tuple[str, str, str]:
    return run.task, run.method, str(run.m)


def _last(runs: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """Return the final value of a count in every run."""
    return runs[runs["metric"] == metric].groupby(_RUN)["value"].max()


def _span(values: pd.Series[Any]) -> str:
    low, high = f"{values.min():,.0f}", f"{values.max():,.0f}"
    return low if low == high else f"{low}–{high}"


def _n_seeds(arm: Arm) -> int:
    return int(arm.runs["seed"].nunique())


def _palette(plot: PlotConfig, field: Literal["palette", "control_palette"], n: int) -> list[str]:
    name = getattr(plot, field)
    try:
        return list(sns.color_palette(name, n).as_hex())
    except ValueError:
        raise InputError("plot", field=field, expected="a palette of seaborn", got=repr(name)) from None
