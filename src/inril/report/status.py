"""Where every run of a figure or comparison stands: read from the runs' folders, which are only read.

waiting       nothing begun
pre-training  a living process clones the policy that the run starts from, or that is shown; steps are gradient steps
running       a living process holds the run's folder
interrupted   begun, and nobody is at it
failed        nobody is at it, and its log ends with an error (Snakemake's jobs keep a log, calls by hand none)
finished      the results are there
unreadable    a file holds something else than it should

Steps are those of the last checkpoint. Fine-tuning's speed is measured over its last checkpoints, in seconds of
computing (timing.csv), so that interruptions do not count; pre-training's between the last two checkpoints.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from inril.config.layers import Layer, read_yaml, validate
from inril.config.paths import AnyRun, Pretraining, Run
from inril.config.plan import Plan
from inril.config.runs import FinetuneConfig, PretrainConfig
from inril.errors import InputError
from inril.metrics import COLUMNS
from inril.train.run_lock import holder_of

_WINDOW = 5  # checkpoints that the speed is measured over
_TIMESTAMP = re.compile(r"\d\d:\d\d:\d\d ")  # of a line of the log that is no error


class State(StrEnum):
    """See the module."""

    WAITING = "waiting"
    PRETRAINING = "pre-training"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"
    UNREADABLE = "unreadable"


class Row(NamedTuple):
    """Where one run stands; None is unknown."""

    run: AnyRun
    state: State
    steps: int
    total: int
    left: int  # environment steps of fine-tuning still to go
    speed: float | None = None  # steps per second
    eta_s: float | None = None
    last_return: float | None = None
    last_itr: int | None = None
    note: str = ""  # who works on it, or what is wrong
    arm: str = ""  # what its arm is called


class _Fact(NamedTuple):
    """A line of metrics."""

    itr: int
    env_steps: int
    split: str
    metric: str
    value: float


class _Folder(NamedTuple):
    """What the folder of a run tells, pre-training or fine-tuning."""

    state: State
    facts: Sequence[_Fact] = ()
    note: str = ""


def figure_status(plan: Plan, figure: str, results: Path) -> list[Row]:
    """Look at every run of a figure.

    Args:
        plan: of the budget whose runs are looked at.
        figure: name of the figure.
        results: folder that holds results/.

    Raises:
        InputError: there is no such figure.
    """
    rows = []
    for run in plan.planned(figure):
        if isinstance(run, Pretraining):
            rows.append(_pretraining_row(plan, run, results))
        else:
            rows.append(_row(plan, run, results)._replace(arm=plan.project.arm_name(run.method, run.m)))
    return rows


def time_left(rows: Sequence[Row]) -> float | None:
    """Return the seconds until all are finished if those that run now keep their speed; None if nothing is known.

    What waits is taken to follow at the summed speed; pre-training that is still to come is not counted.
    """
    running = [row for row in rows if row.state is State.RUNNING and row.speed]
    speed = sum(row.speed or 0.0 for row in running)
    if not speed:
        return None
    return max(sum(row.left for row in rows) / speed, *(row.eta_s or 0.0 for row in running))


def _row(plan: Plan, run: Run, results: Path) -> Row:
    config = plan.project.finetune(*run)
    folder = results / run.folder(plan.budget)
    found = _look(folder)
    if found.state is State.WAITING:
        return _before(plan, run, config, results)
    steps = max((fact.env_steps for fact in found.facts), default=0)
    left = 0 if found.state is State.FINISHED else max(config.env_steps - steps, 0)
    speed = _finetune_speed(folder)
    returns = [fact for fact in found.facts if (fact.split, fact.metric) == ("eval", "return")]
    doubts = "" if found.state is State.FINISHED else _doubts(folder)
    note = "; ".join(filter(None, (found.note, _other_settings(folder, config), doubts)))
    return Row(
        run,
        found.state,
        steps,
        config.env_steps,
        left,
        speed,
        _eta(left, speed, folder) if found.state is State.RUNNING else None,
        returns[-1].value if returns else None,
        returns[-1].itr if returns else None,
        note,
    )


def _before(plan: Plan, run: Run, config: FinetuneConfig, results: Path) -> Row:
    """Look at the pre-training of a run that has not begun."""
    nothing = Row(run, State.WAITING, 0, config.env_steps, config.env_steps)
    before = _pretraining_row(plan, plan.start(run), results)
    if before.state in (State.WAITING, State.FINISHED):
        return nothing
    if before.state is not State.PRETRAINING:
        return nothing._replace(note=f"pre-training {before.state}: {before.note}".removesuffix(": "))
    return before._replace(run=run, left=nothing.left)


def _pretraining_row(plan: Plan, run: Pretraining, results: Path) -> Row:
    """Look at a pre-training; what is left of it is no environment steps."""
    config = plan.project.pretrain(*run)
    folder = results / run.folder(plan.budget)
    found = _look(folder)
    steps, total = max((fact.itr for fact in found.facts), default=0), config.optim.max_steps
    note = "; ".join(filter(None, (found.note, _other_settings(folder, config))))
    if found.state is not State.RUNNING:
        # The plateau rule may have ended it early.
        return Row(run, found.state, total if found.state is State.FINISHED else steps, total, 0, note=note)
    speed = _pretrain_speed(folder, config.plateau.check_every)
    eta = _eta(total - steps, speed, folder)
    return Row(run, State.PRETRAINING, steps, total, 0, speed, eta, note=note)


def _look(folder: Path) -> _Folder:
    try:
        # In this order a run that ends in between is finished, not interrupted.
        at_work = holder_of(folder)
        facts = _read(folder / "progress.csv")
        if (folder / "metrics.csv").exists():
            return _Folder(State.FINISHED, _read(folder / "metrics.csv"))
    except (OSError, ValueError) as error:  # of the file that tells who works here
        return _Folder(State.UNREADABLE, note=str(error))
    except InputError as error:
        where = f"{Path(error.where).name}: {error.field}".removesuffix(": ")
        return _Folder(State.UNREADABLE, note=f"{where}: expected {error.expected}, got {error.got}")
    if at_work:
        return _Folder(State.RUNNING, facts, at_work)
    if failure := _failure(folder / "log.txt"):
        return _Folder(State.FAILED, facts, failure)
    return _Folder(State.INTERRUPTED if facts else State.WAITING, facts)


def _read(path: Path) -> list[_Fact]:
    """Read metrics that may be growing, or not there yet.

    Raises:
        InputError: a whole line does not hold what it should.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, expected="metrics", got=str(error)) from None
    lines = text[: text.rfind("\n") + 1].splitlines()  # the last line may be half written
    if lines and lines[0] != ",".join(COLUMNS):
        raise InputError(path, field="line 1", expected="the columns of metrics", got=repr(lines[0]))
    facts = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            _, _, _, _, _, itr, env_steps, split, metric, value = line.split(",")
            facts.append(_Fact(int(itr), int(env_steps), split, metric, float(value)))
        except ValueError:
            raise InputError(path, field=f"line {number}", expected="a metric", got=repr(line)) from None
    return facts


