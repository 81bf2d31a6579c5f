"""Draws what a figure's arms reach against what they cost: one point per arm, its end levels in two metrics.

Arms of one family are joined: the panel's method over its m, and controls whose titles begin alike, up to a comma. The
end level is the mean over the last tenth of the steps (docs/claims.md); crosses are seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from inril.config.base import RL_NAME
from inril.config.shown import PanelConfig
from inril.report.arms import LABELS, Arm
from inril.report.curves import Curve, end_level
from inril.report.statistics import Array

_MARKERS = "osD^vPX*"


def draw_frontier(ax: Axes, panel: PanelConfig, metrics: Sequence[str], arms: Sequence[Arm]) -> None:
    """Draw one panel.

    Args:
        ax: where.
        panel: tells which arms are controls.
        metrics: the one that is reached (up), the one that it costs (right).
        arms: of the panel.
    """
    up, right = metrics
    families: dict[str, list[Arm]] = {}
    for arm in arms:
        families.setdefault(_family(arm, panel), []).append(arm)
    handles = []
    for (family, members), marker in zip(families.items(), _MARKERS, strict=False):
        color = members[0].color
        points = np.array([[ends(arm, metric).mean() for metric in (right, up)] for arm in members])
        ax.plot(*points.T, color=color, marker=marker, linewidth=0.8, markersize=4)
        for arm, point in zip(members, points, strict=True):
            ax.plot(ends(arm, right), ends(arm, up), color=color, marker="x", markersize=2.5, linewidth=0, alpha=0.5)
            ax.annotate(_short(arm.name), point, (3, 3), textcoords="offset points", fontsize="x-small", color=color)
        handles.append(Line2D([], [], color=color, marker=marker, linewidth=0.8, markersize=4, label=family))
    ax.set(xlabel=f"{LABELS.get(right, right)}, end level", ylabel=f"{LABELS.get(up, up)}, end level")
    ax.legend(handles=handles, fontsize="x-small", loc="best")


def ends(arm: Arm, metric: str) -> Array:
    """Return the end level of each seed."""
    return np.array([end_level(Curve(steps, values)) for steps, values in arm.curves(metric)])


def _family(arm: Arm, panel: PanelConfig) -> str:
    """Return the line that an arm's point is on: of a control what its title says before its comma."""
    if arm.name == RL_NAME:
        return RL_NAME
    of_control = arm.name.partition(", ")[0]
    return of_control if any(arm.name == control.title for control in panel.controls) else panel.separation


def _short(name: str) -> str:
    """Return what stands beside a point: of a control's title what comes after its comma."""
    return "" if name == RL_NAME else name.rpartition(", ")[2]
