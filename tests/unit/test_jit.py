"""Compiled code is kept in one place, by the state of the sources that it was made of."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest
from numba.core.dispatcher import Dispatcher

import inril
from inril import jit

PACKAGE = Path(inril.__file__).parent
MODULES = [
    ".".join(["inril", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in sorted(PACKAGE.rglob("*.py"))
    if "from inril.jit import compiled" in path.read_text()
]
NOBODY = 65534
CALLED = """
from inril.jit import compiled

@compiled
def number():
    return {}
"""
CALLING = """
from inril.envs.called import number
from inril.jit import compiled

@compiled
def compute():
    return number()
"""
COMPUTE = """
from inril.envs.calling import compute
print(compute(), compute.stats.cache_path, sum(compute.stats.cache_hits.values()))
"""


@pytest.fixture
def fresh() -> Iterator[None]:
    """The folder is looked for again."""
    jit.cache_folder.cache_clear()
    yield
    jit.cache_folder.cache_clear()


def own_dispatchers(module: ModuleType) -> dict[str, Any]:
    """Return the cached compiled functions that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Dispatcher) and value.__module__ == module.__name__ and value.stats.cache_path
    }


@pytest.mark.parametrize("name", MODULES)
def test_all_compiled_code_lies_in_one_folder(name: str) -> None:
    found = own_dispatchers(importlib.import_module(name))
    assert found
    for function in found.values():
        assert Path(function.stats.cache_path).parent == jit.cache_folder()


@pytest.mark.parametrize("name", MODULES)
def test_compiled_code_calls_no_file_that_is_not_in_the_folders_name(name: str) -> None:
    # Numba itself notices that a function's own file has changed, and the folder's name that another one's has.
    seen = {
        ".".join(["inril", *path.relative_to(PACKAGE).with_suffix("").parts])
        for pattern in jit.CALLED_FROM_ELSEWHERE
        for path in PACKAGE.glob(pattern)
    }
    module = importlib.import_module(name)
    for function in own_dispatchers(module).values():
        used = [getattr(module, other, None) for other in function.py_func.__code__.co_names]
        assert {value.__module__ for value in used if isinstance(value, Dispatcher)} <= {name, *seen}


def test_no_other_module_has_numba_keep_code() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if "cache=True" in path.read_text()]
    assert not files


def test_a_users_functions_go_where_they_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_user.py").write_text(
        "import numba\n\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = {name: getattr(numba.config, name, "") for name in ("CACHE_DIR", "CACHE_LOCATOR_CLASSES")}
    jit.compiled(lambda x: x)
    assert settings == {name: getattr(numba.config, name, "") for name in settings}
    double = importlib.import_module("of_user").double
    assert "numba-" not in double.stats.cache_path
    if not settings["CACHE_DIR"]:
        assert double.stats.cache_path == str(tmp_path / "__pycache__")


@pytest.mark.usefixtures("fresh")
def test_numba_cache_dir_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "InTreeCacheLocator", raising=False)
    folder = jit.cache_folder()
    assert folder == tmp_path / f"numba-{jit._source_digest()}"
    function: Any = jit.compiled(lambda x: x)
    assert function.stats.cache_path.startswith(str(folder))


@pytest.mark.usefixtures("fresh")
def test_uncached_with_one_warning_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jit, "_can_be_written", lambda folder: False)
    with caplog.at_level(logging.WARNING):
        functions: list[Any] = [jit.compiled(lambda x: x + 1) for _ in range(2)]
    assert [function(1) for function in functions] == [2, 2]
    assert functions[0].stats.cache_path is None
    [record] = caplog.records
    assert "set NUMBA_CACHE_DIR" in record.getMessage()


@pytest.mark.usefixtures("fresh")
def test_no_folder_named_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # of a user whom the system does not know
    assert all(parent.is_absolute() for parent in jit._parents())


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A folder, open to all, with what compiled code needs of the package and two simulators that call each other."""
    folder = Path(tempfile.mkdtemp())
    (folder / "inril" / "envs").mkdir(parents=True)
    for name in ("__init__.py", "jit.py"):
        shutil.copy(PACKAGE / name, folder / "inril")
    (folder / "inril" / "envs" / "__init__.py").touch()
    (folder / "inril" / "envs" / "called.py").write_text(CALLED.format(1))
    (folder / "inril" / "envs" / "calling.py").write_text(CALLING)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_colleague_computes_what_the_owner_wrote_last(checkout: Path) -> None:
    cache = checkout / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    python = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable]
    if subprocess.run([*python, "-c", "import numba"], cwd=checkout, capture_output=True, check=False).returncode:
        pytest.skip("others cannot use this Python")
    environment = {**os.environ, "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(cache)}
    environment.pop("NUMBA_CACHE_DIR", None)

    def compute() -> tuple[str, str, str]:
        command = [*python, "-c", COMPUTE]
        done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        number, path, hits = done.stdout.split()
        return number, path, hits

    number, path, hits = compute()
    assert (number, hits) == ("1", "0")
    assert path.startswith(str(cache / "inril" / "numba-"))
    assert compute() == ("1", path, "1")
    (checkout / "inril" / "envs" / "called.py").write_text(CALLED.format(2))
    assert compute()[0] == "2"
