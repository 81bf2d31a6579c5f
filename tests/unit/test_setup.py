"""The environment: one lock, exact, complete and without dead weight."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NAMED = ("snakemake", "torch", "mujoco", "gymnasium", "robomimic", "d4rl", "dvc", "seaborn")
# Required by d4rl or robomimic, imported by nothing here.
DEAD = {
    "dm-control",
    "egl-probe",
    "imageio-ffmpeg",
    "mujoco-py",
    "pybullet",
    "tensorboard",
    "tensorboardx",
    "torchvision",
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    """Read `name==version` lines; the part before a comment must be just that."""
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines if line]
    assert all(found), f"{file}: {[line for line in lines if line and not re.fullmatch(r'[^=]+==[A-Za-z0-9.]+', line)]}"
    return {canonical(match[1]): match[2] for match in found if match}


def test_lock_holds_exact_pins_alone_and_every_direct_one() -> None:
    lock = pins("requirements.lock")

    assert lock["torch"] == "2.13.0"  # no local build label: that wheel is not offered everywhere
    assert pins("requirements.in").items() <= lock.items()


def test_lock_has_no_dead_packages() -> None:
    assert not DEAD & pins("requirements.lock").keys()


def test_environment_is_the_lock() -> None:
    wanted = pins("requirements.lock")

    assert {name: version(name).split("+")[0] for name in wanted} == wanted


@pytest.mark.slow
def test_named_packages_import_without_dead_ones() -> None:
    code = f"""
import os, sys
os.environ["D4RL_SUPPRESS_IMPORT_ERROR"] = "1"
import {", ".join(NAMED)}, d4rl.infos, robomimic.utils.dataset
assert len(d4rl.infos.DATASET_URLS) > 100 and robomimic.DATASET_REGISTRY
assert not {{"mujoco_py", "pybullet", "dm_control", "torchvision", "tensorboard"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_conda_installs_the_same_lock() -> None:
    assert yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] == ["python=3.11", "pip"]
    installing = (ROOT / "environment.post-deploy.sh").read_text()
    assert "pip install --no-deps -r requirements.lock\n" in installing
    assert os.access(ROOT / "environment.post-deploy.sh", os.X_OK)


def test_make_uses_the_cores_that_there_are() -> None:
    shown = subprocess.run(["make", "--dry-run", "fig8"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "snakemake --cores all results/fig8.pdf" in shown.stdout


def make(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Call the project's Makefile from another folder."""
    command = ["make", "--file", str(ROOT / "Makefile"), *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_called_from_another_folder_make_writes_only_there(tmp_path: Path) -> None:
    shown = make(tmp_path, "--dry-run", "fig8", "test").stdout
    assert "-m venv --clear .venv" in shown
    assert f'--no-deps --editable "{ROOT}"' in shown
    assert (
        f'PATH="{tmp_path}/.venv/bin:$PATH" snakemake --snakefile "{ROOT}/Snakefile" --cores all results/fig8.pdf'
        in shown
    )
    assert f'cd "{ROOT}" && ' in shown
    assert f'pytest -o cache_dir="{tmp_path}/.pytest_cache" ' in shown
    refused = make(tmp_path, "publish")
    assert refused.stderr.splitlines()[0] == (
        f"error: make publish: expected to be called in a checkout, got {tmp_path}. "
        f"Make one of your own: git clone {ROOT}"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.access("/", os.W_OK), reason="this user may write everywhere")
def test_where_make_cannot_write_it_says_what_to_type() -> None:
    assert make(Path("/"), "fig8").stderr.splitlines()[0] == (
        "error: /: expected a folder that you can write to, got one that you cannot. Call it from one of your own: "
        f"mkdir -p ~/inril && cd ~/inril && make --file {ROOT}/Makefile fig8"
    )


@pytest.mark.slow
def test_pulling_without_git_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    command = [sys.executable, "-m", "inril", "pull"]
    without = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert without.returncode == 1
    assert without.stderr == (
        f"error: {tmp_path}: expected a git repository, as DVC wants it, got none, as in an unpacked archive. "
        "Have DVC do without: dvc config --local core.no_scm true\n"
    )
    without_git = [sys.executable, "-m", "dvc", "config", "--local", "core.no_scm", "true"]
    subprocess.run(without_git, cwd=tmp_path, check=True)
    subprocess.run(command, cwd=tmp_path, check=True)


def test_checkouts_keep_line_ends_whatever_gits_settings() -> None:
    told = subprocess.run(["git", "-C", str(ROOT), "ls-files", "--eol"], capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip("no git checkout, or one that belongs to somebody else")
    # index, work tree, attributes, path: "i/lf w/lf attr/text=auto eol=lf <tab> Makefile"
    files = [line.partition("\t")[0].split(maxsplit=2) for line in told.stdout.splitlines()]
    attributes = {attribute.strip() for index, _, attribute in files if index == "i/lf"}
    assert attributes <= {"attr/text=auto eol=lf", "attr/text eol=lf", "attr/-text"}  # the last: objects of the store
