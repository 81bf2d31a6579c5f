"""What runs say about the paper's claims, with intervals: computed, not judged by eye.

Each claim is one number per seed and arm:

C9   interleaving matches or beats RL alone: level of the final policy (fresh episodes) minus that of RL only; relative
     where the level is a return.
C1   the same for IDQL on Transport, and C2 on Square; and what controls without interleaving gain over RL only, and by
     how much interleaving with m = 10 beats them.
C3   DPPO on Square reaches with m = 10 what RL alone ends with in fewer environment steps: the share saved. C4 is the
     same claim in other numbers.
C5   on Hopper, C9 once RL alone had the steps after which the paper sees it decline.
C6   on Hopper, RL alone degrades by then: slope of its evaluations after `DECLINE_STEPS`.
C11  RL alone raises the imitation loss: relative change of the held-out loss over the run.
C12  interleaving controls it: that change minus that of RL only.
C16  several m prevent the degradation: slope over the second half minus that of RL only, if RL only falls at all.
C17  separating the two gradients matters: level of the final policy, as in C9, minus that of the same m without.
rho  the two gradients oppose each other: their cosine, corrected for noise and 0 where noise hides it, averaged over
     the iterations at which it was measured; rho is its negative (assumption 1).

Levels are success where a task has it, else returns. Arms are compared seed by seed: both started from the same
pre-trained policy. Intervals are Student's t over seeds; those of C1 and C2 are bootstrapped over seeds, then episodes.
A claim is supported or contradicted when its interval excludes 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from inril.config.base import Metric
from inril.errors import InputError
from inril.report.aggregate import read_run, rows_of
from inril.report.levels import RL_NAME, RL_ONLY, episodes, headline, mean_gain
from inril.report.statistics import Array, t_interval
from inril.report.tables import write_table

DECLINE_STEPS = 4_000_000  # the paper's curve of RL only on Hopper falls from here on
DECLINING = ("hopper", "dppo")
SUCCESS = {("transport", "idql"): "C1", ("square", "idql"): "C2"}
FASTER = {("square", "dppo"): "C3"}
PAPERS_M = "10"  # of these claims
_HEADER = ("task", "method", "claim", "m", "measure", "per seed", "mean [95 %]", "verdict")


class Curve(NamedTuple):
    """A metric over env steps, (X,) each."""

    steps: Array
    values: Array


class Run(NamedTuple):
    """What the claims need of one run.

    Attributes:
        level: mean of each evaluation on the way.
        il_loss: on held-out demonstrations.
        final: (n,) level of each fresh episode of the final policy.
        cosine: mean of the corrected cosine of the two gradients.
    """

    level: Curve
    il_loss: Curve
    final: Array
    cosine: float


Arm = dict[int, Run]  # by seed


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
    arms: dict[str, Arm]
    controls: dict[tuple[str, str], Arm]
    unseparated: Mapping[str, Arm] = MappingProxyType({})


class Finding(NamedTuple):
    """One line of the table.

    Attributes:
        claim: number in the list above.
        m: arm.
        measure: what the numbers are.
        seeds: how many there are.
        per_seed: their values.
        estimate, low, high: mean and 95 % interval; NaN where there is none.
        verdict: supported, contradicted, undecided, or why it cannot be told.
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


def run(metrics: Sequence[Path], out: Sequence[Path]) -> None:
    """Write the findings of a figure's runs.

    Args:
        metrics: metrics.csv of every run.
        out: files to write, .csv, .html, .md or .tex by suffix.

    Raises:
        InputError: a file is unreadable or lacks a metric, or there are no RL-only runs to compare with.
    """
    rows: list[dict[str, object]] = []
    for setting in read_settings(metrics):
        if RL_ONLY not in setting.arms:
            where = f"{setting.task}, {setting.method}"
            raise InputError("--metrics", field=where, expected="runs of RL only", got="none")
        of_setting: dict[str, object] = {"task": setting.task, "method": setting.method}
        rows += [of_setting | finding._asdict() for finding in examine(setting)]
    findings = pd.DataFrame(rows)
    write_table(findings, _HEADER, list(_cells(findings)), out)


def read_settings(metrics: Sequence[Path]) -> list[Setting]:
    """Read runs and sort them, methods that are based on another one (its name, and more) to that one.

    Raises:
        InputError: a file is unreadable or lacks a metric.
    """
    frames = {path: read_run(path) for path in metrics}
    methods = sorted({str(frame["method"].iloc[0]) for frame in frames.values()}, key=len)
    of_method = {name: next(base for base in methods if f"{name}_".startswith(f"{base}_")) for name in methods}
    settings: dict[tuple[str, str], list[Path]] = {}
    for path, frame in frames.items():
        first = frame.iloc[0]
        settings.setdefault((first["task"], of_method[first["method"]]), []).append(path)
    return [
        _setting(task, method, {path: frames[path] for path in paths}) for (task, method), paths in settings.items()
    ]


