"""What does a GPU save?

    python -m benchmarks.devices --devices cpu cuda --threads 8

Wall time of a pre-training step and of one DPPO iteration on Hopper at the reference settings, on each device named.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks import hopper
from inril.config.base import Execution
from inril.train.pretrain import Cloning

_BLOCK = 500  # gradient steps that are timed together


def main() -> None:
    """Print medians, device by device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__)
    parser.add_argument("--devices", nargs="+", choices=("cpu", "cuda"), default=["cpu"])
    parser.add_argument("--threads", type=int, default=1, help="of the simulator and, on the CPU, of torch")
    parser.add_argument("--repeats", type=int, default=3, help="counted ones after one to warm up")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats: expected 1 or more, got {args.repeats}")
    for device in args.devices:
        run = hopper.reference_run(Execution(device=device, sim_threads=args.threads))
        torch.set_num_threads(args.threads)  # the pre-training has set its own
        step = median([_pretraining_step(run) for _ in range(args.repeats + 1)][1:])
        print(f"{device}: pre-training, batch {run.cloning.optim.batch_size}: {1e3 * step:.2f} ms a step", flush=True)
        costs = [hopper.measure_iteration(run.algorithm, run.env, itr) for itr in range(1, args.repeats + 2)][1:]
        for phase in costs[0].phases:
            print(
                f"{device}: {phase}: {median(cost.phases[phase].wall_s for cost in costs):.2f} s an iteration",
                flush=True,
            )


def _pretraining_step(run: hopper.ReferenceRun) -> float:
    """Seconds of one gradient step."""
    plateau = run.cloning.plateau.model_copy(update={"check_every": _BLOCK})
    cloning = Cloning(run.cloning.model_copy(update={"plateau": plateau}), run.demos)
    start = time.perf_counter()
    cloning.train_block(Path())  # ends with a look at the weights, which waits for the GPU
    return (time.perf_counter() - start) / _BLOCK


if __name__ == "__main__":
    main()
