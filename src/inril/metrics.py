"""Metrics as long tables, one row per fact, appended while a run goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from inril.errors import InputError
from inril.files import write_error

COLUMNS = ("task", "method", "separation", "m", "seed", "itr", "env_steps", "split", "metric", "value")


class MetricsLog:
    """Appends rows to a CSV file and can be cut back to an earlier length.

    Args:
        path: file to append to; a new one gets a header.
        run: values of the first five columns.
        length: bytes to keep of an existing file, as `length` returned them; 0 starts anew.

    Raises:
        InputError: the file is shorter than it was, or cannot be written.
    """

    def __init__(self, path: Path, run: Mapping[str, object], length: int = 0) -> None:
        self.path = path
        self._run = [run[column] for column in COLUMNS[:5]]
        self._pending = io.StringIO()
        self._writer = csv.writer(self._pending, lineterminator="\n")
        try:
            if length == 0:
                path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
                return
            size = path.stat().st_size if path.exists() else 0
            if size < length:
                hint = "Delete the run's folder to start it again"
                raise InputError(path, expected=f"{length} bytes of metrics", got=f"{size}", hint=hint)
            os.truncate(path, length)
        except OSError as error:
            raise write_error(path, error) from None

    def add(self, itr: int, env_steps: int, split: str, values: Mapping[str, float]) -> None:
        """Add one row per value; floats are written so that they read back exactly."""
        for metric, value in values.items():
            self._writer.writerow([*self._run, itr, env_steps, split, metric, repr(float(value))])

    def flush(self) -> int:
        """Write pending rows through to the disk and return the file's length in bytes.

        Raises:
            InputError: the disk is full or the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self._pending.getvalue())
                file.flush()
                os.fsync(file.fileno())
                length = file.tell()
        except OSError as error:
            raise write_error(self.path, error) from None
        self._pending.seek(0)
        self._pending.truncate()
        return length
