"""What a training iteration costs: environment steps per CPU-second of the whole loop, and where the time goes.

    python -m benchmarks.training                                       # every case
    python -m benchmarks.training mug_rack_low/dppo lift/idql
    python -m benchmarks.training --against ../before --repeats 3       # in turns with another checkout, and the ratio

One iteration after one to warm up, from the pre-trained policy of seed 0 of the case's budget (published; `dvc pull`;
demonstrations: `snakemake results/<budget>/demos/<task>/generated.hdf5 --config budget=<budget>`), at that budget's
settings but for the critic's warm-up, so that actor and critic both learn. Shares of the CPU time: bare physics
(`mj_step` from the states that chunks began in under the controls that their first action led to, the environment's own
step from there measured in turns with it; and of it what MuJoCo's own timers tell apart), the rest of the simulator
(control, observation, resets), networks in the rollout, gradient steps by network, the measurement of the gradients'
angle and evaluation, both spread over the iterations between two of them. The CPU-hours of a run leave out
pre-training.

How near to the limit: the simulator by bare physics; networks and gradient steps by the matrix products that they
carry out (seen in a third iteration), each taken alone at its own size by the library that is faster there, and at the
speed of a large product. None counts anything else that has to be done, such as activations, noise and the optimiser.
Memory is the process's peak, demonstrations and compilers included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch

import inril
from benchmarks.hopper import gemm_flops_per_cpu_second, peak_memory_bytes
from benchmarks.physics import Watched
from benchmarks.products import Products
from inril.config.runs import FinetuneConfig

_ROOT = Path(__file__).parents[1]
_CASES = (
    "hopper/dppo@laptop", "hopper/dppo@workstation", "lift/idql", "lift/dppo", "square/dppo", "transport/dppo",
    "transport/idql", "mug_rack_low/dppo", "mug_rack_low/residual_ppo", "one_leg_low/dppo", "one_leg_low/residual_ppo",
)  # fmt: skip
_GRADIENT_STEPS = "update_"


class Case(NamedTuple):
    """What is measured: a task, a method, the budget that sets both, and how imitation is interleaved."""

    task: str
    method: str
    budget: str
    separation: str = "none"
    m: str = "inf"

    @classmethod
    def of(cls, name: str) -> Case:
        """Read "task/method/separation/m@budget": `workstation` where no budget is named, else reinforcement alone."""
        run, _, budget = name.partition("@")
        task, method, *arm = run.split("/")
        return cls(task, method, budget or "workstation", *arm)


class Loop(NamedTuple):
    """A run of which iterations are measured.

    Attributes:
        tuning: what trains.
        simulator: its environments.
        clocks: where it takes the time of its phases from.
        diagnose_every: iterations between two measurements of the gradients' angle; here every one is measured.
    """

    tuning: Any
    simulator: Watched
    clocks: SimpleNamespace
    diagnose_every: int


@contextmanager
def opened(case: Case) -> Iterator[Loop]:
    """Begin the run of a case from its pre-trained policy."""
    from inril.algos.make import make_algorithm
    from inril.config import paths
    from inril.config.layers import read_yaml
    from inril.config.project import Project
    from inril.data.chunks import split_demos
    from inril.data.demo_file import read_demos
    from inril.policies.policy_file import load_policy
    from inril.train import finetune, run_log
    from inril.train.origin import origin_here
    from inril.train.run_folder import open_run

    config = Path(inril.__file__).parents[2] / "config"
    project = Project(config, read_yaml(config / "config.yaml") | {"budget": case.budget})
    m: Any = case.m if case.m == "inf" else int(case.m)
    planned = project.finetune(case.task, case.method, case.separation, m, 0)
    update = {
        "algo": planned.algo.model_copy(update={"critic_warmup_itr": 0}),
        "il": planned.il.model_copy(update={"diagnose_every": 1}),
    }
    cfg = planned.model_copy(update=update)
    policy, spec = load_policy(paths.pretrain(case.budget, case.task, cfg.policy_name, 0) / paths.POLICY, cfg.task)
    policy.normalizer.clip = cfg.clip
    demos = paths.demos(case.budget, case.task, "generated")
    split = split_demos(read_demos(demos, cfg.task), spec.horizon_steps, cfg.holdout, normalizer=policy.normalizer)
    clocks: Any = SimpleNamespace(perf_counter=time.process_time, process_time=time.process_time)
    log: Any = run_log
    log.time = clocks
    with (
        # As a run does; other checkouts may not know it.
        getattr(finetune, "small_products_by_onednn", nullcontext)(),
        tempfile.TemporaryDirectory() as folder,
        open_run(Path(folder), cfg, {}, "error", origin_here(torch.device("cpu"))) as run,
    ):
        tuning: Any = finetune.Finetuning(cfg, spec, make_algorithm(cfg, policy, split), split, run)
        tuning.env = Watched(tuning.env)
        yield Loop(tuning, tuning.env, clocks, planned.il.diagnose_every)
        tuning.env.close()


def measure(case: Case, with_limits: bool = True) -> dict[str, float]:
    """Run two iterations and account for the second, in CPU-seconds; `steps` are environment steps.

    Args:
        case: what to measure.
        with_limits: also measure bare physics, and as "limit: ..." the seconds that a part would take at its limit.
    """
    torch.set_num_threads(1)
    with opened(case) as loop:
        tuning, simulator = loop.tuning, loop.simulator
        tuning.iteration()
        tuning.log.seconds.clear()
        simulator.seconds = simulator.recording = 0.0
        before = tuning.env_steps
        tuning.iteration()
        tuning._log_evaluation()
        seconds = dict(tuning.log.seconds)
        costs = {
            "steps": float(tuning.env_steps - before),
            "steps of a run": float(tuning.cfg.env_steps),
            "report of a run": seconds["evaluate"] * episodes_of_report(tuning.cfg, len(tuning.algorithm.choices)),
            "peak memory": float(peak_memory_bytes()),
        }
        seconds["evaluate"] /= tuning.cfg.eval.every
        if "diagnose" in seconds:
            seconds["diagnose"] /= loop.diagnose_every
        rollout = seconds.pop("rollout") - simulator.recording
        if not with_limits:
            return {**costs, "rollout": rollout, **seconds}
        simulated, physics = simulator.seconds, simulator.physics()
        limits = limits_of_networks(products_of_iteration(loop))
    return {
        **costs,
        **physics,
        "control and observation": simulated - physics["physics"],
        "networks in the rollout": rollout - simulated,
        **seconds,
        **limits,
    }


def episodes_of_report(cfg: FinetuneConfig, n_choices: int) -> float:
    """Return how many times the episodes of an evaluation a run's final report plays, with its other ways to act."""
    others = n_choices if cfg.eval.choices != "never" else 0
    evaluated = 1 + (others if cfg.eval.choices == "always" else 0)
    return cfg.report_episodes * (1 + others + cfg.report_best) / (cfg.eval.n_envs * evaluated)


