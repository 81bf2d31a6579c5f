"""Reading HDF5 files that may be missing, damaged or foreign: every fault is one clear error."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from inril.errors import InputError

Array = npt.NDArray[Any]


@contextmanager
def open_hdf5(path: Path, hint: str = "") -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Args:
        path: the file.
        hint: what to do where it is missing or unusable.

    Raises:
        InputError: the file is missing, unreadable, not HDF5, truncated or damaged, now or while it is read.
    """
    try:
        with path.open("rb") as raw:
            is_empty = not raw.read(1)
    except FileNotFoundError:
        raise InputError(path, expected="an HDF5 file", got="nothing there", hint=hint) from None
    except OSError as error:
        raise InputError(path, expected="a readable file", got=one_line(error), hint=hint) from None
    if not h5py.is_hdf5(path):
        got = "an empty file" if is_empty else "another kind of file"
        raise InputError(path, expected="an HDF5 file", got=got, hint=hint)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        got = f"a truncated or damaged one ({one_line(error)})"
        raise InputError(path, expected="a whole HDF5 file", got=got, hint=hint) from None
    finally:
        _return_free_memory()


def read_array(file: h5py.File, path: Path, field: str, shape: tuple[int | None, ...]) -> Array:
    """Read a numeric dataset of known shape.

    Args:
        file: the open file.
        path: its path, for messages.
        field: name of the dataset.
        shape: expected size of each dimension; None allows any.

    Raises:
        InputError: the dataset is missing, a group, not numeric, of another shape, damaged, or not finite.
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
        raise InputError(path, field=field, expected="undamaged data", got=one_line(error)) from None
    check_finite(array, path, field)
    return array


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


def one_line(error: Exception) -> str:
    """Return an error's text on one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())
