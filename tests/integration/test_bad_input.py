"""What a user can get wrong ends in status 1 and one clear line, and overwrites nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tiny
import yaml

from inril import cli
from inril.algos.ppo import PPO
from inril.config.layers import merge
from inril.data.demo_file import Episode, write_demos
from inril.tensor_file import read_tensors, write_tensors
from inril.train import finetune

Refuse = Callable[..., str]


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Runs a command that must fail, in this process, and returns its error without "error: "."""

    def run(*args: object) -> str:
        capfd.readouterr()
        status = cli.main([str(arg) for arg in args])
        return the_error(status, capfd.readouterr().err)

    return run


def the_error(status: int, stderr: str) -> str:
    assert status == 1, stderr
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, stderr
    assert stderr.endswith(errors[0] + "\n"), "something follows the error"
    assert "Traceback" not in stderr
    return errors[0].removeprefix("error: ")


@contextmanager
def nothing_overwritten(folder: Path) -> Iterator[None]:
    """Every file below a folder is the same afterwards; results do not appear."""
    before = contents(folder)
    yield
    after = contents(folder)
    assert before.items() <= after.items()
    assert not [path for path in after.keys() - before.keys() if path.name in ("metrics.csv", "policy.safetensors")]


def contents(folder: Path) -> dict[Path, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def reference(inputs: tiny.Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    finetune.run(tiny.finetune_config(), inputs.demos, inputs.diffusion, folder)
    return folder


@pytest.fixture(scope="session")
def interrupted(inputs: tiny.Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped before its end."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune.Finetuning, "_publish", interrupt)
        with pytest.raises(InterruptedError):
            finetune.run(tiny.finetune_config(), inputs.demos, inputs.diffusion, folder)
    assert {path.name for path in (folder / "checkpoint").iterdir()} == {
        "current.safetensors",
        "previous.safetensors",
    }
    return folder


@pytest.fixture
def unfinished(interrupted: Path, out: Path) -> Path:
    shutil.copytree(interrupted, out)
    return out


def interrupt(*args: object) -> None:
    raise InterruptedError


def settings(**changed: Any) -> str:
    return json.dumps(merge(tiny.finetune_config().model_dump(mode="json"), changed))


def fine_tuning(
    inputs: tiny.Inputs, out: Path, config: object = None, demos: Path | None = None, policy: Path | None = None
) -> list[object]:
    files = ["--demos", demos or inputs.demos, "--policy", policy or inputs.diffusion, "--out", out]
    return ["finetune", "--config", config or settings(), *files]


def pre_training(inputs: tiny.Inputs, out: Path, demos: Path | None = None, **changed: Any) -> list[object]:
    config = tiny.pretrain_config(changed=changed).model_dump_json()
    return ["pretrain", "--config", config, "--demos", demos or inputs.demos, "--out", out]


# --- settings


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gama": 1}, "gama: expected a known key, got an unknown key"),
        ({"algo": {"gama": 1}}, "algo.gama: expected a known key, got an unknown key"),
        ({"algo": {"gamma": 1.5}}, "algo.gamma: expected less than or equal to 1, got 1.5"),
        ({"algo": {"actor_lr": -1}}, "algo.actor_lr: expected greater than 0, got -1"),
        ({"eval": {"every": 0.5}}, "eval.every: expected a valid integer"),
        ({"m": 0}, "m: expected greater than 0, got 0"),
        ({"m": -3}, "m: expected greater than 0, got -3"),
        ({"m": "often"}, "got 'often'"),
        ({"m": "inf"}, "expected m = inf (RL only) goes with separation none"),
        ({"method": "no/method"}, "method: expected a text that matches "),
        ({"separation": "wall"}, "separation: expected 'none', 'surgery' or 'network', got 'wall'"),
        ({"separation": "network"}, "separation none or surgery for finite m of dppo, not 'network'"),
        ({"il": {"aggregator": "graddrop"}}, "il.aggregator: expected 'upgrad', 'mean', 'torchjd.AlignedMTL', "),
        ({"il": {"aggregator": "torchjd.Trio"}}, "or 'torchjd.UPGrad', got 'torchjd.Trio'"),
        ({"task": {"suite": "atari"}}, "task.suite: expected 'gym', 'robomimic' or 'furniture', got 'atari'"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_setting(
    refuse: Refuse, inputs: tiny.Inputs, unfinished: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(json.loads(settings(**changed))))
    with nothing_overwritten(tmp_path):
        error = refuse(*fine_tuning(inputs, unfinished, config))
    assert error.startswith(f"{config}: ")
    assert message in error
    assert len(error) < 600


@pytest.mark.parametrize("kind", ["absent", "a folder", "no YAML", "a list"])
def test_unusable_file_of_settings(refuse: Refuse, inputs: tiny.Inputs, tmp_path: Path, kind: str) -> None:
    config = tmp_path / "config.yaml"
    if kind == "a folder":
        config.mkdir()
    elif kind != "absent":
        config.write_text({"no YAML": "a: [1", "a list": "- 1"}[kind])
    error = refuse(*fine_tuning(inputs, tmp_path / "run", config))
    assert error.startswith(f"{config}: expected ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.yaml", {"buget": "laptop"}, "config.yaml: buget: expected a known key"),
        ("config.yaml", {"figures": {"fig8": {"panels": [{"task": "ant"}]}}}, "panels.task: expected one of can, half"),
        ("config.yaml", {"m_values": [0]}, "config.yaml: m_values.0: expected greater than 0, got 0"),
        ("methods/dppo.yaml", {"algo": {"epoch": 3}}, "dppo.yaml: algo.epoch: expected a known key"),
        (
            "tasks/hopper.yaml",
            {"expert": {"tolerance": 2}},
            "hopper.yaml: expert.tolerance: expected less than or equal to 1",
        ),
        ("tasks/lamp_med.yaml", {"demos": 0.5}, "lamp_med.yaml: demos: expected a section of keys and values, got 0.5"),
        ("budgets/laptop.yaml", {"finetune": 3}, "laptop.yaml: finetune: expected a section of keys and values, got 3"),
        ("budgets/laptop.yaml", {"finetune": {"sac": {}}}, "laptop.yaml: finetune.sac: expected one of any, awr, dipo"),
    ],
)
def test_configuration_folder(refuse: Refuse, tmp_path: Path, file: str, change: dict[str, Any], message: str) -> None:
    folder = tmp_path / "config"
    shutil.copytree(tiny.ROOT / "config", folder)
    path = folder / file
    values = yaml.safe_load(path.read_text())
    if panels := change.get("figures", {}).get("fig8", {}).get("panels"):
        panels[0].update({key: value for key, value in values["figures"]["fig8"]["panels"][0].items() if key != "task"})
    path.write_text(yaml.safe_dump(merge(values, change)))
    assert message in refuse("check", "--config-dir", folder)


def test_unknown_task_has_no_demonstrator(refuse: Refuse, tmp_path: Path) -> None:
    config = tiny.demos_config(task=tiny.hopper().model_dump() | {"id": "ant"})
    error = refuse("demos", "--config", config.model_dump_json(), "--out", tmp_path / "ant.hdf5")
    assert "ant.safetensors: expected a shipped demonstrator, got none for this task" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("cvxpy") is not None, reason="cvxpy is installed")
def test_aggregator_whose_package_is_missing(refuse: Refuse, inputs: tiny.Inputs, out: Path) -> None:
    error = refuse(*fine_tuning(inputs, out, settings(il={"aggregator": "torchjd.CAGrad"})))
    assert error.startswith("il: aggregator: expected all packages that torchjd.CAGrad needs, got ")
    assert "cvxpy" in error
    assert "pip install" in error


def test_more_fine_tuned_steps_than_the_policy_has(refuse: Refuse, inputs: tiny.Inputs, out: Path) -> None:
    error = refuse(*fine_tuning(inputs, out, settings(algo={"ft_denoising_steps": 7})))
    assert "algo: ft_denoising_steps: expected at most the 6 denoising steps of the pre-trained policy, got 7" in error


# --- demonstrations


def text(path: Path) -> None:
    path.write_text("obs,action\n")


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def with_nan(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["data/demo_3/actions"][5, 1] = np.nan


def misshapen(path: Path) -> None:
    with h5py.File(path, "a") as file:
        obs = file["data/demo_3/obs/flat"][()]
        del file["data/demo_3/obs/flat"]
        file["data/demo_3/obs/flat"] = obs[:, :10]


def without_demonstrations(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for name in list(file["data"]):
            del file[f"data/{name}"]


def of_another_task(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "walker2d"})


def altered(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["data/demo_3/actions"][5, 1] += 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, ": expected an HDF5 file, got nothing there"),
        (lambda path: path.write_bytes(b""), ": expected an HDF5 file, got an empty file"),
        (text, ": expected an HDF5 file, got another kind of file"),
        (truncated, ": expected a whole HDF5 file, got a truncated or damaged one"),
        (with_nan, ": data/demo_3/actions: expected finite numbers, got nan at index (5, 1)"),
        (misshapen, ": data/demo_3/obs/flat: expected shape ("),
        (without_demonstrations, ": data: expected at least one demonstration, got none"),
        (of_another_task, ": data@env_args: expected task 'hopper', got task 'walker2d'"),
        (altered, ": content_sha256: expected the hash of the arrays"),
    ],
    ids=["missing", "0 bytes", "text", "truncated", "NaN", "wrong shape", "empty", "another task", "altered"],
)
@pytest.mark.parametrize("command", [pre_training, fine_tuning])
def test_demonstrations(
    refuse: Refuse,
    inputs: tiny.Inputs,
    tmp_path: Path,
    command: Callable[..., list[object]],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    demos = tmp_path / "demos.hdf5"
    shutil.copy(inputs.demos, demos)
    damage(demos)
    with nothing_overwritten(tmp_path):
        error = refuse(*command(inputs, tmp_path / "run", demos=demos))
    assert error.startswith(f"{demos}{message}")
    assert not (tmp_path / "run").exists()


def test_all_demonstrations_held_out(refuse: Refuse, inputs: tiny.Inputs, out: Path) -> None:
    error = refuse(*pre_training(inputs, out, holdout={"min_episodes": 1000}))
    assert "demonstrations: episodes: expected more than the 1000 that are held out, got " in error


# --- downloads


class Handler(BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_GET(self) -> None:
        if self.path.startswith("/absent"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "100" if self.path.startswith("/cut") else "8")
        self.end_headers()
        self.wfile.write(b"contents")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("whole.hdf5", ": expected an HDF5 file, got another kind of file. Nothing was stored. Run again, or download"),
        ("cut.hdf5", ": expected a complete download, got after 6 attempts: "),
        ("absent.hdf5", ": expected a file, got HTTP status 404"),
    ],
)
def test_download(
    refuse: Refuse, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setattr("inril.data.download.time.sleep", lambda seconds: None)
    out = tmp_path / "d4rl.hdf5"
    out.write_text("demonstrations of an earlier run")
    config = tiny.demos_config(source="d4rl", url=f"{server}/{name}", sha256="0" * 64)
    with nothing_overwritten(tmp_path):
        error = refuse("demos", "--config", config.model_dump_json(), "--out", out)
    assert error.startswith(f"{server}/{name}{message}")
    assert not (tmp_path / name).exists()


def test_download_that_is_no_recording(refuse: Refuse, server: str, tmp_path: Path) -> None:
    config = tiny.demos_config(source="d4rl", url=f"{server}/text.hdf5")
    error = refuse("demos", "--config", config.model_dump_json(), "--out", tmp_path / "d4rl.hdf5")
    assert error.startswith(f"{server}/text.hdf5: expected an HDF5 file, got another kind of file")
    assert not [path for path in tmp_path.iterdir() if "hdf5" in path.name]


# --- checkpoints and policies


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "got an unreadable one"),
        (flip_a_bit, "got another one: it was altered"),
        (lambda path: path.write_bytes(b""), "got an unreadable one"),
        (text, "got an unreadable one"),
    ],
    ids=["truncated", "altered", "empty", "text"],
)
def test_corrupt_checkpoints(
    refuse: Refuse, inputs: tiny.Inputs, unfinished: Path, damage: Callable[[Path], object], message: str
) -> None:
    for path in (unfinished / "checkpoint").iterdir():
        damage(path)
    with nothing_overwritten(unfinished):
        error = refuse(*fine_tuning(inputs, unfinished))
    assert error.startswith(f"{unfinished}/checkpoint/current.safetensors: expected a whole checkpoint, got ")
    assert message in error
    assert "Delete the run's checkpoint folder" in error


