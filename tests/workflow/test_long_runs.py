"""The script of the long runs computes what budget `long` plans, the headline's arms first."""

import re
import subprocess
from pathlib import Path

from inril.config.layers import read_yaml
from inril.config.plan import Plan
from inril.config.project import Project

ROOT = Path(__file__).parents[2]


def targets() -> list[list[str]]:
    done = subprocess.run([ROOT / "workflow" / "long.sh", "targets"], check=True, capture_output=True, text=True)
    return [line.split() for line in done.stdout.splitlines()]


def test_all_planned_runs_are_computed_once() -> None:
    plan = Plan(Project(ROOT / "config", read_yaml(ROOT / "config" / "config.yaml") | {"budget": "long"}))
    planned = [str(plan.metrics(run)) for run in plan.planned("fig8")]
    assert sorted(target for line in targets() for target in line) == sorted(planned)


def test_the_headline_comes_first_then_seed_by_seed() -> None:
    lines = targets()
    arms = [{re.sub(r"/seed\d+/.*", "", target.split("hopper/")[1]) for target in line} for line in lines]
    assert arms[:3] == [{"dppo/none/minf", "dppo/surgery/m10"}] * 3
    seeds = [{re.findall(r"seed(\d+)", target)[0] for target in line} for line in lines]
    assert seeds == [{"0"}, {"1"}, {"2"}] * 2


def test_the_commit_is_recorded() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}\n", (ROOT / "workflow" / "long.commit").read_text())
