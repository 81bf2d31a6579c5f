"""What the runs of a budget cost: CPU-hours of every task and method that its figures and tables plan.

    python -m benchmarks.campaign --budget workstation

One iteration each as `python -m benchmarks.training` measures it, spread over the run, and its final report; of
reinforcement alone where that is planned, else with the largest m. Demonstrations and the pre-trained policy of seed 0
have to be there; what lacks one is named and left out. Each measurement is kept in `results/campaign_<budget>.csv` at
once: a second call goes on with what is missing.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from benchmarks.training import in_subprocess, rate, run_seconds
from inril.config.layers import read_yaml
from inril.config.paths import Run
from inril.config.plan import Plan
from inril.config.project import Project

_ROOT = Path(__file__).parents[1]
_COLUMNS = ("task", "method", "env_steps_per_cpu_s", "cpu_hours_a_run", "peak_memory_mb")


def planned_runs(plan: Plan) -> dict[tuple[str, str], list[Run]]:
    """Return the runs of each task and method that a budget plans, the one to measure first."""
    runs = {run for name in plan.drawn for run in plan.planned(name) if isinstance(run, Run)}
    by_method: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.seed, -float(run.m))):
        by_method[run.task, run.method].append(run)
    return by_method


def missing(plan: Plan, run: Run) -> str | None:
    """Return which input of a run is not there."""
    return next((str(path) for path in (plan.demos(run), plan.start_policy(run)) if not path.exists()), None)


def read_costs(table: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return what was measured before."""
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {(row["task"], row["method"]): row for row in csv.DictReader(file)}


def measure_into(table: Path, run: Run, budget: str) -> None:
    """Measure a run and add its task and method to the table."""
    case = "/".join(map(str, (run.task, run.method, run.separation, run.m)))
    costs = in_subprocess(f"{case}@{budget}", _ROOT, with_limits=False)
    is_new = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(_COLUMNS)
        hours, memory_mb = run_seconds(costs) / 3600, costs["peak memory"] / 1e6
        writer.writerow([run.task, run.method, f"{rate(costs):.0f}", f"{hours:.3f}", f"{memory_mb:.0f}"])


def show(planned: dict[tuple[str, str], list[Run]], costs: dict[tuple[str, str], dict[str, str]]) -> None:
    """Print a Markdown table, and what the measured runs cost together."""
    print("| task | method | environment steps per CPU-second | CPU-hours a run | runs | CPU-hours |")
    print("| --- | --- | --- | --- | --- | --- |")
    total, n_measured = 0.0, 0
    for (task, method), runs in sorted(planned.items()):
        if (task, method) in costs:
            row = costs[task, method]
            hours = float(row["cpu_hours_a_run"])
            total, n_measured = total + len(runs) * hours, n_measured + len(runs)
            speed = int(row["env_steps_per_cpu_s"])
            print(f"| {task} | {method} | {speed:,} | {hours:.2f} | {len(runs)} | {len(runs) * hours:.1f} |")
    print(f"{n_measured} of {sum(map(len, planned.values()))} runs: {total:.1f} CPU-hours")


def main() -> None:
    """Measure what is missing and show all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaign", description=__doc__)
    parser.add_argument("--budget", default="workstation")
    budget = parser.parse_args().budget
    project = Project(_ROOT / "config", read_yaml(_ROOT / "config" / "config.yaml") | {"budget": budget})
    plan, table = Plan(project), Path("results", f"campaign_{budget}.csv")
    planned = planned_runs(plan)
    for task, method in sorted(planned.keys() - read_costs(table).keys()):
        run = planned[task, method][0]
        lacking = missing(plan, run)
        if lacking is None:
            measure_into(table, run, budget)
        else:
            print(f"{task}, {method}: left out, there is no {lacking}")
    show(planned, read_costs(table))


if __name__ == "__main__":
    main()
