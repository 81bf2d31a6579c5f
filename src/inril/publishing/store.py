"""Publishes results: fills the mirror with what is complete and current, has DVC record, store and check it.

What is published, per phase and budget, is said by dvc.yaml; whether an output is current, by Snakemake. The layout of
the mirror is in `inril.publishing.mirror`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from inril.config import paths
from inril.config.base import DEFAULT_BUDGET
from inril.config.layers import read_yaml
from inril.config.paths import AnyRun
from inril.config.plan import TABLES, Plan
from inril.errors import InputError
from inril.files import write_atomically
from inril.publishing.contents import STORE, check_size, check_store, mirrored, new_contents
from inril.publishing.current import RULES, current_outputs, named, plan_of, planned_outputs, targets_of, used_policies
from inril.publishing.mirror import MIRROR, PROVENANCE, Record, adopt, read_record
from inril.publishing.programs import dvc, snakemake
from inril.publishing.slim import slimmed

REMOTE = "published"
_MB = 1_000_000
_DEMOS_MB = 12  # the largest demonstration file that the store takes
_NAMED = 5  # files in a message


class Stage(NamedTuple):
    """A stage of dvc.yaml."""

    phase: str
    budget: str

    @property
    def name(self) -> str:
        """Its name for DVC."""
        return f"{self.phase}@{self.budget}"

    @property
    def folder(self) -> Path:
        """Its part of the mirror."""
        return MIRROR / self.budget / self.phase


def run(
    budgets: Sequence[str] = (),
    figures: Sequence[str] = (),
    limit_mb: float = 100,
    added_mb: float = 20,
    drop: bool = False,
) -> None:
    """Record, commit, push and check.

    Args:
        budgets: whose results to publish; those of others stay as they are. All of dvc.yaml if empty.
        figures: whose runs to publish, beside what is published of others; of all figures if empty.
        limit_mb: size that the store may have.
        added_mb: size of what may be new in it: git keeps for good whatever was once committed.
        drop: whether what is published and no longer current, or of no named figure, goes.

    Raises:
        InputError: a budget has no stages, something published would go unasked, the store would be or grow too large,
            or Snakemake or DVC fails.
    """
    stages = _stages(budgets)
    budgets = list(dict.fromkeys(stage.budget for stage in stages))
    published = _fetch_published()
    for budget in _sources_first(budgets):
        _draw(budget, figures)
        _share_tables(budget, figures)
    for stage in stages:
        record(stage.budget, stage.phase, figures, drop)
    # DVC refuses to pull anything while one stage has never been recorded: those of other budgets are, as empty.
    new = [stage for stage in _stages() if stage.name not in published and stage not in stages]
    for stage in new:
        stage.folder.mkdir(parents=True, exist_ok=True)
    size_mb = check_size(mirrored(), limit_mb)
    new_mb = check_size(new_contents(), added_mb, "more than before")
    names = [stage.name for stage in [*stages, *new]]
    dvc("commit", "--force", *names)
    dvc("push", "--remote", REMOTE)
    # What no stage names any longer would stay in the repository's checkout for good.
    dvc("gc", "--workspace", "--cloud", "--remote", REMOTE, "--force")
    dvc("status", "--quiet", *names)  # others may wait for a publication of their own
    check_store()
    shown = "; ".join(coverage(budget, figures) for budget in budgets)
    print(f"published {shown}; {size_mb:.1f} of {limit_mb:g} MB, {new_mb:.1f} of them new")
    print(f"To share it: git add dvc.lock {STORE} && git commit")


def record(budget: str, phase: str, figures: Sequence[str] = (), drop: bool = True) -> None:
    """Make one phase of the mirror equal to what is complete and current of it.

    Where figures are named and nothing is to be dropped, what is outdated of theirs goes, and all else stays. Of a task
    whose demonstrations are missing nothing goes: its runs count as outdated as soon as one more is planned.

    Raises:
        InputError: dvc.yaml has no such stage, files would go without `drop`, or Snakemake fails.
    """
    stages = {stage.phase: stage for stage in _stages([budget])}
    if phase not in stages:
        raise InputError("dvc.yaml", field=budget, expected=f"one of {', '.join(stages)}", got=repr(phase))
    folder = stages[phase].folder
    used = used_policies(budget)
    wanted: dict[Path, bytes] = {}
    for output in current_outputs(budget, phase, figures):
        copy = folder / _place(budget, output)
        provenance: dict[str, Any] = {"output": str(output), "record": read_record(output)}
        wanted[copy.with_name(copy.name + PROVENANCE)] = json.dumps(provenance, indent=1).encode()
        if output.exists() and not is_left_out(phase, output, used):
            wanted[copy] = _content(phase, output, provenance["record"])
    if figures and not drop:
        own = {folder / _place(budget, output) for output in planned_outputs(budget, phase, figures)}
        wanted |= _others(folder, own)
    lost = [] if drop else _lost(folder, wanted)
    if figures and lost:
        kept = _tasks_without_demos(budget, figures)
        lost = [path for path in lost if path.relative_to(folder).parts[0] in kept]
    if lost:
        others = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise InputError(
            folder,
            expected="what is published to be current (inputs made, settings and code the same), and policies to stay",
            got=f"{', '.join(str(path.relative_to(folder)) for path in lost[:_NAMED])}{others}",
            hint="Make their inputs first (docs/publishing.md), or give --drop to unpublish or replace them",
        )
    _make_equal(folder, wanted)


def _content(phase: str, output: Path, record: Record) -> bytes:
    """Return what the mirror has of an output: of a fine-tuned policy what the one that it started from has not."""
    content = output.read_bytes()
    starts = [Path(name) for name in record["input"] if Path(name).name == paths.POLICY]
    if phase != "weights" or not starts or not starts[0].exists():
        return content
    return slimmed(content, starts[0].read_bytes())


def _lost(folder: Path, wanted: Mapping[Path, bytes]) -> list[Path]:
    """Return what would go from a phase of the mirror: files, and policies that would be replaced."""
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        path
        for path in there
        if path not in wanted or (path.name == paths.POLICY and path.read_bytes() != wanted[path])
    ]


def _others(folder: Path, own: Collection[Path]) -> dict[Path, bytes]:
    """Return the files of a phase of the mirror that are none of these outputs, nor a record of one."""
    there = {path: path.with_name(path.name.removesuffix(PROVENANCE)) for path in folder.rglob("*") if path.is_file()}
    return {path: path.read_bytes() for path, output in there.items() if output not in own}


def is_left_out(phase: str, output: Path, used: Collection[Path]) -> bool:
    """Tell whether only the record of a file is published.

    So it is with fine-tuned policies, which have a stage of their own, with pre-trained ones that are compared and no
    more, with images, which are drawn again from their tables, and with large demonstrations, which are made again from
    their seed in minutes.

    Args:
        phase: of the output.
        output: a file of results.
        used: pre-trained policies that something is made from.
    """
    if phase == "demos":
        return output.stat().st_size > _DEMOS_MB * _MB
    if output.suffix == ".png":
        return True
    return output.name == paths.POLICY and (phase == "finetune" or (phase == "pretrain" and output not in used))


def pull(targets: Sequence[str] = ()) -> None:
    """Fetch published results, as `dvc pull` does, and name the files that cannot be had (DVC names their hashes).

    Args:
        targets: stages, or paths in the mirror; everything if empty.

    Raises:
        InputError: something is missing in the store or damaged, or DVC fails.
    """
    try:
        print(dvc("pull", *targets), end="")
    except InputError as error:
        lacking = sorted(json.loads(dvc("status", "--cloud", "--json", *targets)))
        if not lacking:  # without the list of a folder's files DVC knows of none
            lacking = [line for line in error.got.splitlines() if line.startswith(str(MIRROR))]
        if not lacking:
            raise
        others = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        raise InputError(
            "dvc pull",
            expected="every published file, whole",
            got=f"missing or damaged in the store: {', '.join(lacking[:_NAMED])}{others}",
            hint=f"For the store in the repository: git checkout {STORE}. DVC says: {error.got}",
        ) from None


def coverage(budget: str, figures: Sequence[str] = ()) -> str:
    """Tell how many of a budget's runs are published."""
    plan = plan_of(budget)
    planned = _planned(plan, figures)
    n_published = sum((MIRROR / plan.metrics(run).relative_to("results")).exists() for run in planned)
    return f"{budget}: {n_published} of {len(planned)} runs"


