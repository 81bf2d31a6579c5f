"""Settings of jobs that may change only knowingly: a changed digest makes a run a different one.

digests.json has, by budget and task, one hash of the resolved settings of every planned job: the runs that figures,
comparisons and films show, what they start from, and demonstrators. Numerics versions of fine-tuning belong to it. A
task that is not in it is new and has no results that could have changed.

After a wanted change say so in CHANGELOG.md under **Numbers**, and run

    python tests/unit/config/test_digests.py
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from inril.config.base import SOURCES
from inril.config.layers import read_yaml
from inril.config.numerics import finetune_versions
from inril.config.paths import AnyRun, Run
from inril.config.plan import Plan
from inril.config.project import Project

CONFIG = Path(__file__).parents[3] / "config"
DIGESTS = Path(__file__).with_name("digests.json")
BUDGETS = sorted(path.stem for path in (CONFIG / "budgets").glob("*.yaml"))


def planned_runs(plan: Plan) -> Iterator[AnyRun]:
    for name in plan.shown:
        yield from plan.planned(name)
    for name in plan.project.root.films:
        if plan.film_budget(name) == plan.budget:
            yield plan.film_run(name)


def digests(budget: str) -> dict[str, str]:
    """Return one hash of the digests of each task's jobs."""
    settings = Project(CONFIG, read_yaml(CONFIG / "config.yaml") | {"budget": budget})
    plan = Plan(settings)
    jobs: dict[str, set[str]] = defaultdict(set)
    for run in planned_runs(plan):
        start = plan.start(run)
        if isinstance(run, Run):
            config = settings.finetune(*run)
            versions = json.dumps(finetune_versions(config))
            jobs[run.task].add(f"finetune {run[1:]} {config.digest()} {versions}")
        jobs[run.task].add(f"pretrain {start[1:]} {settings.pretrain(*start).digest()}")
        for source in SOURCES[settings.suite(run.task)]:
            jobs[run.task].add(f"demos {source} {settings.demos(run.task, source).digest()}")
    for task in settings.demonstrated:
        jobs[task].add(f"expert {settings.expert(task).digest()}")
    return {task: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16] for task, lines in jobs.items()}


@pytest.mark.parametrize("budget", BUDGETS)
def test_settings_of_jobs_are_as_recorded(budget: str) -> None:
    made, recorded = digests(budget), json.loads(DIGESTS.read_text())[budget]
    assert {task: made.get(task) for task in recorded} == recorded


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({budget: digests(budget) for budget in BUDGETS}, indent=1) + "\n")
