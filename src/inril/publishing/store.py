"""Publishes results: fills the mirror with what is complete and current, has DVC record, store and check it.

What is published, per phase and budget, is said by dvc.yaml; whether an output is current, by Snakemake. The layout of
the mirror is in `inril.publishing.mirror`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inril.config import paths
from inril.config.base import DEFAULT_BUDGET
from inril.config.layers import read_yaml
from inril.config.paths import Run
from inril.config.plan import TABLES, Plan
from inril.config.project import Project
from inril.errors import InputError
from inril.files import write_atomically
from inril.publishing.mirror import MIRROR, PROVENANCE, Record, adopt, is_unfinished, read_record
from inril.publishing.slim import slimmed

REMOTE = "published"
STORE = Path("published")
# Whose outputs a phase publishes. The figures of the default budget also stand at the top of results/.
_RULES = {
    "demos": {"demos"},
    "pretrain": {"pretrain"},
    "finetune": {"finetune"},
    "weights": {"finetune"},
    "figures": {"table", "figure", "comparison", "promote"},
}
_MB = 1_000_000
_DEMOS_MB = 12  # the largest demonstration file that the store takes
_NAMED = 5  # files in a message
_KEPT_ARMS = ("m10", "minf")  # whose fine-tuned policies are published


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
        figures: whose runs to publish; of all figures if empty.
        limit_mb: size that the store may have.
        added_mb: size of what may be new in it: git keeps for good whatever was once committed.
        drop: whether what is published and no longer current may go. Figures that are named are a choice already.

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
        record(stage.budget, stage.phase, figures, drop or bool(figures))
    # DVC refuses to pull anything while one stage has never been recorded: those of other budgets are, as empty.
    new = [stage for stage in _stages() if stage.name not in published and stage not in stages]
    for stage in new:
        stage.folder.mkdir(parents=True, exist_ok=True)
    size_mb = check_size(_contents(), limit_mb)
    new_mb = check_size(_new_contents(), added_mb, "more than before")
    names = [stage.name for stage in [*stages, *new]]
    _dvc("commit", "--force", *names)
    _dvc("push", "--remote", REMOTE)
    # What no stage names any longer would stay in the repository's checkout for good.
    _dvc("gc", "--workspace", "--cloud", "--remote", REMOTE, "--force")
    _dvc("status", "--quiet", *names)  # others may wait for a publication of their own
    _check_store()
    shown = "; ".join(coverage(budget, figures) for budget in budgets)
    print(f"published {shown}; {size_mb:.1f} of {limit_mb:g} MB, {new_mb:.1f} of them new")
    print(f"To share it: git add dvc.lock {STORE} && git commit")


def record(budget: str, phase: str, figures: Sequence[str] = (), drop: bool = True) -> None:
    """Make one phase of the mirror equal to what is complete and current of it.

    Raises:
        InputError: dvc.yaml has no such stage, files would go without `drop`, or Snakemake fails.
    """
    stages = {stage.phase: stage for stage in _stages([budget])}
    if phase not in stages:
        raise InputError("dvc.yaml", field=budget, expected=f"one of {', '.join(stages)}", got=repr(phase))
    folder = stages[phase].folder
    used = _used(budget)
    wanted: dict[Path, bytes] = {}
    for output in _current(budget, phase, figures):
        copy = folder / _place(budget, output)
        provenance: dict[str, Any] = {"output": str(output), "record": read_record(output)}
        wanted[copy.with_name(copy.name + PROVENANCE)] = json.dumps(provenance, indent=1).encode()
        if output.exists() and not is_left_out(phase, output, used):
            wanted[copy] = _content(phase, output, provenance["record"])
    lost = [] if drop else _lost(folder, wanted)
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
        print(_dvc("pull", *targets), end="")
    except InputError as error:
        lacking = sorted(json.loads(_dvc("status", "--cloud", "--json", *targets)))
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
    plan = _plan_of(budget)
    planned = {run for figure in figures or plan.shown for run in plan.planned(figure)}
    folders = [MIRROR / run.folder(budget).relative_to("results") for run in planned]
    n_published = sum((folder / paths.METRICS).exists() for folder in folders)
    return f"{budget}: {n_published} of {len(planned)} runs"


def check_size(contents: Mapping[str, tuple[int, Path]], limit_mb: float, what: str = "") -> float:
    """Return the size of files in megabytes, equal ones counted once, as DVC stores them.

    Args:
        contents: size and path by hash.
        limit_mb: size that they may have.
        what: the files are, if not all of the store.

    Raises:
        InputError: they are larger.
    """
    total = sum(size for size, _ in contents.values()) / _MB
    if total <= limit_mb:
        return total
    phases: Counter[Path] = Counter()
    for size, path in contents.values():
        phases[Path(*path.relative_to(MIRROR).parts[:2])] += size
    parts = ", ".join(f"{phase} {size / _MB:.1f} MB" for phase, size in phases.most_common())
    large = sorted(contents.values(), reverse=True)[:_NAMED]
    largest = ", ".join(f"{path} {size / _MB:.1f} MB" for size, path in large)
    raise InputError(
        STORE,
        expected=" ".join(filter(None, (f"at most {limit_mb:g} MB", what))),
        got=f"{total:.1f} MB ({parts}; largest: {largest})",
        hint="Nothing was committed or pushed. Publish fewer figures or budgets, or take a stage out of dvc.yaml",
    )


def _new_contents() -> dict[str, tuple[int, Path]]:
    """Return what is in the mirror and not yet in the store."""
    return {digest: found for digest, found in _contents().items() if not _object(digest).exists()}


def _object(digest: str) -> Path:
    return STORE / "files" / "md5" / digest[:2] / digest[2:]


def _contents() -> dict[str, tuple[int, Path]]:
    """Return size and path of what is in the mirror, by the hash that DVC gives it."""
    contents: dict[str, tuple[int, Path]] = {}
    for path in sorted(MIRROR.rglob("*")):
        if path.is_file():
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            contents.setdefault(digest, (path.stat().st_size, path))
    return contents


def _check_store() -> None:
    """Look for every object in the store: DVC takes the files of a folder for stored once the list of them is."""
    for digest, (_, path) in _contents().items():
        if not _object(digest).exists():
            raise InputError(
                _object(digest), expected=f"the contents of {path}", got="nothing", hint=f"git checkout {STORE}"
            )


def _stages(budgets: Sequence[str] = ()) -> list[Stage]:
    """Return the stages of budgets, of all if none is named, in the order of dvc.yaml."""
    stages = read_yaml(Path("dvc.yaml"))["stages"]
    every = [Stage(phase, budget) for phase, stage in stages.items() for budget in stage["foreach"]]
    known = dict.fromkeys(stage.budget for stage in every)
    for budget in budgets:
        if budget not in known:
            raise InputError("dvc.yaml", field="foreach", expected=f"one of {', '.join(known)}", got=repr(budget))
    return [stage for stage in every if stage.budget in (budgets or known)]


def _plan_of(budget: str, runs: Literal["all", "complete"] = "all") -> Plan:
    root = read_yaml(Path("config", "config.yaml"))
    return Plan(Project(Path("config"), root | {"budget": budget, "runs": runs}))


def _fetch_published() -> list[str]:
    """Fetch and adopt all that is published, and name its stages: nothing may vanish because it was never fetched."""
    lock = Path("dvc.lock")
    stages = list(read_yaml(lock)["stages"]) if lock.exists() else []
    if stages:
        _dvc("pull", "--force", "--remote", REMOTE, *stages)
    adopt()
    return stages


def _sources_first(budgets: Sequence[str]) -> list[str]:
    """Sort budgets so that one whose published runs another one shows comes before it."""
    return sorted(budgets, key=lambda budget: budget not in _sources())


@cache
def _sources() -> frozenset[str]:
    """Return the budgets whose published runs figures of others show."""
    plans = [_plan_of(budget) for budget in _plan_of(DEFAULT_BUDGET).project.budgets]
    return frozenset(source for plan in plans for name in plan.shown for source in plan.sources(name))


def _share_tables(budget: str, figures: Sequence[str]) -> None:
    """Copy a budget's comparisons and the tables behind its figures to where those of others look for them."""
    if budget in _sources():
        plan = _plan_of(budget, "complete")
        for name in _named(plan, figures):
            table = plan.files(name)["csv"]
            write_atomically(TABLES / budget / table.name, table.read_bytes())