def _tasks_without_demos(budget: str, figures: Sequence[str]) -> set[str]:
    """Return the tasks whose demonstrations are not there though runs are planned: they would be made anew."""
    plan = plan_of(budget)
    return {run.task for run in _planned(plan, figures) if not plan.demos(run).exists()}


def _planned(plan: Plan, figures: Sequence[str]) -> set[AnyRun]:
    """Return the runs that figures show, of all figures if none is named."""
    return set(chain.from_iterable(map(plan.planned, figures or plan.shown)))


def _stages(budgets: Sequence[str] = ()) -> list[Stage]:
    """Return the stages of budgets, of all if none is named, in the order of dvc.yaml."""
    stages = read_yaml(Path("dvc.yaml"))["stages"]
    every = [Stage(phase, budget) for phase, stage in stages.items() for budget in stage["foreach"]]
    known = dict.fromkeys(stage.budget for stage in every)
    for budget in budgets:
        if budget not in known:
            raise InputError("dvc.yaml", field="foreach", expected=f"one of {', '.join(known)}", got=repr(budget))
    return [stage for stage in every if stage.budget in (budgets or known)]


def _fetch_published() -> list[str]:
    """Fetch and adopt all that is published, and name its stages: nothing may vanish because it was never fetched."""
    lock = Path("dvc.lock")
    stages = list(read_yaml(lock)["stages"]) if lock.exists() else []
    if stages:
        dvc("pull", "--force", "--remote", REMOTE, *stages)
    adopt()
    return stages