def _setting(task: str, method: str, frames: Mapping[Path, pd.DataFrame]) -> Setting:
    metric = headline(frames.values())
    arms: dict[str, Arm] = {}
    controls: dict[tuple[str, str], Arm] = {}
    unseparated: dict[str, Arm] = {}
    separation = _separation(task, method, frames)
    for path, frame in frames.items():
        first = frame.iloc[0]
        if first["method"] != method:
            arm = controls.setdefault((first["method"], first["m"]), {})
        elif first["m"] == RL_ONLY or first["separation"] == separation:
            arm = arms.setdefault(first["m"], {})
        else:
            arm = unseparated.setdefault(first["m"], {})
        arm[int(first["seed"])] = _read(path, frame, metric)
    return Setting(task, method, metric, arms, controls, unseparated)


def _separation(task: str, method: str, frames: Mapping[Path, pd.DataFrame]) -> str:
    """Return the separation of a method's arms; runs without any may stand beside them.

    Raises:
        InputError: there are several.
    """
    firsts = [frame.iloc[0] for frame in frames.values()]
    found = sorted({first["separation"] for first in firsts if first["method"] == method} - {"none"})
    if len(found) > 1:
        expected, got = "one separation, besides none", ", ".join(found)
        raise InputError("--metrics", field=f"{task}, {method}", expected=expected, got=got)
    return found[0] if found else "none"


def examine(setting: Setting) -> Iterator[Finding]:
    """Yield what the runs of one task and method say about each claim."""
    rl_only = setting.arms[RL_ONLY]
    joint = {m: setting.arms[m] for m in sorted(setting.arms, key=float) if m != RL_ONLY}
    about = (setting.task, setting.method)
    if about in SUCCESS:
        yield from _success(SUCCESS[about], setting, rl_only, joint.get(PAPERS_M))
    if about in FASTER and PAPERS_M in joint:
        yield _steps_saved(FASTER[about], joint[PAPERS_M], rl_only)
    gain, measure = (
        (_gain, "final return, relative to RL only")
        if setting.metric == "return"
        else (_success_gain, "final success minus RL only")
    )
    gains = {m: _compare(arm, rl_only, gain) for m, arm in joint.items()}
    for m, of_seed in gains.items():
        yield _finding("C9", m, measure, of_seed, 1)
    for m, arm in setting.unseparated.items():
        of_seed = _compare(joint.get(m, {}), arm, gain)
        yield _finding("C17", m, measure.replace("RL only", "no separation"), of_seed, 1)
    if about == DECLINING:
        yield from _decline(gains, measure, rl_only)

    rise = {seed: relative_change(run.il_loss) for seed, run in rl_only.items()}
    yield _finding("C11", RL_ONLY, "relative change of the imitation loss", rise, 1)
    for m, arm in joint.items():
        yield _finding("C12", m, "the same, minus RL only", _compare(arm, rl_only, _less_rise), -1)

    trend = {seed: second_half_slope(run.level) for seed, run in rl_only.items()}
    base = _finding("C16", RL_ONLY, f"{setting.metric} per million steps, second half", trend, -1)
    falls = base.verdict == "supported"
    yield base._replace(verdict="RL only degrades" if falls else "no degradation shown")
    for m, arm in joint.items():
        finding = _finding("C16", m, "the same, minus RL only", _compare(arm, rl_only, _more_slope), 1)
        yield finding if falls else finding._replace(verdict="not testable: no degradation to prevent")
    for m, arm in {**joint, RL_ONLY: rl_only}.items():
        cosine = {seed: run.cosine for seed, run in arm.items()}
        yield _finding("rho", m, "cosine of the two gradients", cosine, -1)


def _decline(gains: Mapping[str, dict[int, float]], measure: str, rl_only: Arm) -> Iterator[Finding]:
    """C5 and C6, if RL only had enough steps."""
    if min(run.level.steps[-1] for run in rl_only.values()) <= DECLINE_STEPS:
        yield from (_untold(claim, "", "not testable at this budget") for claim in ("C5", "C6"))
        return
    for m, gain in gains.items():
        yield _finding("C5", m, measure, gain, 1)
    late = {seed: slope(run.level, DECLINE_STEPS) for seed, run in rl_only.items()}
    yield _finding("C6", RL_ONLY, "return per million steps after 4 million", late, -1)


def _success(claim: str, setting: Setting, rl_only: Arm, joint: Arm | None) -> Iterator[Finding]:
    """The gain of interleaving over RL only, of each control over RL only, and of interleaving over the control."""
    if joint is not None:
        yield _difference(claim, PAPERS_M, "final success minus RL only", joint, rl_only, setting.metric)
    for (method, m), control in setting.controls.items():
        name = method.removeprefix(f"{setting.method}_")
        yield _difference(claim, m, f"{name}: final success minus RL only", control, rl_only, setting.metric)
        if joint is not None:
            measure = f"final success minus {name}"
            yield _difference(claim, PAPERS_M, measure, joint, control, setting.metric)


