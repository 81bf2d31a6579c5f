"""Levels of policies on fresh episodes, in the task's headline metric, with intervals; and how they are written.

Success where the runs recorded it, else return. Intervals are bootstrapped over seeds, then episodes. Of success they
are Wilson's or Newcombe's, over the episodes of all seeds as one sample, where a bootstrap would not do: with one seed,
or where all episodes ended alike and a bootstrap would have no width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from inril.config.base import Metric
from inril.report.aggregate import rows_of
from inril.report.statistics import Array, Interval, hierarchical_gain, hierarchical_mean, newcombe, wilson

RL_ONLY = "inf"
NONE = "–"  # what is not there, in tables for people


def headline(frames: Iterable[pd.DataFrame]) -> Metric:
    """Return the metric that runs are judged by: success if all of them recorded it."""
    return "success" if all((frame["metric"] == "report/episode_success").any() for frame in frames) else "return"


def episodes(path: Path, frame: pd.DataFrame, metric: Metric, split: str = "report") -> Array:
    """Return a metric of fresh episodes (n,): of the final policy, or of the best one (`report_best`).

    Raises:
        InputError: there are none.
    """
    return rows_of(path, frame, f"{split}/episode_{metric}")["value"].to_numpy(float)


def best_is_reported(frame: pd.DataFrame) -> bool:
    """Tell whether a run reports the policy that did best on the way."""
    return bool((frame["split"] == "report_best").any())


def mean_level(values: Sequence[Array], metric: Metric) -> Interval:
    """Return the mean over seeds of their episodes, with a 95 % interval.

    Args:
        values: per seed its episodes (n,).
        metric: what they are.
    """
    if metric == "success" and (len(values) == 1 or _alike(values)):
        return wilson(np.concatenate(values))
    return hierarchical_mean(values, np.random.default_rng(0))


def mean_gain(before: Sequence[Array], after: Sequence[Array], metric: Metric) -> Interval:
    """Return the mean over seeds of what was gained, with a 95 % interval.

    Args:
        before: per seed its episodes (n,).
        after: the same, seed by seed.
        metric: what they are.
    """
    if metric == "success" and (len(before) == 1 or (_alike(before) and _alike(after))):
        return newcombe(np.concatenate(before), np.concatenate(after))
    return hierarchical_gain(before, after, np.random.default_rng(0))


def level_text(level: float, metric: Metric) -> str:
    """Write a level: success in percent, return as a whole number."""
    return f"{_in_units(level, metric)} %" if metric == "success" else _in_units(level, metric)


def interval_text(interval: Interval, metric: Metric) -> str:
    """Write a level with its interval."""
    low, high = (_in_units(float(bound), metric) for bound in (interval.low, interval.high))
    return f"{level_text(float(interval.estimate), metric)} [{low}, {high}]"


def gain_text(gain: Interval, metric: Metric) -> str:
    """Write a gain with its interval: success in percentage points."""
    estimate, low, high = (_in_units(float(value), metric, "+") for value in gain)
    return f"{estimate}{' points' if metric == 'success' else ''} [{low}, {high}]"


def by_seed_text(values: Sequence[Array], metric: Metric) -> str:
    """Write the mean of every seed."""
    return "/".join(_in_units(of_seed.mean(), metric) for of_seed in values)


def _alike(values: Sequence[Array]) -> bool:
    return bool(np.ptp(np.concatenate(values)) == 0)


def _in_units(value: float, metric: Metric, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}" if metric == "success" else f"{value:{sign}.0f}"
