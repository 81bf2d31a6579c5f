import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_project import ROOT, Project, Start

STAGE = """
stages:
  finetune:
    cmd: snakemake --cores 2 all_finetune
    outs:
      - results/finetune:
          persist: true
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Results recorded by DVC, as this repository records its own, and a default remote to switch away from."""
    folder = tmp_path_factory.mktemp("project")
    home = tmp_path_factory.mktemp("home")
    author = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    project = Project(
        folder,
        {
            **author,
            "AWS_MAX_ATTEMPTS": "1",  # a server that is down is told at once
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "HOME": str(home),  # nobody's own settings, keys and known hosts
            "PATH": os.environ["PATH"],
        },
    )
    runs = folder / "results" / "finetune" / "hopper"
    (runs / "seed0").mkdir(parents=True)
    shutil.copy(ROOT / "src/inril/data/experts/hopper.safetensors", runs / "seed0" / "policy.safetensors")
    (runs / "seed0" / "metrics.csv").write_text("iteration,return\n0,1400.5\n")
    (runs / "config.yaml").write_text("task: hopper\n")
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / ".gitignore").write_text("/results\n")
    project.must("git", "init", "--quiet")
    project.must_dvc("init", "--quiet")
    project.must_dvc("remote", "add", "--default", "published", "https://example.invalid/published")
    project.must_dvc("commit", "--quiet", "--force")
    project.must("git", "add", ".")
    project.must("git", "commit", "--quiet", "--message", "results")
    return project


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a server and waits until it prints that it listens; stops it at the end."""
    servers = []

    def run(*command: str | Path, ready: str, env: dict[str, str] | None = None) -> re.Match[str]:
        log = tmp_path_factory.mktemp("server") / "log.txt"
        with log.open("w") as out:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **(env or {})}
            )
        servers.append(server)
        until = time.monotonic() + 60
        while time.monotonic() < until and server.poll() is None:
            if found := re.search(ready, log.read_text()):
                return found
            time.sleep(0.05)
        raise AssertionError(f"{command[0]} does not listen:\n{log.read_text()}")

    yield run
    for server in servers:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
