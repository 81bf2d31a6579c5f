"""Where results live: `results/<budget>/<phase>/...`, one function per kind of output."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from inril.config.base import M

METRICS, POLICY = "metrics.csv", "policy.safetensors"  # of a run, in its folder; they appear when it is complete


class HasFolder(Protocol):
    """A run, pre-training or fine-tuning."""

    def folder(self, budget: str) -> Path:
        """Return where its results live."""


RunT = TypeVar("RunT", bound=HasFolder)


def demos(budget: str, task: str, source: str) -> Path:
    """Return the demonstration file of a task."""
    return Path("results", budget, "demos", task, f"{source}.hdf5")


def pretrain(budget: str, task: str, policy: str, seed: int) -> Path:
    """Return the folder of a pre-trained policy."""
    return Path("results", budget, "pretrain", task, policy, f"seed{seed}")


def finetune(budget: str, task: str, method: str, separation: str, m: M, seed: int) -> Path:
    """Return the folder of a fine-tuning run."""
    return Path("results", budget, "finetune", task, method, separation, f"m{m}", f"seed{seed}")


def complete(budget: str, runs: Iterable[RunT]) -> list[RunT]:
    """Return those of a budget's runs that are there."""
    return [run for run in runs if (run.folder(budget) / METRICS).exists()]


def figure(budget: str, name: str, suffix: str) -> Path:
    """Return the file of a figure or of the table behind it."""
    return Path("results", budget, "figures", f"{name}.{suffix}")


def film(budget: str, name: str, suffix: str) -> Path:
    """Return the film strips, or the animation, of a policy."""
    return Path("results", budget, "films", f"{name}.{suffix}")


def table(budget: str, name: str, suffix: str) -> Path:
    """Return the file of a table of results."""
    return Path("results", budget, "tables", f"{name}.{suffix}")
