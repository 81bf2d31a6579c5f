"""What all phases share: the checked settings, the layout of results and the targets of a figure."""

import os
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import get_args

from inril import paths
from inril.config.base import COMPUTE, DEFAULT_BUDGET, DemoSource, Separation
from inril.config.runs import ExpertJob
from inril.config.shown import FigureSpec, PlannedRun
from inril.errors import InputError
from inril.numerics import (
    demos_versions,
    evaluation_versions,
    finetune_versions,
    pretrain_versions,
    versions,
)
from inril.project import Project

DEMOS = str(paths.demos("{budget}", "{task}", "{source}"))
PRETRAIN = str(paths.pretrain("{budget}", "{task}", "{policy}", "{seed}"))
FINETUNE = str(
    paths.finetune("{budget}", "{task}", "{method}", "{separation}", "{m}", "{seed}")
)


@lru_cache
def project(budget):
    """Return the settings under a budget, whichever one is chosen, so that paths alone tell what is meant."""
    return Project(CONFIG_DIR, config | {"budget": budget})


try:
    PROJECT = project(config.get("budget", DEFAULT_BUDGET))
    PROJECT.check()
except InputError as error:
    raise SystemExit(f"error: {error}") from None


# On what jobs compute is among their resources, not their params: a change runs nothing again.
EXECUTION = PROJECT.root.execution
THREADS = max(PROJECT.root.torch_threads, EXECUTION.sim_threads)
GPUS = int(EXECUTION.device == "cuda")
# <budget>/<figure>.csv, a part of the repository. Among the resources as well, since it depends on where this works.
PUBLISHED = Path(os.path.relpath(Path(BASE, "published", "tables")))


wildcard_constraints:
    budget="|".join(path.stem for path in (CONFIG_DIR / "budgets").glob("*.yaml")),
    task="|".join(PROJECT.tasks),
    source="|".join(get_args(DemoSource)),
    policy="|".join(PROJECT.all_policies),
    method="|".join(PROJECT.all_methods),
    separation="|".join(get_args(Separation)),
    figure="|".join(PROJECT.root.figures),
    comparison="|".join(PROJECT.root.comparisons),
    film="|".join(PROJECT.root.films) or "(?!)",  # nothing, where there are none
    m=r"[1-9]\d*|inf",
    seed=r"\d+",


def runs_of(figure, budget):
    """Return the runs that a figure or comparison shows: all that are planned, or those of them that are there."""
    planned = project(budget).runs(figure)
    return planned if PROJECT.root.runs == "all" else paths.complete(budget, planned)


def arms(figure, budget=PROJECT.budget_name, published=True):
    """Return the wildcards of the runs that a figure or comparison is computed from.

    There may be none where it shows published ones of other budgets, if these are of use.
    """
    runs = runs_of(figure, budget)
    if not runs and not (published and published_of(figure, budget)):
        raise SystemExit(
            f"error: {figure} of budget {budget}: expected a complete run, got none"
        )
    return [run._asdict() | {"budget": budget} for run in runs]


def drawn():
    """Return the figures and comparisons of the chosen budget that have something to show."""
    budget = PROJECT.budget_name
    return [
        name
        for name in PROJECT.shown
        if runs_of(name, budget) or published_of(name, budget)
    ]


def published_of(figure, budget):
    """Return the published tables that it shows parts of, with a hash: no input files, since paths differ."""
    tables = {
        source: PUBLISHED / source / f"{figure}.csv"
        for source in sorted(project(budget).sources(figure))
    }
    return {
        source: sha256(path.read_bytes()).hexdigest()
        for source, path in tables.items()
        if path.exists()
    }


def finetune_config(run):
    """Resolve one fine-tuning run from its wildcards."""
    m = run["m"] if run["m"] == "inf" else int(run["m"])
    return project(run["budget"]).finetune(
        run["task"], run["method"], run["separation"], m, int(run["seed"])
    )


def trained_expert_digest(demos):
    """Return a hash of the demonstrator that comes with the code: no input file, whose path would be the machine's.

    Demonstrations from elsewhere have none, nor have those of scripted experts. Where it is missing, the job says so.
    """
    if (demos.task.suite, demos.source) != ("gym", "generated"):
        return None
    path = Path(BASE, "src", "inril", "data", "experts", f"{demos.task.id}.safetensors")
    return sha256(path.read_bytes()).hexdigest() if path.exists() else None


def expert_job(wildcards):
    """Resolve the training of one demonstrator."""
    settings = project(wildcards.budget)
    return ExpertJob(
        task=settings.demos(wildcards.task).task, expert=settings.expert(wildcards.task)
    )


