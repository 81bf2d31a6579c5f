"""What runs say about the paper's claims, with intervals: computed, not judged by eye.

The claims about a sweep over m (C5, C6, C9, C11 to C14, C16, C18) are in `sweep`, their rules in docs/claims.md. Here:

C1   interleaving lifts IDQL on Transport, and C2 on Square: final success minus that of RL only; and what controls
     without interleaving gain over RL only, and by how much interleaving with m = 10 beats them.
C3   DPPO on Square reaches with m = 10 what RL alone ends with in fewer environment steps: the share saved. C4 is the
     same claim in other numbers.
C17  separating the two gradients matters: level of the final policy minus that of the same m without; relative where
     the level is a return.
rho  the two gradients oppose each other: their cosine, corrected for noise and 0 where noise hides it, averaged over
     the iterations at which it was measured; rho is its negative (assumption 1).

Levels are success where a task has it, else returns. Arms are compared seed by seed: both started from the same
pre-trained policy. Intervals are Student's t over seeds; those of C1 and C2 are bootstrapped over seeds, then episodes.
A claim is supported or contradicted when its interval excludes 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from inril.config.base import NOT_INTERLEAVED, RL_NAME, Metric
from inril.errors import InputError
from inril.report import sweep
from inril.report.aggregate import read_run, rows_of
from inril.report.contrasts import one_mean
from inril.report.curves import Curve, steps_to
from inril.report.findings import (
    Finding,
    RunsBySeed,
    RunSummary,
    Setting,
    judged,
    per_seed_text,
    untold,
    verdict_of_bounds,
    verdict_of_sign,
)
from inril.report.levels import RL_ONLY, episodes, headline, mean_gain
from inril.report.processors import processors_note
from inril.report.tables import write_table

SUCCESS = {("transport", "idql"): "C1", ("square", "idql"): "C2"}
FASTER = {("square", "dppo"): "C3"}
_HEADER = (
    "task", "method", "claim", "m", "measure", "per seed", "mean [95 %]", "verdict", "decides", "detectable",
    "seeds to decide",
)  # fmt: skip


def run(metrics: Sequence[Path], pretrain: Sequence[Path], out: Sequence[Path]) -> None:
    """Write the findings of a figure's runs.

    Args:
        metrics: metrics.csv of every run.
        pretrain: metrics.csv of the policy that each run started from, in the same order.
        out: files to write, .csv, .html, .md or .tex by suffix.

    Raises:
        InputError: a file is unreadable or lacks a metric, the two lists do not match, or there are no RL-only runs to
            compare with.
    """
    if len(metrics) != len(pretrain):
        raise InputError("--pretrain", expected=f"{len(metrics)} files, one per run", got=str(len(pretrain)))
    frames = {path: read_run(path) for path in metrics}
    of_seed = [(frame["task"].iloc[0], int(frame["seed"].iloc[0])) for frame in frames.values()]
    started = dict(zip(of_seed, pretrain, strict=True))
    rows: list[dict[str, object]] = []
    for setting in sort_runs(frames):
        if RL_ONLY not in setting.arms:
            where = f"{setting.task}, {setting.method}"
            raise InputError("--metrics", field=where, expected="runs of RL only", got="none")
        of_setting: dict[str, object] = {"task": setting.task, "method": setting.method}
        before = {seed: _pretraining(path) for (task, seed), path in started.items() if task == setting.task}
        rows += [of_setting | finding._asdict() for finding in examine(setting, before)]
    findings = pd.DataFrame(rows)
    write_table(findings, _HEADER, list(_cells(findings)), out, processors_note(frames))


def sort_runs(frames: Mapping[Path, pd.DataFrame]) -> list[Setting]:
    """Sort runs by task and method, methods that are based on another one (its name, and more) to that one.

    Raises:
        InputError: a run lacks a metric.
    """
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
    arms: dict[str, RunsBySeed] = {}
    controls: dict[tuple[str, str], RunsBySeed] = {}
    unseparated: dict[str, RunsBySeed] = {}
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


def examine(setting: Setting, pretraining: Mapping[int, Curve]) -> Iterator[Finding]:
    """Yield what the runs of one task and method say about each claim.

    Args:
        setting: its runs, RL only among them.
        pretraining: held-out loss of the policy that each seed started from.
    """
    rl_only = setting.arms[RL_ONLY]
    joint = {m: setting.arms[m] for m in sorted(setting.arms, key=float) if m != RL_ONLY}
    about = (setting.task, setting.method)
    if about in SUCCESS:
        yield from _success(SUCCESS[about], setting, rl_only, joint.get(sweep.PAPERS_M))
    if about in FASTER and sweep.PAPERS_M in joint:
        yield _steps_saved(FASTER[about], joint[sweep.PAPERS_M], rl_only)
    yield from sweep.examine(setting, pretraining)
    gain, measure = (
        (_gain, "final return, relative to no separation")
        if setting.metric == "return"
        else (_success_gain, "final success minus no separation")
    )
    for m, arm in setting.unseparated.items():
        yield _signed("C17", m, measure, _compare(joint.get(m, {}), arm, gain), 1)
    for m, arm in {**joint, RL_ONLY: rl_only}.items():
        cosine = [run.cosine for run in arm.values() if np.isfinite(run.cosine)]
        if cosine:
            yield _signed("rho", m, "cosine of the two gradients", cosine, -1)


def _success(claim: str, setting: Setting, rl_only: RunsBySeed, joint: RunsBySeed | None) -> Iterator[Finding]:
    """The gain of interleaving over RL only, of each control over RL only, and of interleaving over the control."""
    if joint is not None:
        yield _difference(claim, sweep.PAPERS_M, "final success minus RL only", joint, rl_only, setting.metric)
    for (method, m), control in setting.controls.items():
        name = method.removeprefix(f"{setting.method}_")
        arm = NOT_INTERLEAVED if m == RL_ONLY else m
        yield _difference(claim, arm, f"{name}: final success minus RL only", control, rl_only, setting.metric)
        if joint is not None:
            measure = f"final success minus {name}"
            yield _difference(claim, sweep.PAPERS_M, measure, joint, control, setting.metric)


def _difference(claim: str, m: str, measure: str, arm: RunsBySeed, baseline: RunsBySeed, metric: Metric) -> Finding:
    """Judge a claim that says: on the seeds of both, an arm ends higher; one seed is enough to tell of its episodes."""
    seeds = [seed for seed in arm if seed in baseline]
    if not seeds:
        return untold(claim, m, "no seed of both", measure)
    after, before = ([runs[seed].final for seed in seeds] for runs in (arm, baseline))
    gain = mean_gain(before, after, metric)
    low, high = float(gain.low), float(gain.high)
    per_seed = per_seed_text([late.mean() - early.mean() for early, late in zip(before, after, strict=True)])
    verdict = verdict_of_bounds(low, high, 1)
    return Finding(claim, m, measure, len(seeds), per_seed, float(gain.estimate), low, high, verdict)


def _steps_saved(claim: str, joint: RunsBySeed, rl_only: RunsBySeed) -> Finding:
    """Judge that interleaving reaches the level at which RL only ended in fewer steps."""
    measure = "share of the steps saved to where RL only of the same seed ended"

    def share(run: RunSummary, base: RunSummary) -> float:
        threshold = base.level.values[-1]
        return 1 - steps_to(run.level, threshold) / steps_to(base.level, threshold)

    saved = _compare(joint, rl_only, share)
    if not all(map(np.isfinite, saved)):
        return untold(claim, sweep.PAPERS_M, "not reached by every seed", measure)._replace(seeds=len(saved))
    return _signed(claim, sweep.PAPERS_M, measure, saved, 1)


def _cells(findings: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield the rows for people, one cell per entry of `_HEADER`."""
    for row in findings.to_dict("records"):
        arm = RL_NAME if row["m"] == RL_ONLY else row["m"]
        told = np.isfinite(row["low"])
        interval = f"{row['estimate']:+.4g} [{row['low']:+.4g}, {row['high']:+.4g}]" if told else ""
        detectable = f"{row['detectable']:.3g}" if np.isfinite(row["detectable"]) else ""
        said = (row["measure"], row["per_seed"], interval, row["verdict"], "yes" if row["decides"] else "")
        yield (row["task"], row["method"], row["claim"], arm, *said, detectable, row["seeds_needed"])