def test_one_corrupt_checkpoint_costs_only_time(inputs: tiny.Inputs, unfinished: Path, reference: Path) -> None:
    truncated(unfinished / "checkpoint" / "current.safetensors")
    finetune.run(tiny.finetune_config(), inputs.demos, inputs.diffusion, unfinished)
    for name in ("metrics.csv", "policy.safetensors"):
        assert (unfinished / name).read_bytes() == (reference / name).read_bytes()


@pytest.mark.parametrize("changed", [{"seed": 1}, {"m": 3}, {"algo": {"actor_lr": 2e-4}}], ids=str)
def test_checkpoint_of_another_run(
    refuse: Refuse, inputs: tiny.Inputs, unfinished: Path, changed: dict[str, Any]
) -> None:
    with nothing_overwritten(unfinished):
        error = refuse(*fine_tuning(inputs, unfinished, settings(**changed)))
    assert error.startswith(f"{unfinished}/checkpoint/current.safetensors: identity: expected the state of this run, ")
    assert "got that of a run with other settings or inputs" in error
    assert "--on-mismatch restart" in error


def test_checkpoint_of_another_policy(refuse: Refuse, inputs: tiny.Inputs, unfinished: Path, tmp_path: Path) -> None:
    other = tmp_path / "policy.safetensors"
    file = read_tensors(inputs.diffusion, "policy")
    write_tensors(other, "policy", {name: value + 0.01 for name, value in file.tensors.items()}, file.meta)
    with nothing_overwritten(unfinished):
        error = refuse(*fine_tuning(inputs, unfinished, policy=other))
    assert "identity: expected the state of this run" in error


