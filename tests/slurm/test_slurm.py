"""The workflow through a real SLURM, and what goes wrong there. The tests build on one another's results."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inril.train.run_lock import holder_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLUSTER = Path(__file__).with_name("cluster.sh")
CANNOT_INSTALL = 77
# This cluster keeps no accounts, and its jobs are short.
ON_THIS_CLUSTER = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "8")
FIGURE = "results/smoke/figures/fig8.pdf"
PATIENCE_S = 180.0


class Cluster:
    """One node on this machine, and Snakemake on it.

    Args:
        folder: of the cluster.
        source: a copy of the workflow.
        results: working directory.
    """

    def __init__(self, folder: Path, source: Path, results: Path) -> None:
        self.folder, self.source, self.results = folder, source, results
        own = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        self.environment = os.environ | own

    def manage(self, action: str) -> None:
        subprocess.run([CLUSTER, action, self.folder], check=True)

    def call(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    @contextmanager
    def snakemake(self, log: Path, *args: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start the workflow with its SLURM profile; what it prints goes to a file."""
        profile = ("--workflow-profile", "profiles/slurm", *ON_THIS_CLUSTER)
        with started(self.source, self.results, log, *profile, *args, env=self.environment) as process:
            yield process

    def run(self, m: str) -> Path:
        return self.results / "results" / "smoke" / "finetune" / "hopper" / "dppo" / "surgery" / f"m{m}" / "seed0"

    def targets(self, *arms: str) -> list[str]:
        return [str((self.run(m) / "metrics.csv").relative_to(self.results)) for m in arms]

    def job_at_work(self, m: str) -> str:
        """Wait until a run has some iterations behind it; returns its SLURM job."""
        log = self.run(m) / "log.txt"
        wait_for(lambda: log.exists() and "itr 5," in log.read_text())
        found = re.search(r"SLURM job (\d+)", str(holder_of(self.run(m))))
        assert found
        return found[1]


