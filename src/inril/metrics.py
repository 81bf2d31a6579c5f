"""Metrics as long tables, one row per fact, appended while a run goes on."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

from inril.errors import InputError
from inril.files import write_error

COLUMNS = ("task", "method", "separation", "m", "seed", "itr", "env_steps", "split", "metric", "value")
_HINT = "Put the file back as it was, or delete the run's folder to start it again"


class MetricsLog:
    """Appends rows to a CSV file and can be cut back to an earlier length.

    Args:
        path: file to append to; a new one gets a header.
        run: values of the first five columns.
        length: bytes to keep of an existing file, as `flush` returned them; 0 starts anew.
        sha256: that these must have, as the property was then; not checked if empty.

    Raises:
        InputError: the file is shorter than it was, or other than it was, or cannot be written.
    """

    def __init__(self, path: Path, run: Mapping[str, object], length: int = 0, sha256: str = "") -> None:
        self.path = path
        self._run = [run[column] for column in COLUMNS[:5]]
        self._pending = io.StringIO()
        self._writer = csv.writer(self._pending, lineterminator="\n")
        header = ",".join(COLUMNS) + "\n"
        try:
            kept = _kept(path, length, sha256) if length else header.encode()
            if length:
                os.truncate(path, length)
            else:
                path.write_bytes(kept)
        except OSError as error:
            raise write_error(path, error) from None
        self._digest = hashlib.sha256(kept)

    @property
    def sha256(self) -> str:
        """Of all that is written, header included."""
        return self._digest.hexdigest()

    def add(self, itr: int, env_steps: int, split: str, values: Mapping[str, float]) -> None:
        """Add one row per value; floats are written so that they read back exactly."""
        for metric, value in values.items():
            self._writer.writerow([*self._run, itr, env_steps, split, metric, repr(float(value))])

    def flush(self) -> int:
        """Write pending rows through to the disk and return the file's length in bytes.

        Raises:
            InputError: the disk is full or the file cannot be written.
        """
        rows = self._pending.getvalue().encode()
        try:
            with self.path.open("ab") as file:
                file.write(rows)
                file.flush()
                os.fsync(file.fileno())
                length = file.tell()
        except OSError as error:
            raise write_error(self.path, error) from None
        self._digest.update(rows)
        self._pending.seek(0)
        self._pending.truncate()
        return length


def _kept(path: Path, length: int, sha256: str) -> bytes:
    """Return the beginning of a file that a checkpoint vouches for."""
    kept = b""
    if path.exists():
        with path.open("rb") as file:
            kept = file.read(length)
    got = hashlib.sha256(kept).hexdigest()
    if len(kept) < length:
        raise InputError(path, expected=f"{length} bytes of metrics", got=f"{len(kept)}", hint=_HINT)
    if sha256 not in ("", got):
        what = f"the {length} bytes that the checkpoint knows, of sha256 {sha256}"
        raise InputError(path, expected=what, got=f"others, of {got}", hint=_HINT)
    return kept
