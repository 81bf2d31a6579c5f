from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from robomimic_reader import read_with_robomimic

import inril
from inril.config.base import TaskSpec
from inril.config.numerics import VERSIONS
from inril.data.demo_file import Episode, demo_returns, read_demos, read_provenance, write_demos
from inril.data.env_args import env_args
from inril.errors import InputError

MakeEpisodes = Callable[..., list[Episode]]


def message(path: Path, task: TaskSpec) -> str:
    with pytest.raises(InputError) as caught:
        read_demos(path, task)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text.replace(str(path), "FILE")


def replace(path: Path, name: str, array: np.ndarray) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = array


def remove(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]


def test_round_trip(demo_path: Path, task: TaskSpec, make_episodes: MakeEpisodes) -> None:
    demos = read_demos(demo_path, task)
    episodes = make_episodes([5, 9, 7, 3, 8, 6, 4])
    np.testing.assert_array_equal(demos.obs, np.concatenate([episode.obs for episode in episodes]))
    np.testing.assert_array_equal(demos.action, np.concatenate([episode.action for episode in episodes]))
    np.testing.assert_array_equal(demos.episode_ends, [5, 14, 21, 24, 32, 38, 42])
    assert (demos.obs.dtype, demos.action.dtype, demos.episode_ends.dtype) == (np.float32, np.float32, np.int64)


def test_order_follows_the_number_and_not_the_name(tmp_path: Path, task: TaskSpec, make_episodes: MakeEpisodes) -> None:
    lengths = list(range(1, 13))
    write_demos(tmp_path / "demos.hdf5", task, make_episodes(lengths), {})
    np.testing.assert_array_equal(read_demos(tmp_path / "demos.hdf5", task).episode_ends, np.cumsum(lengths))


def test_returns_are_for_reports(demo_path: Path, make_episodes: MakeEpisodes) -> None:
    returns, lengths = demo_returns(demo_path)
    np.testing.assert_allclose(returns, [e.reward.sum() for e in make_episodes([5, 9, 7, 3, 8, 6, 4])], rtol=1e-6)
    np.testing.assert_array_equal(lengths, [5, 9, 7, 3, 8, 6, 4])


def test_layout_is_that_of_robomimic(demo_path: Path) -> None:
    with h5py.File(demo_path) as file:
        assert file["data"].attrs["total"] == 42
        assert '"type": 2' in file["data"].attrs["env_args"]
        assert file["data/demo_1"].attrs["num_samples"] == 9
        assert file["data/demo_1/dones"][-1] == 1  # terminal
        assert file["data/demo_0/dones"][-1] == 0  # time limit
        assert file["data/demo_0/states"].shape == (5, 4)
        masks = [name for part in ("train", "valid") for name in file[f"mask/{part}"]]
    assert sorted(masks) == [f"demo_{i}".encode() for i in range(7)]


def test_robomimic_opens_the_file(demo_path: Path) -> None:
    sequences = read_with_robomimic(demo_path, filter_key="valid")
    with h5py.File(demo_path) as file:
        demo = file["mask/valid"][0].decode()
        first = file[f"data/{demo}/obs/flat"][:4]
        n_steps = sum(file[f"data/{name.decode()}"].attrs["num_samples"] for name in file["mask/valid"])
    assert len(sequences) == n_steps
    np.testing.assert_array_equal(sequences[0]["obs"]["flat"][: len(first)], first)


def test_provenance_records_source_versions_and_content(demo_path: Path) -> None:
    provenance = read_provenance(demo_path)
    content = provenance.pop("content_sha256")
    assert isinstance(content, str)
    assert len(content) == 64
    assert provenance == {
        "source": "generated",
        "seed": 0,
        "generator_version": VERSIONS["demos"],
        "inril_version": inril.__version__,
    }


