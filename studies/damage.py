"""Ways to damage a file: bits, cuts, types, ranges, swapped files."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 8))):
        # Half of them where files say what they are: near the beginning, or where HDF5 keeps texts.
        start, length = 0, len(content)
        if chance.random() < 0.5:
            start, length = max(chance.choice((0, content.find(b"GCOL"))), 0), 2048
        place = chance.randrange(start, min(start + length, len(content)))
        content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def _empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def _page(path: Path, chance: random.Random) -> None:
    path.write_text("<!DOCTYPE html>\n<html><body>Please log in</body></html>\n", encoding="utf-8")


def _folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _absent(path: Path, chance: random.Random) -> None:
    path.unlink()


def _swap(path: Path, chance: random.Random) -> None:
    others = [
        other for other in sorted(Path().rglob("*")) if other.is_file() and other.read_bytes() != path.read_bytes()
    ]
    shutil.copyfile(chance.choice(others), path)


def _retype(path: Path, chance: random.Random) -> None:
    """Change the type, the shape, the values or the presence of a part of an HDF5 file."""
    names: list[str] = []
    with h5py.File(path, "a") as file:
        file.visit(names.append)
        name = chance.choice(names)
        part = np.asarray(file[name][()]) if isinstance(file[name], h5py.Dataset) else np.empty(())
        del file[name]
        if chance.random() < 0.8 and part.ndim:
            wrong: list[Any] = [b"text", 3, part.astype("S8"), np.full(part.shape, np.nan), part != part[0], part[::2]]
            file[name] = chance.choice(wrong)


def _reset(path: Path, chance: random.Random) -> None:
    """Give a value of a YAML or JSON file another type or range, or take it away."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    holders = list(_holders(values))
    holder, key = chance.choice(holders)
    wrong: tuple[Any, ...] = (None, "text", -1, 0, 1e30, float("nan"), True, [], {}, [1, 2], {"a": 1}, "2024-01-01")
    if chance.random() < 0.15:
        del holder[key]
    else:
        holder[key] = chance.choice(wrong)
    path.write_text(json.dumps(values) if path.suffix == ".json" else yaml.safe_dump(values), encoding="utf-8")


def _holders(values: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of nested values as what holds it and its key."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in list(pairs):
        yield values, key
        yield from _holders(value)


def _recell(path: Path, chance: random.Random) -> None:
    """Change a cell, a column or a row of a CSV file."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    row, column = chance.randrange(len(rows)), chance.randrange(len(rows[0]))
    how = chance.randrange(4)
    if how == 0:
        rows[row][column] = chance.choice(("", "text", "nan", "inf", "-1", "1e400", '"', "é"))
    elif how == 1:
        rows = [[*cells[:column], *cells[column + 1 :]] for cells in rows]
    elif how == 2:
        rows.insert(row, rows[row])
    else:
        rows[row] = rows[row][:column]
    path.write_text("".join(f"{','.join(cells)}\n" for cells in rows), encoding="utf-8")


_ANY = (_flip, _flip, _flip, _cut, _cut, _empty, _page, _folder, _absent, _swap)
_TYPED = {".hdf5": _retype, ".yaml": _reset, ".json": _reset, ".csv": _recell}


def change(path: Path, chance: random.Random) -> str:
    """Change a file in one of the ways that its kind has.

    Returns:
        Name of the way.
    """
    typed = _TYPED.get(path.suffix)
    way = typed if typed is not None and chance.random() < 0.5 else chance.choice(_ANY)
    if path.stat().st_size == 0:
        way = _page
    way(path, chance)
    return way.__name__.strip("_")
