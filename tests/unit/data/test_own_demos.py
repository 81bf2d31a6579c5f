"""Demonstrations of one's own: what is accepted, what is completed, and what is said of the rest."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from robomimic_files import LENGTHS, observe, random_poses, write_file

from inril import cli
from inril.config.base import TaskSpec
from inril.config.runs import DemosConfig
from inril.data.demo_file import Episode, read_demos, read_provenance
from inril.data.own_demos import read_own_demos
from inril.errors import InputError
from inril.train.demonstrate import make_demos

CONFIG = str(Path(__file__).parents[3] / "config")
OURS = ("content_sha256", "inril_version", "generator_version", "source", "seed")


@pytest.fixture
def own(demo_path: Path) -> Path:
    """A file of somebody else's: robomimic's layout, and nothing that the project adds."""
    with h5py.File(demo_path, "r+") as file:
        for name in OURS:
            del file.attrs[name]
        del file["mask"], file["data"].attrs["total"], file["data/demo_3"].attrs["num_samples"]
        file["mask/train"] = np.array([b"demo_0", b"demo_2"])
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Hopper-v4", "type": 2})
    return demo_path


def config(task: TaskSpec, path: Path, **kwargs: object) -> DemosConfig:
    return DemosConfig.model_validate({"task": task, "source": "file", "n_steps": 1, "path": path, **kwargs})


def test_copy_is_completed_and_the_file_left_alone(tmp_path: Path, own: Path, task: TaskSpec) -> None:
    before, out = own.read_bytes(), tmp_path / "results" / "file.hdf5"
    make_demos(config(task, own), out)
    assert own.read_bytes() == before
    demos = read_demos(out, task)
    with h5py.File(own) as file:
        np.testing.assert_array_equal(demos.obs[:5], file["data/demo_0/obs/flat"])
    np.testing.assert_array_equal(demos.episode_ends, [5, 14, 21, 24, 32, 38, 42])
    with h5py.File(out) as file:
        assert list(file["mask/robomimic_train"]) == [b"demo_0", b"demo_2"]
        assert len(file["mask/valid"]) == 5
    assert read_provenance(out)["file"] == own.name


def test_first_episodes_only(tmp_path: Path, own: Path, task: TaskSpec) -> None:
    make_demos(config(task, own, max_episodes=2), tmp_path / "file.hdf5")
    assert len(read_demos(tmp_path / "file.hdf5", task).episode_ends) == 2


def test_robomimic_task_is_read_as_its_downloads_are(tmp_path: Path, robot_task: TaskSpec) -> None:
    rng = np.random.default_rng(0)
    episodes = [observe("lift", random_poses("lift", n_steps, rng), "1.5.1") for n_steps in LENGTHS]
    make_demos(config(robot_task, write_file(tmp_path / "own", "lift", "1.5.1", episodes)), tmp_path / "file.hdf5")
    assert len(read_demos(tmp_path / "file.hdf5", robot_task).episode_ends) == len(LENGTHS)
    assert read_provenance(tmp_path / "file.hdf5")["robosuite_version"] == "1.5.1"


def test_reading_it_directly_tells_how_to_complete_it(own: Path, task: TaskSpec) -> None:
    with h5py.File(own, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "hopper"})
    with pytest.raises(InputError) as caught:
        read_demos(own, task)
    assert str(caught.value).endswith(
        "got nothing there. `inril check-demos` says what a file of your own lacks, and completes a copy"
    )


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda file: file["data"].attrs.update(env_args='{"env_name": "Walker2d-v4"}'), "task 'hopper', got task 'Wa"),
        (
            lambda file: file.attrs.update(content_sha256="0" * 64),
            f"got {'0' * 64}. If you changed it on purpose, remove content_sha256 from it",
        ),
        (lambda file: file["data"].attrs.update(env_args='{"env_name": 3}'), "expected task 'hopper', got task '3'"),
        (lambda file: file["data"].attrs.update(total=7), "data@total: expected 42, got 7"),
        (lambda file: file["data/demo_1"].attrs.update(num_samples=[9, 9]), "num_samples: expected 9, got [9 9]"),
        (lambda file: file.pop("data/demo_1/rewards"), "data/demo_1/rewards: expected a dataset, got nothing there"),
        (lambda file: file.pop("data"), "data: expected a group, got nothing there"),
    ],
)
def test_what_is_wrong_is_said(own: Path, task: TaskSpec, spoil: Callable[[h5py.File], object], complaint: str) -> None:
    with h5py.File(own, "r+") as file:
        spoil(file)
    with pytest.raises(InputError) as caught:
        read_own_demos(own, task)
    assert complaint in str(caught.value)
    assert "elete" not in str(caught.value)


def test_the_file_itself_is_never_the_copy(own: Path, task: TaskSpec) -> None:
    before = own.read_bytes()
    with pytest.raises(InputError, match="expected a place for the copy, got the file itself"):
        make_demos(config(task, own), own)
    assert own.read_bytes() == before


def check(*args: object) -> int:
    return cli.main(["check-demos", *map(str, args), "--config-dir", CONFIG])


def test_command_finds_the_task_and_writes_a_copy(
    tmp_path: Path, own: Path, task: TaskSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "done.hdf5"
    assert check(own) == 0
    assert capsys.readouterr().out == f"{own}: in order, 7 demonstrations of hopper, 42 steps\n"
    assert not out.exists()
    assert check(own, "--out", out) == 0
    assert len(read_demos(out, task).episode_ends) == 7
    assert check(out) == 0  # what the project wrote is in order, too


def test_command_asks_for_the_task_that_a_file_does_not_name(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(own, "r+") as file:
        del file["data"].attrs["env_args"]
    assert check(own) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {own}: data@env_args.env_name: expected one of ")
    assert error.endswith("got nothing there. Or name the task: --task\n")
    assert check(own, "--task", "hopper") == 0
    assert check(own, "--task", "walker2d") == 1
    assert "data/demo_0/actions: expected shape (N, 6), got shape (5, 3)" in capsys.readouterr().err


def test_episodes_are_those_of_the_file(
    tmp_path: Path, own: Path, task: TaskSpec, make_episodes: Callable[..., list[Episode]]
) -> None:
    read = read_own_demos(own, task).episodes
    for ours, theirs in zip(make_episodes([5, 9, 7, 3, 8, 6, 4]), read, strict=True):
        np.testing.assert_array_equal(ours.action, theirs.action)
        np.testing.assert_array_equal(ours.reward, theirs.reward)
        assert ours.terminated == theirs.terminated