def test_content_hash_depends_on_the_arrays_alone(
    tmp_path: Path, demo_path: Path, task: TaskSpec, make_episodes: MakeEpisodes
) -> None:
    again, other = tmp_path / "again.hdf5", tmp_path / "other.hdf5"
    write_demos(again, task, make_episodes([5, 9, 7, 3, 8, 6, 4]), {"source": "elsewhere"})
    write_demos(other, task, make_episodes([5, 9, 7, 3, 8, 6, 4], seed=1), {})
    hashes = [read_provenance(path)["content_sha256"] for path in (demo_path, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_content_hash_is_that_of_files_already_published(demo_path: Path) -> None:
    content = read_provenance(demo_path)["content_sha256"]
    assert content == "bffae40b27fb53ef66aa9b1a8b9efb09acd08143b1ac958eef6734fa3d00d0d7"


def test_hash_survives_other_compression(demo_path: Path, task: TaskSpec) -> None:
    with h5py.File(demo_path) as file:
        obs = file["data/demo_2/obs/flat"][:]
    replace(demo_path, "data/demo_2/obs/flat", obs)
    assert len(read_demos(demo_path, task).obs) >= len(obs)


def test_same_episodes_are_the_same_bytes_at_any_time(
    tmp_path: Path, task: TaskSpec, make_episodes: MakeEpisodes
) -> None:
    for name in ("first", "second"):
        write_demos(tmp_path / name, task, make_episodes([5, 9, 7, 3, 8, 6, 4]), {})
        time.sleep(1.1)  # HDF5 would record times in seconds
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


# Observations in several parts


@pytest.fixture
def robot_path(tmp_path: Path, robot_task: TaskSpec, make_episodes: MakeEpisodes) -> Path:
    path = tmp_path / "lift.hdf5"
    write_demos(path, robot_task, make_episodes([5, 9, 7], 19, 7), {}, {"better": [0, 2], "worse": [1]})
    return path


def test_parts_are_put_together_in_the_order_of_the_task(
    robot_path: Path, robot_task: TaskSpec, make_episodes: MakeEpisodes
) -> None:
    episodes = make_episodes([5, 9, 7], 19, 7)
    with h5py.File(robot_path) as file:
        assert sorted(file["data/demo_1/obs"]) == sorted(robot_task.obs_keys)
        np.testing.assert_array_equal(file["data/demo_1/obs/robot0_eef_quat"], episodes[1].obs[:, 3:7])
        np.testing.assert_array_equal(file["data/demo_1/obs/object"], episodes[1].obs[:, 9:])
    demos = read_demos(robot_path, robot_task)
    np.testing.assert_array_equal(demos.obs, np.concatenate([episode.obs for episode in episodes]))
    np.testing.assert_array_equal(demos.episode_ends, [5, 14, 21])


def test_robomimic_finds_its_own_environment_and_filter_keys(robot_path: Path, robot_task: TaskSpec) -> None:
    with h5py.File(robot_path) as file:
        env_args = json.loads(file["data"].attrs["env_args"])
        first = {key: file[f"data/demo_1/obs/{key}"][:4] for key in robot_task.obs_keys}
    assert (env_args["env_name"], env_args["env_version"], env_args["type"]) == ("Lift", "1.4.1", 1)
    assert env_args["env_kwargs"]["robots"] == ["Panda"]
    assert env_args["env_kwargs"]["controller_configs"]["type"] == "OSC_POSE"
    sequences = read_with_robomimic(robot_path, filter_key="worse")
    assert len(sequences) == 9
    for key, part in first.items():
        np.testing.assert_array_equal(sequences[0]["obs"][key], part)
    assert len(read_with_robomimic(robot_path, filter_key="better")) == 12


def test_two_robots_have_two_entries(robot_task: TaskSpec) -> None:
    second = {key.replace("0", "1"): size for key, size in list(robot_task.obs_keys.items())[:3]}
    keys = {**robot_task.obs_keys, **second}
    kwargs = env_args(robot_task.model_copy(update={"id": "transport", "obs_keys": keys, "obs_dim": 28}))["env_kwargs"]
    assert kwargs["robots"] == ["Panda", "Panda"]
    assert kwargs["env_configuration"] == "single-arm-opposed"


def test_dones_of_the_source_are_kept(tmp_path: Path, robot_task: TaskSpec, make_episodes: MakeEpisodes) -> None:
    dones = np.array([0, 0, 1, 0, 1])
    write_demos(tmp_path / "lift.hdf5", robot_task, [make_episodes([5], 19, 7)[0]._replace(dones=dones)], {})
    with h5py.File(tmp_path / "lift.hdf5") as file:
        np.testing.assert_array_equal(file["data/demo_0/dones"], dones)


@pytest.mark.parametrize("name", ["obs/object", "obs/robot0_eef_pos"])
def test_missing_part(robot_path: Path, robot_task: TaskSpec, name: str) -> None:
    remove(robot_path, f"data/demo_1/{name}")
    complaint = f"FILE: data/demo_1/{name}: expected a dataset, got nothing there"
    assert message(robot_path, robot_task).startswith(complaint)


def test_part_of_another_size(robot_path: Path, robot_task: TaskSpec) -> None:
    replace(robot_path, "data/demo_1/obs/object", np.zeros((9, 14), dtype=np.float32))
    assert message(robot_path, robot_task) == "FILE: data/demo_1/obs/object: expected shape (9, 10), got shape (9, 14)"


def test_observations_that_do_not_fill_the_parts_are_not_written(
    tmp_path: Path, robot_task: TaskSpec, make_episodes: MakeEpisodes
) -> None:
    with pytest.raises(InputError, match=r"data/demo_0/obs/object: expected shape \(5, 10\), got shape \(5, 8\)"):
        write_demos(tmp_path / "lift.hdf5", robot_task, make_episodes([5], 17, 7), {})
    assert list(tmp_path.iterdir()) == []


def test_file_of_another_robot_task(robot_path: Path, robot_task: TaskSpec, task: TaskSpec) -> None:
    other = robot_task.model_copy(update={"id": "can"})
    assert message(robot_path, other) == "FILE: data@env_args: expected task 'PickPlaceCan', got task 'Lift'"
    assert message(robot_path, task) == "FILE: data@env_args: expected task 'hopper', got task 'Lift'"


# Bad input


def test_missing_file(tmp_path: Path, task: TaskSpec) -> None:
    assert "FILE: expected an HDF5 file, got nothing there" in message(tmp_path / "demos.hdf5", task)


def test_folder_instead_of_file(tmp_path: Path, task: TaskSpec) -> None:
    assert "FILE: expected a readable file, got Is a directory" in message(tmp_path, task)


def test_file_that_is_open_elsewhere_is_read(demo_path: Path, task: TaskSpec) -> None:
    with demo_path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # as h5py locks what it writes
        assert len(read_demos(demo_path, task).episode_ends) == 7


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EACCES, errno.EIO, errno.ESTALE])
def test_refused_read_is_no_damage(demo_path: Path, task: TaskSpec, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(h5py, "File", refuse)
    complaint = message(demo_path, task)
    assert complaint.startswith(f"FILE: expected a readable file, got {os.strerror(code)}. ")
    assert "damaged" not in complaint
    assert "ove it away" not in complaint


def test_file_that_was_never_closed(demo_path: Path, task: TaskSpec) -> None:
    write = "import h5py, os, sys; f = h5py.File(sys.argv[1], 'r+', libver='latest'); f.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", write, str(demo_path)], check=True)
    complaint = message(demo_path, task)
    assert "got one that is being written, or was never closed (" in complaint
    assert complaint.endswith("Close it there; if its writer died, copy it and run `h5clear -s` on the copy")


