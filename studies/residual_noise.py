"""What does the noise of residuals cost a base before it is corrected?

    python -m studies.residual_noise --episodes 100 one_leg_low mug_rack_low

Residual PPO explores by Gaussian noise on every action of its base, and its rollouts show the policy under that noise
while evaluations show it without. Of the pre-trained diffusion policy of seed 0 at the `workstation` budget (published;
`dvc pull`), observations bounded as in training: success of equal episodes under the noise of several `log_std`, with
Wilson's 95 % interval, and by how much such noise moves the hand, axis by axis.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor

from inril.config.algos import ResidualPPOConfig
from inril.evaluate import evaluate
from inril.policies.acting import PolicyActor
from inril.policies.residual import ResidualPolicy
from studies.clone import clone_for, percent

_TASKS = ("one_leg_low", "mug_rack_low", "peg_in_hole_low")
_LOG_STD = (-math.inf, -3.0, -2.0, -1.5, -1.0)
_SEED = 11  # of the episodes


class NoisyPolicy(ResidualPolicy):
    """A residual policy that acts as it does in training's rollouts."""

    @torch.no_grad()
    def exploit(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions (E, 1, Da), normalised, with the noise of training, for normalised observations (E, Do)."""
        seen = self.see(obs, self.plans, generator)
        mean = self.mean(seen)
        return self.corrected(seen, mean + self.std * torch.randn(mean.shape, generator=generator))[:, None]


def main() -> None:
    """Print a line per task and noise."""
    parser = argparse.ArgumentParser(prog="python -m studies.residual_noise", description=__doc__)
    parser.add_argument("tasks", nargs="*", default=_TASKS)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | log_std | noise of the hand | success |")
    print("| --- | --- | --- | --- |")
    for task in args.tasks:
        base, cfg = clone_for(task, "residual_ppo")
        assert isinstance(cfg.algo, ResidualPPOConfig)
        half_range_m = (base.normalizer.action_max - base.normalizer.action_min)[:3] / 2
        for log_std in _LOG_STD:
            noisy = NoisyPolicy(base, cfg.algo.residual.model_copy(update={"log_std": log_std}))
            result = evaluate(PolicyActor(noisy), cfg.task, args.episodes, _SEED)
            moves = ", ".join(f"{1000 * noisy.scale * noisy.std * size:.1f}" for size in half_range_m.tolist())
            print(f"| {task} | {log_std:g} | {moves} mm | {percent(result.success)} |", flush=True)


if __name__ == "__main__":
    main()
