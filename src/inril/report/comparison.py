"""Compares methods, or policies before fine-tuning, task by task, as the paper's Tables 1 to 3 do, with intervals.

A cell of a method holds the level of the final policies and of those that did best on the way, that of a pre-trained
policy the level of the chosen checkpoints, all on fresh episodes; how it was obtained; and the paper's number beside
it. What was not run is a dash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inril.config.base import COMPUTE
from inril.config.shown import Column, ComparisonRow, ComparisonSpec, PolicyColumn
from inril.errors import InputError
from inril.report.aggregate import read_csv, read_run, refuse_twins
from inril.report.levels import NONE, best_is_reported, by_seed_text, episodes, interval_text, level_text, mean_level
from inril.report.processors import processors_note
from inril.report.statistics import Interval
from inril.report.tables import write_table

_CELL = ("task", "column", "method", "separation", "m")
_LEVEL = ("", "_low", "_high", "_by_seed")
COLUMNS = (
    *_CELL,
    "source",
    "metric",
    "seeds",
    "env_steps",
    "episodes",
    *(f"final{part}" for part in _LEVEL),
    *(f"best{part}" for part in _LEVEL),
    "paper",
)
_NUMBERS = ("seeds", "env_steps", "episodes", "final", "final_low", "final_high", "best", "best_low", "best_high")
NOT_RUN = "not run"

Cell = dict[str, Any]


def run(spec: ComparisonSpec, metrics: Sequence[Path], published: Path, out: Sequence[Path]) -> None:
    """Write a comparison.

    Args:
        spec: rows and columns.
        metrics: metrics.csv of every run that is computed here.
        published: folder of published tables, <budget>/<name>.csv, for the rows that are taken from them.
        out: files to write, .csv, .html, .md or .tex by suffix.

    Raises:
        InputError: a run is unreadable, lacks a metric, belongs to no cell or is given twice.
    """
    runs = {path: read_run(path) for path in metrics}
    refuse_twins(runs)
    for path, frame in runs.items():
        if not any(_belongs(frame, row, column) for row in spec.rows for column in spec.columns):
            raise InputError(path, expected=f"a run of a cell of {spec.name}", got=_name(frame))
    cells = [cell for row in spec.rows for cell in _row(spec, row, runs, published)]
    table = pd.DataFrame(cells, columns=list(COLUMNS))
    header = ("task", "level", *(column.title for column in spec.columns))
    lines = [line for row in spec.rows for line in _lines(spec.columns, row, table)]
    write_table(table, header, lines, out, " ".join(filter(None, (spec.note, processors_note(runs)))))


def _row(
    spec: ComparisonSpec, row: ComparisonRow, runs: Mapping[Path, pd.DataFrame], published: Path
) -> Iterator[Cell]:
    """Yield the cells of a row."""
    shown = [] if row.source == COMPUTE else _read_published(published / row.source / f"{spec.name}.csv", row)
    for column, paper in zip(spec.columns, row.paper, strict=True):
        cell: Cell = dict(zip(_CELL, (row.task, column.title, *column.arm), strict=True))
        cell |= {"metric": row.metric, "paper": paper}
        if row.source == COMPUTE:
            members = {path: frame for path, frame in runs.items() if _belongs(frame, row, column)}
            yield cell | _computed(row, members)
        else:
            same = (old for old in shown if all(str(old[key]) == cell[key] for key in _CELL))
            yield cell | next(same, _not_run())


def _read_published(path: Path, row: ComparisonRow) -> list[Cell]:
    """Return the cells of a row that another budget computed; none if it published none."""
    if not path.exists():
        return []
    table = read_csv(path, COLUMNS, _NUMBERS, optional=_NUMBERS)
    of_row = table[(table["task"] == row.task) & (table["source"] == COMPUTE)]
    kept = of_row.drop(columns="paper").assign(source=row.source)
    return _cells(kept)


def _computed(row: ComparisonRow, members: Mapping[Path, pd.DataFrame]) -> Cell:
    """Summarise the runs of a cell over seeds."""
    if not members:
        return _not_run()
    frames = list(members.values())
    final = [episodes(path, frame, row.metric) for path, frame in members.items()]
    cell: Cell = {
        "source": COMPUTE,
        "seeds": len(members),
        "env_steps": int(min(frame["env_steps"].max() for frame in frames)),
        "episodes": sum(map(len, final)),
        **_level("final", mean_level(final, row.metric), by_seed_text(final, row.metric)),
    }
    if not all(map(best_is_reported, frames)):
        return cell
    best = [episodes(path, frame, row.metric, "report_best") for path, frame in members.items()]
    return cell | _level("best", mean_level(best, row.metric), by_seed_text(best, row.metric))


def _level(name: str, level: Interval, by_seed: str) -> Cell:
    values = (*map(float, level), by_seed)
    return {f"{name}{part}": value for part, value in zip(_LEVEL, values, strict=True)}


def _not_run() -> Cell:
    return {"source": NOT_RUN, "seeds": 0}


def _lines(columns: Sequence[Column], row: ComparisonRow, table: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a row for people: levels, how they were obtained, and the paper's."""
    cells = _cells(table[table["task"] == row.task])
    fine_tuned = not all(isinstance(column, PolicyColumn) for column in columns)
    name = f"{row.title}, {'success' if row.metric == 'success' else 'return'}"
    yield (name, "final" if fine_tuned else "pre-trained", *(_interval(cell, "final", row) for cell in cells))
    if fine_tuned:
        yield ("", "best checkpoint", *(_interval(cell, "best", row) for cell in cells))
    yield ("", "obtained", *(_obtained(column, cell) for column, cell in zip(columns, cells, strict=True)))
    yield ("", "paper", *(level_text(cell["paper"], row.metric) if _known(cell["paper"]) else NONE for cell in cells))


def _cells(table: pd.DataFrame) -> list[Cell]:
    return [{str(key): value for key, value in cell.items()} for cell in table.to_dict("records")]


def _interval(cell: Cell, name: str, row: ComparisonRow) -> str:
    level = Interval(*(np.asarray(cell[f"{name}{part}"]) for part in _LEVEL[:3]))
    return interval_text(level, row.metric) if _known(level.estimate) else NONE


def _known(value: Any) -> bool:
    return bool(pd.notna(value))


def _obtained(column: Column, cell: Cell) -> str:
    """Say with how many seeds and steps (episodes, where no steps were taken), and where."""
    if cell["source"] == NOT_RUN:
        return NOT_RUN
    taken = f"{cell['env_steps']:,.0f}"
    if isinstance(column, PolicyColumn):
        taken = f"{cell['episodes'] / cell['seeds']:,.0f} episodes"
    text = f"{cell['seeds']:.0f} × {taken}"
    return text if cell["source"] == COMPUTE else f"{text}, published ({cell['source']})"


def _belongs(frame: pd.DataFrame, row: ComparisonRow, column: Column) -> bool:
    first = frame.iloc[0]
    return (first["task"], first["method"], first["separation"], first["m"]) == (row.task, *column.arm)


def _name(frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    return ", ".join(f"{key} {first[key]}" for key in ("task", "method", "separation", "m"))
