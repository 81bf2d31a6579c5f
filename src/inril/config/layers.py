"""Layers of settings: YAML files, laid one over the other and checked as one model.

An error names the file of the topmost layer that set the offending key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError

from inril.config.base import Model
from inril.errors import InputError


class Layer(NamedTuple):
    """A part of a file.

    Attributes:
        path: of the file.
        values: of the part.
        prefix: keys under which it stands there, each with a dot behind it.
    """

    path: Path
    values: Mapping[str, Any]
    prefix: str = ""

    def part(self, *keys: str) -> Layer:
        """Return what stands under nested keys, nothing where they are not there.

        Raises:
            InputError: something other than a section stands there.
        """
        values = self.values
        for key in keys:
            values = values.get(key) or {}
            require_section(self.path, self.prefix + ".".join(keys), values)
        return Layer(self.path, values, self.prefix + "".join(f"{key}." for key in keys))

    def only(self, *keys: str) -> Layer:
        """Return what stands under some keys, and nothing else."""
        return self._replace(values={key: value for key, value in self.values.items() if key in keys})

    def without(self, key: str) -> Layer:
        """Return all but what stands under a key."""
        return self._replace(values={name: value for name, value in self.values.items() if name != key})


ModelT = TypeVar("ModelT", bound=Model)

_LONG = 200  # characters; a longer value is a whole section and would drown the message


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: the file is missing, is not YAML or holds no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, expected="a YAML file", got="nothing there") from None
    except OSError as error:
        raise InputError(path, expected="a YAML file", got=error.strerror or str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, expected="valid YAML", got=" ".join(str(error).split())) from None
    if not isinstance(values, dict):
        raise InputError(path, expected="a mapping of keys to values", got=type(values).__name__)
    return values


def require_section(path: Path, field: str, values: object) -> None:
    """Raise an `InputError` unless something is a section of keys and values."""
    if not isinstance(values, Mapping):
        raise InputError(path, field=field, expected="a section of keys and values", got=repr(values))


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `top` laid over it, mappings key by key."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def agreed(values: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some values that are part of the outcome, which others may have overridden."""
    return {key: value for key, value in values.items() if key in outcome and outcome[key] == value}


def validate(
    model: type[ModelT], layers: Sequence[Layer], lacking: Mapping[str, Layer] = {}, home: Layer | None = None
) -> ModelT:
    """Merge layers and build the model.

    Args:
        model: what is described.
        layers: later ones win.
        lacking: whose file to name for a missing key, by the key's first part.
        home: whose file to name for all other missing keys; None for that of what they are missing from.

    Raises:
        InputError: naming the file that set the offending key, the key, what was expected and what was found.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        values = merge(values, layer.values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        is_missing = first["type"] == "missing"
        keys = _keys(values, first["loc"], is_missing)
        if is_missing:
            where = lacking.get(".".join(keys[:1])) or home or origin(layers, keys[:-1]) or layers[0]
        else:
            where = origin(layers, keys) or layers[-1]  # values that do not go together: who completed them
        raise InputError(
            where.path,
            field=where.prefix + ".".join(keys),
            expected=_expected(first["type"], first["msg"]),
            got=_got(first["type"], repr(first["input"])),
            hint="Known keys are listed in workflow/schemas/ and config/README.md",
        ) from None


def origin(layers: Sequence[Layer], keys: Sequence[str]) -> Layer | None:
    """Return the layer that decides about a key, the topmost one that has it; None if no layer has."""
    return next((layer for layer in reversed(layers) if _holds(layer.values, keys)), None)


def _keys(values: Any, location: Sequence[str | int], last_is_missing: bool) -> list[str]:
    """Return the keys of a location in the values; pydantic's also names members of unions, by tag or type."""
    keys = []
    for part in location[:-1] if last_is_missing else location:
        if part in values if isinstance(values, Mapping) else isinstance(part, int):
            values = values[part]
            keys.append(str(part))
    return [*keys, str(location[-1])] if last_is_missing else keys


def _expected(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "a known key"
    if kind == "missing":
        return "a value"
    plain = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return plain.replace("String should match pattern", "a text that matches")


def _got(kind: str, value: str) -> str:
    if kind == "extra_forbidden":
        return "an unknown key"
    if kind == "missing":
        return "nothing"
    return value if len(value) < _LONG else "another combination of values"


def _holds(layer: Mapping[str, Any], keys: Sequence[str]) -> bool:
    value: Any = layer
    for key in keys:
        if isinstance(value, list):
            value = {str(index): entry for index, entry in enumerate(value)}
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return bool(keys)