def figure_spec(wildcards):
    """Return how a figure looks."""
    figure = project(wildcards.budget).figure(wildcards.figure)
    planned = [
        run
        for panel in figure.panels
        for run in project(
            wildcards.budget if panel.source == COMPUTE else panel.source
        ).panel_runs(panel, figure.m_values)
    ]
    return FigureSpec(
        budget=wildcards.budget,
        figure=figure,
        plot=PROJECT.root.plot,
        planned=[PlannedRun(**run._asdict()) for run in dict.fromkeys(planned)],
    )


def minutes(amount, per_minute):
    """Return a generous time limit for clusters: an hour more than a slow machine takes."""
    return 60 + amount // per_minute


def shown(wildcards):
    """Return what a figure shows, for its caption in the report."""
    spec = figure_spec(wildcards)
    runs = arms(wildcards.figure, wildcards.budget)
    return {
        "runs": f"{len(runs)} of {len(project(wildcards.budget).runs(wildcards.figure))}",
        "m_values": list(dict.fromkeys(str(run["m"]) for run in runs)),
        "seeds": sorted({run["seed"] for run in runs}),
        "env_steps": sorted({finetune_config(run).env_steps for run in runs}),
        "columns": [f"({panel.label}) {panel.title}" for panel in spec.figure.panels],
        "rows": list(spec.figure.metrics),
    }


def run_labels(wildcards):
    """Return the columns by which the report lists a run; m is padded, since the page sorts them as text."""
    m = PROJECT.arm_name(wildcards.method, wildcards.m).rjust(3)
    names = ("task", "method", "separation")
    return {name: wildcards[name] for name in names} | {"m": m, "seed": wildcards.seed}


def growing(mem_mb):
    """Return a memory limit for clusters: more at each attempt, since the one before may have been killed for it."""
    return lambda wildcards, attempt: mem_mb * attempt


def is_pretraining(run):
    """Tell whether a run is a pre-training that is shown for its own sake."""
    return "policy" in run.keys()  # of a mapping, or of wildcards


def demos_of(run):
    """Return a run's demonstrations, from the chosen source."""
    return DEMOS.format(**run, source=PROJECT.demo_source(run["task"]))


def demos_config(wildcards):
    """Resolve the demonstrations that a path names; not every source has every task."""
    try:
        return project(wildcards.budget).demos(wildcards.task, wildcards.source)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None


def policy_of(run):
    """Return a run's pre-trained policy. Each seed has its own, so that seeds differ in all that is random."""
    of_run = {} if is_pretraining(run) else {"policy": finetune_config(run).policy_name}
    return f"{PRETRAIN}/policy.safetensors".format(**run, **of_run)


def pretrain_metrics_of(run):
    """Return the metrics of a run's pre-trained policy."""
    return str(Path(policy_of(run)).with_name("metrics.csv"))


def metrics_of(run):
    """Return a run's metrics."""
    folder = PRETRAIN if is_pretraining(run) else FINETUNE
    return f"{folder}/metrics.csv".format(**run)


def film_policy(wildcards):
    """Return the policy that a film shows."""
    run = project(wildcards.budget).film_run(wildcards.film)
    return str(run.folder(wildcards.budget) / paths.POLICY)


def needed(file_of):
    """Return the files of one kind that the chosen budget's figures need, each once."""
    return sorted({file_of(run) for figure in drawn() for run in arms(figure)})


def files_of(name, budget=PROJECT.budget_name):
    """Return the files of a figure (table behind it, renderings) or of a comparison."""
    compared = name in PROJECT.root.comparisons
    place = paths.table if compared else paths.figure
    suffixes = ("csv", "md", "tex") if compared else ("pdf", "png", "csv")
    return {suffix: str(place(budget, name, suffix)) for suffix in suffixes}


def promoted(wildcards):
    """Return the default budget's files of a figure or comparison, unless another budget was asked for."""
    (name,) = wildcards
    return of_default_budget(name, files_of(name))


def promoted_film(wildcards):
    """Return the default budget's files of a film, unless another budget was asked for."""
    return of_default_budget(wildcards.film, film_files(wildcards.film))


def of_default_budget(name, files):
    """Return files by suffix, if they are the default budget's."""
    if PROJECT.budget_name != DEFAULT_BUDGET:
        first, *_ = files
        raise SystemExit(
            f"error: results/{name}.{first} belongs to budget {DEFAULT_BUDGET}: "
            f"ask for {files[first]}"
        )
    return files


def film_files(name):
    """Return the files of a film of the chosen budget's run, or of the published one that stands for it."""
    budget = PROJECT.film_budget(name)
    return {suffix: str(paths.film(budget, name, suffix)) for suffix in ("pdf", "gif")}


def targets(name):
    """Return what `all` makes of a figure or comparison: at the top of results/ for the default budget."""
    if PROJECT.budget_name == DEFAULT_BUDGET:
        return [f"results/{name}.{suffix}" for suffix in files_of(name)]
    return list(files_of(name).values())
