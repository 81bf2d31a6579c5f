"""Versions of what computes numbers: bump one when results change, and the pipeline re-runs just what it affects.

Golden tests (tests/unit/test_golden.py) fail when results change without a bump.
"""

from __future__ import annotations

from inril.config.base import SCRIPTED
from inril.config.runs import FinetuneConfig

VERSIONS = {
    "expert": 1,
    "demos": 1,
    "demonstrator": 2,
    "scripted": 1,
    "furniture": 2,
    "pretrain": 1,
    "evaluate": 1,
    "finetune": 3,
    "dppo": 1,
    "bc_loss": 1,
    "idql": 2,
    "rewarded_demos": 1,
    "dipo": 2,
    "awr": 2,
    "ppo_gaussian": 1,
    "residual_ppo": 1,
    "noise": 1,
    "none": 1,
    "surgery": 1,
    "network": 1,
    "report": 2,
}


def versions(*parts: str) -> dict[str, int]:
    """Return the versions of the named parts, for a rule's params; a part without golden numbers is at its first."""
    return {part: VERSIONS.get(part, 1) for part in parts}


def demos_versions(suite: str, source: str) -> dict[str, int]:
    """Return the versions of what demonstrations of a suite's task from a source are made with."""
    if source != "generated":
        return versions("demos")
    return versions("demos", "scripted" if suite in SCRIPTED else "demonstrator", *_simulator(suite))


def evaluation_versions(suite: str) -> dict[str, int]:
    """Return the versions of what episodes in a suite are computed with."""
    return versions("evaluate", *_simulator(suite))


def pretrain_versions(suite: str) -> dict[str, int]:
    """Return the versions of what a pre-training run in a suite computes with."""
    return versions("pretrain", "evaluate", *_simulator(suite))


def finetune_versions(run: FinetuneConfig) -> dict[str, int]:
    """Return the versions of what a fine-tuning run computes with; RL only separates nothing."""
    noise = ("noise",) if run.il.source == "noise" else ()
    adaptive = () if run.il.adaptive is None else ("adaptive",)
    interleaving = () if run.m == "inf" else (run.separation, *adaptive)
    parts = (*run.algo.numerics, *noise, *interleaving, *_simulator(run.task.suite))
    return versions("finetune", "evaluate", *parts)


def _simulator(suite: str) -> tuple[str, ...]:
    """Return the part that is a suite's simulator, where it is our own model and not one that others fix."""
    return ("furniture",) if suite == "furniture" else ()
