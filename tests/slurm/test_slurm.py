"""The workflow through a real SLURM, and what can go wrong there."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLUSTER = Path(__file__).with_name("cluster.sh")
CANNOT_INSTALL = 77
PROFILE = ["--workflow-profile", "profiles/slurm"]
# This cluster keeps no accounts, and its jobs are short.
ON_THIS_CLUSTER = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "8"]
FIGURE = "results/smoke/figures/fig8.pdf"


class Cluster:
    """One node on this machine, and Snakemake on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        self.environment = os.environ | environment

    def manage(self, action: str) -> None:
        subprocess.run([CLUSTER, action, self.folder], check=True)

    def call(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def job_of(self, holder: Path) -> str:
        """Return the SLURM job that works in a run's folder."""
        last = max((holder / ".holder").iterdir(), key=lambda path: int(path.name))
        return str(json.loads((last / "who.json").read_text())["slurm_job"])


def snakemake(results: Path, *args: str, root: Path = ROOT, **config: str) -> list[str]:
    chosen = [f"{key}={value}" for key, value in {"budget": "smoke", **config}.items()]
    return [sys.executable, "-m", "snakemake", "--directory", str(results), *args, "--config", *chosen]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster; its programs are installed first where that is possible."""
    installed = subprocess.run([CLUSTER, "install"], capture_output=True, text=True, check=False)
    if installed.returncode == CANNOT_INSTALL:
        pytest.skip(installed.stderr.strip().splitlines()[-1])
    assert installed.returncode == 0, installed.stderr
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.manage("start")
        yield cluster
    finally:
        cluster.manage("stop")


def test_smoke_budget_through_slurm_equals_a_local_run(cluster: Cluster, tmp_path: Path) -> None:
    remote, local = tmp_path / "slurm", tmp_path / "local"
    here = snakemake(local, "--cores", "1", FIGURE)
    with (tmp_path / "local.log").open("w") as log, subprocess.Popen(here, cwd=ROOT, stdout=log, stderr=log) as process:
        there = snakemake(remote, *PROFILE, *ON_THIS_CLUSTER, FIGURE)
        done = subprocess.run(there, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert process.wait() == 0, (tmp_path / "local.log").read_text()
    results = [path.relative_to(local) for path in local.glob("results/smoke/*/**/seed0/*.*")]
    results = [path for path in results if path.name in ("metrics.csv", "policy.safetensors", "config.yaml")]
    assert len(results) == 9
    assert all(filecmp.cmp(remote / path, local / path, shallow=False) for path in results)
    assert (remote / FIGURE).exists()
    assert done.stderr.count("has been submitted with SLURM jobid") == 5  # table and figure share one
