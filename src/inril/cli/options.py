"""What options of several commands have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from inril.config.base import Model
from inril.config.layers import Layer, read_yaml, validate
from inril.config.project import Project
from inril.errors import InputError

ModelT = TypeVar("ModelT", bound=Model)

Flag = Annotated[bool, Parameter(negative=())]
Paths = Annotated[list[Path], Parameter(consume_multiple=True, negative=())]
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]


Interleaving = Literal["inf"] | PositiveInt


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
    root = read_yaml(config_dir / "config.yaml")
    return Project(config_dir, root if budget is None else root | {"budget": budget})
