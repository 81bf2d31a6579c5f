"""What does the noise of training's denoising chains cost a cloned policy?

    python -m studies.sampling_noise --episodes 100 transport lift

DPPO and IDQL explore by a floor under the noise of every denoising step, the last one included (`min_sampling_std`);
evaluations have no such noise. Of the pre-trained diffusion policy of seed 0 at the `workstation` budget (published;
`dvc pull`), observations bounded as in training: success of equal episodes under several floors, nothing learned, with
Wilson's 95 % interval.
"""

from __future__ import annotations

import argparse

import torch

from inril.evaluate import evaluate
from inril.policies.acting import FunctionActor
from inril.policies.chain_sampler import ChainSampler
from inril.policies.diffusion import DiffusionPolicy, evaluation_std, training_std
from inril.types import FloatArray
from studies.clone import clone_for, percent

_TASKS = ("lift", "can", "square", "transport")
_FLOORS = (None, 0.02, 0.05, 0.1)  # None: as in evaluation
_SEED = 11  # of the episodes


def noisy(policy: DiffusionPolicy, floor: float | None) -> FunctionActor:
    """Return a policy that acts as it does in training's rollouts, or in evaluation."""
    std = evaluation_std(policy.schedule) if floor is None else training_std(policy.schedule, floor)
    chain = ChainSampler(policy.denoisers(), policy.schedule, std)

    @torch.no_grad()
    def act(obs: FloatArray, generator: torch.Generator) -> FloatArray:
        chunks = chain.chunks(policy.normalizer.from_env(obs), policy.chunk_shape, generator)
        return policy.normalizer.to_env(chunks)

    return FunctionActor(act, policy.act_steps)


def main() -> None:
    """Print a line per task and floor."""
    parser = argparse.ArgumentParser(prog="python -m studies.sampling_noise", description=__doc__)
    parser.add_argument("tasks", nargs="*", default=_TASKS)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | min_sampling_std | success |")
    print("| --- | --- | --- |")
    for task in args.tasks:
        policy, config = clone_for(task, "dppo")
        for floor in _FLOORS:
            result = evaluate(noisy(policy, floor), config.task, args.episodes, _SEED)
            print(f"| {task} | {floor or 'none'} | {percent(result.success)} |", flush=True)


if __name__ == "__main__":
    main()