def test_foreign_file_as_checkpoint(refuse: Refuse, inputs: tiny.Inputs, unfinished: Path) -> None:
    for path in (unfinished / "checkpoint").iterdir():
        shutil.copy(inputs.diffusion, path)
    with nothing_overwritten(unfinished):
        error = refuse(*fine_tuning(inputs, unfinished))
    assert "current.safetensors: expected a whole checkpoint, got 'policy'" in error


def test_metrics_shorter_than_the_checkpoint_says(refuse: Refuse, inputs: tiny.Inputs, unfinished: Path) -> None:
    truncated(unfinished / "progress.csv")
    with nothing_overwritten(unfinished):
        error = refuse(*fine_tuning(inputs, unfinished))
    assert error.startswith(f"{unfinished}/progress.csv: expected ")
    assert "bytes of metrics, got " in error


@pytest.mark.parametrize("name", ["progress.csv", "diagnostics.csv"])
def test_metrics_other_than_the_checkpoint_says(
    refuse: Refuse, inputs: tiny.Inputs, unfinished: Path, name: str
) -> None:
    file = unfinished / name
    file.write_bytes(file.read_bytes().replace(b"train", b"eval_", 1))
    with nothing_overwritten(unfinished):
        error = refuse(*fine_tuning(inputs, unfinished))
    assert error.startswith(f"{file}: expected the ")
    assert "bytes that the checkpoint knows, of sha256 " in error
    assert error.rstrip().endswith("Put the file back as it was, or delete the run's folder to start it again")


