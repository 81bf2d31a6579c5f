from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from file_server import FileServer

import inril.data.thirdparty
from inril.config.base import TaskSpec
from inril.config.runs import DemosConfig
from inril.data.d4rl import read_d4rl
from inril.data.demo_file import demo_returns, read_demos, read_provenance
from inril.errors import InputError
from inril.train.demonstrate import make_demos

# Episodes of 6 steps (terminal), 4 (time limit), 3 (no positive return), 7 (terminal), and 5 steps left unfinished.
LENGTHS = (6, 4, 3, 7)
N_STEPS = 25
Arrays = dict[str, np.ndarray]


@pytest.fixture
def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    reward = rng.uniform(0.5, 1.5, N_STEPS).astype(np.float32)
    reward[10:13] = [1.0, -2.0, 0.5]
    terminal, timeout = np.zeros((2, N_STEPS), dtype=bool)
    terminal[[5, 12, 19]] = True
    timeout[[9, 19]] = True
    return {
        "observations": rng.normal(size=(N_STEPS, 11)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (N_STEPS, 3)).astype(np.float32),
        "rewards": reward,
        "terminals": terminal,
        "timeouts": timeout,
        "infos/qpos": rng.normal(size=(N_STEPS, 6)),
        "infos/qvel": rng.normal(size=(N_STEPS, 6)),
        "infos/action_log_probs": rng.normal(size=N_STEPS),
    }


@pytest.fixture
def recording(tmp_path: Path, arrays: Arrays) -> Path:
    return save(tmp_path / "recording.hdf5", arrays)


@pytest.fixture
def recording_bytes(tmp_path_factory: pytest.TempPathFactory, arrays: Arrays) -> bytes:
    return save(tmp_path_factory.mktemp("elsewhere") / "recording.hdf5", arrays).read_bytes()


