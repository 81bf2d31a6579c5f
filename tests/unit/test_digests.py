"""Settings of jobs that may change only knowingly: a changed digest makes a run a different one.

digests.json has, by budget and task, one hash of the resolved settings of every job: demonstrations from all sources,
pre-trainings, demonstrators, every method in its plain and an interleaved form, and all runs that figures, comparisons
and films show. Numerics versions of fine-tuning belong to it.

After a wanted change say so in CHANGELOG.md under **Numbers**, and run

    python tests/unit/test_digests.py
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from inril.config.base import SOURCES
from inril.config.runs import FinetuneConfig, separations
from inril.numerics import finetune_versions
from inril.project import Project, Run
from inril.settings import read_yaml

CONFIG = Path(__file__).parents[2] / "config"
DIGESTS = Path(__file__).with_name("digests.json")
BUDGETS = sorted(path.stem for path in (CONFIG / "budgets").glob("*.yaml"))


def project(budget: str) -> Project:
    return Project(CONFIG, read_yaml(CONFIG / "config.yaml") | {"budget": budget})


def planned_runs(settings: Project) -> Iterator[Run]:
    shown = (run for name in settings.shown for run in settings.runs(name))
    films = (settings.film_run(name) for name in settings.root.films)
    yield from (run for runs in (shown, films) for run in runs if isinstance(run, Run))
    for task in settings.tasks:
        for method in settings.methods(task):
            rl_only = settings.finetune(task, method, "none", "inf", 0)
            yield Run(task, method, "none", "inf", 0)
            yield Run(task, method, separations(rl_only.algo, rl_only.il)[-1], 2, 0)


def digest_of(config: FinetuneConfig) -> str:
    versions = finetune_versions(config)
    return f"{config.digest()} {json.dumps(versions)}"


def digests(settings: Project) -> dict[str, str]:
    """Return one hash of the digests of each task's jobs."""
    jobs: dict[str, set[str]] = defaultdict(set)
    for run in planned_runs(settings):
        jobs[run.task].add(f"finetune {run[1:]} {digest_of(settings.finetune(*run))}")
    for task in settings.tasks:
        for source in SOURCES[settings.suite(task)]:
            jobs[task].add(f"demos {source} {settings.demos(task, source).digest()}")
        for policy, seed in product(settings.policies(task), settings.axes(task).seeds):
            jobs[task].add(f"pretrain {policy} {seed} {settings.pretrain(task, policy, seed).digest()}")
    for task in settings.demonstrated:
        jobs[task].add(f"expert {settings.expert(task).digest()}")
    return {task: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16] for task, lines in jobs.items()}


@pytest.mark.parametrize("budget", BUDGETS)
def test_settings_of_jobs_are_as_recorded(budget: str) -> None:
    assert digests(project(budget)) == json.loads(DIGESTS.read_text())[budget]


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({budget: digests(project(budget)) for budget in BUDGETS}, indent=1) + "\n")
