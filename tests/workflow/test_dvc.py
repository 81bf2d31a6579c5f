import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inril.publishing.store import Stage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What DVC reads of the project, where it may write, as it does when it reads."""
    (tmp_path / ".dvc").mkdir()
    for file in (".dvc/config", "dvc.yaml", "dvc.lock"):
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    return tmp_path


def dvc(repository: Path, *args: str) -> str:
    command = [sys.executable, "-m", "dvc", *args]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout


def stages() -> dict[str, dict[str, object]]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_stages_are_valid_and_in_order(repository: Path) -> None:
    names = [line.split()[0] for line in dvc(repository, "stage", "list").splitlines()]
    assert {name.split("@")[1] for name in names} == {"laptop", "long", "workstation"}
    assert [name for name in names if name.endswith("@laptop")] == [
        f"{phase}@laptop" for phase in ("demos", "pretrain", "finetune", "figures")
    ]
    edges = dvc(repository, "dag", "--dot")
    for before, after in (("demos", "pretrain"), ("pretrain", "finetune"), ("finetune", "figures")):
        assert f'"{before}@laptop" -> "{after}@laptop"' in edges


def test_each_stage_owns_its_part_of_the_mirror_and_keeps_it() -> None:
    for phase, stage in stages().items():
        folder = str(Stage(phase, "${item}").folder)
        assert stage["do"]["outs"] == [{folder: {"persist": True}}]


def test_stages_name_targets_of_the_workflow_and_record_them() -> None:
    rules = (ROOT / "Snakefile").read_text()
    for phase, stage in stages().items():
        run, record = stage["do"]["cmd"].split(" && ")
        target = run.removeprefix("snakemake --cores 2 ").removesuffix(" --config budget=${item}")
        assert f"\nrule {target}:" in rules
        assert record == f"python -m inril record ${{item}} {phase}"
