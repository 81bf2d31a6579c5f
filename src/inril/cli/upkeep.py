"""Commands about the whole project: its settings, your own files, where its runs stand, what is published of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat

from inril.cli.options import Flag, Interleaving, Names, Seed, read_project
from inril.config.base import Model, Separation
from inril.config.config_files import require
from inril.config.plan import Plan
from inril.config.shown import separation_of_arm

CONFIG = Path("config")


def check(*, config_dir: Path = CONFIG) -> None:
    """Check the whole configuration folder, every budget.

    Args:
        config_dir: folder with config.yaml.
    """
    budgets = read_project(config_dir).budgets
    for budget in budgets:
        read_project(config_dir, budget).check()
    print(f"{config_dir}: in order, budgets {', '.join(budgets)}")


def check_demos(file: Path, /, *, task: str | None = None, out: Path | None = None, config_dir: Path = CONFIG) -> None:
    """Check demonstrations of your own, and complete a copy of them.

    Args:
        file: HDF5 in robomimic's layout; it is only read.
        task: that they are of; null takes the one that the file names.
        out: HDF5 file to write: the copy, with all that training reads.
        config_dir: folder with config.yaml.
    """
    project = read_project(config_dir)
    specs = [project.demos(name).task for name in (project.tasks if task is None else (task,))]
    from inril.data import own_demos

    spec = specs[0] if task is not None else own_demos.find_task(file, specs)
    demos = own_demos.read_own_demos(file, spec)
    if out is not None:
        own_demos.write_own_demos(out, file, spec, demos)
    n_steps = sum(len(episode.action) for episode in demos.episodes)
    print(f"{file}: in order, {len(demos.episodes)} demonstrations of {spec.id}, {n_steps} steps")


def resolve(
    task: str,
    what: Annotated[str, Parameter(name="METHOD-OR-POLICY")],
    /,
    *,
    m: Interleaving = "inf",
    separation: Separation = "surgery",
    seed: Seed = 0,
    budget: str | None = None,
    config_dir: Path = CONFIG,
) -> None:
    """Print a job's settings and the file that each value comes from.

    Args:
        task: that the job is of.
        what: to fine-tune with, or to pre-train.
        m: reinforcement updates per imitation update; inf interleaves nothing.
        separation: how the two gradients are kept apart, where m is finite.
        seed: of the run.
        budget: null takes the one in config.yaml.
        config_dir: folder with config.yaml.
    """
    from inril.report import origins

    project = read_project(config_dir, budget)
    if what in project.all_methods:
        run = (task, what, separation_of_arm(m, separation), m, seed)
        config: Model = project.finetune(*run)
        layers = project.finetune_layers(*run)
    else:
        require("METHOD or POLICY", what, (*project.all_methods, *project.policies(task)))
        config = project.pretrain(task, what, seed)
        layers = project.pretrain_layers(task, what, seed)
    print("\n".join(origins.lines(config, layers, config_dir)))


def status(
    figure: str = "fig8",
    /,
    *,
    budget: str | None = None,
    results: Path = Path(),
    watch: Flag = False,
    config_dir: Path = CONFIG,
) -> None:
    """Show where every run of a figure stands.

    Args:
        figure: or comparison.
        budget: null takes the one in config.yaml.
        results: folder that holds results/.
        watch: refresh until all are finished or Ctrl-C.
        config_dir: folder with config.yaml.
    """
    from inril.report import status_table

    status_table.show(Plan(read_project(config_dir, budget)), figure, results, watch)


def ledger(*, budget: str, out: Path, results: Path = Path()) -> None:
    """List what the runs of a budget cost, and where they were made.

    Args:
        budget: whose runs.
        out: CSV file; rows of other runs stay.
        results: folder that holds results/.
    """
    from inril.publishing import ledger

    ledger.run(budget, results, out)


def schemas(*, out: Path, readme: Path | None = None) -> None:
    """Write the JSON schemas of all settings, and their tables.

    Args:
        out: folder to write.
        readme: page whose tables are written anew.
    """
    from inril.config import reference

    out.mkdir(parents=True, exist_ok=True)
    for name, text in reference.schemas().items():
        (out / name).write_text(text, encoding="utf-8")
    if readme is not None:
        readme.write_text(reference.Page(readme.read_text(encoding="utf-8")).written(), encoding="utf-8")


def pull(*targets: str) -> None:
    """Fetch published results (dvc pull), naming files that are missing or damaged.

    Args:
        targets: stages or paths of published results; everything where none are named.
    """
    from inril.publishing import store as publish

    publish.pull(targets)


def publish(
    *budgets: str, figures: Names = (), drop: Flag = False, limit_mb: PositiveFloat = 100, added_mb: PositiveFloat = 20
) -> None:
    """Record, commit, push and check the stages of dvc.yaml.

    Args:
        budgets: whose results; all of dvc.yaml where none are named.
        figures: whose runs, without outdated ones; what is published of others stays. All where none are named.
        drop: let go what is published and no longer current, or of no figure that is named.
        limit_mb: size that the store may have.
        added_mb: size of what may be new in it.
    """
    from inril.publishing import store as publish

    publish.run(budgets, figures, limit_mb, added_mb, drop)


def record(budget: str, phase: str, /) -> None:
    """Copy a phase's complete results to where DVC tracks them.

    Args:
        budget: whose results.
        phase: a stage of dvc.yaml.
    """
    from inril.publishing import store as publish

    publish.record(budget, phase)
