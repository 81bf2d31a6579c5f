import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inril import cli
from inril.cli import options, training
from inril.config import reference
from inril.config.layers import read_yaml
from inril.config.policy import DiffusionConfig, NetworkConfig
from inril.config.project import Project
from inril.config.runs import FinetuneConfig
from inril.errors import InputError
from inril.evaluate import Evaluation
from inril.policies.policy_file import PolicySpec, save_policy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings() -> str:
    root = read_yaml(ROOT / "config" / "config.yaml") | {"budget": "smoke"}
    return Project(ROOT / "config", root).finetune("hopper", "dppo", "surgery", 2, seed=0).model_dump_json()


def finetune(config: str, out: Path) -> int:
    return cli.main(
        [
            "finetune",
            "--config",
            config,
            "--demos",
            str(out / "none.hdf5"),
            "--policy",
            str(out / "none"),
            "--out",
            str(out),
        ]
    )


def test_schemas_are_in_sync_with_the_models() -> None:
    on_disk = {path.name: path.read_text() for path in (ROOT / "workflow" / "schemas").iterdir()}
    assert on_disk == reference.schemas(), "run: inril schemas --out workflow/schemas --readme config/README.md"


def test_schemas_accept_what_the_configuration_resolves_to(settings: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="comes with snakemake")
    schema = json.loads(reference.schemas()["finetune.schema.json"])
    jsonschema.validate(json.loads(settings), schema)
    with pytest.raises(jsonschema.ValidationError, match="gama"):
        jsonschema.validate(json.loads(settings) | {"gama": 1}, schema)
    jsonschema.validate(
        read_yaml(ROOT / "config" / "config.yaml"), json.loads(reference.schemas()["config.schema.json"])
    )


def test_check_finds_the_shipped_configuration_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config-dir", str(ROOT / "config")]) == 0
    assert "in order, budgets laptop, long, paper" in capsys.readouterr().out


def test_file_and_inline_json_mean_the_same(settings: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(settings)  # JSON is YAML
    assert options.read_config(FinetuneConfig, str(path)) == options.read_config(FinetuneConfig, settings)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"m": 0}, "error: --config: m: expected greater than 0, got 0"),
        ({"m": -4}, "error: --config: m: expected greater than 0, got -4"),
        ({"method": "../sac"}, "error: --config: method: expected a text that matches '^[a-z]\\w*$', got '../sac'"),
        ({"gama": 1}, "error: --config: gama: expected a known key, got an unknown key"),
        ({"n_envs": 0}, "error: --config: n_envs: expected greater than 0, got 0"),
    ],
)
def test_bad_settings_are_one_line_and_status_1(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], message: str
) -> None:
    assert finetune(json.dumps(json.loads(settings) | changed), tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "error: --config: expected a file or valid JSON, got"),
        ("absent.yaml", "error: absent.yaml: expected a YAML file, got nothing there"),
    ],
)
def test_unreadable_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, message: str
) -> None:
    assert finetune(config, tmp_path) == 1
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            InputError("file", expected="this\n  and that", got="none"),
            1,
            "error: file: expected this and that, got none\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/policy.safetensors"),
            1,
            "error: out/policy.safetensors: expected room to write, got No space left on device. Free some space",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "error: folder: expected room to write, got No space left",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out"),
            1,
            "error: out: expected a path that can be used, got Perm",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reference, "schemas", fail)
    assert cli.main(["schemas", "--out", "folder"]) == status
    assert capsys.readouterr().err.startswith(message)


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reference, "schemas", fail)
    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.main(["schemas", "--out", "folder"])


