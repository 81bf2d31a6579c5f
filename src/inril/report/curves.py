"""What is read off one run's curve, as pure functions; docs/claims.md says why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inril.report.statistics import Array

_END = 0.9  # the last tenth of the steps
_WINDOW = 5  # points of a running mean


class Curve(NamedTuple):
    """A metric over env steps, (X,) each, the first before any training."""

    steps: Array
    values: Array


def end_level(curve: Curve) -> float:
    """Return the mean over the last tenth of the steps."""
    return float(curve.values[curve.steps > _END * curve.steps[-1]].mean())


def end_change(curve: Curve) -> float:
    """Return the end level relative to the first value, minus 1."""
    return end_level(curve) / float(curve.values[0]) - 1


def slope(curve: Curve, start: float) -> float:
    """Return the least-squares slope per million steps from `start` on."""
    late = curve.steps >= start
    return float(np.polyfit(curve.steps[late] / 1e6, curve.values[late], 1)[0])


def steps_to(curve: Curve, threshold: float) -> float:
    """Return the steps at which a curve first reaches a level; NaN if it never does."""
    reached = np.flatnonzero(curve.values >= threshold)
    return float(curve.steps[reached[0]]) if len(reached) else np.nan


def running_mean(curve: Curve) -> Array:
    """Return the mean of every 5 points in a row; the values themselves if there are fewer."""
    if len(curve.values) < _WINDOW:
        return curve.values
    return np.convolve(curve.values, np.full(_WINDOW, 1 / _WINDOW), "valid")


def lowest(curve: Curve) -> float:
    """Return the lowest running mean, or the first value if that is lower."""
    return float(min(running_mean(curve).min(), curve.values[0]))


def rise(curve: Curve) -> float:
    """Return the highest running mean relative to the first value, minus 1."""
    return float(running_mean(curve).max() / curve.values[0] - 1)


def fall(curve: Curve) -> float:
    """Return the share of the rise that is lost again at the end; 0 where there was no rise."""
    top, first = running_mean(curve).max(), curve.values[0]
    return float((top - end_level(curve)) / (top - first)) if top > first else 0.0


def end_over_peak(curve: Curve) -> float:
    """Return the end level relative to the level of the best tenth of the steps, minus 1, by every second point.

    The best tenth is found by the other points: its level is no maximum of noise, and a flat curve gives 0 on average.
    """
    looked_at, judged = (Curve(curve.steps[first::2], curve.values[first::2]) for first in (0, 1))
    width = (1 - _END) * curve.steps[-1]
    starts = looked_at.steps[looked_at.steps <= curve.steps[-1] - width]
    best = max(starts, key=lambda start: _mean_between(looked_at, start, start + width))
    return _mean_between(judged, curve.steps[-1] - width, np.inf) / _mean_between(judged, best, best + width) - 1


def _mean_between(curve: Curve, start: float, end: float) -> float:
    inside = (curve.steps >= start) & (curve.steps <= end)
    return float(curve.values[inside].mean()) if inside.any() else float("nan")
