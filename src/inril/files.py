"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from inril.errors import InputError


def write_atomically(path: Path, content: bytes | memoryview, mtime: float | None = None) -> None:
    """Write a file under a temporary name, force it to disk and rename it.

    Args:
        path: the file, replaced if it is there; its folder is made.
        content: all of it.
        mtime: time of modification that it gets, in seconds; now if None.

    Raises:
        InputError: the folder cannot be written or the disk is full; an older file at `path` is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise write_error(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        if mtime is not None:
            os.utime(temporary, (mtime, mtime))
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(path, error) from None
        raise


def write_error(path: Path, error: OSError) -> InputError:
    """Turn a failed write into the error that a user can act on."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return InputError(
        path,
        expected="room on the disk" if full else "a place that can be written",
        got=error.strerror or str(error),
        hint="Free some space and start again; finished work is kept" if full else "Check the folder's permissions",
    )
