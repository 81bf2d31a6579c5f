"""What all phases share: the plans of the budgets, which tell jobs their files and settings, and what jobs need."""

import os
from functools import lru_cache, wraps
from pathlib import Path
from typing import get_args

from inril.config import paths
from inril.config.base import DEFAULT_BUDGET, DemoSource, Separation
from inril.config.layers import Layer, agreed, read_yaml
from inril.config.numerics import versions
from inril.config.paths import run_of
from inril.config.plan import TABLES, Plan
from inril.config.project import Project
from inril.errors import InputError

DEMOS = str(paths.demos("{budget}", "{task}", "{source}"))
PRETRAIN = str(paths.pretrain("{budget}", "{task}", "{policy}", "{seed}"))
FINETUNE = str(
    paths.finetune("{budget}", "{task}", "{method}", "{separation}", "{m}", "{seed}")
)
# Among the resources and not the params, since it depends on where this works.
PUBLISHED = os.path.relpath(Path(BASE, TABLES))
MODIFIER = workflow.modifier  # of the module that this is, if it is one


def placed(path):
    """Return where a file of results/ lies: an importing workflow may give it a prefix, which params go without."""
    return str(MODIFIER.modify_path(str(path)))


def said():
    """Return what was chosen otherwise than in config.yaml, by where that was said."""
    settings = workflow.config_settings
    files = {str(file): read_yaml(file) for file in settings.configfiles}
    said_by = {
        "config of the importing workflow": config,
        **files,
        "--config": settings.config,
    }
    return [Layer(Path(who), agreed(values, config)) for who, values in said_by.items()]


@lru_cache
def project():
    """Return the settings under the chosen budget."""
    return Project(CONFIG_DIR, read_yaml(CONFIG_DIR / "config.yaml"), *said())


@lru_cache
def plan(budget):
    """Return the plan of a budget, whichever one is chosen, so that paths alone tell what is meant."""
    return Plan(project().under(budget), Path(PUBLISHED), placed)


def resolved(function):
    """Have a function stop with one line where the settings do not allow what is asked for."""

    @wraps(function)
    def call(*args):
        try:
            return function(*args)
        except InputError as error:
            raise SystemExit(f"error: {error}") from None

    return call


def of_run(answer):
    """Return what a plan says about the run that a job's wildcards name."""
    return resolved(lambda w: answer(plan(w.budget), run_of(w)))


def of_demos(answer):
    """Return what a plan says about the demonstrations that a job's wildcards name."""
    return resolved(lambda w: answer(plan(w.budget), w.task, w.source))


def of_shown(answer):
    """Return what a plan says about the figure, or whatever else is shown, that a job's wildcards name."""
    return resolved(lambda w: answer(plan(w.budget), w.shown))


def of_expert(answer):
    """Return what is said by the training of the demonstrator that a job's wildcards name."""
    return resolved(lambda w: answer(plan(w.budget).expert(w.task)))


def dumped(model_of):
    """Return settings as text, as a job takes them and Snakemake records them."""
    return lambda w: model_of(w).model_dump_json()


@resolved
def chosen():
    """Return the chosen budget's plan, once all settings are found to be in order."""
    project().check()
    return plan(project().budget_name)


PLAN = chosen()
ROOT = PLAN.project.root
# What the report's first page tells; nothing else reads it there.
config.update(budget=ROOT.budget, demo_source=ROOT.demo_source)

# On what jobs compute is among their resources, not their params: a change runs nothing again.
EXECUTION = ROOT.execution
THREADS = max(ROOT.torch_threads, EXECUTION.sim_threads)
GPUS = int(EXECUTION.device == "cuda")

# Which rule a name belongs to.
FIGURES, COMPARISONS, FILMS, LANDSCAPES, SCHEMATICS = (
    "|".join(names) or "(?!)"  # nothing, where there are none
    for names in (
        ROOT.figures,
        ROOT.comparisons,
        ROOT.films,
        ROOT.landscapes,
        ROOT.schematics,
    )
)


wildcard_constraints:
    budget="|".join(PLAN.project.budgets),
    task="|".join(PLAN.project.tasks),
    source="|".join(get_args(DemoSource)),
    policy="|".join(PLAN.project.all_policies),
    method="|".join(PLAN.project.all_methods),
    separation="|".join(get_args(Separation)),
    m=r"[1-9]\d*|inf",
    seed=r"\d+",


def minutes(amount, per_minute):
    """Return a generous time limit for clusters: an hour more than a slow machine takes."""
    return 60 + amount // per_minute


def growing(mem_mb):
    """Return a memory limit for clusters: more at each attempt, since the one before may have been killed for it."""
    return lambda wildcards, attempt: mem_mb * attempt


def run_labels(wildcards):
    """Return the columns by which the report lists a run; m is padded, since the page sorts them as text."""
    m = PLAN.project.arm_name(wildcards.method, wildcards.m).rjust(3)
    names = ("task", "method", "separation")
    return {name: wildcards[name] for name in names} | {"m": m, "seed": wildcards.seed}