def _failure(log: Path) -> str:
    """Return the error that a log ends with; empty if there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    last = lines[-1] if lines else ""
    if last.startswith("error: "):
        return last.removeprefix("error: ")
    for line in reversed(lines):
        if _TIMESTAMP.match(line):
            return ""
        if line.startswith("Traceback"):
            return last
    return ""


def _other_settings(folder: Path, config: FinetuneConfig | PretrainConfig) -> str:
    """Return a note if a run got other settings than it would get now."""
    path = folder / "config.yaml"
    try:
        same = not path.exists() or validate(type(config), [Layer(path, read_yaml(path))]) == config
    except InputError:
        same = False
    return "" if same else "config.yaml differs from the settings as they are now"


def _doubts(folder: Path) -> str:
    """Return why a run may not be learning, by the last iteration that it has diagnosed (docs/diagnosing.md)."""
    try:
        facts = [fact for fact in _read(folder / "diagnostics.csv") if fact.split == "train"]
    except InputError:  # no result rests on it
        return ""
    last = {fact.metric: fact.value for fact in facts}
    itr = max((fact.itr for fact in facts), default=0)
    doubts = {
        f"{last.get('out_of_range', 0):.0%} of observations out of range": last.get("out_of_range", 0) > 0.05,
        f"gradient norms up to {last.get('grad_norm_rl_largest', 0):.0f}": last.get("grad_norm_rl_largest", 0) > 100,
        "the critic explains nothing": itr >= 10 and last.get("explained_variance", 1) <= 0,
        f"{last.get('updates_taken', 1):.0%} of updates taken": 0 < last.get("updates_taken", 1) < 0.7,
    }
    return ", ".join(doubt for doubt, holds in doubts.items() if holds)


def _finetune_speed(folder: Path) -> float | None:
    try:
        timing = _read(folder / "timing.csv")
    except InputError:  # no result rests on it, so that a kill may leave it broken
        return None
    seconds: dict[int, float] = defaultdict(float)
    for fact in timing:
        if fact.split == "seconds" and fact.metric != "report":  # the last evaluation, which takes no training steps
            seconds[fact.env_steps] += fact.value
    recent = list(pairwise([0, *seconds]))[-_WINDOW:]
    spent = sum(seconds[end] for _, end in recent)
    return (recent[-1][1] - recent[0][0]) / spent if spent else None


def _pretrain_speed(folder: Path, steps: int) -> float | None:
    try:
        times = [(folder / "checkpoint" / f"{name}.safetensors").stat().st_mtime for name in ("previous", "current")]
    except FileNotFoundError:
        return None
    return steps / (times[1] - times[0]) if times[1] > times[0] else None


def _eta(left: int, speed: float | None, folder: Path) -> float | None:
    """Return the seconds left, counted from the last checkpoint."""
    try:
        age = time.time() - (folder / "progress.csv").stat().st_mtime
    except FileNotFoundError:
        return None
    return max(left / speed - age, 0.0) if speed else None
