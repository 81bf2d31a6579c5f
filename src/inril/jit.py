"""Compiled functions, and where they are kept on disk."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.misc import appdirs

logger = logging.getLogger(__name__)

CompiledFunction = TypeVar("CompiledFunction", bound=Callable[..., Any])

# Files with compiled functions that those of another file call.
CALLED_FROM_ELSEWHERE = ("envs/**/*.py", "policies/mish.py")

_PACKAGE = Path(__file__).parent
_numba_config: Any = numba.config
_user_cache_dir: Callable[..., str] = appdirs.user_cache_dir


def compiled(function: CompiledFunction, **options: Any) -> CompiledFunction:
    """Compile for the machine, without the GIL, cached on disk; floating-point order stays as written.

    Args:
        function: what is compiled, when it is first called.
        options: more of `numba.njit`.
    """
    folder = cache_folder()
    with _kept_in(folder):
        return cast(CompiledFunction, numba.njit(nogil=True, cache=folder is not None, **options)(function))


@cache
def cache_folder() -> Path | None:
    """Return the folder that keeps compiled code of these sources, or None, with a warning, if none can be written.

    Numba recompiles a function when its own file changes, but not when a compiled function that it calls from another
    file does. One folder per state of the sources cannot serve such stale code, wherever it lies.
    """
    parents = list(_parents())
    for parent in parents:
        folder = parent / f"numba-{_source_digest()}"
        if _can_be_written(folder):
            return folder
    logger.warning(
        "compiled code is not kept, and every start compiles again: cannot write to %s; set NUMBA_CACHE_DIR",
        ", ".join(map(str, parents)),
    )
    return None


def _parents() -> Iterator[Path]:
    """Yield where compiled code may be kept, the best place first."""
    if _numba_config.CACHE_DIR:
        yield Path(_numba_config.CACHE_DIR).absolute()
    yield _PACKAGE / "__pycache__"
    of_user = Path(_user_cache_dir("inril", appauthor=False))
    if of_user.is_absolute():  # a user without a home has "~/.cache"
        yield of_user


def _source_digest() -> str:
    """Return a digest of what other files' compiled functions call, and of MuJoCo, whose constants they have."""
    sources = sorted(path for pattern in CALLED_FROM_ELSEWHERE for path in _PACKAGE.glob(pattern))
    parts = [version("mujoco").encode(), *(path.read_bytes() for path in sources)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@contextmanager
def _kept_in(folder: Path | None) -> Iterator[None]:
    """Have Numba keep what is decorated meanwhile in a folder, and nowhere else should that fail."""
    ours = {"CACHE_DIR": str(folder or ""), "CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    of_user = {name: getattr(_numba_config, name, "") for name in ours}
    _set(ours)
    try:
        yield
    finally:
        _set(of_user)


def _set(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        setattr(_numba_config, name, value)