def test_file_of_another_kind(tmp_path: Path, task: TaskSpec) -> None:
    path = tmp_path / "demos.hdf5"
    path.write_text("obs,action\n")
    assert "FILE: expected an HDF5 file, got another kind of file. Move it away" in message(path, task)
    path.write_bytes(b"")
    assert "FILE: expected an HDF5 file, got an empty file" in message(path, task)


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.99])
def test_truncated_file(demo_path: Path, task: TaskSpec, keep: float) -> None:
    content = demo_path.read_bytes()
    demo_path.write_bytes(content[: int(keep * len(content))])
    assert "FILE: expected a whole HDF5 file, got a truncated or damaged one (" in message(demo_path, task)


@pytest.mark.parametrize("size", [0, 5000, 2**64 - 1])
@pytest.mark.parametrize("place", [8, 24])  # where the size of the texts' heap and that of the first text stand
def test_damaged_sizes_of_texts(demo_path: Path, task: TaskSpec, place: int, size: int) -> None:
    content = bytearray(demo_path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + place : heap + place + 8] = size.to_bytes(8, "little")
    demo_path.write_bytes(content)
    complaint = message(demo_path, task)  # HDF5 itself would not come back
    assert f"FILE: expected a whole HDF5 file, got a truncated or damaged one (texts at byte {heap})" in complaint


def test_damaged_data(demo_path: Path, task: TaskSpec) -> None:
    with h5py.File(demo_path) as file:
        offset = file["data/demo_1/actions"].id.get_chunk_info(0).byte_offset
    content = bytearray(demo_path.read_bytes())
    content[offset : offset + 20] = b"\xff" * 20
    demo_path.write_bytes(content)
    assert "FILE: data/demo_1/actions: expected undamaged data, got " in message(demo_path, task)


