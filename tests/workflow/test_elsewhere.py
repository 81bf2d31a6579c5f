"""The workflow as part of another one, under another name, and in environments of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest

ROOT = Path(__file__).parents[2]
DEMOS = "results/smoke/demos/hopper/generated.hdf5"
MODULE = f"""
module reproduction:
    snakefile: "{ROOT}/Snakefile"
    prefix: "part"
    config: {{"budget": "smoke"}}


rule own:
    input: "part/results/smoke/figures/fig8.csv"
    output: "rows.txt"
    params: settings=3, out=5
    shell: "wc -l {{input}} >{{output}}"


use rule * from reproduction as reproduction_*
"""
# Stands in for conda: environments are those of venv, and know the packages of the one that the tests run in.
CONDA = f"""#!/usr/bin/env bash
set -euo pipefail
case "$*" in
    "info --json") echo '{{"conda_prefix": "'"$(dirname "$(dirname "$0")")"'", "platform": "linux-64"}}' ;;
    "--version") echo conda 99.0.0 ;;
    "config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
    "env create"*)
        prefix=${{*: -1}}
        {sys.executable} -m venv --without-pip "$prefix"
        echo "{sysconfig.get_path("purelib")}" >"$(echo "$prefix"/lib/*/site-packages)/all.pth" ;;
    "clean"*) ;;
    *) exit 1 ;;
esac
"""


def call(folder: Path, *args: str, **environment: str) -> CompletedProcess[str]:
    """Run Snakemake on the Snakefile of a folder, which does not find the sources unless that says where they are."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *args]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def made(folder: Path, *args: str, **environment: str) -> str:
    done = call(folder, *args, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def metrics(results: Path) -> Mapping[Path, bytes]:
    return {path.relative_to(results): path.read_bytes() for path in results.rglob("metrics.csv")}


@pytest.mark.slow
def test_as_a_module_with_a_prefix_it_makes_the_same(tmp_path: Path, smoke: Path) -> None:
    handler = 'onstart:\n    open("started", "w").close()\n'
    (tmp_path / "Snakefile").write_text(f"{MODULE}\n\n{handler}")
    made(tmp_path)
    assert (tmp_path / "rows.txt").exists()
    assert (tmp_path / "started").exists(), "a handler of the importing workflow is called too"
    assert not (tmp_path / "results").exists()
    made_here = metrics(tmp_path / "part")
    assert len(made_here) == 1 + 3  # a pre-training, the arms
    assert made_here.items() <= metrics(smoke).items()  # where other tests may have made more
    assert "Nothing to be done" in made(tmp_path)


def test_settings_of_a_module_are_written_after_a_handler_that_came_before_it(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(f'onstart:\n    open("started", "w").close()\n\n\n{MODULE}')
    made(tmp_path, f"part/{DEMOS}")
    assert (tmp_path / f"part/{DEMOS}.settings.json").exists()
    assert (tmp_path / "started").exists()


def test_choices_of_the_importing_workflow_are_named(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(MODULE.replace('"smoke"', '"huge"'))
    last = call(tmp_path, "--dry-run").stderr.splitlines()[-1]
    assert last.startswith("error: config of the importing workflow: budget: expected one of laptop, ")


def test_runs_of_a_module_are_looked_for_under_its_prefix(tmp_path: Path) -> None:
    complete = MODULE.replace('"budget": "smoke"', '"budget": "smoke", "runs": "complete"')
    (tmp_path / "Snakefile").write_text(complete)
    run = tmp_path / "part/results/smoke/finetune/hopper/dppo/surgery/m2/seed0/metrics.csv"
    assert "seed0/metrics.csv" not in call(tmp_path, "--dry-run", "own").stdout
    run.parent.mkdir(parents=True)
    run.touch()
    assert str(run.relative_to(tmp_path)) in call(tmp_path, "--dry-run", "own").stdout


def test_included_it_leaves_the_default_target_to_the_other_workflow(tmp_path: Path) -> None:
    own = 'rule own:\n    output: "own.txt"\n    shell: "touch {output}"\n'
    (tmp_path / "Snakefile").write_text(f'{own}\n\ninclude: "{ROOT}/Snakefile"\n')
    made(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"Snakefile", "own.txt", ".snakemake"}
    made(tmp_path, DEMOS)
    assert (tmp_path / DEMOS).exists()


def test_a_link_is_as_good_as_the_snakefile(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").symlink_to(ROOT / "Snakefile")
    made(tmp_path, DEMOS)
    assert (tmp_path / DEMOS).exists()


def test_the_workflow_catalogue_finds_a_snakefile_too(tmp_path: Path) -> None:
    done = made(ROOT, "--snakefile", "workflow/Snakefile", "--directory", str(tmp_path), "--dry-run", DEMOS)
    assert "error" not in done


def test_imported_from_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    shutil.copy(ROOT / "Snakefile", repository)
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    (tmp_path / "Snakefile").write_text(
        f'module a:\n    snakefile: gitfile("{repository}", path="Snakefile", ref="HEAD")\n\n\nuse rule * from a\n'
    )
    last = call(tmp_path, "--dry-run").stderr.splitlines()[-1]
    assert last.startswith("error: git+file:/")
    assert last.endswith("Clone the repository and import its Snakefile by path")


@pytest.mark.slow
def test_jobs_run_in_a_conda_environment_of_their_own(tmp_path: Path) -> None:
    programs = tmp_path / "conda" / "bin"
    programs.mkdir(parents=True)
    (programs / "conda").write_text(CONDA)
    (programs / "activate").write_text('. "$1/bin/activate"\n')
    (programs / "conda").chmod(0o755)
    (tmp_path / "Snakefile").symlink_to(ROOT / "Snakefile")
    path = f"{programs}:{os.environ['PATH']}"
    said = made(tmp_path, DEMOS, "--sdm", "conda", PATH=path, PIP_NO_INDEX="1")
    assert "Running post-deploy script" in said
    assert (tmp_path / DEMOS).exists()