@contextmanager
def chains_by_torch() -> Iterator[None]:
    """Have chains sampled by torch's operations, which can be counted; they have the same products compiled."""
    if find_spec("inril.policies.compiled_chain") is None:  # in other code
        yield
        return
    from inril.policies import compiled_chain

    networks_of = compiled_chain.networks_of
    compiled_chain.networks_of = lambda predictions: None
    yield
    compiled_chain.networks_of = networks_of


def products_of_iteration(loop: Loop) -> dict[str, Any]:
    """Return operations and seconds of each phase's matrix products in an iteration; see `Products`."""
    with chains_by_torch(), Products() as products:
        loop.clocks.perf_counter = lambda: np.array([products.operations, products.seconds])
        loop.tuning.log.seconds.clear()
        loop.tuning.iteration()
    return dict(loop.tuning.log.seconds)


def limits_of_networks(products: dict[str, Any]) -> dict[str, float]:
    """Return the seconds that networks would take if they were matrix products alone, from `products_of_iteration`."""
    of_updates = sum(value for name, value in products.items() if name.startswith(_GRADIENT_STEPS))
    peak = gemm_flops_per_cpu_second()
    limits = {}
    for part, (operations, seconds) in (
        ("networks in the rollout", products["rollout"]),
        ("gradient steps", of_updates),
    ):
        limits[f"limit: {part}, at the peak"] = operations / peak
        limits[f"limit: {part}, at these sizes"] = seconds
    return limits


