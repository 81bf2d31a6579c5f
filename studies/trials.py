"""What a method reaches with other settings: equal trials of each arm, on a seed that no figure shows.

    python -m studies.trials studies/plans/mug_rack_residual.yaml --processes 2

A plan names a task, a method, a budget, a seed, the arms (values of m), and trials: what each changes in the budget's
settings. The policy and the demonstrations that it starts from have to be there:

    snakemake --cores 2 results/workstation/pretrain/mug_rack_low/diffusion/seed9/policy.safetensors \
        --config budget=workstation

Runs lie in `results/trials/<plan>/<trial>/m<m>/`; a second call goes on where the first was interrupted. Printed as a
table: success, or return where there is none, of the pre-trained policy, the largest of the evaluations on the way, and
that of the final policy on fresh episodes.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from inril.config import paths
from inril.config.base import M, Model, Separation
from inril.config.layers import Layer, merge, read_yaml, validate
from inril.config.project import Project
from inril.config.runs import FinetuneConfig
from inril.report.aggregate import read_run, rows_of
from inril.report.levels import episodes, headline, interval_text, level_text, mean_level
from inril.train import finetune

_CONFIG = Path(__file__).parents[1] / "config"
_RESULTS = Path("results", "trials")


class Trials(Model):
    """What is tried of a method on a task."""

    task: str
    method: str
    budget: str
    seed: int
    separation: Separation
    m_values: list[M]
    trials: dict[str, dict[str, Any]]


def settings(plan: Trials, trial: str, m: M) -> FinetuneConfig:
    """Return the settings of one run."""
    project = Project(_CONFIG, read_yaml(_CONFIG / "config.yaml") | {"budget": plan.budget})
    run = project.finetune(plan.task, plan.method, "none" if m == "inf" else plan.separation, m, plan.seed)
    return validate(FinetuneConfig, [Layer(Path(trial), merge(run.model_dump(), plan.trials[trial]))])


def row_of(trial: str, m: M, pretrained: Path, tuned: Path) -> str:
    """Return what a run came from and to, as a row of the table."""
    before, after = (read_run(folder / paths.METRICS) for folder in (pretrained, tuned))
    metric = headline([before, after])
    reports = [
        interval_text(mean_level([episodes(folder, frame, metric)], metric), metric)
        for folder, frame in ((pretrained, before), (tuned, after))
    ]
    on_the_way = level_text(rows_of(tuned, after, f"eval/{metric}")["value"].max(), metric)
    return f"| {trial} | {m} | {reports[0]} | {on_the_way} | {reports[1]} |"


def is_complete(folder: Path, config: FinetuneConfig) -> bool:
    """Tell whether a run with these settings was finished there; one with others is refused when it is run."""
    settings_file = folder / "config.yaml"
    return (folder / paths.METRICS).exists() and read_yaml(settings_file) == config.model_dump(mode="json")


def run_trial(plan: Trials, name: str, trial: str, m: M) -> str:
    """Run one trial of one arm and return its row."""
    config, out = settings(plan, trial, m), _RESULTS / name / trial / f"m{m}"
    pretrained = paths.pretrain(plan.budget, plan.task, config.policy_name, plan.seed)
    if not is_complete(out, config):
        finetune.run(config, paths.demos(plan.budget, plan.task, "generated"), pretrained / paths.POLICY, out)
    return row_of(trial, m, pretrained, out)


def main() -> None:
    """Run the trials and print a row of each as it ends."""
    parser = argparse.ArgumentParser(prog="python -m studies.trials", description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    plan = validate(Trials, [Layer(args.plan, read_yaml(args.plan))])
    print("| trial | m | pre-trained | best on the way | final |\n| --- | --- | --- | --- | --- |")
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        ended = [pool.submit(run_trial, plan, args.plan.stem, trial, m) for trial in plan.trials for m in plan.m_values]
        for row in ended:
            print(row.result(), flush=True)


if __name__ == "__main__":
    main()
