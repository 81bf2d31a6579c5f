"""What does IDQL's greedy choice among proposals cost before its critic has learnt anything?

    snakemake --cores 2 results/workstation/demos/lift/generated.hdf5 --config budget=workstation
    python -m studies.greedy_choice --task lift --episodes 50

Of the chunks that the pre-trained policy of seed 0 proposes at the `workstation` budget, equal episodes execute the
first, that with the largest and that with the smallest value; critics are fresh ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from inril.algos.idql import IDQL, make_idql
from inril.config import paths
from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.data.chunks import split_demos
from inril.data.demo_file import read_demos
from inril.evaluate import evaluate
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.policy_file import load_policy

_CONFIG = Path(__file__).parents[1] / "config"
_BUDGET = "workstation"
_SEED = 7  # of the episodes

# Of values (E, M) the index (E,) of the chunk to execute.
_CHOICES: dict[str, Callable[[Tensor], Tensor]] = {
    "first": lambda values: torch.zeros(len(values), dtype=torch.long),
    "largest value": lambda values: values.argmax(dim=1),
    "smallest value": lambda values: values.argmin(dim=1),
}


def exploit(idql: IDQL, choice: Callable[[Tensor], Tensor], obs: Tensor, generator: torch.Generator) -> Tensor:
    """Choose among the chunks proposed with evaluation noise, as `IDQL.exploit` does by the largest value."""
    chunks = idql.propose(idql.evaluation_chain, obs, generator)
    return chunks[torch.arange(len(chunks)), choice(idql.q_target.rank(obs, chunks))]


def main() -> None:
    """Print the success rate of every choice for two critics."""
    parser = argparse.ArgumentParser(prog="python -m studies.greedy_choice", description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--episodes", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    project = Project(_CONFIG, read_yaml(_CONFIG / "config.yaml") | {"budget": _BUDGET})
    demos = read_demos(paths.demos(_BUDGET, args.task, "generated"), project.demos(args.task).task)
    policy_file = paths.pretrain(_BUDGET, args.task, "diffusion", 0) / paths.POLICY
    for seed in (0, 1):
        config = project.finetune(args.task, "idql", "none", "inf", seed)
        policy, spec = load_policy(policy_file, config.task)
        assert isinstance(policy, DiffusionPolicy)
        split = split_demos(demos, spec.horizon_steps, config.holdout, normalizer=policy.normalizer)
        idql = make_idql(config, policy, split)
        for name, choice in _CHOICES.items():
            idql.exploit = partial(exploit, idql, choice)  # type: ignore[method-assign]
            result = evaluate(idql, config.task, args.episodes, _SEED)
            print(f"{args.task}, critic {seed}, {name}: {100 * result.success.mean():.0f} %", flush=True)


if __name__ == "__main__":
    main()
