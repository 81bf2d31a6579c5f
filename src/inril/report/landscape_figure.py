"""Draws a landscape from its table: maps of the score and of the imitation loss, and the ways between the policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inril.config.base import Metric
from inril.config.shown import LandscapeFigureSpec
from inril.errors import InputError
from inril.report.aggregate import read_csv
from inril.report.landscape import COLUMNS, MAP, START
from inril.report.style import figure_style, require_formats, write_figure

_SCORE: dict[Metric, str] = {"success": "success rate", "return": "return"}
_SIZE_INCHES = (10.2, 3.3)
_NOTE_CHARACTERS = 200
_MARKERS = "osD"
_LINE, _LOSS_COLOR, _BAND = "black", "tab:red", 0.15


def run(spec: LandscapeFigureSpec, table: Path, out: Sequence[Path]) -> None:
    """Draw a landscape into one file per format.

    Raises:
        InputError: the table is no landscape, or a file format is unknown.
    """
    require_formats(out)
    frame = read_csv(table, COLUMNS, COLUMNS[1:], optional=())
    if set(frame["part"]) != {MAP, *_ways(frame)} or len(_ways(frame)) != 3:
        raise InputError(table, field="part", expected=f"a {MAP} and three ways", got=", ".join(set(frame["part"])))
    with figure_style(spec.font_size):
        write_figure(draw(spec, frame), out)


def draw(spec: LandscapeFigureSpec, frame: pd.DataFrame) -> Figure:
    """Return the figure.

    Args:
        spec: what it says.
        frame: table of the landscape.
    """
    figure, (score, loss, ways) = plt.subplots(1, 3, figsize=_SIZE_INCHES, layout="constrained")
    name = _SCORE[spec.metric]
    _draw_map(score, frame, "score", f"(a) {name}", "viridis")
    _draw_map(loss, frame, "il_loss", "(b) imitation loss, held out", "viridis_r")
    _draw_ways(ways, frame, name)
    figure.suptitle(spec.title)
    note = f"{spec.subject}. {spec.episodes} episodes at each point, the same everywhere; band: their 95 % interval."
    figure.supxlabel(fill(note, _NOTE_CHARACTERS), fontsize="small")
    return figure


def _draw_map(ax: Axes, frame: pd.DataFrame, column: str, title: str, palette: str) -> None:
    """Draw one quantity over the plane, and the three policies in it."""
    land = frame[frame["part"] == MAP].pivot(index="y", columns="x", values=column)
    image = ax.pcolormesh(land.columns, land.index, land, shading="nearest", cmap=palette, rasterized=True)
    ax.contour(land.columns, land.index, land, levels=6, colors="white", linewidths=0.5)
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.colorbar(image, ax=ax)
    for (policy, place), marker in zip(_policies(frame).items(), _MARKERS, strict=True):
        ax.plot(*place, marker=marker, color="white", markeredgecolor="black", markersize=5)
        ax.annotate(policy, place, (4, 4), textcoords="offset points", color="white", fontsize="small")
    ax.set(title=title, xlabel="towards RL only (L2 norm of weights)", ylabel="across", aspect="equal")
    ax.grid(visible=False)


def _draw_ways(ax: Axes, frame: pd.DataFrame, name: str) -> None:
    """Draw both quantities along the straight ways from policy to policy."""
    other = ax.twinx()
    for index, way in enumerate(_ways(frame)):
        rows = frame[frame["part"] == way]
        share = index + rows["share"]
        ax.plot(share, rows["score"], color=_LINE)
        ax.fill_between(share, rows["score_low"], rows["score_high"], color=_LINE, alpha=_BAND, linewidth=0)
        other.plot(share, rows["il_loss"], color=_LOSS_COLOR, linestyle="--")
    ax.set_xticks(range(4), [*_policies(frame), START])
    ax.set(title="(c) on the straight ways between them", ylabel=name)
    other.set_ylabel("imitation loss, held out (dashed)", color=_LOSS_COLOR)
    other.spines["right"].set_visible(True)
    other.grid(visible=False)


def _ways(frame: pd.DataFrame) -> list[str]:
    return [part for part in frame["part"].unique() if part != MAP]


def _policies(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return name and place of each policy: where the ways begin."""
    begins = frame[(frame["part"] != MAP) & (frame["share"] == 0)]
    names, places = begins["part"].str.partition(" to ")[0], zip(begins["x"], begins["y"], strict=True)
    return dict(zip(names, places, strict=True))