def test_finished_run(refuse: Refuse, inputs: tiny.Inputs, reference: Path) -> None:
    with nothing_overwritten(reference):
        error = refuse(*fine_tuning(inputs, reference))
    assert error.startswith(f"{reference}: expected a new or an unfinished run, got a finished one")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, ": expected a whole policy file of inril, got nothing there"),
        (truncated, ": expected a whole policy file of inril, got an unreadable one"),
        (text, ": expected a whole policy file of inril, got an unreadable one"),
        (flip_a_bit, ": sha256: expected the hash of the contents, got another one: it was altered"),
    ],
    ids=["missing", "truncated", "text", "altered"],
)
def test_corrupt_policy(
    refuse: Refuse,
    inputs: tiny.Inputs,
    unfinished: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    policy = tmp_path / "policy.safetensors"
    shutil.copy(inputs.diffusion, policy)
    damage(policy)
    with nothing_overwritten(tmp_path):
        error = refuse(*fine_tuning(inputs, unfinished, policy=policy))
    assert error.startswith(f"{policy}{message}")


def test_checkpoint_as_policy(refuse: Refuse, inputs: tiny.Inputs, unfinished: Path, out: Path) -> None:
    policy = unfinished / "checkpoint" / "current.safetensors"
    assert refuse(*fine_tuning(inputs, out, policy=policy)).startswith(f"{policy}: kind: expected 'policy', got 'check")


def test_policy_of_another_task(refuse: Refuse, inputs: tiny.Inputs, out: Path, tmp_path: Path) -> None:
    policy = tmp_path / "walker.safetensors"
    file = read_tensors(inputs.diffusion, "policy")
    write_tensors(policy, "policy", file.tensors, merge(file.meta, {"spec": {"task": {"id": "walker2d"}}}))
    error = refuse(*fine_tuning(inputs, out, policy=policy))
    assert error.startswith(f"{policy}: task: expected 'hopper', got 'walker2d'. Give the policy that was pre-trained")
    assert not out.exists()


def test_policy_of_another_kind(refuse: Refuse, inputs: tiny.Inputs, out: Path) -> None:
    error = refuse(*fine_tuning(inputs, out, policy=inputs.gaussian_chunk))
    assert "kind: expected a diffusion policy, which dppo can fine-tune, got GaussianPolicy" in error


# --- folders and disks


@contextmanager
def mounted(target: Path, *options: str, source: str = "tmpfs") -> Iterator[None]:
    """Mount something, which takes root and a container that allows it."""
    target.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, source, target], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


