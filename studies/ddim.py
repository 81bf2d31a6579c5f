"""What does sampling by DDIM cost a cloned policy?

    dvc pull
    snakemake -n results/fig8.pdf        # puts what was pulled into place
    python -m studies.ddim --task one_leg_low --steps 4 10 16 20

Equal episodes by the pre-trained policy of seed 0 at the `workstation` budget: by its whole chain, and by DDIM.
"""

from __future__ import annotations

import argparse

import torch

from inril.config import paths
from inril.evaluate import evaluate
from inril.policies.acting import PolicyActor
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.policy_file import load_policy

_BUDGET = "workstation"
_SEED = 777  # of the episodes


def main() -> None:
    """Print the successes of every way to sample."""
    parser = argparse.ArgumentParser(prog="python -m studies.ddim", description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--steps", type=int, nargs="+", default=[4])
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy, spec = load_policy(paths.pretrain(_BUDGET, args.task, "diffusion", 0) / paths.POLICY)
    assert isinstance(policy, DiffusionPolicy)
    for steps in [None, *args.steps]:
        policy.ddim_steps = steps
        result = evaluate(PolicyActor(policy), spec.task, args.episodes, _SEED)
        sampler = "whole chain" if steps is None else f"{steps} steps of DDIM"
        print(f"{args.task}, {sampler}: {result.success.sum()} of {len(result.success)} episodes", flush=True)


if __name__ == "__main__":
    main()
