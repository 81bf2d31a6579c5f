"""How far something is: a bar in a terminal, nothing in a log file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

# Tells a bar of so many further steps.
Advance = Callable[[int], None]


class _Speed(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        """Return it, empty before there is one."""
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextmanager
def progress(what: str, total: int | None, done: int = 0, in_bytes: bool = False) -> Iterator[Advance]:
    """Show a bar on standard error for as long as the context lasts.

    Args:
        what: is under way.
        total: steps in all; None where nobody knows.
        done: steps that were there before.
        in_bytes: whether a step is a byte.

    Yields:
        What to call with the number of further steps.
    """
    counts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(), _Speed())
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield partial(bar.advance, bar.add_task(what, total=total, completed=done))