def _draw(budget: str, figures: Sequence[str]) -> None:
    """Draw the figures of the runs that are there; no other job is started for them."""
    targets = _targets(budget, figures, "complete")
    if targets:
        _snakemake(budget, "runs=complete", "--cores", "1", "--allowed-rules", *_RULES["figures"], "--", *targets)


def _current(budget: str, phase: str, figures: Sequence[str]) -> Iterator[Path]:
    """Yield the outputs of a phase that Snakemake would not make again."""
    plan = _plan(budget, tuple(figures), drawn=phase == "figures")
    outputs = [
        Path(row["output_file"])
        for row in csv.DictReader(plan, delimiter="\t")
        if row["rule"] in _RULES[phase] and row["plan"] == "no update"
    ]
    sound = [output for output in outputs if read_record(output) and not is_unfinished(output)]
    yield from _weights(sound) if phase == "weights" else sound


def _used(budget: str) -> set[Path]:
    """Return the pre-trained policies that planned runs start from, or films show."""
    plan = _plan_of(budget)
    filmed = [plan.film_run(name) for name in plan.project.root.films if plan.film_budget(name) == budget]
    runs = chain(filmed, *map(plan.planned, plan.shown))
    starts = {plan.start(run) for run in runs if run in filmed or isinstance(run, Run)}
    return {plan.policy(start) for start in starts}