def _sources_first(budgets: Sequence[str]) -> list[str]:
    """Sort budgets so that one whose published runs another one shows comes before it."""
    sources = {source for source, _ in shown_elsewhere()}
    return sorted(budgets, key=lambda budget: budget not in sources)


@cache
def shown_elsewhere() -> frozenset[tuple[str, str]]:
    """Return the budgets, each with the figure or comparison, whose published runs those of others show."""
    plans = [plan_of(budget) for budget in plan_of(DEFAULT_BUDGET).project.budgets]
    return frozenset((source, name) for plan in plans for name in plan.shown for source in plan.sources(name))


def _share_tables(budget: str, figures: Sequence[str]) -> None:
    """Copy a budget's comparisons and the tables behind its figures to where those of others look for them."""
    plan = plan_of(budget, "complete")
    for name in named(plan, figures):
        if (budget, name) in shown_elsewhere():
            table = plan.files(name)["csv"]
            write_atomically(TABLES / budget / table.name, table.read_bytes())


def _draw(budget: str, figures: Sequence[str]) -> None:
    """Draw the figures of the runs that are there; no other job is started for them."""
    targets = targets_of(budget, figures, "complete")
    if targets:
        snakemake(budget, "runs=complete", "--cores", "1", "--allowed-rules", *RULES["figures"], "--", *targets)


def _place(budget: str, output: Path) -> Path:
    """Return where in its phase an output lies."""
    home = Path("results", budget)
    return Path(*output.relative_to(home).parts[1:]) if output.is_relative_to(home) else Path("top", output.name)


def _make_equal(folder: Path, wanted: Mapping[Path, bytes]) -> None:
    """Give a folder the wanted files and no others; equal ones are not touched."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder after what is in it
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)
