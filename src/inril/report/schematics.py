"""Draws the paper's figures that have no data: Fig. 2, the method, and Fig. 4, what keeps two gradients apart.

Whatever of them can be computed is: the order of updates by the schedule, projections by the aggregator of training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon

from inril.config.shown import Schematic
from inril.interleave.aggregators import upgrad
from inril.interleave.schedule import Schedule
from inril.report.statistics import Array
from inril.report.style import figure_style, require_formats, write_figure

_RL, _IL, _BOTH = "tab:blue", "tab:red", "tab:purple"
_PALE = 0.12
_M, _N_UPDATES = 5, 17  # of the timeline
_G_RL, _G_IL = (1.0, 0.25), (-0.55, 0.85)  # gradients in conflict
_SCALE = 0.5  # s
_FAR = 2.2  # to which the cone is drawn
_ROUND = "round,pad=0,rounding_size=0.1"
_ARROW = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0}


def run(name: Schematic, out: Sequence[Path], font_size: float) -> None:
    """Draw one of them into one file per format.

    Raises:
        InputError: a file format is unknown.
    """
    require_formats(out)
    with figure_style(font_size):
        write_figure(DRAWINGS[name](), out)


def overview() -> Figure:
    """Draw the paper's Fig. 2: from demonstrations to a fine-tuned policy."""
    figure, ax = plt.subplots(figsize=(7.2, 2.7), layout="constrained")
    _bare(ax, (0, 10.4), (0, 3.7))
    _box(ax, (0.1, 2.2), (1.7, 1.1), "demonstrations\n(no rewards)", _IL)
    _box(ax, (2.6, 2.2), (1.7, 1.1), "pre-training\nimitation loss", _IL)
    _box(ax, (5.1, 2.2), (2.9, 1.1), "fine-tuning\nm RL updates, then 1 IL update,\ntheir gradients kept apart", _BOTH)
    _box(ax, (8.8, 2.2), (1.5, 1.1), "environment\nrewards", _RL)
    _arrow(ax, (1.8, 2.75), (2.6, 2.75), _IL)
    _arrow(ax, (4.3, 2.75), (5.1, 2.75), "black")
    _arrow(ax, (8.0, 2.95), (8.8, 2.95), _RL)
    _arrow(ax, (8.8, 2.55), (8.0, 2.55), _RL)
    ax.plot([0.95, 0.95, 6.55], [3.3, 3.55, 3.55], color=_IL, linewidth=1)
    _arrow(ax, (6.55, 3.55), (6.55, 3.3), _IL)
    _timeline(ax, 0.95)
    return figure


def separation() -> Figure:
    """Draw the paper's Fig. 4: gradient surgery on one network, and two networks with a loss each."""
    figure, (surgery, network) = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
    _surgery(surgery)
    _network(network)
    return figure


def _timeline(ax: Axes, y: float) -> None:
    """Draw updates in their order, joint ones where training's schedule has them."""
    schedule = Schedule(_M)
    for update in range(_N_UPDATES):
        schedule.count(itr=0)
        color = _BOTH if schedule.due else _RL
        ax.plot(0.5 + 0.6 * update, y, marker="o", markersize=9, color=color)
        label = "RL+IL" if schedule.due else "RL"
        ax.annotate(label, (0.5 + 0.6 * update, y - 0.45), ha="center", va="center", color=color, fontsize="small")
    text = f"updates of one network in their order, m = {_M}: every m-th step takes both gradients"
    ax.annotate(text, (0.3, y + 0.5), va="center")


