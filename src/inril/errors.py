"""The one error that a user can act on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any


class InputError(Exception):
    """Something outside the code is wrong and the user can put it right.

    The command line prints it as one line and exits with status 1; nothing has been overwritten by then.

    Args:
        where: file, folder, URL or run that is at fault.
        field: key, dataset or column inside it; empty if the whole of it is.
        expected: what would have been right.
        got: what was there.
        hint: what to do about it.
    """

    def __init__(self, where: str | Path, *, expected: str, got: str, field: str = "", hint: str = "") -> None:
        self.where = str(where)
        self.field = field
        self.expected = expected
        self.got = got
        self.hint = hint
        place = f"{self.where}: {field}" if field else self.where
        message = f"{place}: expected {expected}, got {got}"
        super().__init__(f"{message}. {hint}" if hint else message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it cross from a worker process to the one that tells it; exceptions do not keep named arguments."""
        named = {"expected": self.expected, "got": self.got, "field": self.field, "hint": self.hint}
        return partial(type(self), self.where, **named), ()


class WrongContent(InputError):
    """What a file holds is at fault: it is damaged, or another kind of file. Nobody refused to hand it out."""
