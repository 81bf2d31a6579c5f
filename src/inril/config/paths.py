"""Where results live, `results/<budget>/<phase>/...`: one function per kind of output, and what names a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

from inril.config.base import M, PolicyName, Separation

METRICS, POLICY = "metrics.csv", "policy.safetensors"  # of a run, in its folder; they appear when it is complete


def demos(budget: str, task: str, source: str) -> Path:
    """Return the demonstration file of a task."""
    return Path("results", budget, "demos", task, f"{source}.hdf5")


def pretrain(budget: str, task: str, policy: str, seed: int) -> Path:
    """Return the folder of a pre-trained policy."""
    return Path("results", budget, "pretrain", task, policy, f"seed{seed}")


def finetune(budget: str, task: str, method: str, separation: str, m: M, seed: int) -> Path:
    """Return the folder of a fine-tuning run."""
    return Path("results", budget, "finetune", task, method, separation, f"m{m}", f"seed{seed}")


def figure(budget: str, name: str, suffix: str) -> Path:
    """Return the file of a figure or of the table behind it."""
    return Path("results", budget, "figures", f"{name}.{suffix}")


def film(budget: str, name: str, suffix: str) -> Path:
    """Return the film strips, or the animation, of a policy."""
    return Path("results", budget, "films", f"{name}.{suffix}")


def landscape(budget: str, name: str, suffix: str) -> Path:
    """Return the file of a landscape around policies, or of the table behind it."""
    return Path("results", budget, "landscapes", f"{name}.{suffix}")


def schematic(budget: str, name: str, suffix: str) -> Path:
    """Return the file of a drawing without data."""
    return Path("results", budget, "schematics", f"{name}.{suffix}")


def table(budget: str, name: str, suffix: str) -> Path:
    """Return the file of a table of results."""
    return Path("results", budget, "tables", f"{name}.{suffix}")


class Run(NamedTuple):
    """One fine-tuning run of a budget."""

    task: str
    method: str
    separation: Separation
    m: M
    seed: int

    def folder(self, budget: str) -> Path:
        """Return where its results live."""
        return finetune(budget, *self)


class Pretraining(NamedTuple):
    """One pre-training of a budget, of a policy that runs start from or that is shown for its own sake."""

    task: str
    policy: PolicyName
    seed: int

    def folder(self, budget: str) -> Path:
        """Return where its results live."""
        return pretrain(budget, *self)


AnyRun = Run | Pretraining


def run_of(parts: Mapping[str, str]) -> AnyRun:
    """Return the run that the parts of a path name."""
    if "policy" in parts.keys():  # noqa: SIM118 - Snakemake's wildcards are asked for values otherwise
        return Pretraining(parts["task"], parts["policy"], int(parts["seed"]))
    m: M = "inf" if parts["m"] == "inf" else int(parts["m"])
    return Run(parts["task"], parts["method"], cast(Separation, parts["separation"]), m, int(parts["seed"]))
