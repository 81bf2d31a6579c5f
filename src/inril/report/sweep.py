"""Claims about a sweep over m: C5, C6, C9, C11 to C14, C16 and C18, by the rules of docs/claims.md.

That document was written before the runs that decide; a changed rule is dated there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from inril.report import curves
from inril.report.contrasts import LEVEL, Contrast, against_baseline, one_mean, pooled_contrasts
from inril.report.findings import UNDECIDED, Finding, RunsBySeed, RunSummary, Setting, judged, untold, verdict_of_sign
from inril.report.levels import RL_ONLY

DECLINE_STEPS = 4_000_000  # the paper's curve of RL only falls from here on
DECLINING = ("hopper", "dppo")
PAPERS_M = "10"  # the comparison that was planned
PAPERS_GAIN = 0.16
MATCH = 0.05
STRONG_RISE = 0.1
RISE, FALL = 0.01, 0.25
SEVERAL = 3
_GOOD_M = {"m from 5 to 15": ("5", "10", "15"), "ratios of 3 to 5": ("3", "5")}
_ALONE = ("dppo_il_only", "2")  # imitation alone, with the imitation steps of this m


class Sweep(NamedTuple):
    """The arms that can be compared with RL only, on the seeds that all of them have.

    Attributes:
        baseline: RL only, at least 2 seeds.
        arms: by finite m, in order.
        scale: what returns are divided by: RL only's mean end level; 1 for success.
        unit: "return" or "success".
    """

    baseline: list[RunSummary]
    arms: dict[str, list[RunSummary]]
    scale: float
    unit: str

    def compare(self, measure: Callable[[RunSummary], float]) -> dict[str, Contrast]:
        """Return how a number of each arm differs from that of RL only."""
        of_arms = np.array([[measure(run) for run in runs] for runs in self.arms.values()]).T
        found = against_baseline(np.array([measure(run) for run in self.baseline]), of_arms)
        return dict(zip(self.arms, found, strict=True))

    def differences(self, measure: Callable[[RunSummary], float], m: str) -> list[float]:
        """Return that difference seed by seed."""
        return [measure(run) - measure(base) for run, base in zip(self.arms[m], self.baseline, strict=True)]


def examine(setting: Setting, pretraining: Mapping[int, curves.Curve]) -> Iterator[Finding]:
    """Yield what the runs of one task and method say about each claim on the sweep.

    Args:
        setting: its runs.
        pretraining: held-out loss of the policy that each seed started from, where it is known.
    """
    rl_only = setting.arms[RL_ONLY]
    yield from _rise(rl_only)
    sweep = make_sweep(setting)
    if sweep is None:
        claims = ["C9", "C12", *(["C5", "C16"] if _about(setting) == DECLINING else [])]
        yield from (untold(claim, "", "too few seeds") for claim in claims)
    else:
        level = partial(_level, scale=sweep.scale)
        yield from _matches(sweep, level)
        yield from _controls_loss(sweep)
        yield from _best_m(sweep, level)
    if _about(setting) == DECLINING:
        yield from _decline(setting, sweep)
    yield from _descents(setting)
    yield from _premise(pretraining)
    yield from _lower_than_alone(setting)


def make_sweep(setting: Setting) -> Sweep | None:
    """Return the arms that share at least two seeds with RL only, on the seeds of all; None if these are too few."""
    rl_only = setting.arms[RL_ONLY]
    finite = {m: setting.arms[m] for m in sorted(setting.arms, key=float) if m != RL_ONLY}
    shared = {m: arm for m, arm in finite.items() if len(arm.keys() & rl_only.keys()) > 1}
    seeds = sorted(set(rl_only).intersection(*shared.values())) if shared else []
    if len(seeds) < 2:
        return None
    baseline = [rl_only[seed] for seed in seeds]
    arms = {m: [arm[seed] for seed in seeds] for m, arm in shared.items()}
    is_return = setting.metric == "return"
    scale = float(np.mean([curves.end_level(run.level) for run in baseline])) if is_return else 1.0
    return Sweep(baseline, arms, scale, setting.metric)


def _about(setting: Setting) -> tuple[str, str]:
    return setting.task, setting.method


def _level(run: RunSummary, scale: float) -> float:
    return curves.end_level(run.level) / scale


def _late_slope(run: RunSummary, scale: float) -> float:
    return curves.slope(run.level, DECLINE_STEPS) / scale


def _end_change(run: RunSummary) -> float:
    return curves.end_change(run.il_loss)


def _matches(sweep: Sweep, level: Callable[[RunSummary], float]) -> Iterator[Finding]:
    """C9."""
    unit = ", in shares of RL only's" if sweep.unit == "return" else ""
    measure = f"end {sweep.unit} minus RL only{unit}"
    for m, contrast in sweep.compare(level).items():
        _, low, high = contrast.interval
        verdict = "supported" if low > -MATCH else "contradicted" if high < 0 else UNDECIDED
        effect = contrast.estimate if contrast.estimate < 0 else contrast.estimate + MATCH
        yield judged("C9", m, measure, sweep.differences(level, m), contrast, verdict, m == PAPERS_M, effect)


def _rise(rl_only: RunsBySeed) -> Iterator[Finding]:
    """C11."""
    values = [_end_change(run) for run in rl_only.values()]
    measure = "change of the imitation loss by the last tenth"
    if len(values) < 2:
        yield untold("C11", RL_ONLY, "too few seeds", measure, values)
        return
    contrast = one_mean(np.array(values))
    verdict = verdict_of_threshold(contrast, STRONG_RISE)
    yield judged("C11", RL_ONLY, f"{measure}: above 10 %", values, contrast, verdict, True, contrast.estimate - 0.1)
    yield judged("C11", RL_ONLY, f"{measure}: above 0", values, contrast, verdict_of_sign(contrast, 1))


def _controls_loss(sweep: Sweep) -> Iterator[Finding]:
    """C12."""
    measure = "change of the imitation loss by the last tenth, minus RL only's"
    verdicts = []
    for m, contrast in sweep.compare(_end_change).items():
        verdicts.append(verdict_of_sign(contrast, -1))
        yield judged("C12", m, measure, sweep.differences(_end_change, m), contrast, verdicts[-1])
    yield untold("C12", "all", _all_of(verdicts), "every m", decides=True)


def _best_m(sweep: Sweep, level: Callable[[RunSummary], float]) -> Iterator[Finding]:
    """C18."""
    if not {m for group in _GOOD_M.values() for m in group} < set(sweep.arms):
        return
    names = list(sweep.arms)
    levels = np.array([[level(run) for run in runs] for runs in sweep.arms.values()]).T  # (seeds, arms)
    best = "/".join(names[i] for i in levels.argmax(axis=1))
    inside = [np.isin(names, group) for group in _GOOD_M.values()]
    weights = np.array([part / part.sum() - ~part / (~part).sum() for part in inside])
    contrasts = pooled_contrasts(levels, weights, level=1 - (1 - LEVEL) / len(_GOOD_M))
    for said, weight, contrast in zip(_GOOD_M, weights, contrasts, strict=True):
        measure = f"{said}: mean end {sweep.unit} minus that of the other m (best m by seed: {best})"
        yield judged("C18", said, measure, levels @ weight, contrast, verdict_of_sign(contrast, 1), True)


def _decline(setting: Setting, sweep: Sweep | None) -> Iterator[Finding]:
    """C6, and C5 and C16, which presuppose it."""
    rl_only = list(setting.arms[RL_ONLY].values())
    if min(run.level.steps[-1] for run in rl_only) <= DECLINE_STEPS:
        yield from (untold(claim, "", "not testable at this budget", decides=True) for claim in ("C5", "C6", "C16"))
        return
    scale = float(np.mean([curves.end_level(run.level) for run in rl_only]))
    slope = partial(_late_slope, scale=scale)
    slopes = [slope(run) for run in rl_only]
    if len(slopes) < 2:
        yield untold("C6", RL_ONLY, "too few seeds", "slope from 4 million steps on", slopes)
        return
    declines = one_mean(np.array(slopes))
    falls = verdict_of_sign(declines, -1)
    measure = "return per million steps from 4 million on, in shares of the end level"
    yield judged("C6", RL_ONLY, measure, slopes, declines, falls, True)
    peaks = [curves.end_over_peak(run.level) for run in rl_only]
    yield judged("C5", RL_ONLY, "end level over that at the peak, minus 1", peaks, one_mean(np.array(peaks)), "")
    if sweep is not None:
        yield from _ends_higher(sweep, falls)
        yield from _prevents(sweep, slope, falls)


def _ends_higher(sweep: Sweep, falls: str) -> Iterator[Finding]:
    """C5."""
    if PAPERS_M not in sweep.arms:
        return
    level = partial(_level, scale=sweep.scale)
    contrast = sweep.compare(level)[PAPERS_M]._replace(n_arms=1)  # planned
    verdict = verdict_of_sign(contrast, 1)
    if verdict == "supported" and falls != "supported":
        verdict = f"{UNDECIDED}: it ends higher, but RL only is not shown to decline"
    _, low, high = contrast.interval
    within = "inside" if low <= PAPERS_GAIN <= high else "outside"
    measure = f"end return minus RL only, in shares of RL only's, planned (the paper's 16 % lies {within})"
    yield judged("C5", PAPERS_M, measure, sweep.differences(level, PAPERS_M), contrast, verdict, True)


def _prevents(sweep: Sweep, slope: Callable[[RunSummary], float], falls: str) -> Iterator[Finding]:
    """C16."""
    contrasts = sweep.compare(slope)
    for m, contrast in contrasts.items():
        values = sweep.differences(slope, m)
        yield judged("C16", m, "C6's slope minus that of RL only", values, contrast, verdict_of_sign(contrast, 1))
    above = sum(contrast.interval.low > 0 for contrast in contrasts.values())
    reach = sum(contrast.interval.high > 0 for contrast in contrasts.values())
    verdict = "supported" if above >= SEVERAL else "contradicted" if reach < SEVERAL else UNDECIDED
    if falls != "supported":
        verdict = "not testable: RL only is not shown to degrade"
    yield untold("C16", "all", verdict, f"at least {SEVERAL} of {len(contrasts)} m ({above} are)", decides=True)


def _descents(setting: Setting) -> Iterator[Finding]:
    """C13."""
    finite = {m: arm for m, arm in setting.arms.items() if m != RL_ONLY and len(arm) > 1}
    for m in sorted(finite, key=float):
        planned = m == PAPERS_M
        # Numbers of one arm alone: Student's t, with a share of the error for each m but the planned one (Bonferroni).
        level = LEVEL if planned else 1 - (1 - LEVEL) / len(finite)
        parts = []
        named = (("highest imitation loss over the first", curves.rise, RISE), ("share lost again", curves.fall, FALL))
        for measure, quantity, threshold in named:
            values = [quantity(run.il_loss) for run in finite[m].values()]
            contrast = one_mean(np.array(values))._replace(level=level)
            parts.append(verdict_of_threshold(contrast, threshold))
            effect = contrast.estimate - threshold
            yield judged("C13", m, f"{measure}: above {threshold:.0%}", values, contrast, parts[-1], effect=effect)
        yield untold("C13", m, _all_of(parts), "rises and falls again", decides=planned)


def _premise(pretraining: Mapping[int, curves.Curve]) -> Iterator[Finding]:
    """C13 presupposes that pre-training had converged."""
    if len(pretraining) > 1:
        values = np.array([_last_change(curve) for curve in pretraining.values()])
        yield judged("C13", "", "held-out loss over the last tenth of pre-training", values, one_mean(values), "")


def _last_change(curve: curves.Curve) -> float:
    """Return the relative change over the last tenth; 0 of a pre-training that was checked but once."""
    before = np.flatnonzero(curve.steps <= 0.9 * curve.steps[-1])
    return float(curve.values[-1] / curve.values[before[-1] if len(before) else -1] - 1)


def _lower_than_alone(setting: Setting) -> Iterator[Finding]:
    """C14."""
    alone, joint = setting.controls.get(_ALONE, {}), setting.arms.get(_ALONE[1], {})
    seeds = sorted(alone.keys() & joint.keys())
    if not alone:
        return
    values = [curves.lowest(joint[seed].il_loss) / curves.lowest(alone[seed].il_loss) - 1 for seed in seeds]
    measure = "lowest imitation loss over that of imitation alone, minus 1"
    if len(seeds) < 2:
        yield untold("C14", _ALONE[1], "too few seeds", measure, values)
        return
    contrast = one_mean(np.array(values))
    yield judged("C14", _ALONE[1], measure, values, contrast, verdict_of_sign(contrast, -1), True)


def verdict_of_threshold(contrast: Contrast, threshold: float) -> str:
    """Compare an interval with the least that a claim asserts."""
    _, low, high = contrast.interval
    return "supported" if low > threshold else "contradicted" if high < threshold else UNDECIDED


def _all_of(verdicts: Iterable[str]) -> str:
    found = set(verdicts)
    if found == {"supported"}:
        return "supported"
    return "contradicted" if "contradicted" in found else UNDECIDED
