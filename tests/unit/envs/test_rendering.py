"""OpenGL is chosen when something is first rendered, and by nothing before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from inril.envs import rendering
from inril.errors import InputError

NO_LIBRARY = "ImportError: Unable to load OpenGL library"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Backends are tried again, by other means; none is loaded."""
    rendering._failures.cache_clear()
    yield
    rendering._failures.cache_clear()


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of backends that work, none at first."""
    names: set[str] = set()
    monkeypatch.setattr(rendering, "BACKENDS", ("egl", "osmesa", "glfw"))
    monkeypatch.setattr(rendering, "_failure", lambda name: None if name in names else NO_LIBRARY)
    return names


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of backends that were loaded."""
    names: list[str] = []
    monkeypatch.setattr(rendering, "_load", names.append)
    return names


def python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own: MuJoCo has one backend per process."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("named", ["", "on"])
@pytest.mark.parametrize(
    ("working", "chosen"), [({"egl", "osmesa"}, "egl"), ({"osmesa", "glfw"}, "osmesa"), ({"glfw"}, "glfw")]
)
def test_first_that_works(
    working: set[str], chosen: str, named: str, works: set[str], loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", named)
    works |= working
    rendering.load_opengl()
    assert loaded == [chosen]


def test_named_one_and_no_other(works: set[str], loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    works |= {"egl", "glfw"}
    monkeypatch.setenv("MUJOCO_GL", " GLFW ")
    rendering.load_opengl()
    assert loaded == ["glfw"]
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(InputError, match=r"MUJOCO_GL: expected .*, got osmesa: ImportError.*apt-get install") as error:
        rendering.load_opengl()
    assert "\n" not in str(error.value)
    assert loaded == ["glfw"]


@pytest.mark.usefixtures("works")
def test_one_line_where_none_works(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    with pytest.raises(InputError) as error:
        rendering.load_opengl()
    assert str(error.value).count(NO_LIBRARY) == 3
    assert "\n" not in str(error.value)
    assert not loaded


def test_each_backend_is_tried_once(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    tried: list[str] = []
    monkeypatch.setattr(rendering, "_failure", tried.append)
    for _ in range(2):
        rendering.load_opengl()
    assert tried == ["egl"]


def test_failure_is_the_cause() -> None:
    assert rendering._failure("nonsense") == (
        "RuntimeError: invalid value for environment variable MUJOCO_GL: nonsense"
    )


@pytest.mark.parametrize("named", ["osmesa", "nonsense"])
def test_simulators_need_no_opengl(named: str) -> None:
    script = """
import os, sys
import inril.envs
assert not {"OpenGL", "glfw"} & set(sys.modules)
env = inril.envs.make("hopper", 1, 1)
env.reset(0)
assert not {"OpenGL", "glfw"} & set(sys.modules)
print(os.environ["MUJOCO_GL"])
"""
    done = python(script, MUJOCO_GL=named)
    assert done.stdout.strip() == named, done.stderr


def test_code_that_renders_by_mujocos_own_means() -> None:
    script = """
import inril.envs, mujoco
renderer = mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8)
print(renderer.render().shape, mujoco.GLContext is mujoco.gl_context.GLContext, isinstance(mujoco.GLContext, type))
renderer.close()
"""
    done = python(script)
    if "rendering: MUJOCO_GL: " in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.stdout.strip() == "(8, 8, 3) True True", done.stderr


def test_mujoco_may_be_imported_before() -> None:
    script = """
import mujoco
usual = mujoco.GLContext
import inril.envs
assert mujoco.GLContext is usual
env = inril.envs.make("hopper", 1, 1)
env.reset(0)
print(env.render().shape)
env.close()
"""
    done = python(script)
    if "rendering: MUJOCO_GL: " in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.stdout.strip() == "(480, 480, 3)", done.stderr
