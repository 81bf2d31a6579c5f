"""Files that are either whole or absent, and what is said where the system refuses them."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from inril.errors import InputError

_READ_HINTS = {
    errno.EACCES: "Check its permissions",
    errno.EPERM: "Check its permissions",
    errno.EISDIR: "Name a file in it",
}


def write_atomically(path: Path, content: bytes | memoryview, mtime: float | None = None) -> None:
    """Write a file under a temporary name, force it to disk and rename it.

    Its permissions are those of any new file in the folder: the umask decides, and nothing sets them afterwards.

    Args:
        path: the file, replaced if it is there; its folder is made.
        content: all of it.
        mtime: time of modification that it gets, in seconds; now if None.

    Raises:
        InputError: the folder cannot be written or the disk is full; an older file at `path` is untouched.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mtime is not None:
            os.utime(temporary, (mtime, mtime))
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise write_error(path, error) from None
        raise


def read_error(path: Path, error: OSError) -> InputError:
    """Turn a refused read into the error that a user can act on; what the file holds is not at fault."""
    hint = _READ_HINTS.get(error.errno or 0, "Its content is not at fault: check the disk or network that it lies on")
    return InputError(path, expected="a readable file", got=one_line(error), hint=hint)


def write_error(path: Path, error: OSError) -> InputError:
    """Turn a failed write into the error that a user can act on."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return InputError(
        path,
        expected="room on the disk" if full else "a place that can be written",
        got=error.strerror or str(error),
        hint="Free some space and start again; finished work is kept" if full else "Check the folder's permissions",
    )


def one_line(error: Exception) -> str:
    """Return an error's text on one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())
