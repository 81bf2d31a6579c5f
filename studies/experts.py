"""Does a scripted expert succeed equally often in the compiled simulator and in robosuite's own?

    python -m studies.experts --task can --episodes 102

Equal attempts in both: same resets, same operators, a third of each group, at the task's own level.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.data.scripted.attempt import Recipe, attempt
from inril.data.scripted.operator import GROUPS
from inril.data.scripted.robomimic.scene import make_scene
from inril.report.statistics import wilson

_CONFIG = Path(__file__).parents[1] / "config"


def main() -> None:
    """Let the expert try in both simulators and print how often it succeeded."""
    parser = argparse.ArgumentParser(prog="python -m studies.experts", description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--episodes", type=int, default=102)
    args = parser.parse_args()
    demos = Project(_CONFIG, read_yaml(_CONFIG / "config.yaml")).demos(args.task)
    assert demos.level is not None
    assert demos.max_demo_steps is not None
    recipe = Recipe(args.task, demos.level, demos.seed, demos.max_demo_steps)
    fast, stock = make_scene(args.task), make_scene(args.task, sim="stock")
    succeeded = []
    for i in range(args.episodes):
        job = (GROUPS[i % len(GROUPS)], i // len(GROUPS))
        succeeded.append([attempt(scene, recipe, *job).episode is not None for scene in (fast, stock)])
    for name, outcomes in zip(("fast", "stock"), np.array(succeeded, dtype=float).T, strict=True):
        _, low, high = wilson(outcomes)
        print(f"{args.task}, {name}: {outcomes.sum():.0f} of {args.episodes} [{100 * low:.0f} %, {100 * high:.0f} %]")
    print(f"{args.task}: equal outcome in {sum(a == b for a, b in succeeded)} of {args.episodes}")


if __name__ == "__main__":
    main()
