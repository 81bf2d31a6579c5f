"""Draws what a figure's arms reach against what they cost: one point per arm.

Up goes the end level of one metric, the mean over the last tenth of the steps; to the right how much that of another
one is above its value before fine-tuning, in percent (docs/claims.md). Arms of one family are joined: the panel's
method over its m, and controls whose titles begin alike, up to a comma. Crosses are seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from inril.config.base import RL_NAME
from inril.config.shown import PanelConfig
from inril.report.arms import LABELS, Arm
from inril.report.curves import Curve, end_change, end_level
from inril.report.statistics import Array

_MARKERS = "osD^vPX*"
# Where a label may stand: alignments, and its distance from its point.
_BESIDE = (
    ("left", "bottom", (3, 2)), ("right", "bottom", (-3, 2)), ("left", "top", (3, -2)), ("right", "top", (-3, -2)),
    ("center", "bottom", (0, 6)), ("center", "top", (0, -6)), ("left", "center", (8, 0)), ("right", "center", (-8, 0)),
    ("center", "bottom", (0, 16)), ("center", "top", (0, -16)),
)  # fmt: skip


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
    handles, labels = [], []
    for (family, members), marker in zip(families.items(), _MARKERS, strict=False):
        color = members[0].color
        points = np.array([[changes(arm, right).mean(), ends(arm, up).mean()] for arm in members])
        ax.plot(*points.T, color=color, marker=marker, linewidth=0.8, markersize=4)
        for arm, point in zip(members, points, strict=True):
            ax.plot(changes(arm, right), ends(arm, up), color=color, marker="x", markersize=2.5, linewidth=0, alpha=0.5)
            labels.append((_short(arm.name), point, color))
        handles.append(Line2D([], [], color=color, marker=marker, linewidth=0.8, markersize=4, label=family))
    ax.set(xlabel=f"{LABELS.get(right, right)}, change in percent", ylabel=f"{LABELS.get(up, up)}, end level")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.margins(x=0.12)
    ax.legend(handles=handles, fontsize="x-small", loc="best")
    _place(ax, labels)


def ends(arm: Arm, metric: str) -> Array:
    """Return the end level of each seed."""
    return np.array([end_level(Curve(*curve)) for curve in arm.curves(metric)])


def changes(arm: Arm, metric: str) -> Array:
    """Return by how many percent the end level of each seed is above its first value."""
    return np.array([100 * end_change(Curve(*curve)) for curve in arm.curves(metric)])


def _place(ax: Axes, labels: Sequence[tuple[str, Array, str]]) -> None:
    """Write labels beside their points (2,), each where it covers the least of the markers and of those before it."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles where points lie
    half = 3 * figure.dpi / 72  # of a marker
    points = [ax.transData.transform(point) for _, point, _ in labels]
    taken = [Bbox([point - half, point + half]) for point in points]
    for text, point, color in labels:
        options = [
            ax.annotate(
                text, tuple(point), offset, textcoords="offset points", ha=ha, va=va, fontsize="x-small", color=color
            )
            for ha, va, offset in _BESIDE
        ]  # fmt: skip
        boxes = [option.get_window_extent() for option in options]
        best = min(range(len(options)), key=lambda i: sum(_common_area(boxes[i], other) for other in taken))
        taken.append(boxes[best])
        for option in (*options[:best], *options[best + 1 :]):
            option.remove()


def _common_area(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else common.width * common.height


def _family(arm: Arm, panel: PanelConfig) -> str:
    """Return the line that an arm's point is on: of a control what its title says before its comma."""
    if arm.name == RL_NAME:
        return RL_NAME
    of_control = arm.name.partition(", ")[0]
    return of_control if any(arm.name == control.title for control in panel.controls) else panel.separation


def _short(name: str) -> str:
    """Return what stands beside a point: of a control's title what comes after its comma."""
    return "" if name == RL_NAME else name.rpartition(", ")[2]
