"""Shows where the runs of a figure or comparison stand as a table in the terminal, once or kept up to date."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from inril.config.paths import AnyRun, Pretraining
from inril.config.plan import Plan
from inril.report.status import Row, State, figure_status, time_left

REFRESH_S = 5.0
_FILE_WIDTH = 140  # characters, where there is no terminal
_STYLES = {
    State.WAITING: "dim",
    State.PRETRAINING: "blue",
    State.RUNNING: "cyan",
    State.INTERRUPTED: "yellow",
    State.FAILED: "red",
    State.FINISHED: "green",
    State.UNREADABLE: "red",
}


def show(plan: Plan, figure: str, results: Path, watch: bool) -> None:
    """Print the table; with `watch` keep it up to date until all runs are finished or Ctrl-C is pressed.

    Raises:
        InputError: there is no such figure.
    """
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    title = f"{figure}, budget {plan.budget}"
    rows = figure_status(plan, figure, results)
    if not watch:
        console.print(render(title, rows, console))
        return
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        live.update(render(title, rows, console), refresh=True)
        while any(row.state is not State.FINISHED for row in rows):
            time.sleep(REFRESH_S)
            rows = figure_status(plan, figure, results)
            live.update(render(title, rows, console), refresh=True)


def render(title: str, rows: Sequence[Row], console: Console) -> RenderableType:
    """Lay out a summary (first, so that a low terminal shows it), the table, and what else there is to say."""
    return Group(Text(f"{title}: {_summary(rows)}"), _table(rows, console), *_notes(rows))


def _summary(rows: Sequence[Row]) -> str:
    counts = Counter(row.state for row in rows)
    others = [f"{counts[state]} {state}" for state in State if counts[state] and state is not State.FINISHED]
    parts = [f"{counts[State.FINISHED]} of {len(rows)} finished", *others]
    if (seconds := time_left(rows)) is not None:
        parts.append(f"{_duration(seconds)} left at the present speed")
    return ", ".join(parts)


def _table(rows: Sequence[Row], console: Console) -> Table:
    """Lay out the rows, without the columns that the terminal has no room for."""
    columns = list(_COLUMNS)
    dispensable = list(_DISPENSABLE)
    table = _with_columns(columns, rows)
    unlimited = console.options.update_width(1000)
    while dispensable and console.measure(table, options=unlimited).maximum > console.width:
        columns.remove(dispensable.pop(0))
        table = _with_columns(columns, rows)
    return table


def _with_columns(columns: Sequence[str], rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in _LEFT else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_COLUMNS[column](row) for column in columns))
    return table


def _notes(rows: Sequence[Row]) -> list[Text]:
    """Return each note once, with the run or the number of runs that it is about."""
    about: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.note:
            about[row.note].append(row)
    return [
        Text(f"{_name(of_note[0]) if len(of_note) == 1 else f'{len(of_note)} runs'}: {note}")
        for note, of_note in about.items()
    ]


def _name(row: Row) -> str:
    arm = f"m {row.arm}" if row.arm.isdecimal() else row.arm
    parts = (row.run.task, _method(row.run), arm, f"seed {row.run.seed}")
    return ", ".join(filter(None, parts))


def _method(run: AnyRun) -> str:
    if isinstance(run, Pretraining):
        return f"{run.policy}, pre-trained"
    return run.method if run.m == "inf" else f"{run.method}, {run.separation}"


def _done(row: Row) -> float:
    return min(row.steps / row.total, 1.0)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


_COLUMNS: dict[str, Callable[[Row], RenderableType]] = {
    "task": lambda row: row.run.task,
    "method": lambda row: _method(row.run),
    "m": lambda row: row.arm,
    "seed": lambda row: str(row.run.seed),
    "state": lambda row: Text(row.state, _STYLES[row.state]),
    "": lambda row: ProgressBar(total=1.0, completed=_done(row), width=8, complete_style=_STYLES[row.state]),
    "%": lambda row: f"{_done(row):.0%}",
    "step": lambda row: f"{row.steps:,}/{row.total:,}",
    "steps/s": lambda row: "" if row.speed is None else f"{row.speed:,.0f}",
    "ETA": lambda row: "" if row.eta_s is None else _duration(row.eta_s),
    "return": lambda row: "" if row.last_return is None else f"{row.last_return:,.0f}",
    "at itr": lambda row: "" if row.last_itr is None else str(row.last_itr),
}
_LEFT = {"task", "method", "state"}
_DISPENSABLE = ("", "at itr", "method", "%")  # in a narrow terminal, in this order
