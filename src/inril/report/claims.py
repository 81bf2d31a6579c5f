"""What runs say about the paper's claims, with intervals: computed, not judged by eye.

Each claim is one number per seed and arm:

C9   interleaving matches or beats RL alone: return of the final policy (fresh episodes), relative to RL only.
C5   the same, once RL alone had the steps after which the paper sees it decline.
C6   RL alone degrades by then: slope of its evaluation return after `DECLINE_STEPS`.
C11  RL alone raises the imitation loss: relative change of the held-out loss over the run.
C12  interleaving controls it: that change minus that of RL only.
C16  several m prevent the degradation: slope over the second half minus that of RL only, if RL only falls at all.
rho  the two gradients oppose each other: their cosine, corrected for noise and 0 where noise hides it, averaged over
     the iterations at which it was measured; rho is its negative (assumption 1).

Arms are compared seed by seed: both started from the same pre-trained policy. Intervals are Student's t over seeds. A
claim is supported or contradicted when its interval excludes 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from inril.errors import InputError
from inril.report.aggregate import read_run, rows_of
from inril.report.statistics import Array, t_interval
from inril.report.tables import write_table

DECLINE_STEPS = 4_000_000  # the paper's curve of RL only on Hopper falls from here on
RL_ONLY = "inf"
_HEADER = ("task", "method", "claim", "m", "measure", "per seed", "mean [95 %]", "verdict")


class Curve(NamedTuple):
    """A metric over env steps, (X,) each."""

    steps: Array
    values: Array


class Run(NamedTuple):
    """What the claims need of one run.

    Attributes:
        returns: of evaluations on the way.
        il_loss: on held-out demonstrations.
        final_return: mean over the fresh episodes of the final policy.
        cosine: mean of the corrected cosine of the two gradients.
    """

    returns: Curve
    il_loss: Curve
    final_return: float
    cosine: float


Arm = dict[int, Run]  # by seed


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
        out: files to write, .csv, .html or .md by suffix.

    Raises:
        InputError: a file is unreadable or lacks a metric, or there are no RL-only runs to compare with.
    """
    settings: dict[tuple[str, str], dict[str, Arm]] = {}
    for path in metrics:
        frame = read_run(path)
        first = frame.iloc[0]
        arms = settings.setdefault((first["task"], first["method"]), {})
        arms.setdefault(first["m"], {})[int(first["seed"])] = _read(path, frame)
    rows = []
    for (task, method), arms in settings.items():
        if RL_ONLY not in arms:
            raise InputError("--metrics", field=f"{task}, {method}", expected="runs of RL only", got="none")
        rows += [{"task": task, "method": method, **finding._asdict()} for finding in examine(arms)]
    findings = pd.DataFrame(rows)
    write_table(findings, _HEADER, list(_cells(findings)), out)


def examine(arms: dict[str, Arm]) -> Iterator[Finding]:
    """Yield what the runs of one task and method, by m and seed, say about each claim."""
    rl_only = arms[RL_ONLY]
    joint = {m: arms[m] for m in sorted(arms, key=float) if m != RL_ONLY}
    long_enough = min(run.returns.steps[-1] for run in rl_only.values()) > DECLINE_STEPS

    gains = {m: _compare(arm, rl_only, _gain) for m, arm in joint.items()}
    for claim in ("C9", "C5"):
        for m, gain in gains.items():
            if claim == "C9" or long_enough:
                yield _finding(claim, m, "final return, relative to RL only", gain, 1)
    if long_enough:
        late = {seed: slope(run.returns, DECLINE_STEPS) for seed, run in rl_only.items()}
        yield _finding("C6", RL_ONLY, "return per million steps after 4 million", late, -1)
    else:
        yield from (_untold(claim, "", "not testable at this budget") for claim in ("C5", "C6"))

    rise = {seed: relative_change(run.il_loss) for seed, run in rl_only.items()}
    yield _finding("C11", RL_ONLY, "relative change of the imitation loss", rise, 1)
    for m, arm in joint.items():
        yield _finding("C12", m, "the same, minus RL only", _compare(arm, rl_only, _less_rise), -1)

    trend = {seed: second_half_slope(run.returns) for seed, run in rl_only.items()}
    base = _finding("C16", RL_ONLY, "return per million steps, second half", trend, -1)
    falls = base.verdict == "supported"
    yield base._replace(verdict="RL only degrades" if falls else "no degradation shown")
    for m, arm in joint.items():
        finding = _finding("C16", m, "the same, minus RL only", _compare(arm, rl_only, _more_slope), 1)
        yield finding if falls else finding._replace(verdict="not testable: no degradation to prevent")
    for m, arm in {**joint, RL_ONLY: rl_only}.items():
        cosine = {seed: run.cosine for seed, run in arm.items()}
        yield _finding("rho", m, "cosine of the two gradients", cosine, -1)


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
        arm = "RL only" if row["m"] == RL_ONLY else row["m"]
        told = np.isfinite(row["low"])
        interval = f"{row['estimate']:+.4g} [{row['low']:+.4g}, {row['high']:+.4g}]" if told else ""
        said = (row["measure"], row["per_seed"], interval, row["verdict"])
        yield (row["task"], row["method"], row["claim"], arm, *said)


def _read(path: Path, frame: pd.DataFrame) -> Run:
    def curve(metric: str) -> Curve:
        rows = rows_of(path, frame, metric)
        return Curve(rows["env_steps"].to_numpy(float), rows["value"].to_numpy(float))

    return Run(
        returns=curve("eval/return"),
        il_loss=curve("probe_holdout/il_loss"),
        final_return=float(curve("report/episode_return").values.mean()),
        cosine=float(curve("train/grad_cosine").values.mean()),
    )


def _gain(run: Run, rl_only: Run) -> float:
    return run.final_return / rl_only.final_return - 1


def _less_rise(run: Run, rl_only: Run) -> float:
    return relative_change(run.il_loss) - relative_change(rl_only.il_loss)


def _more_slope(run: Run, rl_only: Run) -> float:
    return second_half_slope(run.returns) - second_half_slope(rl_only.returns)


def _compare(arm: Arm, baseline: Arm, measure: Callable[[Run, Run], float]) -> dict[int, float]:
    return {seed: measure(run, baseline[seed]) for seed, run in arm.items() if seed in baseline}


def _finding(claim: str, m: str, measure: str, values: dict[int, float], sign: int) -> Finding:
    """Judge a claim that says: the mean over seeds has this sign."""
    per_seed = "/".join(f"{value:+.4g}" for value in values.values())
    if len(values) < 2:
        return _untold(claim, m, "too few seeds")._replace(measure=measure, seeds=len(values), per_seed=per_seed)
    interval = t_interval(np.array(list(values.values())))
    low, high = float(interval.low), float(interval.high)
    verdict = "undecided"
    if low > 0 or high < 0:
        verdict = "supported" if (low > 0) == (sign > 0) else "contradicted"
    return Finding(claim, m, measure, len(values), per_seed, float(interval.estimate), low, high, verdict)


def _untold(claim: str, m: str, why: str) -> Finding:
    return Finding(claim, m, "", 0, "", np.nan, np.nan, np.nan, why)