def test_folder_below_a_file(refuse: Refuse, inputs: tiny.Inputs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with nothing_overwritten(tmp_path):
        for command in (pre_training, fine_tuning):
            error = refuse(*command(inputs, tmp_path / "file" / "run"))
            assert error.startswith(f"{tmp_path}/file/run: expected a place that can be written, got Not a directory")
        error = refuse("schemas", "--out", tmp_path / "file" / "schemas")
        assert error.startswith(f"{tmp_path}/file/schemas: expected a path that can be used, got Not a directory")


def test_folder_that_the_system_refuses(refuse: Refuse, inputs: tiny.Inputs) -> None:
    error = refuse(*fine_tuning(inputs, Path("/proc/inril/run")))
    assert error.startswith("/proc/inril/run: expected a place that can be written, got ")


def test_read_only_folder(refuse: Refuse, inputs: tiny.Inputs, unfinished: Path, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    with mounted(tmp_path / "mount", "--bind", "-o", "ro", source=str(tmp_path)):
        for run in ("run", "new"):
            error = refuse(*fine_tuning(inputs, tmp_path / "mount" / run))
            assert error.startswith(f"{tmp_path}/mount/{run}: expected a place that can be written, got Read-only file")
    assert not (tmp_path / "new").exists()


def test_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on_later(
    refuse: Refuse, inputs: tiny.Inputs, reference: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=512k"):
        error = refuse(*fine_tuning(inputs, disk / "run"))
        assert error.startswith(f"{disk}/run/")
        assert "expected room on the disk, got No space left on device. Free some space and start again" in error
        assert not (disk / "run" / "metrics.csv").exists()
        kept = list((disk / "run" / "checkpoint").iterdir())
        assert kept
        for path in kept:  # no temporary files that would fill the disk for good
            read_tensors(path, "checkpoint")
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        assert cli.main([str(arg) for arg in fine_tuning(inputs, disk / "run")]) == 0
        for name in ("metrics.csv", "policy.safetensors"):
            assert (disk / "run" / name).read_bytes() == (reference / name).read_bytes()


def test_full_disk_for_demonstrations(refuse: Refuse, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=16k"):
        (disk / "demos.hdf5").write_text("an older file")
        with nothing_overwritten(disk):
            error = refuse("demos", "--config", tiny.demos_config().model_dump_json(), "--out", disk / "demos.hdf5")
        assert error.startswith(f"{disk}/demos.hdf5: expected room on the disk, got No space left on device")
        assert [path.name for path in disk.iterdir()] == ["demos.hdf5"]


# --- numbers that are no longer finite


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize(
    "changed",
    [
        {"actor_lr": 1e30},
        {"critic_lr": 1e30},
        {"critic_lr": 1e39, "epochs": 1, "minibatch": 240},  # one step, after a loss that is still finite
        {"actor_lr": 1e39, "epochs": 1, "minibatch": 240},
    ],
    ids=str,
)
def test_training_that_explodes(refuse: Refuse, inputs: tiny.Inputs, out: Path, changed: dict[str, Any]) -> None:
    error = refuse(*fine_tuning(inputs, out, settings(algo=changed)))
    assert error.startswith(f"{out}: ")
    assert "iteration 1: expected a finite number, got " in error
    assert "Lower the learning rate" in error
    assert not (out / "metrics.csv").exists()
    assert not list(out.glob("checkpoint/*"))


@pytest.mark.parametrize(
    ("check_every", "message"),
    [(30, "loss: expected a finite number, got nan"), (1, "weights: expected finite numbers, got others")],
)
def test_pre_training_that_explodes(
    refuse: Refuse, inputs: tiny.Inputs, out: Path, check_every: int, message: str
) -> None:
    changed = {"optim": {"lr": 1e39, "lr_min": 1e39}, "plateau": {"check_every": check_every}, "use_ema": False}
    error = refuse(*pre_training(inputs, out, **changed))
    assert error.startswith(f"{out}: {message}. Lower the learning rate")
    assert not (out / "metrics.csv").exists()
    assert not list(out.glob("checkpoint/*"))


def huge(path: Path) -> None:
    with h5py.File(path, "r") as file:
        episodes = [(file[f"data/{name}/obs/flat"][()], file[f"data/{name}/actions"][()]) for name in file["data"]]
    made = [Episode(obs, action * 1e30, np.ones(len(obs)), True) for obs, action in episodes]
    write_demos(path, tiny.hopper(), made, {"source": "test"})


def test_demonstrations_beyond_all_measure(refuse: Refuse, inputs: tiny.Inputs, out: Path, tmp_path: Path) -> None:
    demos = tmp_path / "demos.hdf5"
    shutil.copy(inputs.demos, demos)
    huge(demos)
    error = refuse(*fine_tuning(inputs, out, demos=demos))
    assert error.startswith(f"{out}: actor, ")
    assert "iteration 1: expected a finite number, got inf" in error


def test_last_good_checkpoint_outlives_a_loss_that_is_not_finite(
    refuse: Refuse, inputs: tiny.Inputs, reference: Path, out: Path
) -> None:
    sound, iteration = PPO.il_loss, finetune.Finetuning.iteration

    def poisoned(ppo: PPO, *args: Any) -> Any:
        return sound(ppo, *args) * float("nan")

    def third_is_poisoned(run: finetune.Finetuning) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            if run.itr == 2:
                patch.setattr(PPO, "il_loss", poisoned)
            return iteration(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune.Finetuning, "iteration", third_is_poisoned)
        error = refuse(*fine_tuning(inputs, out))
    assert error.startswith(f"{out}: actor, il_loss, iteration 3: expected a finite number, got nan. ")
    assert "the last good checkpoint is kept" in error
    assert cli.main([str(arg) for arg in fine_tuning(inputs, out)]) == 0
    for name in ("metrics.csv", "policy.safetensors"):
        assert (out / name).read_bytes() == (reference / name).read_bytes()


# --- as real processes


def process(*args: object) -> str:
    done = subprocess.run([*tiny.PROGRAM, *map(str, args)], capture_output=True, text=True, check=False)
    return the_error(done.returncode, done.stderr)


def test_process_with_a_bad_setting(inputs: tiny.Inputs, out: Path) -> None:
    assert process(*fine_tuning(inputs, out, settings(m=0))).startswith("--config: m: expected greater than 0, got 0")


def test_process_without_demonstrations(inputs: tiny.Inputs, out: Path, tmp_path: Path) -> None:
    error = process(*pre_training(inputs, out, demos=tmp_path / "absent.hdf5"))
    assert error.startswith(f"{tmp_path}/absent.hdf5: expected an HDF5 file, got nothing there")


def test_process_with_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    assert process("schemas", "--out", tmp_path / "file").startswith(f"{tmp_path}/file: expected a path that can be us")


def test_two_processes_on_one_folder(refuse: Refuse, inputs: tiny.Inputs, out: Path) -> None:
    args = map(str, fine_tuning(inputs, out, settings(env_steps=1_000_000)))
    first = subprocess.Popen([*tiny.PROGRAM, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (out / "checkpoint" / "previous.safetensors").exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        error = refuse(*fine_tuning(inputs, out))
        assert first.poll() is None, "the first run goes on"
    finally:
        first.kill()
        first.wait()
    assert error.startswith(f"{out}: expected a folder to work in alone, got one in use by process {first.pid} on ")