def test_any_flipped_byte_is_noticed_or_harmless(demo_path: Path, task: TaskSpec) -> None:
    good, content = read_demos(demo_path, task), demo_path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=100):
        demo_path.write_bytes(
            content[:position] + bytes([content[position] ^ rng.integers(1, 256)]) + content[position + 1 :]
        )
        try:
            got = read_demos(demo_path, task)
        except InputError:
            continue
        for a, b in zip(got, good, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["actions", "obs/flat", "rewards", "dones"])
def test_missing_dataset(demo_path: Path, task: TaskSpec, name: str) -> None:
    remove(demo_path, f"data/demo_3/{name}")
    assert message(demo_path, task).startswith(f"FILE: data/demo_3/{name}: expected a dataset, got nothing there")


def test_missing_group(demo_path: Path, task: TaskSpec) -> None:
    remove(demo_path, "data/demo_3/obs")
    assert message(demo_path, task).startswith("FILE: data/demo_3/obs/flat: expected a dataset, got nothing there")
    remove(demo_path, "data")
    assert message(demo_path, task).startswith("FILE: data: expected a group, got nothing there")


def test_missing_demonstration(demo_path: Path, task: TaskSpec) -> None:
    remove(demo_path, "data/demo_3")
    assert message(demo_path, task).startswith("FILE: data@total: expected 39, got 42")


def test_dataset_and_group_confused(demo_path: Path, task: TaskSpec) -> None:
    replace(demo_path, "data/demo_3", np.zeros(3))
    assert message(demo_path, task).startswith("FILE: data/demo_3/actions: expected a dataset, got nothing there")
    remove(demo_path, "data/demo_3")
    with h5py.File(demo_path, "r+") as file:
        file.create_group("data/demo_3/actions")
    assert message(demo_path, task).startswith("FILE: data/demo_3/actions: expected a dataset, got a group")
    replace(demo_path, "data", np.zeros(3))
    assert message(demo_path, task).startswith("FILE: data: expected a group, got a dataset")


def test_foreign_name(demo_path: Path, task: TaskSpec) -> None:
    with h5py.File(demo_path, "r+") as file:
        file.create_group("data/trial_1")
    assert message(demo_path, task).startswith("FILE: data/trial_1: expected a name like demo_0, got 'trial_1'")


@pytest.mark.parametrize(
    ("name", "shape", "expected", "got"),
    [
        ("actions", (3, 2), "shape (N, 3)", "shape (3, 2)"),
        ("actions", (9,), "shape (N, 3)", "shape (9,)"),
        ("obs/flat", (3, 12), "shape (3, 11)", "shape (3, 12)"),
        ("obs/flat", (2, 11), "shape (3, 11)", "shape (2, 11)"),
        ("rewards", (3, 1), "shape (3,)", "shape (3, 1)"),
    ],
)
def test_wrong_shape(
    demo_path: Path, task: TaskSpec, name: str, shape: tuple[int, ...], expected: str, got: str
) -> None:
    replace(demo_path, f"data/demo_3/{name}", np.zeros(shape, dtype=np.float32))
    assert message(demo_path, task) == f"FILE: data/demo_3/{name}: expected {expected}, got {got}"


def test_text_instead_of_numbers(demo_path: Path, task: TaskSpec) -> None:
    replace(demo_path, "data/demo_3/rewards", np.array([b"a", b"b", b"c"]))
    assert message(demo_path, task) == "FILE: data/demo_3/rewards: expected numbers, got data of type |S1"