def test_resolve_names_where_each_value_was_said_last(capsys: pytest.CaptureFixture[str]) -> None:
    said = ["resolve", "peg_in_hole_low", "dppo", "--m", "10", "--budget", "workstation"]
    assert cli.main([*said, "--config-dir", str(ROOT / "config")]) == 0
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["algo.gamma"] == ["0.98", "budgets/workstation.yaml: tasks.peg_in_hole_low.finetune.dppo"]
    assert lines["algo.epochs"] == ["8", "budgets/workstation.yaml: suites.furniture.finetune.dppo"]
    assert lines["reset_each_itr"] == ["True", "suites/furniture.yaml: finetune.any"]
    assert lines["algo.gae_lambda"] == ["0.95", "methods/dppo.yaml"]
    assert lines["algo.randn_clip"] == ["3.0", "default"]
    assert lines["separation"] == ["surgery", "the run"]


def test_resolve_shows_policies_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["resolve", "hopper", "gaussian_chunk", "--config-dir", str(ROOT / "config")]) == 0
    assert re.search(r"policy\.std +0\.1 +policies/gaussian\.yaml\n", capsys.readouterr().out)
    assert cli.main(["resolve", "hopper", "unet", "--config-dir", str(ROOT / "config")]) == 1
    assert "METHOD or POLICY: expected one of " in capsys.readouterr().err


def test_a_notebooks_backend_does_not_reach_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://nowhere.backend_inline")
    draw = (
        "import sys; from inril.cli import main; main(['figure', '--config', '{}', '--table', 'x', '--out', 'x.pdf']); "
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{draw}import matplotlib.pyplot as plt; plt.figure(); print(plt.get_backend())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "agg"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate --policy x --episodes 0", 'Invalid value "0" for --episodes. Must be > 0.'),
        ("evaluate --policy x --episodes 1.5", 'Invalid value for --episodes: "1.5" is no whole number.'),
        ("evaluate --policy x --seed -1", 'Invalid value "-1" for --seed. Must be >= 0.'),
        ("demos --config {} --out x --sim-threads 0", 'Invalid value "0" for --sim-threads. Must be > 0.'),
        ("film --config {} --policy x --out y --sim-threads 2.5", 'for --sim-threads: "2.5" is no whole number.'),
        ("resolve hopper dppo --m 0", 'Invalid value "0" for --m. Must be inf or > 0.'),
        ("resolve hopper dppo --m often", 'Invalid value for --m: "often" is no whole number.'),
        ("publish --limit-mb nan", 'Invalid value "nan" for --limit-mb. Must be > 0.'),
    ],
)
def test_numbers_are_checked_where_they_are_read(
    capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    assert cli.main(command.split()) == cli.MISUSED
    assert message in capsys.readouterr().err


def test_a_budget_that_is_not_there_is_the_options_fault(capsys: pytest.CaptureFixture[str]) -> None:
    said = ["resolve", "hopper", "dppo", "--budget", "huge", "--config-dir", str(ROOT / "config")]
    assert cli.main(said) == 1
    assert capsys.readouterr().err.startswith("error: --budget: budget: expected one of laptop, ")


@pytest.mark.parametrize(
    ("task", "success"), [("hopper", []), ("lift", ["success 75.0 % (95 % interval 30.1 to 95.4 %)"])]
)
def test_evaluation_tells_success_where_a_task_has_a_goal(
    task: str, success: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = NetworkConfig(widths=(8, 8, 8), activation="mish")
    config = DiffusionConfig(network=network, time_dim=6, denoising_steps=2)
    spec = PolicySpec(
        task=Project(ROOT / "config", read_yaml(ROOT / "config" / "config.yaml")).demos(task).task,
        policy=config,
        horizon_steps=4,
    )
    save_policy(tmp_path / "policy.safetensors", spec, spec.build().state_dict(), {})
    four = Evaluation(np.array([0.0, 2.0, 0.0, 2.0]), np.full(4, 30.0), np.array([False, True, True, True]))
    monkeypatch.setattr("inril.evaluate.evaluate", lambda *_: four)
    training.evaluate(policy=tmp_path / "policy.safetensors", episodes=4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{task}: return 1.0 +- 0.5 (standard error), length 30, 4 episodes"
    assert lines[1:] == success
