from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from inril.config import TaskSpec
from inril.data.demo_file import Episode, write_demos


@pytest.fixture
def task() -> TaskSpec:
    return TaskSpec(
        id="hopper", title="Hopper", suite="gym", obs_dim=11, action_dim=3, max_episode_steps=1000, metric="return"
    )


@pytest.fixture
def make_episodes() -> Callable[..., list[Episode]]:
    def make(lengths: list[int], obs_dim: int = 11, action_dim: int = 3, seed: int = 0) -> list[Episode]:
        rng = np.random.default_rng(seed)
        return [
            Episode(
                obs=rng.normal(size=(n, obs_dim)).astype(np.float32),
                action=rng.uniform(-1, 1, (n, action_dim)).astype(np.float32),
                reward=rng.uniform(0, 2, n).astype(np.float32),
                terminated=bool(i % 2),
                states=rng.normal(size=(n, 4)),
            )
            for i, n in enumerate(lengths)
        ]

    return make


@pytest.fixture
def demo_path(tmp_path: Path, task: TaskSpec, make_episodes: Callable[..., list[Episode]]) -> Path:
    path = tmp_path / "demos.hdf5"
    write_demos(path, task, make_episodes([5, 9, 7, 3, 8, 6, 4]), {"source": "generated", "seed": 0})
    return path


@dataclass
class FileServer:
    """A web server with one file, and the faults that a test asks for.

    Args:
        content: the file.
        has_range: whether requests for a part are understood.
        cut_after: bytes after which the connection breaks, one entry per request; None lets it finish.
        statuses: HTTP status of the first requests instead of an answer.
        etag: version of the file.
    """

    url: str = ""
    content: bytes = b""
    has_range: bool = True
    cut_after: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    etag: str = '"1"'
    ranges: list[str | None] = field(default_factory=list)
    served: list[int] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.ranges.append(request.headers.get("Range"))
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = self._start(request)
        if start > 0 and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("ETag", self.etag)
        request.send_header("Content-Length", str(len(self.content) - start))
        request.end_headers()
        cut = self.cut_after.pop(0) if self.cut_after else None
        body = self.content[start:][:cut]
        request.wfile.write(body)
        self.served.append(len(body))

    def _start(self, request: BaseHTTPRequestHandler) -> int:
        wanted = request.headers.get("Range")
        if not self.has_range or wanted is None or request.headers.get("If-Range", self.etag) != self.etag:
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))


@pytest.fixture
def server() -> Iterator[FileServer]:
    files = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        files.url = f"http://127.0.0.1:{http.server_port}/hopper_medium-v2.hdf5"
        yield files
        http.shutdown()
        thread.join()