def _difference(claim: str, m: str, measure: str, arm: Arm, baseline: Arm, metric: Metric) -> Finding:
    """Judge a claim that says: on the seeds of both, an arm ends higher; one seed is enough to tell of its episodes."""
    seeds = [seed for seed in arm if seed in baseline]
    if not seeds:
        return _untold(claim, m, "no seed of both")._replace(measure=measure)
    after, before = ([runs[seed].final for seed in seeds] for runs in (arm, baseline))
    gain = mean_gain(before, after, metric)
    low, high = float(gain.low), float(gain.high)
    per_seed = "/".join(f"{late.mean() - early.mean():+.4g}" for early, late in zip(before, after, strict=True))
    return Finding(claim, m, measure, len(seeds), per_seed, float(gain.estimate), low, high, _verdict(low, high, 1))


def _steps_saved(claim: str, joint: Arm, rl_only: Arm) -> Finding:
    """Judge that interleaving reaches the level at which RL only ended in fewer steps."""
    measure = "share of the steps saved to where RL only of the same seed ended"

    def share(run: Run, base: Run) -> float:
        threshold = base.level.values[-1]
        return 1 - steps_to(run.level, threshold) / steps_to(base.level, threshold)

    saved = _compare(joint, rl_only, share)
    if not all(map(np.isfinite, saved.values())):
        return _untold(claim, PAPERS_M, "not reached by every seed")._replace(measure=measure, seeds=len(saved))
    return _finding(claim, PAPERS_M, measure, saved, 1)


def steps_to(curve: Curve, threshold: float) -> float:
    """Return the steps at which a curve first reaches a level; NaN if it never does."""
    reached = np.flatnonzero(curve.values >= threshold)
    return float(curve.steps[reached[0]]) if len(reached) else np.nan


def relative_change(curve: Curve) -> float:
    """Return last over first value, minus 1."""
    return float(curve.values[-1] / curve.values[0] - 1)


def slope(curve: Curve, start: float) -> float:
    """Return the least-squares slope per million steps from `start` on."""
    late = curve.steps >= start
    return float(np.polyfit(curve.steps[late] / 1e6, curve.values[late], 1)[0])


def second_half_slope(curve: Curve) -> float:
    """Return the slope over the second half of the steps."""
    return slope(curve, curve.steps[-1] / 2)


def _cells(findings: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield the rows for people, one cell per entry of `_HEADER`."""
    for row in findings.to_dict("records"):
        arm = RL_NAME if row["m"] == RL_ONLY else row["m"]
        told = np.isfinite(row["low"])
        interval = f"{row['estimate']:+.4g} [{row['low']:+.4g}, {row['high']:+.4g}]" if told else ""
        said = (row["measure"], row["per_seed"], interval, row["verdict"])
        yield (row["task"], row["method"], row["claim"], arm, *said)


def _read(path: Path, frame: pd.DataFrame, metric: Metric) -> Run:
    def curve(metric: str) -> Curve:
        rows = rows_of(path, frame, metric)
        return Curve(rows["env_steps"].to_numpy(float), rows["value"].to_numpy(float))

    return Run(
        level=curve(f"eval/{metric}"),
        il_loss=curve("probe_holdout/il_loss"),
        final=episodes(path, frame, metric),
        cosine=float(curve("train/grad_cosine").values.mean()),
    )


def _gain(run: Run, rl_only: Run) -> float:
    return float(run.final.mean() / rl_only.final.mean() - 1)


def _success_gain(run: Run, rl_only: Run) -> float:
    return float(run.final.mean() - rl_only.final.mean())


def _less_rise(run: Run, rl_only: Run) -> float:
    return relative_change(run.il_loss) - relative_change(rl_only.il_loss)


def _more_slope(run: Run, rl_only: Run) -> float:
    return second_half_slope(run.level) - second_half_slope(rl_only.level)


def _compare(arm: Arm, baseline: Arm, measure: Callable[[Run, Run], float]) -> dict[int, float]:
    return {seed: measure(run, baseline[seed]) for seed, run in arm.items() if seed in baseline}


def _finding(claim: str, m: str, measure: str, values: dict[int, float], sign: int) -> Finding:
    """Judge a claim that says: the mean over seeds has this sign."""
    per_seed = "/".join(f"{value:+.4g}" for value in values.values())
    if len(values) < 2:
        return _untold(claim, m, "too few seeds")._replace(measure=measure, seeds=len(values), per_seed=per_seed)
    interval = t_interval(np.array(list(values.values())))
    low, high = float(interval.low), float(interval.high)
    verdict = _verdict(low, high, sign)
    return Finding(claim, m, measure, len(values), per_seed, float(interval.estimate), low, high, verdict)


def _verdict(low: float, high: float, sign: int) -> str:
    """Compare an interval with the sign that a claim asserts."""
    if low > 0 or high < 0:
        return "supported" if (low > 0) == (sign > 0) else "contradicted"
    return "undecided"


def _untold(claim: str, m: str, why: str) -> Finding:
    return Finding(claim, m, "", 0, "", np.nan, np.nan, np.nan, why)
