"""Settings of runs that take a second, and what tests read from their folders."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from inril.config.base import TaskSpec
from inril.config.layers import Layer, merge, read_yaml, validate
from inril.config.project import Project
from inril.config.runs import DemosConfig, FinetuneConfig, PretrainConfig, separations
from inril.tensor_file import read_tensors

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "inril"]
# The smoke budget, smaller still.
_FINETUNE: dict[str, Any] = {
    "env_steps": 900,
    "il": {"batch_size": 128},
    "eval": {"every": 2, "n_envs": 2},
    "report_episodes": 2,
}
_PRETRAIN: dict[str, Any] = {
    "optim": {"max_steps": 60, "batch_size": 64},
    "plateau": {"check_every": 30},
    "select_episodes": 2,
    "report_episodes": 2,
}


class Inputs(NamedTuple):
    """What fine-tuning starts from."""

    demos: Path
    diffusion: Path
    gaussian_chunk: Path


def project() -> Project:
    return Project(ROOT / "config", read_yaml(ROOT / "config" / "config.yaml") | {"budget": "smoke"})


def hopper() -> TaskSpec:
    return demos_config().task


def demos_config(**changed: Any) -> DemosConfig:
    values = project().demos("hopper").model_dump()
    return validate(
        DemosConfig, [Layer(Path("test"), values), Layer(Path("test"), {"n_steps": 2000, "n_envs": 12, **changed})]
    )


def pretrain_config(
    policy: str = "diffusion", changed: Mapping[str, Any] | None = None, seed: int = 0
) -> PretrainConfig:
    values = merge(project().pretrain("hopper", policy, seed).model_dump(), _PRETRAIN)
    return validate(PretrainConfig, [Layer(Path("test"), values), Layer(Path("test"), changed or {})])


def finetune_config(
    method: str = "dppo", m: int | str = 2, changed: Mapping[str, Any] | None = None, seed: int = 0
) -> FinetuneConfig:
    rl_only = project().finetune("hopper", method, "none", "inf", seed)
    separation = "none" if m == "inf" else separations(rl_only.algo, rl_only.il)[-1]
    values = merge(project().finetune("hopper", method, separation, m, seed).model_dump(), _FINETUNE)  # type: ignore[arg-type]
    if "target_kl" in values["algo"]:
        values["algo"]["target_kl"] = None  # no early stop, so that the number of updates can be told in advance
    return validate(FinetuneConfig, [Layer(Path("test"), values), Layer(Path("test"), changed or {})])


def weights(folder: Path) -> dict[str, Tensor]:
    return read_tensors(folder / "policy.safetensors", "policy").tensors


def same_weights(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Bit for bit: NaN equals itself, and 0 differs from -0."""
    return a.keys() == b.keys() and all(
        a[name].shape == b[name].shape and torch.equal(a[name].view(torch.int32), b[name].view(torch.int32))
        for name in a
    )


def metric(folder: Path, split: str, name: str) -> pd.Series[float]:
    """Return a metric's values in order of time."""
    table = pd.read_csv(folder / "metrics.csv", float_precision="round_trip")
    chosen = (table["split"] == split) & (table["metric"] == name)
    return table.loc[chosen, "value"].reset_index(drop=True)
