"""Reading HDF5 files that may be missing, refused, damaged or foreign: every fault is one clear error."""

from __future__ import annotations

import ctypes
import errno
import mmap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np
import numpy.typing as npt

from inril.errors import InputError, WrongContent
from inril.files import one_line, read_error

Array = npt.NDArray[Any]

_HEAD = 64  # bytes that tell a web page from other files
_HEAP = b"GCOL\x01\0\0\0"  # beginning of a heap of texts; as long as that of each object in it
_OPEN_FOR_WRITE = "already open for write"  # HDF5's words; no code of their own tells this from damage


@contextmanager
def open_hdf5(path: Path, hint: str = "") -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, without locking it: others may have it open, on a file system without locks too.

    Args:
        path: the file.
        hint: what to do where what it holds is unusable.

    Raises:
        InputError: the file is missing, or the system refuses to read it, now or later.
        WrongContent: it is not HDF5, truncated, damaged or still being written, now or while it is read.
    """
    try:
        _check_signature(path, hint)
        with h5py.File(path, "r", locking=False) as file:
            _check_text(file, path, hint)
            yield file
    except FileNotFoundError:
        raise InputError(path, expected="an HDF5 file", got="nothing there") from None
    except InputError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and not _is_of_h5py(error):
            raise
        raise _refused_or_damaged(path, error, hint) from None
    finally:
        _return_free_memory()


def _check_signature(path: Path, hint: str) -> None:
    with path.open("rb") as raw:
        head = raw.read(_HEAD).lstrip()
    if not h5py.is_hdf5(path):
        raise WrongContent(path, expected="an HDF5 file", got=_other_kind(head), hint=hint)


def _check_text(file: h5py.File, path: Path, hint: str) -> None:
    """Walk through the heaps that hold texts of any length: HDF5 walks on for ever where a size in one is damaged.

    Source: HDF5 File Format Specification 3.0, III.E Global Heap.
    """
    length_bytes = file.id.get_create_plist().get_sizes()[1]
    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_HEAP)
        while start >= 0:
            end = _end_of_heap(content, start, length_bytes)
            if end is None:
                got = f"a truncated or damaged one (texts at byte {start})"
                raise WrongContent(path, expected="a whole HDF5 file", got=got, hint=hint)
            start = content.find(_HEAP, end)


def _end_of_heap(content: mmap.mmap, start: int, length_bytes: int) -> int | None:
    """Return where a heap ends, None if its sizes do not add up."""
    head = len(_HEAP) + length_bytes  # of the heap and of each object in it, filled up to eights

    def size_at(place: int) -> int:
        return int.from_bytes(content[place + len(_HEAP) : place + head], "little")

    place, end = start + _in_eights(head), start + size_at(start)
    if not place < end <= len(content):
        return None
    while place + head <= end:
        is_text = content[place : place + 2] != b"\0\0"  # else the rest, which is free and counts its own head
        size = _in_eights(head) + _in_eights(size_at(place)) if is_text else size_at(place)
        place += size
        if size == 0 or place > end:
            return None
    return end


def _in_eights(size: int) -> int:
    return -(-size // 8) * 8


def _other_kind(head: bytes) -> str:
    if not head:
        return "an empty file"
    return "a web page" if head[:1] == b"<" else "another kind of file"


def _refused_or_damaged(path: Path, error: Exception, hint: str) -> InputError:
    if _is_refusal(error):
        return read_error(path, error)
    got = "a truncated or damaged one"
    if _OPEN_FOR_WRITE in str(error):
        got = "one that is being written, or was never closed"
        hint = "Close it there; if its writer died, copy it and run `h5clear -s` on the copy"
    return WrongContent(path, expected="a whole HDF5 file", got=f"{got} ({one_line(error)})", hint=hint)


def _is_of_h5py(error: Exception) -> bool:
    """Tell whether an error was raised inside h5py, which has one of almost any type for a damaged file."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__", "").startswith("h5py.") for frame in frames)


def check_hdf5(path: Path) -> None:
    """Raise an error, as `open_hdf5` does, unless a file opens as HDF5."""
    with open_hdf5(path):
        pass


def read_array(file: h5py.File, path: Path, field: str, shape: tuple[int | None, ...]) -> Array:
    """Read a numeric dataset of known shape.

    Args:
        file: the open file.
        path: its path, for messages.
        field: name of the dataset.
        shape: expected size of each dimension; None allows any.

    Raises:
        InputError: the dataset is missing, a group, not numeric, of another shape, damaged, refused, or not finite.
    """
    node = file.get(field)
    if not isinstance(node, h5py.Dataset):
        got = "nothing there" if node is None else "a group"
        raise InputError(path, field=field, expected="a dataset", got=got)
    if node.dtype.kind not in "biuf":
        raise InputError(path, field=field, expected="numbers", got=f"data of type {node.dtype}")
    check_shape(node.shape, shape, path, field)
    try:
        array = np.asarray(node[()])
    except OSError as error:
        if _is_refusal(error):
            raise read_error(path, error) from None
        raise WrongContent(path, field=field, expected="undamaged data", got=one_line(error)) from None
    check_finite(array, path, field)
    return array


def _is_refusal(error: Exception) -> TypeGuard[OSError]:
    """Tell whether the system refused to read; a damaged file gives no error of the system's, or a senseless offset."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def check_shape(got: tuple[int, ...], expected: tuple[int | None, ...], path: Path, field: str) -> None:
    """Raise InputError unless `got` fits `expected`, in which None allows any size."""
    fits = len(got) == len(expected) and all(want in (None, size) for size, want in zip(got, expected, strict=True))
    if not fits:
        wanted = ", ".join("N" if size is None else str(size) for size in expected)
        shape = f"shape ({wanted}{',' if len(expected) == 1 else ''})"
        raise InputError(path, field=field, expected=shape, got=f"shape {got}")


def check_finite(array: Array, path: Path, field: str) -> None:
    """Raise InputError if an array holds NaN or infinity."""
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InputError(path, field=field, expected="finite numbers", got=f"{array[index]} at index {index}")


def _return_free_memory() -> None:
    """Hand freed memory back to the system: thousands of small datasets leave some 200 MB of it scattered in the heap.

    The C library of Linux can; elsewhere nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
