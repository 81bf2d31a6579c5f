"""How far do rollouts leave the range that observations are normalised by, and what does a bound change?

    python -m studies.observations --episodes 50 peg_in_hole_low mug_rack_low

Of the pre-trained diffusion policy of seed 0 at the `workstation` budget (published; `dvc pull`): share of observations
with a normalised dimension beyond 3, the largest, the dimension that it is of and that dimension's range in the
demonstrations; the success of equal episodes as they are and bounded at 3; and, where actions are positions
(furniture), by how much a residual of 1 at the reference's scale of 0.1 moves the hand, axis by axis.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from inril.config import paths
from inril.envs.base import BatchedEnv
from inril.evaluate import Evaluation, evaluate
from inril.policies.acting import PolicyActor
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.policy_file import PolicySpec, load_policy
from inril.types import ChunkStep, FloatArray

_BUDGET = "workstation"
_TASKS = (
    "lift", "can", "square", "transport", "one_leg_low", "one_leg_med", "lamp_low", "lamp_med", "round_table_low",
    "mug_rack_low", "peg_in_hole_low",
)  # fmt: skip
_SEED = 11  # of the episodes
_BOUND = 3.0
_SCALE = 0.1  # of residuals


class Recorder:
    """Keeps the observations of episodes that still run, as a watcher of `evaluate`."""

    def __init__(self) -> None:
        self.obs: list[FloatArray] = []

    def start(self, env: BatchedEnv) -> None:
        """Begin with all environments."""
        self.running = np.ones(env.n_envs, dtype=bool)

    def add(self, obs: FloatArray, action_chunk: FloatArray, step: ChunkStep) -> None:
        """Take note of the observations before a chunk."""
        self.obs.append(obs[self.running])
        self.running &= ~(step.terminated | step.truncated)


def run(policy: DiffusionPolicy, spec: PolicySpec, episodes: int, clip: float | None) -> tuple[Evaluation, FloatArray]:
    """Evaluate under a bound; returns the episodes and their observations, normalised and unbounded."""
    policy.normalizer.clip = clip
    seen = Recorder()
    result = evaluate(PolicyActor(policy), spec.task, episodes, _SEED, watcher=seen)
    policy.normalizer.clip = None
    obs = policy.normalizer.normalize_obs(torch.from_numpy(np.concatenate(seen.obs)).float())
    return result, obs.double().numpy()


def _moves(policy: DiffusionPolicy, spec: PolicySpec) -> str:
    if spec.task.suite != "furniture":
        return "–"
    half_range_m = (policy.normalizer.action_max - policy.normalizer.action_min)[:3] / 2
    return f"{', '.join(f'{1000 * _SCALE * size:.0f}' for size in half_range_m.tolist())} mm"


def main() -> None:
    """Print a line per task."""
    parser = argparse.ArgumentParser(prog="python -m studies.observations", description=__doc__)
    parser.add_argument("tasks", nargs="*", default=_TASKS)
    parser.add_argument("--episodes", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | beyond 3 | largest | of dimension, range | success | bounded at 3 | residual of 1 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for task in args.tasks:
        policy, spec = load_policy(paths.pretrain(_BUDGET, task, "diffusion", 0) / paths.POLICY)
        assert isinstance(policy, DiffusionPolicy)
        free, obs = run(policy, spec, args.episodes, None)
        bounded, _ = run(policy, spec, args.episodes, _BOUND)
        reach = np.abs(obs)
        worst = int(reach.max(axis=0).argmax())
        width = float(policy.normalizer.obs_max[worst] - policy.normalizer.obs_min[worst])
        print(
            f"| {task} | {(reach.max(axis=1) > _BOUND).mean():.1%} | {reach.max():.3g} | {worst}, {width:.2g} "
            f"| {free.success.mean():.0%} | {bounded.success.mean():.0%} | {_moves(policy, spec)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
