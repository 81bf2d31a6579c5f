from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from file_server import FileServer

from inril.config.base import TaskSpec
from inril.data.demo_file import Episode, write_demos


@pytest.fixture
def demo_path(tmp_path: Path, task: TaskSpec, make_episodes: Callable[..., list[Episode]]) -> Path:
    path = tmp_path / "demos.hdf5"
    write_demos(path, task, make_episodes([5, 9, 7, 3, 8, 6, 4]), {"source": "generated", "seed": 0})
    return path


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