def _read(path: Path, frame: pd.DataFrame, metric: Metric) -> RunSummary:
    measured = (frame["metric"] == "train/grad_cosine").any()  # not where imitation has networks or phases of its own
    return RunSummary(
        level=_curve(path, frame, f"eval/{metric}"),
        il_loss=_curve(path, frame, "probe_holdout/il_loss"),
        final=episodes(path, frame, metric),
        cosine=float(_curve(path, frame, "train/grad_cosine").values.mean()) if measured else np.nan,
    )


def _pretraining(path: Path) -> Curve:
    """Return the held-out loss over gradient steps."""
    rows = rows_of(path, read_run(path), "train/holdout_loss")
    return Curve(rows["itr"].to_numpy(float), rows["value"].to_numpy(float))


def _curve(path: Path, frame: pd.DataFrame, metric: str) -> Curve:
    rows = rows_of(path, frame, metric)
    return Curve(rows["env_steps"].to_numpy(float), rows["value"].to_numpy(float))


def _gain(run: RunSummary, base: RunSummary) -> float:
    return float(run.final.mean() / base.final.mean() - 1)


def _success_gain(run: RunSummary, base: RunSummary) -> float:
    return float(run.final.mean() - base.final.mean())


def _compare(arm: RunsBySeed, baseline: RunsBySeed, measure: Callable[[RunSummary, RunSummary], float]) -> list[float]:
    return [measure(run, baseline[seed]) for seed, run in arm.items() if seed in baseline]


def _signed(claim: str, m: str, measure: str, values: Sequence[float], sign: int) -> Finding:
    """Judge a claim that says: the mean over seeds has this sign."""
    if len(values) < 2:
        return untold(claim, m, "too few seeds", measure, values)
    contrast = one_mean(np.array(values))
    return judged(claim, m, measure, values, contrast, verdict_of_sign(contrast, sign))
