"""What of a budget is complete and current: Snakemake would not make it again."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from inril.config import paths
from inril.config.layers import read_yaml
from inril.config.paths import Run
from inril.config.plan import Plan
from inril.config.project import Project
from inril.publishing.mirror import is_unfinished, read_record
from inril.publishing.programs import snakemake

# Whose outputs a phase publishes. The figures of the default budget also stand at the top of results/.
RULES = {
    "demos": {"demos"},
    "pretrain": {"pretrain"},
    "finetune": {"finetune"},
    "weights": {"finetune"},
    "figures": {"table", "figure", "comparison", "promote"},
}
_KEPT_ARMS = ("m10", "minf")  # whose fine-tuned policies are published


def plan_of(budget: str, runs: Literal["all", "complete"] = "all") -> Plan:
    """Return the plan of a budget, of all runs or of those that are there."""
    root = read_yaml(Path("config", "config.yaml"))
    return Plan(Project(Path("config"), root | {"budget": budget, "runs": runs}))


def targets_of(budget: str, figures: Sequence[str], runs: Literal["all", "complete"]) -> list[str]:
    """Return the files whose plan covers all that is published; of complete runs: only what has one to show."""
    plan = plan_of(budget, runs)
    return [str(target) for name in named(plan, figures) for target in plan.targets(name)]


def named(plan: Plan, figures: Sequence[str]) -> list[str]:
    """Return the chosen figures and comparisons, all if none is named, that have something to show."""
    return [name for name in figures or plan.shown if name in plan.drawn]


def planned_outputs(budget: str, phase: str, figures: Sequence[str]) -> dict[Path, bool]:
    """Return the outputs of a phase, and of each whether Snakemake would not make it again."""
    plan = _plan(budget, tuple(figures), drawn=phase == "figures")
    rows = csv.DictReader(plan, delimiter="\t")
    return {Path(row["output_file"]): row["plan"] == "no update" for row in rows if row["rule"] in RULES[phase]}


def current_outputs(budget: str, phase: str, figures: Sequence[str]) -> Iterator[Path]:
    """Yield the outputs of a phase that Snakemake would not make again."""
    outputs = [output for output, current in planned_outputs(budget, phase, figures).items() if current]
    sound = [output for output in outputs if read_record(output) and not is_unfinished(output)]
    yield from _weights(sound) if phase == "weights" else sound


def used_policies(budget: str) -> set[Path]:
    """Return the pre-trained policies that a budget's runs start from, on its own seeds, or that films show.

    What runs on other seeds start from is not among them: once these runs are there, nobody asks for it.
    """
    plan = plan_of(budget)
    filmed = {plan.film_run(name) for name in plan.project.root.films if plan.film_budget(name) == budget}
    planned = {run for name in plan.shown for run in plan.planned(name) if isinstance(run, Run)}
    own = {run for run in planned if run.seed in plan.project.axes(run.task).seeds}
    return {plan.start_policy(run) for run in filmed | own}


@cache
def _plan(budget: str, figures: tuple[str, ...], drawn: bool) -> list[str]:
    """Return Snakemake's plan for all planned runs, or for the figures as drawn: of the runs that are there."""
    runs: Literal["all", "complete"] = "complete" if drawn else "all"
    targets = targets_of(budget, figures, runs)
    if not targets:
        return []
    return snakemake(budget, f"runs={runs}", "--summary", "--", *targets).splitlines()


def _weights(outputs: Sequence[Path]) -> Iterator[Path]:
    """Yield the policy of one seed of RL only and of m = 10 each, the lowest that is there."""
    arms = [output for output in outputs if output.parent.parent.name in _KEPT_ARMS]
    policies = [output for output in arms if output.name == paths.POLICY and output.exists()]
    policies.sort(key=lambda policy: int(policy.parent.name.removeprefix("seed")))
    yield from {policy.parent.parent: policy for policy in reversed(policies)}.values()
