"""MuJoCo without OpenGL, and OpenGL when something is first rendered.

MuJoCo loads the backend that MUJOCO_GL names when it is imported, and cannot be imported where that is missing; without
the variable it takes one that needs a display. So it is imported here with none, before anything else imports it, and
given one by whoever renders: that of MUJOCO_GL, or else the first that works. Which one does is tried in other
processes, since a backend that fails leaves its traces in the one that tried it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from inril.errors import InputError

BACKENDS = ("egl", "osmesa", "glfw") if sys.platform == "linux" else ("glfw",)
_VARIABLE = "MUJOCO_GL"
_ANY = ("", "enable", "enabled", "on", "true", "1")  # what MuJoCo takes as "the usual one"
_TRIAL = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).render()"
_TRIAL_S = 60


@contextmanager
def _backend(name: str) -> Iterator[None]:
    """Have MuJoCo take a backend if it is imported meanwhile."""
    of_user = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = name
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        if of_user is not None:
            os.environ[_VARIABLE] = of_user


def load_opengl() -> None:
    """Give MuJoCo the backend that it renders with from now on; calling it again costs nothing.

    Raises:
        InputError: none works on this machine.
    """
    failures = _failures(os.environ.get(_VARIABLE, "").lower().strip())
    works = next((name for name, failure in failures.items() if failure is None), None)
    if works is None:
        raise InputError(
            "rendering",
            field=_VARIABLE,
            expected="an OpenGL that works here: egl (on a GPU or, by Mesa, a CPU), osmesa (CPU) or glfw (a display)",
            got="; ".join(f"{name}: {failure}" for name, failure in failures.items()),
            hint=f"Install one (apt-get install libegl1 libgl1, or libosmesa6), or unset {_VARIABLE} if it is set",
        )
    _load(works)


@cache
def _failures(named: str) -> dict[str, str | None]:
    """Return why each backend that may be used fails, up to the first that does not."""
    failures: dict[str, str | None] = {}
    for name in BACKENDS if named in _ANY else (named,):
        failures[name] = _failure(name)
        if failures[name] is None:
            break
    return failures


def _failure(name: str) -> str | None:
    """Return why nothing can be rendered with a backend, or None if something can."""
    with _backend(name):
        command = [sys.executable, "-c", _TRIAL]
        try:
            child = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_S, check=False)
        except subprocess.TimeoutExpired:
            return f"no image within {_TRIAL_S} s"
    if child.returncode == 0:
        return None
    errors = [line for line in child.stderr.splitlines() if _is_error(line)]
    return errors[0] if errors else f"exit status {child.returncode}"


def _is_error(line: str) -> bool:
    """Tell whether a line ends a traceback; the first is the cause, later ones come of broken objects."""
    kind, separator, _ = line.partition(": ")
    return bool(separator) and kind.replace(".", "").isidentifier()


@cache
def _load(name: str) -> None:
    with _backend(name):
        importlib.reload(mujoco.gl_context)
    mujoco.GLContext = mujoco.gl_context.GLContext


def _first_context(width: int, height: int) -> Any:
    """Stand in for MuJoCo's GLContext, for code that renders by MuJoCo's own means, until a backend is loaded."""
    load_opengl()
    return mujoco.gl_context.GLContext(width, height)


_is_imported = "mujoco" in sys.modules
with _backend("disable"):
    import mujoco
if not _is_imported:
    mujoco.GLContext = mujoco.gl_context.GLContext = _first_context
