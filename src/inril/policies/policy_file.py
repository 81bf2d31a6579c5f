"""Policy files: weights, normaliser and the settings that shape them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from inril.config.algos import AlgoConfig, ResidualConfig
from inril.config.base import Model, TaskSpec, later
from inril.config.policy import DiffusionConfig, GaussianConfig, RankerConfig
from inril.errors import InputError
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.gaussian import GaussianPolicy
from inril.policies.ranked import RankedPolicy, build_critics
from inril.policies.residual import ResidualPolicy
from inril.tensor_file import read_tensors, write_tensors

ChunkedPolicy = DiffusionPolicy | GaussianPolicy
Policy = ChunkedPolicy | ResidualPolicy | RankedPolicy


class PolicySpec(Model):
    """All that is needed to build a policy's networks again.

    Attributes:
        task: what it was trained for.
        policy: its kind and sizes.
        horizon_steps: Tp.
        ft_denoising_steps: K' of a fine-tuned diffusion policy, else 0.
        residual: what corrects a diffusion policy's actions one by one; None for nothing.
        ranker: what chooses among a diffusion policy's chunks; None for nothing.
    """

    task: TaskSpec
    policy: DiffusionConfig | GaussianConfig = Field(discriminator="kind")
    horizon_steps: int
    ft_denoising_steps: int = 0
    residual: ResidualConfig | None = later(None)
    ranker: RankerConfig | None = later(None)

    @model_validator(mode="after")
    def _check(self) -> PolicySpec:
        if isinstance(self.policy, DiffusionConfig):
            self.policy.check_chunk(self.horizon_steps)
        return self

    def finetuned(self, algo: AlgoConfig) -> PolicySpec:
        """Return how the policy is built that an algorithm makes of this one: of its whole chain, or on top of it."""
        policy = self.policy
        if isinstance(policy, DiffusionConfig) and not algo.has_base:
            policy = policy.model_copy(update={"ddim_steps": None})
        return self.model_copy(update={"policy": policy, **algo.adds})

    def build(self) -> Policy:
        """Return the policy with fresh weights."""
        base = self.build_chunked()
        if isinstance(base, GaussianPolicy):
            return base
        if self.ranker is not None:
            critics = build_critics(self.ranker, self.task.obs_dim, self.task.action_dim, self.horizon_steps)
            return RankedPolicy(base, critics, self.ranker.n_samples)
        return base if self.residual is None else ResidualPolicy(base, self.residual)

    def build_chunked(self) -> ChunkedPolicy:
        """Return the policy, without what corrects it, with fresh weights."""
        if isinstance(self.policy, DiffusionConfig):
            return DiffusionPolicy(self.policy, self.task, self.horizon_steps, self.ft_denoising_steps)
        return GaussianPolicy(self.policy, self.task, self.horizon_steps)


def save_policy(path: Path, spec: PolicySpec, state: dict[str, Tensor], origin: dict[str, Any]) -> None:
    """Write a policy file.

    Args:
        path: file to write.
        spec: how to build the networks.
        state: the policy's state dict; a fine-tuned diffusion policy adds `denoiser_ft.*`, a residual one has
            `base.*` and `residual.*`, a ranked one `base.*` and `critic.*`.
        origin: where the weights come from, for people.
    """
    write_tensors(path, "policy", state, {"spec": spec.model_dump(mode="json"), "origin": origin})


def load_policy(path: Path, task: TaskSpec | None = None) -> tuple[Policy, PolicySpec]:
    """Read a policy, pre-trained or fine-tuned.

    Args:
        path: file written by `save_policy`; observations are bounded as in the run that made it.
        task: what it must be for; None takes any.

    Raises:
        InputError: the file is damaged, of another kind, another task or other sizes.
    """
    file = read_tensors(path, "policy")
    try:
        spec = PolicySpec.model_validate(file.meta.get("spec"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["spec", *map(str, first["loc"])])
        raise InputError(path, field=field, expected=first["msg"], got=repr(first["input"])) from None
    if task is not None and spec.task.id != task.id:
        raise InputError(
            path,
            field="task",
            expected=repr(task.id),
            got=repr(spec.task.id),
            hint="Give the policy that was pre-trained for this task",
        )
    policy = spec.build()
    try:
        policy.load_state_dict(file.tensors)
    except RuntimeError as error:
        got = " ".join(str(error).split())
        raise InputError(path, field="weights", expected=f"the weights of {spec.policy.kind}", got=got) from None
    policy.normalizer.clip = _settings(file.meta).get("clip")
    return policy, spec


def _settings(meta: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the run that made a policy, as far as it tells them."""
    origin = meta.get("origin") or {}
    return dict(origin.get("config") or {})