@pytest.mark.parametrize(("bad", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_non_finite_numbers(demo_path: Path, task: TaskSpec, bad: float, shown: str) -> None:
    obs = np.zeros((3, 11), dtype=np.float32)
    obs[2, 4] = bad
    replace(demo_path, "data/demo_3/obs/flat", obs)
    assert (
        message(demo_path, task) == f"FILE: data/demo_3/obs/flat: expected finite numbers, got {shown} at index (2, 4)"
    )


def test_no_demonstrations(demo_path: Path, task: TaskSpec) -> None:
    for i in range(7):
        remove(demo_path, f"data/demo_{i}")
    assert message(demo_path, task).startswith("FILE: data: expected at least one demonstration, got none")


def test_demonstration_without_steps(demo_path: Path, task: TaskSpec) -> None:
    for name, shape in {
        "actions": (0, 3),
        "obs/flat": (0, 11),
        "rewards": (0,),
        "dones": (0,),
        "states": (0, 4),
    }.items():
        replace(demo_path, f"data/demo_3/{name}", np.zeros(shape, dtype=np.float32))
    assert message(demo_path, task).startswith("FILE: data/demo_3: expected at least one step, got none")


def test_wrong_count(demo_path: Path, task: TaskSpec) -> None:
    with h5py.File(demo_path, "r+") as file:
        file["data/demo_3"].attrs["num_samples"] = 4
    assert message(demo_path, task).startswith("FILE: data/demo_3@num_samples: expected 3, got 4")


def test_other_task(demo_path: Path, task: TaskSpec) -> None:
    other = task.model_copy(update={"id": "walker2d"})
    assert message(demo_path, other) == "FILE: data@env_args: expected task 'walker2d', got task 'hopper'"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "expected JSON, got '{'"), ("{}", "expected task 'hopper', got no task"), ("[1]", "got no task")],
)
def test_unusable_env_args(demo_path: Path, task: TaskSpec, text: str, complaint: str) -> None:
    with h5py.File(demo_path, "r+") as file:
        file["data"].attrs["env_args"] = text
    assert complaint in message(demo_path, task)


def test_changed_content(demo_path: Path, task: TaskSpec) -> None:
    with h5py.File(demo_path, "r+") as file:
        recorded = file.attrs["content_sha256"]
        file["data/demo_3/actions"][1, 1] += 0.001
    complaint = message(demo_path, task)
    assert complaint.startswith("FILE: content_sha256: expected the hash of the arrays, ")
    assert f", got {recorded}. Move it away and make" in complaint


def test_missing_hash(demo_path: Path, task: TaskSpec) -> None:
    with h5py.File(demo_path, "r+") as file:
        del file.attrs["content_sha256"]
    assert ", got nothing there. Move it away and make" in message(demo_path, task)


# Writing


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"action": np.full((5, 3), np.nan)}, "data/demo_0/actions: expected finite numbers, got nan at index (0, 0)"),
        ({"obs": np.zeros((4, 11))}, "data/demo_0/obs/flat: expected shape (5, 11), got shape (4, 11)"),
        ({"action": np.zeros((0, 3))}, "data/demo_0: expected at least one step, got none"),
    ],
)
def test_bad_episodes_are_not_written(
    demo_path: Path, task: TaskSpec, make_episodes: MakeEpisodes, change: dict[str, np.ndarray], complaint: str
) -> None:
    before = demo_path.read_bytes()
    with pytest.raises(InputError) as caught:
        write_demos(demo_path, task, [make_episodes([5])[0]._replace(**change)], {})
    assert complaint in str(caught.value)
    assert demo_path.read_bytes() == before


def test_nothing_to_write(tmp_path: Path, task: TaskSpec) -> None:
    with pytest.raises(InputError, match="data: expected at least one demonstration, got none"):
        write_demos(tmp_path / "demos.hdf5", task, [], {})


def test_unwritable_folder(tmp_path: Path, task: TaskSpec, make_episodes: MakeEpisodes) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"demos\.hdf5: expected a place that can be written, got "):
        write_demos(tmp_path / "file" / "demos.hdf5", task, make_episodes([5]), {})


def test_full_disk_leaves_the_old_file_and_nothing_else(
    demo_path: Path, task: TaskSpec, make_episodes: MakeEpisodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = demo_path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"expected room on the disk, got No space left on device"):
        write_demos(demo_path, task, make_episodes([50]), {})
    assert demo_path.read_bytes() == before
    assert list(demo_path.parent.iterdir()) == [demo_path]


def test_killed_writer_leaves_a_whole_file(
    demo_path: Path, task: TaskSpec, make_episodes: MakeEpisodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_forever() -> None:
        while True:
            write_demos(demo_path, task, make_episodes([40] * 7), {})

    for wait_s in np.linspace(0.01, 0.08, 8):
        writer = multiprocessing.get_context("fork").Process(target=write_forever)
        writer.start()
        time.sleep(wait_s)
        writer.kill()
        writer.join()
        assert len(read_demos(demo_path, task).episode_ends) == 7


def test_leftover_of_a_killed_writer_is_ignored(demo_path: Path, task: TaskSpec, make_episodes: MakeEpisodes) -> None:
    (demo_path.parent / f".{demo_path.name}.tmp").write_text("half a file")
    write_demos(demo_path, task, make_episodes([4, 4]), {})
    assert len(read_demos(demo_path, task).episode_ends) == 2
