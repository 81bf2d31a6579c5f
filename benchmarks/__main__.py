"""`make bench`: measure, print, and write results/bench.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from benchmarks import furniture, hopper, robomimic, stepping
from inril.files import write_atomically


def main() -> None:
    """Measure everything in one run; iterations and the peak take turns, so that a busy machine slows both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    parser.add_argument("--iterations", type=int, default=3, help="counted iterations after one to warm up")
    args = parser.parse_args()
    torch.set_num_threads(1)
    reference = hopper.reference_run()
    run = reference.config
    iterations, peaks = [], []
    for itr in range(1, args.iterations + 2):
        before = hopper.gemm_flops_per_cpu_second()
        cost = hopper.measure_iteration(reference.algorithm, reference.env, itr)
        peak = (before + hopper.gemm_flops_per_cpu_second()) / 2
        if itr > 1:
            iterations.append(cost)
            peaks.append(peak)
    result = hopper.summary(iterations, peaks)
    result["peak_memory_mb"] = hopper.peak_memory_bytes() / 1e6
    speed = stepping.stepping_fraction_of_raw_mujoco("hopper")
    result["raw_mujoco_env_steps_per_cpu_second"] = speed["raw_mujoco"]
    result["stepping_env_steps_per_cpu_second"] = speed["batched_env"]
    result["rollout_fraction_of_raw_mujoco"] = speed["fraction"]
    result |= robomimic.robomimic_speeds()
    result |= furniture.furniture_speeds()
    for name, value in result.items():
        print(f"{name:45s} {value:12.3f}")
    settings = {"n_envs": run.n_envs, "n_steps": run.n_steps, "minibatch": reference.algorithm.config.minibatch}
    write_atomically(args.out, (json.dumps({**result, "settings": settings}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
