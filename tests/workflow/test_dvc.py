import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def dvc(*args: str) -> str:
    command = [sys.executable, "-m", "dvc", *args]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_stages_are_valid_and_in_order() -> None:
    names = [line.split()[0] for line in dvc("stage", "list").splitlines()]
    assert names == ["demos", "pretrain", "finetune", "figures"]
    edges = dvc("dag", "--dot")
    for edge in ('"demos" -> "pretrain"', '"pretrain" -> "finetune"', '"finetune" -> "figures"'):
        assert edge in edges


def test_outputs_stay_in_place_for_snakemake_to_judge() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage in stages.values():
        for out in stage["outs"]:
            assert [settings["persist"] for settings in out.values()] == [True]


def test_stages_name_targets_of_the_workflow() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    rules = (ROOT / "Snakefile").read_text()
    for stage in stages.values():
        target = stage["cmd"].removeprefix("snakemake --cores 2 ").split()[0]
        assert f"\nrule {target}:" in rules
