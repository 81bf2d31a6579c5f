"""What runs say about a claim, as rows of a table; the runs themselves, sorted into arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from inril.config.base import Metric
from inril.report.contrasts import Contrast
from inril.report.curves import Curve
from inril.report.statistics import Array

UNDECIDED = "undecided"


class RunSummary(NamedTuple):
    """What the claims need of one run.

    Attributes:
        level: mean of each evaluation on the way.
        il_loss: on held-out demonstrations.
        final: (n,) level of each fresh episode of the final policy.
        cosine: mean of the corrected cosine of the two gradients; NaN where it was not measured.
    """

    level: Curve
    il_loss: Curve
    final: Array
    cosine: float


RunsBySeed = dict[int, RunSummary]  # by seed


class Setting(NamedTuple):
    """The runs of one method on one task.

    Attributes:
        metric: what its levels are.
        arms: by m.
        controls: methods based on this one, by name and m.
        unseparated: by m, where arms have a separation: the same without.
    """

    task: str
    method: str
    metric: Metric
    arms: dict[str, RunsBySeed]
    controls: dict[tuple[str, str], RunsBySeed]
    unseparated: Mapping[str, RunsBySeed] = MappingProxyType({})


class Finding(NamedTuple):
    """One line of the table.

    Attributes:
        claim: its number.
        m: arm.
        measure: what the numbers are.
        seeds: how many there are.
        per_seed: their values.
        estimate, low, high: mean and interval; NaN where there is none.
        verdict: supported, contradicted, undecided, or why it cannot be told; empty where nothing is claimed.
        decides: whether this line is the verdict on the claim.
        detectable: true mean that would be found with a probability of 80 %, given the spread.
        seeds_needed: seeds with which the observed mean would be found so, where it is undecided.
    """

    claim: str
    m: str
    measure: str
    seeds: int
    per_seed: str
    estimate: float
    low: float
    high: float
    verdict: str
    decides: bool = False
    detectable: float = np.nan
    seeds_needed: str = ""


def judged(
    claim: str,
    m: str,
    measure: str,
    values: Sequence[float] | Array,
    contrast: Contrast,
    verdict: str,
    decides: bool = False,
    effect: float | None = None,
) -> Finding:
    """Return a line with numbers.

    Args:
        claim: its number.
        m: arm.
        measure: what the numbers are.
        values: seed by seed.
        contrast: their mean and spread.
        verdict: on them.
        decides: whether this is the verdict on the claim.
        effect: distance of the mean from what it is compared with; None for its distance from 0.
    """
    mean, low, high = map(float, contrast.interval)
    needed = contrast.seeds_for(contrast.estimate if effect is None else effect) if verdict == UNDECIDED else 0
    return Finding(
        claim, m, measure, len(values), per_seed_text(values), mean, low, high, verdict, decides, contrast.detectable,
        "" if needed == 0 else "over 1,000" if needed is None else str(needed),
    )  # fmt: skip


def untold(
    claim: str, m: str, why: str, measure: str = "", values: Sequence[float] = (), decides: bool = False
) -> Finding:
    """Return a line without an interval."""
    text = per_seed_text(values)
    return Finding(claim, m, measure, len(values), text, np.nan, np.nan, np.nan, why, decides)


def verdict_of_sign(contrast: Contrast, sign: int) -> str:
    """Compare an interval with the sign that a claim asserts."""
    _, low, high = contrast.interval
    return verdict_of_bounds(float(low), float(high), sign)


def verdict_of_bounds(low: float, high: float, sign: int) -> str:
    """Compare the bounds of an interval with the sign that a claim asserts."""
    if low > 0 or high < 0:
        return "supported" if (low > 0) == (sign > 0) else "contradicted"
    return UNDECIDED


def per_seed_text(values: Sequence[float] | Array) -> str:
    """Write the numbers of all seeds."""
    return "/".join(f"{value:+.4g}" for value in values)
