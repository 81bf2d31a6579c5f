"""What docs/extending.md promises: its code is that of the examples, and the examples run, laid over the project."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "extending"
DOCUMENT = ROOT / "docs" / "extending.md"
# In reading order: links to files of the examples, and code.
_LINK_OR_CODE = re.compile(r"\]\(\.\./(examples/extending/[^)]+)\)|^```(?:python|yaml|diff)\n(.*?)^```$", re.M | re.S)

Snakemake = Callable[..., CompletedProcess[str]]


def files(example: str) -> set[str]:
    return {path.relative_to(EXAMPLES).as_posix() for path in (EXAMPLES / example).rglob("*") if path.is_file()}


def lay_over(project: Path, example: str) -> None:
    """Copy an example's files over a copy of the project, and apply its patch."""
    shutil.copytree(EXAMPLES / example, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.patch"))
    (patch,) = (EXAMPLES / example).glob("*.patch")
    subprocess.run(["git", "apply", str(patch)], cwd=project, check=True)


def in_project(project: Path, *args: str) -> None:
    """Run a Python module on a copy of the project."""
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    done = subprocess.run([sys.executable, "-m", *args], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(source: Path) -> Path:
    """A copy of the project that can run its unit tests too."""
    shutil.copy(ROOT / "pyproject.toml", source)
    for folder in ("algos", "envs"):
        shutil.copytree(ROOT / "tests" / "unit" / folder, source / "tests" / "unit" / folder)
    shutil.copy(ROOT / "tests" / "conftest.py", source / "tests")
    return source


def quotes(text: str) -> Iterator[tuple[str, str]]:
    """Yield the code blocks of the document, each with the file that was linked last before it."""
    file = ""
    for link, code in _LINK_OR_CODE.findall(text):
        file = link or file
        if code:
            yield file, code


def test_code_in_the_document_is_that_of_the_examples() -> None:
    quoted = list(quotes(DOCUMENT.read_text()))
    for file, code in quoted:
        assert code in (ROOT / file).read_text(), f"docs/extending.md quotes what is not in {file}:\n{code}"
    texts = {path for path in files(".") if not path.endswith(".safetensors")}
    assert {Path(file).relative_to("examples/extending").as_posix() for file, _ in quoted} == texts


@pytest.mark.parametrize("example", ["awac", "swimmer"])
def test_an_exercise_takes_four_files(example: str) -> None:
    assert len(files(example)) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "unit_test", "run"),
    [
        ("awac", "tests/unit/algos/test_awac.py", "hopper/awac"),
        ("swimmer", "tests/unit/envs/test_swimmer.py", "swimmer/dppo"),
    ],
)
def test_an_example_runs(
    project: Path, tmp_path: Path, snakemake: Snakemake, example: str, unit_test: str, run: str
) -> None:
    lay_over(project, example)
    in_project(project, "pytest", "-q", "-p", "no:cacheprovider", unit_test)
    in_project(project, "inril", "check")
    in_project(project, "inril", "schemas", "--out", "workflow/schemas", "--readme", "config/README.md")
    metrics = f"results/smoke/finetune/{run}/surgery/m2/seed0/metrics.csv"
    done = snakemake(tmp_path, metrics, root=project)
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(tmp_path / metrics).set_index("metric")["value"]
    assert found["n_il_updates"].max() > 0
    assert found["episode_return"].notna().all()
