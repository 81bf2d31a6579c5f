"""The cloned policy that a study starts from."""

from __future__ import annotations

from pathlib import Path

from inril.config import paths
from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.config.runs import FinetuneConfig
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.policy_file import load_policy
from inril.report.statistics import wilson
from inril.types import BoolArray

_CONFIG = Path(__file__).parents[1] / "config"
_BUDGET = "workstation"


def clone_for(task: str, method: str) -> tuple[DiffusionPolicy, FinetuneConfig]:
    """Return the diffusion policy of seed 0 at `workstation`, bounded as a method's training does, and its settings."""
    policy, _ = load_policy(paths.pretrain(_BUDGET, task, "diffusion", 0) / paths.POLICY)
    assert isinstance(policy, DiffusionPolicy)
    project = Project(_CONFIG, read_yaml(_CONFIG / "config.yaml") | {"budget": _BUDGET})
    config = project.finetune(task, method, "none", "inf", 0)
    policy.normalizer.clip = config.clip
    return policy, config


def percent(success: BoolArray) -> str:
    """Return the share of episodes (n,) that succeeded, with Wilson's 95 % interval."""
    solved, low, high = (100 * share for share in wilson(success.astype(float)))
    return f"{solved:.0f} % [{low:.0f}, {high:.0f}]"
