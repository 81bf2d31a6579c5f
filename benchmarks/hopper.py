"""One DPPO iteration on Hopper at the reference settings, phase by phase, beside the machine's matrix product speed."""

from __future__ import annotations

import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from inril.algos.dppo import make_dppo
from inril.algos.ppo import PPO
from inril.config.base import Execution
from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.config.runs import FinetuneConfig, PretrainConfig
from inril.data import read_demos, split_demos
from inril.data.chunks import SplitDemos
from inril.device import resolve
from inril.envs import make
from inril.envs.base import BatchedEnv
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.mlp import MLP, fold
from inril.policies.operations import linear
from inril.policies.policy_file import load_policy
from inril.train import pretrain
from inril.train.demonstrate import make_demos

_CONFIG = Path(__file__).parents[1] / "config"


class Cost(NamedTuple):
    """Seconds of one piece of work."""

    cpu_s: float
    wall_s: float


class IterationCost(NamedTuple):
    """What one iteration cost and did.

    Attributes:
        phases: rollout, update_critic, update_actor.
        env_steps: executed.
        flops_done: floating point operations of the networks in the update, rows dropped from the backward pass
            not counted.
        flops_dense: the same with every row of the actor in both passes.
    """

    phases: dict[str, Cost]
    env_steps: int
    flops_done: float
    flops_dense: float


class ReferenceRun(NamedTuple):
    """A run at the reference settings, before its first iteration.

    Attributes:
        algorithm: DPPO on a cloned policy.
        env: what it learns in.
        config: of the run.
        cloning: settings of the pre-training, shortened.
        demos: what was cloned.
    """

    algorithm: PPO
    env: BatchedEnv
    config: FinetuneConfig
    cloning: PretrainConfig
    demos: SplitDemos


def gemm_flops_per_cpu_second(size: int = 2048) -> float:
    """Measure the peak of float32 matrix products on one thread: BLAS's or oneDNN's, whichever is faster."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = [measure(partial(product, a, b)).cpu_s for product in (torch.mm, linear) for _ in range(6)]
    return 2 * size**3 / min(times)


def measure(work: Callable[[], object]) -> Cost:
    """Time one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def reference_run(execution: Execution = Execution(device="cpu")) -> ReferenceRun:
    """Build DPPO on Hopper at the reference settings, on a policy that was pre-trained for a few seconds.

    Its episodes last some hundred steps, as those of a real run do; a random policy would fall at once.
    """
    root = read_yaml(_CONFIG / "config.yaml") | {"budget": "reference"}
    project = Project(_CONFIG, root)
    demos_cfg = project.demos("hopper").model_copy(update={"n_steps": 30_000})
    cloning = project.pretrain("hopper", "diffusion", 0)
    optim = cloning.optim.model_copy(update={"max_steps": 2500, "lr_min": 1e-4})
    cloning = cloning.model_copy(update={"optim": optim, "select_episodes": 4, "report_episodes": 4})
    device = resolve(execution.device)
    with tempfile.TemporaryDirectory() as folder:
        demos = Path(folder, "demos.hdf5")
        make_demos(demos_cfg, demos)
        pretrain.run(cloning, demos, Path(folder, "policy"), execution=execution)
        policy, _ = load_policy(Path(folder, "policy", "policy.safetensors"), cloning.task)
        policy.to(device)
        split = split_demos(
            read_demos(demos, cloning.task),
            cloning.horizon_steps,
            cloning.holdout,
            normalizer=policy.normalizer,
            device=device,
        )
    assert isinstance(policy, DiffusionPolicy)
    run = project.finetune("hopper", "dppo", "none", "inf", 0)
    env = make("hopper", run.n_envs, cloning.horizon_steps, execution.sim_threads)
    return ReferenceRun(make_dppo(run, policy, split), env, run, cloning, split)


def measure_iteration(algorithm: PPO, env: BatchedEnv, itr: int) -> IterationCost:
    """Run one iteration of training and account for it."""
    cpu: dict[str, float] = defaultdict(float)
    wall: dict[str, float] = defaultdict(float)
    flops_done = flops_dense = 0.0
    info: dict[str, float] = {}

    def account(phase: str, cost: Cost) -> None:
        cpu[phase] += cost.cpu_s
        wall[phase] += cost.wall_s

    account("rollout", measure(lambda: info.update(algorithm.collect(env, itr))))
    updates = algorithm.updates(itr)
    while True:
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        update = next(updates, None)
        if update is None:
            break
        update.zero_grad()
        step = update.backward()
        update.apply()
        phase = f"update_{update.name}"
        account(phase, Cost(time.process_time() - cpu_start, time.perf_counter() - wall_start))
        done, dense = _flops(algorithm, update.name, step)
        flops_done, flops_dense = flops_done + done, flops_dense + dense
    phases = {name: Cost(cpu[name], wall[name]) for name in cpu}
    return IterationCost(phases, int(info["env_steps"]), flops_done, flops_dense)


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _flops(algorithm: PPO, name: str, info: dict[str, float]) -> tuple[float, float]:
    """Operations of one gradient step: (done, dense)."""
    if name == "critic":
        dense = info["n_distinct_obs"] * _mlp_flops(algorithm.critic, backward=1.0)
        return dense, dense
    mlp: MLP = algorithm.head.actor.mlp  # type: ignore[attr-defined]
    # The network keeps all rows unless a tenth of them can be dropped.
    active = info["active_fraction"] if info["active_fraction"] < 0.9 else 1.0
    rows = algorithm.config.minibatch
    return rows * _mlp_flops(mlp, backward=active), rows * _mlp_flops(mlp, backward=1.0)


def _mlp_flops(mlp: MLP, backward: float) -> float:
    """Operations per row of a residual network as it is computed: 2 per weight forward, 4 backward."""
    net = fold(list(mlp.parameters()))
    return (2 + 4 * backward) * sum(weight.numel() for weight in (*net.inner[::2], *net.direct))


def summary(iterations: list[IterationCost], gemm_peak: list[float]) -> dict[str, float]:
    """Medians over iterations of what they cost, in CPU-seconds and wall seconds, and ratios to the peak."""
    names = iterations[0].phases
    result: dict[str, float] = {"gemm_peak_gflops": median(gemm_peak) / 1e9}
    for name in names:
        result[f"{name}_cpu_s"] = median(i.phases[name].cpu_s for i in iterations)
        result[f"{name}_wall_s"] = median(i.phases[name].wall_s for i in iterations)
    rates, done, dense = [], [], []
    for i, peak in zip(iterations, gemm_peak, strict=True):
        rates.append(i.env_steps / sum(cost.cpu_s for cost in i.phases.values()))
        update = sum(cost.cpu_s for name, cost in i.phases.items() if name != "rollout")
        done.append(i.flops_done / update / peak)
        dense.append(i.flops_dense / update / peak)
    result["hopper_env_steps_per_iteration"] = median(i.env_steps for i in iterations)
    result["hopper_env_steps_per_cpu_second"] = median(rates)
    result["update_fraction_of_gemm_peak"] = median(done)
    result["update_fraction_of_gemm_peak_dense"] = median(dense)
    return result