def in_subprocess(case: str, root: Path, with_limits: bool = True) -> dict[str, float]:
    """Measure a case with the code and settings of a checkout, on this one's data."""
    call = f"measure(Case.of({case!r}), with_limits={with_limits})"
    code = f"import json; from benchmarks.training import *; print(json.dumps({call}))"
    env = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{_ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, stdout=subprocess.PIPE, text=True)
    costs: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return costs


def rate(costs: dict[str, float]) -> float:
    """Return environment steps per CPU-second."""
    return costs["steps"] / sum(parts_of(costs).values())


def run_seconds(costs: dict[str, float]) -> float:
    """Return the CPU-seconds of a whole run, final report included."""
    return costs["steps of a run"] / rate(costs) + costs["report of a run"]


def parts_of(costs: dict[str, float]) -> dict[str, float]:
    """Return the seconds of the parts that the whole is the sum of."""
    others = ("steps", "report", "peak", "physics:", "limit:")
    return {name: value for name, value in costs.items() if not name.startswith(others)}


def nearness(costs: dict[str, float]) -> dict[str, float]:
    """Return how near the parts are to their limits, 1 being the limit."""
    spent = {
        "networks in the rollout": costs["networks in the rollout"],
        "gradient steps": sum(value for name, value in costs.items() if name.startswith(_GRADIENT_STEPS)),
    }
    products = {
        f"{part}, of their matrix products {where}": costs[f"limit: {part}, {where}"] / seconds
        for part, seconds in spent.items()
        for where in ("at the peak", "at these sizes")
    }
    simulator_s = costs["physics"] + costs["control and observation"]
    limit_s = costs["physics"] + sum(costs[f"limit: {part}, at these sizes"] for part in spent)
    return {
        "simulator, of bare physics": costs["physics"] / simulator_s,
        **products,
        "all of these, of physics and products at these sizes": limit_s / (simulator_s + sum(spent.values())),
    }


def show(case: str, costs: Sequence[dict[str, float]]) -> None:
    """Print medians over the repeats."""
    whole = median(one["steps"] / rate(one) for one in costs)
    run_s = median(map(run_seconds, costs))
    memory_mb = max(one["peak memory"] for one in costs) / 1e6
    print(
        f"{case}: {median(map(rate, costs)):,.0f} environment steps per CPU-second, "
        f"{run_s / 3600:.2f} CPU-hours a run, {memory_mb:.0f} MB at most"
    )
    for name in costs[0]:
        if not name.startswith(("steps", "report", "peak", "limit:")):
            print(f"    {name:28s} {median(one[name] for one in costs) / whole:6.1%}")
    for name in nearness(costs[0]):
        print(f"    {name}: {median(nearness(one)[name] for one in costs):.0%}")


def main() -> None:
    """Measure the cases, in turns with another checkout if there is one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("cases", nargs="*", default=_CASES)
    parser.add_argument("--against", type=Path, help="root of a checkout of other code")
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    roots = [_ROOT] if args.against is None else [_ROOT, args.against.resolve()]
    for case in args.cases:
        costs = [[in_subprocess(case, root) for root in roots] for _ in range(args.repeats)]
        show(case, [here for here, *_ in costs])
        if args.against is not None:
            show(f"  {args.against}", [there for _, there in costs])
            ratios = sorted(rate(here) / rate(there) for here, there in costs)
            print(f"    ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
