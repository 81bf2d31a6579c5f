"""What does a bound on observations change in the gradients of reinforcement?

    python -m studies.gradient_norms peg_in_hole_low lift

Two iterations of fine-tuning, RL only, of the pre-trained diffusion policy of seed 0 at the `workstation` budget
(published; `dvc pull`), once with observations as they come and once bounded as the task says: residual PPO on
furniture, IDQL on Robomimic, settings of that budget but for fewer environments and no warm-up of the critic, so that
the actor learns from the start. Printed from `diagnostics.csv` of the second iteration: share of observations beyond 3,
and median and largest norm of the actor's gradient before it is clipped. The demonstrations must be there:

    snakemake --cores 2 results/workstation/demos/peg_in_hole_low/generated.hdf5 --config budget=workstation
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from inril.config import paths
from inril.config.algos import ResidualPPOConfig
from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.config.runs import FinetuneConfig
from inril.policies.policy_file import load_policy
from inril.train import finetune

_CONFIG = Path(__file__).parents[1] / "config"
_BUDGET = "workstation"
_TASKS = (
    "lift", "can", "square", "transport", "one_leg_low", "one_leg_med", "lamp_low", "lamp_med", "round_table_low",
    "mug_rack_low", "peg_in_hole_low",
)  # fmt: skip
_N_ENVS = 16
_ITERATIONS = 2


def short(config: FinetuneConfig, act_steps: int, clip: float | None) -> FinetuneConfig:
    """Return the settings of two iterations in fewer environments."""
    algo, steps_per_itr = config.algo, _N_ENVS * config.n_steps
    changed: dict[str, object] = {"critic_warmup_itr": 0}
    if isinstance(algo, ResidualPPOConfig):
        changed["minibatch"] = steps_per_itr // 4
    else:
        steps_per_itr *= act_steps
    return config.model_copy(
        update={
            "clip": clip,
            "n_envs": _N_ENVS,
            "env_steps": _ITERATIONS * steps_per_itr,
            "algo": algo.model_copy(update=changed),
            "eval": config.eval.model_copy(update={"every": 100, "n_envs": 1, "choices": "never"}),
            "report_episodes": 1,
            "report_best": False,
            "checkpoint_every": 100,
        }
    )


def norms(config: FinetuneConfig, clip: float | None, out: Path) -> str:
    """Run under a bound and return the cells of a row."""
    task = config.task.id
    policy = paths.pretrain(_BUDGET, task, "diffusion", 0) / paths.POLICY
    pretrained, _ = load_policy(policy)
    finetune.run(short(config, pretrained.act_steps, clip), paths.demos(_BUDGET, task, "generated"), policy, out)
    rows = pd.read_csv(out / "diagnostics.csv")
    told = rows[rows["itr"] == _ITERATIONS].set_index("metric")["value"]
    beyond, median, largest = (told[name] for name in ("out_of_range", "grad_norm_rl_median", "grad_norm_rl_largest"))
    return f"{beyond:.1%} | {median:.2g} | {largest:.3g}"


def main() -> None:
    """Print a line per task."""
    parser = argparse.ArgumentParser(prog="python -m studies.gradient_norms", description=__doc__)
    parser.add_argument("tasks", nargs="*", default=_TASKS)
    args = parser.parse_args()
    project = Project(_CONFIG, read_yaml(_CONFIG / "config.yaml") | {"budget": _BUDGET})
    print("| task | method | beyond 3 | median norm | largest | bounded: beyond 3 | median norm | largest |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for task in args.tasks:
        config = project.finetune(task, "idql", "none", "inf", 0)
        if config.task.suite == "furniture":
            config = project.finetune(task, "residual_ppo", "none", "inf", 0)
        with tempfile.TemporaryDirectory() as folder:
            cells = [norms(config, clip, Path(folder, str(clip))) for clip in (None, config.clip)]
        print(f"| {task} | {config.method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