def save(path: Path, arrays: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip")
        file["metadata/algorithm"] = "SAC"
    return path


def config(task: TaskSpec, server: FileServer, **kwargs: Any) -> DemosConfig:
    return DemosConfig(task=task, source="d4rl", **{"n_steps": 1, "url": server.url, **kwargs})


def test_cut_at_terminals_and_timeouts(recording: Path, task: TaskSpec, arrays: Arrays) -> None:
    episodes = read_d4rl(recording, task)
    assert [len(episode.obs) for episode in episodes] == [6, 4, 7]
    assert [episode.terminated for episode in episodes] == [True, False, True]
    np.testing.assert_array_equal(episodes[1].obs, arrays["observations"][6:10])
    np.testing.assert_array_equal(episodes[2].action, arrays["actions"][13:20])
    np.testing.assert_array_equal(episodes[2].reward, arrays["rewards"][13:20])
    states = episodes[0].states
    assert states is not None
    np.testing.assert_array_equal(states, np.hstack([arrays["infos/qpos"], arrays["infos/qvel"]])[:6])


def test_first_episodes_only(recording: Path, task: TaskSpec) -> None:
    assert [len(episode.obs) for episode in read_d4rl(recording, task, max_episodes=2)] == [6, 4]


def test_recording_without_states(tmp_path: Path, task: TaskSpec, arrays: Arrays) -> None:
    del arrays["infos/qpos"]
    assert read_d4rl(save(tmp_path / "recording.hdf5", arrays), task)[0].states is None


def test_from_the_web_to_demonstrations(
    tmp_path: Path, recording: Path, task: TaskSpec, server: FileServer, arrays: Arrays
) -> None:
    server.content = recording.read_bytes()
    server.cut_after = [len(server.content) // 2]
    out = tmp_path / "demos" / "d4rl.hdf5"
    make_demos(config(task, server, sha256=hashlib.sha256(server.content).hexdigest()), out)
    demos = read_demos(out, task)
    np.testing.assert_array_equal(demos.episode_ends, [6, 10, 17])
    np.testing.assert_array_equal(demos.obs, np.delete(arrays["observations"], np.r_[10:13, 20:25], axis=0))
    provenance = read_provenance(out)
    assert provenance["source"] == "d4rl"
    assert provenance["url"] == server.url
    np.testing.assert_allclose(provenance["mean_return"], demo_returns(out).returns.mean())


def test_default_address_is_that_of_d4rl(
    tmp_path: Path, recording: Path, task: TaskSpec, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = recording.read_bytes()
    monkeypatch.setattr(inril.data.thirdparty, "d4rl_url", lambda task_id: f"{server.url}?{task_id}")
    make_demos(config(task, server, url=None), tmp_path / "d4rl.hdf5")
    assert read_provenance(tmp_path / "d4rl.hdf5")["url"] == f"{server.url}?hopper"


def test_wrong_checksum_writes_nothing(tmp_path: Path, recording: Path, task: TaskSpec, server: FileServer) -> None:
    server.content = recording.read_bytes()
    out = tmp_path / "demos" / "d4rl.hdf5"
    with pytest.raises(InputError, match=r"hopper_medium-v2\.hdf5: checksum: expected SHA-256 0000"):
        make_demos(config(task, server, sha256="0" * 64), out)
    assert list(out.parent.iterdir()) == []


def test_web_page_instead_of_a_recording(
    tmp_path: Path, recording_bytes: bytes, task: TaskSpec, server: FileServer
) -> None:
    server.content = b"<html>moved</html>"
    with pytest.raises(InputError, match=r"medium-v2\.hdf5: expected an HDF5 file, got a web page\. Nothing was"):
        make_demos(config(task, server), tmp_path / "d4rl.hdf5")
    assert list(tmp_path.iterdir()) == []
    server.content = recording_bytes
    make_demos(config(task, server), tmp_path / "d4rl.hdf5")
    assert len(read_demos(tmp_path / "d4rl.hdf5", task).episode_ends) == 3


def test_web_page_that_was_recorded_as_the_truth_is_fetched_anew(
    tmp_path: Path, recording_bytes: bytes, task: TaskSpec, server: FileServer
) -> None:
    page, stored = b"<html>log in</html>", tmp_path / "hopper_medium-v2.hdf5"
    stored.write_bytes(page)
    stored.with_name(f"{stored.name}.sha256").write_text(hashlib.sha256(page).hexdigest())
    server.content = recording_bytes
    with pytest.raises(InputError, match=r"got a web page\. It was moved to \S+\.hdf5\.rejected\. Run again"):
        make_demos(config(task, server), tmp_path / "d4rl.hdf5")
    make_demos(config(task, server), tmp_path / "d4rl.hdf5")
    assert len(read_demos(tmp_path / "d4rl.hdf5", task).episode_ends) == 3


def test_download_by_hand_is_taken_from_where_the_documentation_says(
    tmp_path: Path, recording_bytes: bytes, task: TaskSpec, server: FileServer
) -> None:
    (tmp_path / "hopper_medium-v2.hdf5").write_bytes(recording_bytes)
    make_demos(config(task, server), tmp_path / "d4rl.hdf5")
    assert len(read_demos(tmp_path / "d4rl.hdf5", task).episode_ends) == 3
    assert server.ranges == []


@pytest.mark.parametrize("task_id", ["hopper", "walker2d", "halfcheetah"])
def test_documentation_names_the_file_of_a_download_by_hand(task_id: str) -> None:
    url = inril.data.thirdparty.d4rl_url(task_id)
    page = (Path(__file__).parents[3] / "docs" / "demonstrations.md").read_text(encoding="utf-8")
    assert f"| {task_id} |  | <{url}> | `{task_id}_medium-v2.hdf5` |" in page


def with_nan(array: np.ndarray) -> np.ndarray:
    array[3, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("actions", None, "actions: expected a dataset, got nothing there"),
        ("timeouts", None, "timeouts: expected a dataset, got nothing there"),
        ("observations", lambda x: x[:, :10], "observations: expected shape (25, 11), got shape (25, 10)"),
        ("observations", lambda x: x[1:], "observations: expected shape (25, 11), got shape (24, 11)"),
        ("rewards", lambda x: x[:, None], "rewards: expected shape (25,), got shape (25, 1)"),
        ("actions", with_nan, "actions: expected finite numbers, got nan at index (3, 1)"),
        ("infos/qvel", lambda x: x[1:], "infos/qvel: expected shape (25, N), got shape (24, 6)"),
        ("rewards", lambda x: -np.abs(x), "expected at least one whole episode with a positive return, got none"),
    ],
)
def test_unusable_recording(
    tmp_path: Path, task: TaskSpec, arrays: Arrays, name: str, change: Any, complaint: str
) -> None:
    array = arrays.pop(name)
    if change is not None:
        arrays[name] = change(array)
    path = save(tmp_path / "recording.hdf5", arrays)
    with pytest.raises(InputError) as caught:
        read_d4rl(path, task)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_empty_recording(tmp_path: Path, task: TaskSpec, arrays: Arrays) -> None:
    path = save(tmp_path / "recording.hdf5", {name: array[:0] for name, array in arrays.items()})
    with pytest.raises(InputError, match="expected at least one whole episode with a positive return, got none"):
        read_d4rl(path, task)


def test_truncated_recording(recording: Path, task: TaskSpec) -> None:
    recording.write_bytes(recording.read_bytes()[:3000])
    with pytest.raises(InputError, match="expected a whole HDF5 file, got a truncated or damaged one"):
        read_d4rl(recording, task)