def _surgery(ax: Axes) -> None:
    g_rl, g_il = np.array(_G_RL), np.array(_G_IL)
    _bare(ax, (-0.9, 1.35), (-0.05, 1.2))
    ax.set_title("(a) gradient surgery: one network")
    edges = [_across(g_rl, g_il), _across(g_il, g_rl)]  # of the dual cone
    cone = np.array([np.zeros(2), *(_FAR * edge / np.linalg.norm(edge) for edge in edges)])
    ax.add_patch(Polygon(cone, color=_BOTH, alpha=_PALE))
    both = upgrad(torch.tensor(g_rl), torch.tensor(g_il), _SCALE).numpy()
    _vector(ax, g_rl, _RL, r"$g_\mathrm{RL}$")
    _vector(ax, g_il, _IL, r"$g_\mathrm{IL}$")
    for gradient, edge, color in ((g_rl, edges[1], _RL), (g_il, edges[0], _IL)):
        projected = edge * (gradient @ edge) / (edge @ edge)
        _arrow(ax, (0, 0), projected, color, linestyle="--")
        ax.plot(*np.array([gradient, projected]).T, color="0.6", linewidth=0.6, linestyle=":")
    _vector(ax, both, _BOTH, r"$\frac{1}{2}\,(\pi g_\mathrm{RL} + \pi g_\mathrm{IL})$")
    ax.annotate("dual cone: opposes neither", (0.02, 1.05), color=_BOTH, fontsize="small")
    ax.set_aspect("equal")


def _network(ax: Axes) -> None:
    _bare(ax, (0, 5.4), (0, 3.4))
    ax.set_title("(b) network separation: a residual policy")
    _box(ax, (0.9, 1.9), (1.7, 0.8), "base policy", _IL)
    _box(ax, (0.9, 0.4), (1.7, 0.8), "residual policy", _RL)
    ax.annotate("observation", (0.02, 1.55), va="center", rotation=90)
    for y in (2.3, 0.8):
        _arrow(ax, (0.3, 1.55), (0.9, y), "black")
        ax.plot([2.6, 3.4], [y, 1.55], color="black", linewidth=1)
    _arrow(ax, (1.75, 1.9), (1.75, 1.2), "black")
    ax.annotate("base action", (1.8, 1.55), va="center", fontsize="small")
    ax.plot(3.4, 1.55, marker="o", markersize=11, markerfacecolor="white", markeredgecolor="black")
    ax.plot(3.4, 1.55, marker="+", markersize=7, color="black")
    _arrow(ax, (3.56, 1.55), (4.1, 1.55), "black")
    ax.annotate("action", (4.15, 1.55), va="center")
    ax.annotate("imitation loss\ntrains the base alone", (2.7, 2.75), color=_IL, va="center", fontsize="small")
    ax.annotate("reward trains\nthe residual alone", (2.7, 0.3), color=_RL, va="center", fontsize="small")


def _across(vector: Array, side: Array) -> Array:
    """Return the direction across a vector on the side of another one."""
    normal = np.array([-vector[1], vector[0]])
    return normal if normal @ side > 0 else -normal


def _bare(ax: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    ax.set(xlim=x, ylim=y)
    ax.axis("off")


def _box(ax: Axes, corner: tuple[float, float], size: tuple[float, float], text: str, color: str) -> None:
    fill = to_rgba(color, _PALE)
    ax.add_patch(FancyBboxPatch(corner, *size, boxstyle=_ROUND, edgecolor=color, facecolor=fill))
    ax.annotate(text, (corner[0] + size[0] / 2, corner[1] + size[1] / 2), ha="center", va="center")


def _arrow(ax: Axes, begin: Sequence[float], end: Sequence[float] | Array, color: str, linestyle: str = "-") -> None:
    style = {**_ARROW, "color": color, "linestyle": linestyle}
    ax.annotate("", (end[0], end[1]), (begin[0], begin[1]), arrowprops=style)


def _vector(ax: Axes, vector: Array, color: str, name: str) -> None:
    _arrow(ax, (0, 0), vector, color)
    ax.annotate(name, (vector[0], vector[1]), (3, 3), textcoords="offset points", color=color)


DRAWINGS: dict[Schematic, Callable[[], Figure]] = {"overview": overview, "separation": separation}
