from __future__ import annotations

import errno
import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_server import FileServer

import inril.data.download
from inril.data.download import fetch
from inril.errors import InputError, WrongContent

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def path(tmp_path: Path, server: FileServer) -> Path:
    server.content = CONTENT
    return tmp_path / "raw" / "file.hdf5"


def get(server: FileServer, path: Path, sha256: str | None = None, **kwargs: Any) -> None:
    fetch(server.url, path, sha256, **{"retries": 2, "timeout_s": 5.0, "backoff_s": 0.001, **kwargs})


def others(path: Path) -> list[str]:
    return sorted(other.name for other in path.parent.iterdir() if other != path)


def test_success(server: FileServer, path: Path) -> None:
    get(server, path, SHA256)
    assert path.read_bytes() == CONTENT
    assert others(path) == []


def test_upper_case_checksum(server: FileServer, path: Path) -> None:
    get(server, path, SHA256.upper())
    assert path.exists()


def test_file_that_is_there_is_not_fetched_again(server: FileServer, path: Path) -> None:
    get(server, path, SHA256)
    get(server, path, SHA256)
    assert server.ranges == [None]


def test_cut_connection_is_continued(server: FileServer, path: Path) -> None:
    server.cut_after = [400_000, 300_000]
    get(server, path, SHA256)
    assert path.read_bytes() == CONTENT
    starts = [int(part.removeprefix("bytes=").removesuffix("-")) for part in server.ranges[1:] if part is not None]
    assert len(starts) == 2
    assert 300_000 < starts[0] <= 400_000 < starts[1] <= 700_000
    assert server.served[2] == len(CONTENT) - starts[1]  # only the rest


def test_a_later_run_continues(server: FileServer, path: Path) -> None:
    server.cut_after = [400_000]
    with pytest.raises(InputError, match=r"expected a complete download, got after 1 attempts: .*Run again: it contin"):
        get(server, path, SHA256, retries=0)
    assert not path.exists()
    kept = path.with_name("file.hdf5.part").stat().st_size
    get(server, path, SHA256, retries=0)
    assert server.ranges[1] == f"bytes={kept}-"
    assert server.served[1] == len(CONTENT) - kept
    assert path.read_bytes() == CONTENT
    assert others(path) == []


def test_killed_after_the_last_byte(server: FileServer, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("file.hdf5.part").write_bytes(CONTENT)
    get(server, path, SHA256)
    assert path.read_bytes() == CONTENT
    assert server.served == []


def test_server_without_ranges_starts_again(server: FileServer, path: Path) -> None:
    server.has_range = False
    server.cut_after = [400_000]
    get(server, path, SHA256)
    assert path.read_bytes() == CONTENT
    assert server.served == [400_000, len(CONTENT)]


def test_file_replaced_between_attempts_starts_again(server: FileServer, path: Path) -> None:
    server.cut_after = [400_000]
    with pytest.raises(InputError):
        get(server, path, retries=0)
    server.content, server.etag = CONTENT[::-1], '"2"'
    get(server, path)
    assert path.read_bytes() == CONTENT[::-1]


def test_longer_leftover_than_the_file_starts_again(server: FileServer, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("file.hdf5.part").write_bytes(CONTENT + b"more")
    get(server, path, SHA256)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 503])
def test_transient_failures_are_retried(server: FileServer, path: Path, status: int) -> None:
    server.statuses = [status, status]
    get(server, path, SHA256)
    assert path.read_bytes() == CONTENT


def test_lasting_failure(server: FileServer, path: Path) -> None:
    server.statuses = [503, 503, 503, 503]
    with pytest.raises(InputError) as caught:
        get(server, path)
    assert str(caught.value).startswith(
        f"{server.url}: expected a complete download, got after 3 attempts: HTTP status 503 Service Unavailable"
    )


def test_pauses_grow(server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(inril.data.download.time, "sleep", pauses.append)
    server.statuses = [503, 503, 503]
    get(server, path, retries=3, backoff_s=1.0)
    assert pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (403, "Forbidden")])
def test_missing_file_is_not_retried(server: FileServer, path: Path, status: int, reason: str) -> None:
    server.statuses = [status, status]
    with pytest.raises(InputError) as caught:
        get(server, path)
    complaint = f"expected a file, got HTTP status {status} {reason}. Run again, or download it by hand to {path}"
    assert str(caught.value) == f"{server.url}: {complaint}"
    assert len(server.ranges) == 1
    assert others(path) == []


def test_unreachable_server(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(InputError, match=r"expected a complete download, got after 2 attempts: .*refused"):
            fetch(url, tmp_path / "file", retries=1, backoff_s=0.001)


@pytest.mark.parametrize("url", ["not an address", "ftp://127.0.0.1/file", "http://"])
def test_malformed_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=f"{url}: expected an http or https address, got "):
        fetch(url, tmp_path / "file", retries=5, backoff_s=10.0)


def test_checksum_mismatch_removes_the_file(server: FileServer, path: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(InputError) as caught:
        get(server, path, wrong)
    assert str(caught.value).startswith(f"{server.url}: checksum: expected SHA-256 {wrong}, got {SHA256}. ")
    assert not path.exists()
    assert not path.with_name("file.hdf5.part").exists()
    get(server, path, SHA256)
    assert path.read_bytes() == CONTENT


def test_file_damaged_on_disk_is_removed(server: FileServer, path: Path) -> None:
    get(server, path, SHA256)
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(InputError, match="checksum: expected SHA-256"):
        get(server, path, SHA256)
    assert not path.exists()


def test_first_download_records_its_checksum(server: FileServer, path: Path) -> None:
    get(server, path)
    record = path.with_name("file.hdf5.sha256")
    assert record.read_text() == f"{SHA256}  file.hdf5\n"
    get(server, path)
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(InputError, match=rf"expected SHA-256 {SHA256}, got .* delete \S+file\.hdf5\.sha256 if its"):
        get(server, path)
    assert not path.exists()


def is_right(path: Path) -> None:
    if not path.read_bytes().startswith(CONTENT[:8]):
        raise WrongContent(path, expected="the file", got="another kind of file")


def test_wrong_file_leaves_nothing_and_the_record_of_the_right_one(server: FileServer, path: Path) -> None:
    get(server, path, check=is_right)
    path.unlink()
    server.content = b"<html>log in</html>"
    with pytest.raises(InputError, match=r"^http\S+: expected the file, got another kind of file\. Nothing was stored"):
        get(server, path, check=is_right)
    assert others(path) == ["file.hdf5.sha256"]
    server.content = CONTENT
    get(server, path, check=is_right)
    assert path.read_bytes() == CONTENT


def test_file_put_there_by_hand_is_never_deleted(server: FileServer, path: Path) -> None:
    path.parent.mkdir()
    for check, sha256 in ((is_right, None), (lambda path: None, SHA256)):
        path.write_bytes(b"somebody's own")
        with pytest.raises(InputError, match=r"It was moved to \S+\.rejected"):
            get(server, path, sha256, check=check)
        assert path.with_name("file.hdf5.rejected").read_bytes() == b"somebody's own"
        assert others(path) == ["file.hdf5.rejected"]


def test_unwritable_folder(server: FileServer, path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"file\.hdf5: expected a place that can be written, got "):
        get(server, path)


def test_full_disk(server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="expected room on the disk, got No space left on device"):
        get(server, path)
    assert not path.exists()
