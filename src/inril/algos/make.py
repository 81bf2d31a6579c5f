"""From settings and a pre-trained policy to the algorithm that fine-tunes it."""

from __future__ import annotations

from pathlib import Path

from inril.algos.awr import make_awr
from inril.algos.base import Algorithm
from inril.algos.dipo import make_dipo
from inril.algos.dppo import make_dppo
from inril.algos.idql import make_idql
from inril.algos.ppo_gaussian import make_ppo_gaussian
from inril.algos.residual_ppo import make_residual_ppo
from inril.config.runs import FinetuneConfig
from inril.data.chunks import SplitDemos
from inril.data.rewarded_demos import RewardedDemos, read_rewarded_demos
from inril.errors import InputError
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.files import Policy
from inril.policies.gaussian import GaussianPolicy


def make_algorithm(
    cfg: FinetuneConfig, policy: Policy, demos: SplitDemos, rewarded_demos: RewardedDemos | None = None
) -> Algorithm:
    """Build the algorithm of a run.

    Args:
        cfg: resolved settings.
        policy: pre-trained.
        demos: for those methods that learn from demonstrations otherwise than by interleaving.
        rewarded_demos: for the one that also learns from their rewards.

    Raises:
        InputError: the method does not fit the kind of policy.
    """
    if cfg.algo.kind == "dppo" and isinstance(policy, DiffusionPolicy):
        return make_dppo(cfg, policy, demos.train)
    if cfg.algo.kind == "idql" and isinstance(policy, DiffusionPolicy):
        return make_idql(cfg, policy, demos.train, rewarded_demos)
    if cfg.algo.kind == "dipo" and isinstance(policy, DiffusionPolicy):
        return make_dipo(cfg, policy)
    if cfg.algo.kind == "awr" and isinstance(policy, DiffusionPolicy):
        return make_awr(cfg, policy)
    if cfg.algo.kind == "ppo" and isinstance(policy, GaussianPolicy):
        return make_ppo_gaussian(cfg, policy)
    if cfg.algo.kind == "residual_ppo" and isinstance(policy, DiffusionPolicy):
        return make_residual_ppo(cfg, policy)
    expected = f"a policy that {cfg.method} can fine-tune"
    raise InputError("policy", field="kind", expected=expected, got=type(policy).__name__)


def rewarded_demos_of(cfg: FinetuneConfig, demos: Path, policy: Policy) -> RewardedDemos | None:
    """Read demonstrations with their rewards for the one control that learns from these; None for all other methods."""
    if cfg.algo.kind != "idql" or cfg.algo.demo_buffers != "both":
        return None
    horizon_steps, _ = policy.chunk_shape
    return read_rewarded_demos(demos, cfg.task, horizon_steps, cfg.holdout, policy.normalizer, cfg.algo.reward_factor)
