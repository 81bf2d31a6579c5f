import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_JOB = re.compile(r"^(?:local)?rule (\w+):$\n((?:^    .*$\n)*)", re.MULTILINE)
_WILDCARDS = re.compile(r"^    wildcards: (.*)$", re.MULTILINE)

Snakemake = Callable[..., subprocess.CompletedProcess[str]]
Plan = Callable[..., set[str]]


@pytest.fixture(scope="session")
def snakemake() -> Snakemake:
    """Runs the workflow, or a copy of it, on results in some folder; makes Fig. 8 unless other targets are named."""

    def run(
        results: Path, *args: str, root: Path = ROOT, budget: str = "smoke", cores: int = 2, **config: str
    ) -> subprocess.CompletedProcess[str]:
        if all(arg.startswith("--") for arg in args):
            args = (*args, "results/fig8.pdf" if budget == "laptop" else f"results/{budget}/figures/fig8.pdf")
        chosen = [f"{key}={value}" for key, value in {"budget": budget, **config}.items()]
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--directory", str(results), *args]
        return subprocess.run([*command, "--config", *chosen], cwd=root, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def plan(snakemake: Snakemake) -> Plan:
    """Tells what would run: rule names, with the seed and m where a job has them; collecting targets left out."""

    def jobs(results: Path, *args: str, root: Path = ROOT, budget: str = "smoke", **config: str) -> set[str]:
        done = snakemake(results, "--dry-run", *args, root=root, budget=budget, **config)
        assert done.returncode == 0, done.stderr
        found = set()
        for rule, body in _JOB.findall(done.stdout):
            wildcards = _WILDCARDS.search(body)
            values = dict(part.split("=") for part in wildcards[1].split(", ")) if wildcards else {}
            axes = [f"{name}{values[name]}" for name in ("m", "seed") if name in values]
            if not rule.startswith("all"):
                found.add(" ".join([rule, *axes]))
        return found

    return jobs


@pytest.fixture(scope="session")
def smoke(snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the whole workflow at the smoke budget, made once."""
    results = tmp_path_factory.mktemp("smoke")
    done = snakemake(results)
    assert done.returncode == 0, done.stderr
    return results


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the workflow, to change."""
    copy = tmp_path / "source"
    for folder in ("config", "profiles", "rules", "src"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "published" / "tables", copy / "published" / "tables")
    for file in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / file, copy / file)
    return copy
