"""What options of several commands have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from inril.config.base import Device, Execution, Model, OnMismatch
from inril.config.layers import Layer, read_yaml, validate
from inril.config.project import Project
from inril.errors import InputError

ModelT = TypeVar("ModelT", bound=Model)

Flag = Annotated[bool, Parameter(negative=())]
Paths = Annotated[list[Path], Parameter(consume_multiple=True, negative=())]
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts would round 1.5 to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f'"{tokens[0].value}" is no whole number.') from None


def _m(_: Any, tokens: Sequence[Token]) -> int | Literal["inf"]:
    """Read an m."""
    return "inf" if tokens[0].value == "inf" else _whole(int, tokens)


def _above_zero(_: Any, m: int | Literal["inf"]) -> None:
    """Check an m."""
    if m != "inf" and m < 1:
        raise ValueError("Must be inf or > 0.")


Count = Annotated[int, Parameter(converter=_whole, validator=Number(gt=0))]
Seed = Annotated[int, Parameter(converter=_whole, validator=Number(gte=0))]
Interleaving = Annotated[int | Literal["inf"], Parameter(converter=_m, validator=_above_zero)]


@Parameter(name="*")
@dataclass(frozen=True)
class Computing:
    """What a run that learns is told besides its settings and inputs.

    Attributes:
        on_mismatch: what to do when the folder holds the state of another run.
        device: of the networks; auto takes a GPU if there is one.
        sim_threads: threads of the simulator.
    """

    on_mismatch: OnMismatch = "error"
    device: Device = "auto"
    sim_threads: Count = 1

    @property
    def execution(self) -> Execution:
        """On what it computes."""
        return Execution(device=self.device, sim_threads=self.sim_threads)


def read_config(model: type[ModelT], text: str) -> ModelT:
    """Build a model from `--config`: a YAML file, or JSON if it starts with a brace.

    Raises:
        InputError: neither, or not what the model allows.
    """
    if not text.lstrip().startswith("{"):
        return validate(model, [Layer(Path(text), read_yaml(Path(text)))])
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("--config", expected="a file or valid JSON", got=f"{error}") from None
    return validate(model, [Layer(Path("--config"), values)])


def read_project(config_dir: Path, budget: str | None = None) -> Project:
    """Read the configuration folder, under the budget of its config.yaml unless another one is named."""
    said = [] if budget is None else [Layer(Path("--budget"), {"budget": budget})]
    return Project(config_dir, read_yaml(config_dir / "config.yaml"), *said)