@cache
def _plan(budget: str, figures: tuple[str, ...], drawn: bool) -> list[str]:
    """Return Snakemake's plan for all planned runs, or for the figures as drawn: of the runs that are there."""
    runs: Literal["all", "complete"] = "complete" if drawn else "all"
    targets = _targets(budget, figures, runs)
    if not targets:
        return []
    return _snakemake(budget, f"runs={runs}", "--summary", "--", *targets).splitlines()


def _weights(outputs: Sequence[Path]) -> Iterator[Path]:
    """Yield the policy of one seed of RL only and of m = 10 each, the lowest that is there."""
    arms = [output for output in outputs if output.parent.parent.name in _KEPT_ARMS]
    policies = [output for output in arms if output.name == paths.POLICY and output.exists()]
    policies.sort(key=lambda policy: int(policy.parent.name.removeprefix("seed")))
    yield from {policy.parent.parent: policy for policy in reversed(policies)}.values()


def _targets(budget: str, figures: Sequence[str], runs: Literal["all", "complete"]) -> list[str]:
    """Return the files whose plan covers all that is published; of complete runs: only what has one to show."""
    plan = _plan_of(budget, runs)
    return [str(target) for name in _named(plan, figures) for target in plan.targets(name)]


def _named(plan: Plan, figures: Sequence[str]) -> list[str]:
    """Return the chosen figures and comparisons, all if none is named, that have something to show."""
    return [name for name in figures or plan.shown if name in plan.drawn]


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


def _snakemake(budget: str, config: str, *args: str) -> str:
    return _call("snakemake", "--quiet", "all", "--config", f"budget={budget}", config, *args)


def _dvc(*args: str) -> str:
    try:
        return _call("dvc", *args)
    except InputError as error:
        if "is not a git repository" not in error.got:
            raise
        raise InputError(
            Path.cwd(),
            expected="a git repository, as DVC wants it",
            got="none, as in an unpacked archive",
            hint="Have DVC do without: dvc config --local core.no_scm true",
        ) from None


def _call(program: str, *args: str) -> str:
    done = subprocess.run([sys.executable, "-m", program, *args], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise InputError(f"{program} {' '.join(args)}", expected="success", got=f"status {done.returncode}: {said}")
    return done.stdout
