"""Made-up runs with known answers."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from inril.config.base import Metric
from inril.report import claims
from inril.report.curves import Curve
from inril.report.findings import Finding, RunsBySeed, RunSummary, Setting
from inril.report.statistics import Array

SEEDS = (0, 1, 2)
LONG = 1e7
POINTS = 126


def curve(values: Array, last_step: float = LONG) -> Curve:
    """Values at equal distances."""
    return Curve(np.linspace(0, last_step, len(values)), values)


def run(level: Array, il_loss: Array, seed: int, last_step: float = LONG) -> RunSummary:
    """One run; what a seed's runs share differs from seed to seed, and a little noise differs from run to run."""
    rng = np.random.default_rng([seed, int(1e4 * level.sum()) % 2**31, int(1e8 * il_loss.sum()) % 2**31])
    shared = 1 + 0.05 * seed
    noisy = shared * level * (1 + 0.01 * rng.standard_normal(len(level)))
    loss = il_loss * (1 + 0.0005 * rng.standard_normal(len(il_loss)))
    loss[0] = il_loss[0]
    return RunSummary(curve(noisy, last_step), curve(loss, last_step), np.full(4, noisy[-1]), -0.2 - 0.001 * seed)


def arm(level: Array, il_loss: Array, seeds: tuple[int, ...] = SEEDS, last_step: float = LONG) -> RunsBySeed:
    """One arm."""
    return {seed: run(level, il_loss, seed, last_step) for seed in seeds}


def line(first: float, last: float, n: int = POINTS) -> Array:
    """A straight line."""
    return np.linspace(first, last, n)


def bent(first: float, middle: float, last: float, at: float = 0.4, n: int = POINTS) -> Array:
    """Two straight lines that meet at a share of the steps."""
    return np.interp(np.linspace(0, 1, n), [0, at, 1], [first, middle, last])


def examine(
    arms: dict[str, RunsBySeed],
    about: tuple[str, str] = ("hopper", "dppo"),
    metric: Metric = "return",
    controls: Mapping[tuple[str, str], RunsBySeed] = MappingProxyType({}),
    pretraining: Mapping[int, Curve] = MappingProxyType({}),
) -> list[Finding]:
    """All findings of one setting."""
    return list(claims.examine(Setting(*about, metric, arms, dict(controls)), pretraining))


def deciding(findings: list[Finding]) -> dict[str, str]:
    """Verdict by claim; of C18, which has two, by what is said."""
    lines = [finding for finding in findings if finding.decides]
    return {f.m if f.claim == "C18" else f.claim: f.verdict for f in lines}
