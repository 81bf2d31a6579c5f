import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

import pytest

from inril.errors import InputError
from inril.files import write_atomically


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_decides_who_may_read_and_write(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        write_atomically(tmp_path / "folder" / "file", b"new")
    assert stat.S_IMODE((tmp_path / "folder" / "file").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask


def test_nothing_asks_for_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Never:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for call in ("chmod", "fchmod", "chown", "fchown"):
        monkeypatch.setattr(os, call, refuse)
    write_atomically(tmp_path / "file", b"new", mtime=7.0)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mtime == 7.0


def test_a_folder_is_no_place_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a place that can be written"):
        write_atomically(Path(), b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_rename_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Never:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="expected a place that can be written, got Permission denied"):
        write_atomically(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}
