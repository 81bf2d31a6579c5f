"""Settings of a job beside the files that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inril.config.base import Model
from inril.config.layers import Layer, origin


def lines(config: Model, layers: Sequence[Layer], config_dir: Path) -> list[str]:
    """Return one line per value: its key, the value, and where it was said last.

    Args:
        config: resolved settings.
        layers: that they were merged from.
        config_dir: folder that files are named from.
    """
    rows = [(".".join(keys), _text(value), _where(layers, keys, config_dir)) for keys, value in _leaves(config)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{key:{widths[0]}}  {value:{widths[1]}}  {where}" for key, value, where in rows]


def _leaves(config: Model) -> Iterator[tuple[list[str], Any]]:
    def below(keys: list[str], value: Any) -> Iterator[tuple[list[str], Any]]:
        if isinstance(value, Mapping) and value:
            for key in value:
                yield from below([*keys, key], value[key])
        else:
            yield keys, value

    yield from below([], config.model_dump(mode="json"))


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _where(layers: Sequence[Layer], keys: Sequence[str], config_dir: Path) -> str:
    """Name the file and the section; what no file says is a default, or the choice of the run itself."""
    found = origin(layers, keys)
    if found is None:
        return "default"
    if not found.path.is_relative_to(config_dir):
        return "the run"
    section = found.prefix.rstrip(".")
    name = str(found.path.relative_to(config_dir))
    return f"{name}: {section}" if section else name
