"""What all settings have in common: their base class, and the names that they choose from."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

# results/<figure>.* belongs to this budget alone, whichever is chosen.
DEFAULT_BUDGET = "laptop"
# What an arm without interleaving is called: where rewards are all that it learns from, and elsewhere.
RL_NAME, NOT_INTERLEAVED = "RL only", "not interleaved"
COMPUTE = "compute"  # source of a panel or row; any other is a budget

Fraction = Annotated[float, Field(ge=0, le=1)]
M = PositiveInt | Literal["inf"]
Separation = Literal["none", "surgery", "network"]
Method = Annotated[str, Field(pattern=r"^[a-z]\w*$", description="file in config/methods, without .yaml")]
PolicyName = Annotated[str, Field(pattern=r"^[a-z]\w*$", description="file in config/policies, without .yaml")]
DemoSource = Literal["generated", "d4rl", "robomimic", "file"]
Device = Literal["auto", "cpu", "cuda"]
OnMismatch = Literal["error", "restart"]  # what to do when a folder holds the state of another run
Suite = Literal["gym", "robomimic", "furniture"]
SCRIPTED: tuple[Suite, ...] = ("robomimic", "furniture")  # suites whose demonstrators are scripts
Sim = Literal["fast", "stock"]
Metric = Literal["return", "success"]
# Sources that have demonstrations of a suite's tasks; a file of one's own may be of any, once it is named.
SOURCES: dict[Suite, tuple[DemoSource, ...]] = {
    "gym": ("generated", "d4rl"),
    "robomimic": ("generated", "robomimic"),
    "furniture": ("generated",),
}
AdaptiveRule = Literal["loss_budget", "break_even", "square_root"]
AggregatorName = Literal[
    "upgrad",
    "mean",
    "torchjd.AlignedMTL",
    "torchjd.CAGrad",
    "torchjd.ConFIG",
    "torchjd.DualProj",
    "torchjd.IMTLG",
    "torchjd.MGDA",
    "torchjd.Mean",
    "torchjd.PCGrad",
    "torchjd.Sum",
    "torchjd.UPGrad",
]
TorchThreads = Annotated[
    PositiveInt,
    Field(description="threads of torch in one process; a setting, since results must not depend on the machine"),
]
MetricName = Annotated[str, Field(pattern=r"^\w+/\w+$")]


_LATER = object()


def later(default: Any, **kwargs: Any) -> Any:
    """Declare a field that came after results had been published, with the default that these were made with.

    It is written only where it differs from that default, so that the settings of those results stay what they were.
    """
    field = Field(default, **kwargs)
    field.metadata.append(_LATER)
    return field


class Model(BaseModel):
    """Base of all settings: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _omit_later(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        for name, field in type(self).model_fields.items():
            if _LATER in field.metadata and getattr(self, name) == field.default:
                values.pop(name, None)
        return values

    def digest(self) -> str:
        """Return a hash of all values, equal exactly for equal settings."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Execution(Model):
    """On what a job computes. No part of its settings: a change runs nothing again."""

    device: Device = Field("auto", description="of the networks; auto takes cuda where there is a GPU")
    sim_threads: PositiveInt = Field(1, description="threads of the simulator in one process (no effect on results)")


class TaskSpec(Model):
    """What a task is, whatever is done with it."""

    id: str = Field(description="name in paths, configs and figures")
    title: str = Field(description="name on figures")
    suite: Suite = Field(description="simulator family")
    obs_dim: PositiveInt = Field(description="Do")
    action_dim: PositiveInt = Field(description="Da")
    max_episode_steps: PositiveInt = Field(description="time limit in environment steps")
    metric: Metric = Field(description="headline metric")
    obs_keys: dict[str, PositiveInt] = later(
        {}, description="parts of an observation in order and their sizes; empty: one part, flat"
    )
    sim: Sim = later("fast", description="robomimic: compiled simulator, or robosuite itself")

    @property
    def obs_layout(self) -> dict[str, int]:
        """Parts of an observation, in order, and their sizes."""
        return dict(self.obs_keys) or {"flat": self.obs_dim}

    @model_validator(mode="after")
    def _check_obs(self) -> TaskSpec:
        if sum(self.obs_layout.values()) != self.obs_dim:
            raise ValueError(f"obs_keys whose sizes add up to obs_dim, {self.obs_dim}")
        return self
