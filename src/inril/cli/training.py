"""Commands that make something of a task: demonstrations, policies, episodes."""

from __future__ import annotations

import gc
from pathlib import Path

from inril.cli.options import Computing, Count, Seed, read_config
from inril.config.runs import DemosConfig, ExpertJob, FinetuneConfig, PretrainConfig

_USUAL = Computing()


def demos(*, config: str, out: Path, sim_threads: Count = 1) -> None:
    """Make the demonstrations of a task.

    Args:
        config: resolved settings: a YAML file, or JSON in place.
        out: HDF5 file to write.
        sim_threads: threads of the simulator.
    """
    settings = read_config(DemosConfig, config)
    from inril.train.demonstrate import make_demos

    make_demos(settings, out, sim_threads)


def pretrain(*, config: str, demos: Path, out: Path, computing: Computing = _USUAL) -> None:
    """Clone demonstrations; resumes where it was interrupted.

    Args:
        config: resolved settings: a YAML file, or JSON in place.
        demos: demonstrations, HDF5.
        out: folder of the run.
        computing: what a run is told besides.
    """
    settings = read_config(PretrainConfig, config)
    from inril.train import pretrain

    gc.freeze()  # what is imported stays, so that no collection has to look through it again
    pretrain.run(settings, demos, out, computing.on_mismatch, computing.execution)


def finetune(*, config: str, demos: Path, policy: Path, out: Path, computing: Computing = _USUAL) -> None:
    """Fine-tune a policy; resumes where it was interrupted.

    Args:
        config: resolved settings: a YAML file, or JSON in place.
        demos: demonstrations, HDF5.
        policy: pre-trained policy.safetensors.
        out: folder of the run.
        computing: what a run is told besides.
    """
    settings = read_config(FinetuneConfig, config)
    from inril.train import finetune

    gc.freeze()  # what is imported stays, so that no collection has to look through it again
    finetune.run(settings, demos, policy, out, computing.on_mismatch, computing.execution)


def evaluate(*, policy: Path, episodes: Count = 200, seed: Seed = 0) -> None:
    """Run a policy, pre-trained or fine-tuned, and print its return and, where the task has a goal, its success.

    Args:
        policy: policy.safetensors of a run.
        episodes: at least so many.
        seed: of environments and noise.
    """
    from inril.evaluate import evaluate
    from inril.policies.acting import PolicyActor
    from inril.policies.policy_file import load_policy

    acting, spec = load_policy(policy)
    result = evaluate(PolicyActor(acting), spec.task, episodes, seed)
    n = len(result.episode_return)
    error = result.episode_return.std() / n**0.5
    print(
        f"{spec.task.id}: return {result.episode_return.mean():.1f} +- {error:.1f} (standard error), "
        f"length {result.episode_length.mean():.0f}, {n} episodes"
    )
    if spec.task.metric == "success":
        from inril.report.statistics import wilson

        solved, low, high = (f"{100 * share:.1f}" for share in wilson(result.success.astype(float)))
        print(f"success {solved} % (95 % interval {low} to {high} %)")


def expert(*, config: str, out: Path) -> None:
    """Train a demonstrator from scratch.

    Args:
        config: resolved settings: a YAML file, or JSON in place.
        out: safetensors file to write.
    """
    job = read_config(ExpertJob, config)
    from inril.train import expert

    expert.run(job.expert, job.task, out)
