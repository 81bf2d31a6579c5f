"""From settings and a pre-trained policy to the algorithm that fine-tunes it."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from inril.algos.base import Algorithm
from inril.config.algos import KINDS, AlgoConfig
from inril.config.runs import FinetuneConfig
from inril.data.chunks import SplitDemos
from inril.errors import InputError
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.gaussian import GaussianPolicy
from inril.policies.policy_file import Policy

_POLICIES = {"diffusion": DiffusionPolicy, "gaussian": GaussianPolicy}


def make_algorithm(config: FinetuneConfig, policy: Policy, demos: SplitDemos) -> Algorithm:
    """Build the algorithm of a run, with fresh critics.

    Args:
        config: resolved settings.
        policy: pre-trained.
        demos: for those methods that learn from demonstrations otherwise than by interleaving.

    Raises:
        InputError: the method does not fit the policy, or asks for more steps than it has.
    """
    if not isinstance(policy, _POLICIES[config.algo.fine_tunes]):
        expected = f"a {config.algo.fine_tunes} policy, which {config.method} can fine-tune"
        raise InputError("policy", field="kind", expected=expected, got=type(policy).__name__)
    if isinstance(policy, DiffusionPolicy):
        _check_limits(config.algo, policy)
    module, _, name = KINDS[config.algo.kind].make.partition(":")
    return cast(Algorithm, getattr(import_module(module), name)(config, policy, demos))


def _check_limits(algo: AlgoConfig, policy: DiffusionPolicy) -> None:
    limit = algo.exceeded(policy.schedule.denoising_steps, policy.chunk_shape[0])
    if limit is not None:
        raise InputError("algo", field=limit.field, expected=limit.expected, got=str(limit.value))