@contextmanager
def started(
    source: Path, results: Path, log: Path, *args: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "snakemake", "--directory", str(results), *args, "--config", "budget=smoke"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=source, env=env, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_same_results(folder: Path, reference: Path) -> None:
    for name in ("config.yaml", "metrics.csv", "policy.safetensors"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), f"{folder}/{name}"


def iterations(run: Path) -> list[int]:
    """Return what a run's log tells; Snakemake starts a new log with each attempt."""
    return [int(itr) for itr in re.findall(r"itr (\d+), \d+ env steps", (run / "log.txt").read_text())]


def assert_resumed(run: Path, seen: int) -> None:
    """No iteration was lost: the run went on from its last checkpoint, and there is one after each iteration."""
    (resumed,) = map(int, re.findall(r"resuming at iteration (\d+)", (run / "log.txt").read_text()))
    assert resumed >= seen - 1
    assert iterations(run)[0] == resumed + 1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster; its programs are installed first where that is possible."""
    installed = subprocess.run([CLUSTER, "install"], capture_output=True, text=True, check=False)
    if installed.returncode == CANNOT_INSTALL:
        pytest.skip(installed.stderr.strip().splitlines()[-1])
    assert installed.returncode == 0, installed.stderr
    source = tmp_path_factory.mktemp("source")
    for folder in ("config", "profiles", "rules", "src", "workflow"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / file, source / file)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"), source, tmp_path_factory.mktemp("results"))
    try:
        cluster.manage("start")
        yield cluster
    finally:
        cluster.manage("stop")


def test_smoke_budget_equals_a_local_run(cluster: Cluster, tmp_path: Path) -> None:
    logs = tmp_path / "slurm.log", tmp_path / "local.log"
    with (
        cluster.snakemake(logs[0], FIGURE) as there,
        started(cluster.source, tmp_path / "local", logs[1], "--cores", "1", FIGURE) as here,
    ):
        assert here.wait() == 0, logs[1].read_text()
        assert there.wait() == 0, logs[0].read_text()
    assert logs[0].read_text().count("has been submitted with SLURM jobid") == 6  # table and figure share one
    folders = [path.parent.relative_to(tmp_path / "local") for path in (tmp_path / "local").rglob("metrics.csv")]
    assert len(folders) == 4
    for folder in folders:
        assert_same_results(cluster.results / folder, tmp_path / "local" / folder)
    assert (cluster.results / FIGURE).exists()


@pytest.fixture(scope="module")
def reference(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Folders of undisturbed local runs, longer than the smoke budget's, which are made while others go on."""
    budget = cluster.source / "config" / "budgets" / "smoke.yaml"
    text = budget.read_text().replace("env_steps: 2000", "env_steps: 60000")
    budget.write_text(text.replace("eval: {every: 2,", "eval: {every: 100,"))
    results = tmp_path_factory.mktemp("reference")
    shutil.copytree(cluster.results / ".snakemake" / "metadata", results / ".snakemake" / "metadata")
    for phase in ("demos", "pretrain"):
        shutil.copytree(cluster.results / "results" / "smoke" / phase, results / "results" / "smoke" / phase)
    log = results / "log"
    with started(cluster.source, results, log, "--cores", "1", *cluster.targets("3", "4", "10")) as process:

        def folder(m: str) -> Path:
            assert process.wait() == 0, log.read_text()
            return results / cluster.run(m).relative_to(cluster.results)

        yield folder


def test_faults_of_jobs_and_of_the_node(cluster: Cluster, reference: Callable[[str], Path], tmp_path: Path) -> None:
    """One job is cancelled, one always fails, one wants more memory than it asked for; slurmd dies meanwhile."""
    damaged = cluster.run("5") / "checkpoint" / "current.safetensors"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no checkpoint")
    memory = "finetune:mem_mb=400 * attempt if wildcards.m == '10' else 2500"
    log = tmp_path / "log"
    options = ("--retries", "1", "--set-resources", memory)
    with cluster.snakemake(log, *cluster.targets("4", "5", "10"), *options) as process:
        job = cluster.job_at_work("4")
        os.kill(int((cluster.folder / "slurmd.pid").read_text()), signal.SIGKILL)
        time.sleep(1)
        cluster.manage("slurmd")
        seen = iterations(cluster.run("4"))[-1]
        cluster.call("scancel", job)
        assert process.wait() == 1
    text = log.read_text()
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in text
    assert "expected a whole checkpoint" in text
    assert_resumed(cluster.run("4"), seen)
    assert_same_results(cluster.run("4"), reference("4"))
    assert_same_results(cluster.run("10"), reference("10"))
    assert {path.name for path in cluster.run("5").iterdir()} == {"checkpoint", "log.txt", "settings.json", ".holder"}
    logs = (cluster.results / ".snakemake" / "slurm_logs").rglob("*.log")
    assert any("exceeded memory limit" in path.read_text() for path in logs)
    assert "rule demos" not in text
    assert "rule pretrain" not in text


def test_snakemake_killed_and_settings_edited(
    cluster: Cluster, reference: Callable[[str], Path], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    (target,) = cluster.targets("3")
    with cluster.snakemake(log, target) as process:
        job = cluster.job_at_work("3")
        process.kill()
    cluster.call("scontrol", "suspend", job)  # so that it cannot end before all this has been tried
    with cluster.snakemake(log, target) as process:
        assert process.wait() == 1
    assert "Directory cannot be locked" in log.read_text()
    with cluster.snakemake(log, "--unlock") as process:
        assert process.wait() == 0
    with cluster.snakemake(log, target) as process:
        assert process.wait() == 1
    assert f"SLURM job {job}, since" in log.read_text()
    assert "has been submitted" not in log.read_text()
    seen = iterations(cluster.run("3"))[-1]
    cluster.call("scancel", job)
    budget = cluster.source / "config" / "budgets" / "smoke.yaml"
    submitted = budget.read_text()
    cluster.call("scontrol", "update", "PartitionName=all", "State=DOWN")
    with cluster.snakemake(log, target) as process:
        wait_for(lambda: "has been submitted" in log.read_text())
        budget.write_text(submitted.replace("env_steps: 60000", "env_steps: 10000"))
        cluster.call("scontrol", "update", "PartitionName=all", "State=UP")
        assert process.wait() == 0, log.read_text()
    assert_resumed(cluster.run("3"), seen)
    assert_same_results(cluster.run("3"), reference("3"))
    with cluster.snakemake(log, "--dry-run", target) as process:
        assert process.wait() == 0
    assert "Params have changed" in log.read_text()
    budget.write_text(submitted)
    with cluster.snakemake(log, "--dry-run", target) as process:
        assert process.wait() == 0
    assert "Nothing to be done" in log.read_text()


def test_job_stops_if_numerics_changed_since_it_was_submitted(cluster: Cluster) -> None:
    submitted = next((cluster.results / ".snakemake" / "submitted").iterdir())
    numerics = cluster.source / "src" / "inril" / "config" / "numerics.py"
    numerics.write_text(numerics.read_text().replace('"surgery": 1', '"surgery": 1000'))
    job = [sys.executable, "-m", "snakemake", "--mode", "remote", "--cores", "1", "--nolock", "--force"]
    command = [*job, "--directory", str(cluster.results), *cluster.targets("3"), "--config", "budget=smoke"]
    env = os.environ | {"INRIL_SUBMITTED": str(submitted)}
    done = subprocess.run(command, cwd=cluster.source, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "numerics.py: expected the versions that this job was submitted with" in done.stderr.splitlines()[-1]
