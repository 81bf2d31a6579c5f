from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from file_server import FileServer
from robomimic_files import ARM, LENGTHS, MASKS, Obs, env_args, observe, random_poses, write_file
from robomimic_reader import read_with_robomimic

import inril.data.thirdparty
from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.config.runs import DemosConfig
from inril.data.demo_file import demo_returns, read_demos, read_provenance
from inril.data.robomimic import read_robomimic, recording
from inril.errors import InputError
from inril.train.demonstrate import make_demos

CONFIG = Path(__file__).parents[3] / "config"
PROJECT = Project(CONFIG, read_yaml(CONFIG / "config.yaml"))
TASKS = {task: PROJECT.demos(task).task for task in ("lift", "can", "square", "transport")}
VERSIONS = ("1.4.1", "1.5.1")
COMPOSITE = env_args("lift", "1.5.1")["env_kwargs"]["controller_configs"]
# Controllers as robosuite 1.5 writes them itself.
IN_BASE = {"type": "OSC_POSE", "damping_ratio": 1, "input_type": "delta", "input_ref_frame": "base"}


def observed(task_id: str, version: str) -> list[Obs]:
    """The same poses for every version."""
    rng = np.random.default_rng(1)
    return [observe(task_id, random_poses(task_id, n_steps, rng), version) for n_steps in LENGTHS]


def published(folder: Path, task_id: str, version: str = "1.4.1") -> Path:
    return write_file(folder / "low_dim.hdf5", task_id, version, observed(task_id, version))


def in_order(task_id: str, obs: Obs) -> np.ndarray:
    return np.concatenate([obs[key] for key in TASKS[task_id].obs_keys], axis=1)


# Reading


@pytest.mark.parametrize("version", [*VERSIONS, "1.5.0", "1.5.2"])
@pytest.mark.parametrize("task_id", TASKS)
def test_same_poses_are_the_same_observations_whatever_the_version(tmp_path: Path, task_id: str, version: str) -> None:
    path = published(tmp_path, task_id, version)
    demos = read_robomimic(path, TASKS[task_id])
    assert demos.version == version
    for episode, obs in zip(demos.episodes, observed(task_id, "1.4.1"), strict=True):
        np.testing.assert_allclose(episode.obs, in_order(task_id, obs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("task_id", TASKS)
def test_the_two_versions_really_hold_other_numbers(task_id: str) -> None:
    old, new = (observed(task_id, version)[1]["object"] for version in VERSIONS)
    assert old.shape == new.shape
    assert np.abs(old - new).max() > 0.1


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_else_is_taken_as_it_is(tmp_path: Path, version: str) -> None:
    path = published(tmp_path, "can", version)
    episodes = read_robomimic(path, TASKS["can"]).episodes
    with h5py.File(path) as file:
        for i, episode in enumerate(episodes):
            demo = file[f"data/demo_{i}"]
            np.testing.assert_array_equal(episode.action, demo["actions"])
            np.testing.assert_array_equal(episode.reward, demo["rewards"])
            np.testing.assert_array_equal(episode.dones, demo["dones"])
            np.testing.assert_array_equal(episode.states, demo["states"])
            assert not episode.terminated


def test_order_follows_the_number_and_not_the_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = range(1, 13)
    episodes = [observe("lift", random_poses("lift", n_steps, rng), "1.4.1") for n_steps in lengths]
    path = write_file(tmp_path / "low_dim.hdf5", "lift", "1.4.1", episodes)
    assert [len(episode.obs) for episode in read_robomimic(path, TASKS["lift"]).episodes] == list(lengths)


def test_filter_keys_that_name_demonstrations_are_kept(tmp_path: Path) -> None:
    path = published(tmp_path, "lift")
    with h5py.File(path, "r+") as file:
        file["mask/another_file"] = np.array([b"demo_77"])
        file["mask/lengths"] = np.arange(3)
    renamed = {"train": "robomimic_train", "valid": "robomimic_valid"}
    expected = {renamed.get(key, key): list(members) for key, members in MASKS.items()}
    assert read_robomimic(path, TASKS["lift"]).masks == expected


def test_first_episodes_only(tmp_path: Path) -> None:
    demos = read_robomimic(published(tmp_path, "lift"), TASKS["lift"], max_episodes=3)
    assert [len(episode.obs) for episode in demos.episodes] == list(LENGTHS[:3])
    assert demos.masks == {
        "better": [0, 1],
        "better_operator_1": [0],
        "okay": [2],
        "robomimic_train": [0, 2],
        "robomimic_valid": [1],
    }


def test_file_without_filter_keys(tmp_path: Path) -> None:
    path = published(tmp_path, "lift")
    with h5py.File(path, "r+") as file:
        del file["mask"]
    assert read_robomimic(path, TASKS["lift"]).masks == {}


@pytest.mark.parametrize(
    ("task_id", "version", "changed"),
    [
        ("lift", "1.4.1", {"robots": "Panda"}),
        ("lift", "1.5.1", {"controller_configs": [COMPOSITE]}),
        ("lift", "1.5.1", {"controller_configs": {"type": "BASIC", "body_parts": {"arms": {"right": IN_BASE}}}}),
        ("transport", "1.4.1", {"controller_configs": [ARM, ARM]}),
        ("lift", "1.4.1", {"camera_heights": 256, "has_offscreen_renderer": True}),
    ],
)
def test_other_ways_to_say_the_same(tmp_path: Path, task_id: str, version: str, changed: dict[str, Any]) -> None:
    path = published(tmp_path, task_id, version)
    change_env_args(path, lambda args: args["env_kwargs"].update(changed))
    assert len(read_robomimic(path, TASKS[task_id]).episodes) == len(LENGTHS)


# From the web


@pytest.fixture
def site(server: FileServer) -> str:
    """Where robomimic's files are; the server has one file, whatever the address."""
    return server.url.rsplit("/", 1)[0]


def config(task_id: str, **kwargs: Any) -> DemosConfig:
    return DemosConfig(task=TASKS[task_id], source="robomimic", **kwargs)


@pytest.mark.parametrize(
    ("task_id", "version", "address"),
    [
        ("can", "1.4.1", "rt_benchmark/can/mh/low_dim_v141.hdf5"),
        ("can", "1.5.1", "datasets/robomimic/robomimic_datasets/resolve/main/v1.5/can/mh/low_dim_v15.hdf5"),
        ("transport", "1.5.1", "v1.5/transport/ph/low_dim_v15.hdf5?download=true"),
    ],
)
def test_from_the_web_to_demonstrations(
    tmp_path: Path, server: FileServer, site: str, task_id: str, version: str, address: str
) -> None:
    server.content = published(tmp_path, task_id, version).read_bytes()
    server.cut_after = [len(server.content) // 2]
    out = tmp_path / "demos" / "robomimic.hdf5"
    url = f"{site}/{address}"
    make_demos(config(task_id, url=url, sha256=hashlib.sha256(server.content).hexdigest()), out)
    assert len(server.ranges) == 2  # continued
    demos = read_demos(out, TASKS[task_id])
    expected = np.concatenate([in_order(task_id, obs) for obs in observed(task_id, "1.4.1")])
    np.testing.assert_allclose(demos.obs, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(demos.episode_ends, np.cumsum(LENGTHS))
    provenance = read_provenance(out)
    assert (provenance["source"], provenance["url"]) == ("robomimic", url)
    assert provenance["robosuite_version"] == version
    assert provenance["mean_return"] == demo_returns(out).returns.mean() == 1.0


def test_robomimic_opens_what_was_made_of_its_file(tmp_path: Path, server: FileServer, site: str) -> None:
    server.content = published(tmp_path, "square", "1.5.1").read_bytes()
    out = tmp_path / "robomimic.hdf5"
    make_demos(config("square", url=f"{site}/low_dim_v15.hdf5"), out)
    sequences = read_with_robomimic(out, filter_key="better_operator_1")
    assert len(sequences) == LENGTHS[0]
    first = observed("square", "1.4.1")[0]
    for key, array in first.items():
        np.testing.assert_allclose(sequences[0]["obs"][key], array[:4], rtol=0, atol=1e-6)
    with h5py.File(out) as file:
        assert json.loads(file["data"].attrs["env_args"]) == env_args("square", "1.4.1")
        members = {key: [name.decode() for name in file[f"mask/{key}"]] for key in ("worse", "robomimic_valid")}
        held_out = len(file["mask/valid"])
    assert members == {"worse": ["demo_4", "demo_5"], "robomimic_valid": ["demo_1"]}
    assert held_out == 5  # the project's own split
    assert len(read_with_robomimic(out)) == sum(LENGTHS)


@pytest.mark.parametrize("quality", ["mh", "ph"])
def test_default_address_is_that_of_robomimic(
    tmp_path: Path, server: FileServer, site: str, monkeypatch: pytest.MonkeyPatch, quality: Any
) -> None:
    server.content = published(tmp_path, "lift").read_bytes()
    monkeypatch.setattr(
        inril.data.thirdparty, "robomimic_url", lambda task, quality: f"{site}/{task}/{quality}/low_dim.hdf5"
    )
    make_demos(config("lift", quality=quality), tmp_path / "robomimic.hdf5")
    assert read_provenance(tmp_path / "robomimic.hdf5")["url"] == f"{site}/lift/{quality}/low_dim.hdf5"


def test_files_of_one_name_at_two_addresses_are_two_downloads(tmp_path: Path, server: FileServer, site: str) -> None:
    out = tmp_path / "demos" / "robomimic.hdf5"
    for quality, lengths in {"mh": [4, 3], "ph": [2, 2, 2]}.items():
        rng = np.random.default_rng(0)
        episodes = [observe("lift", random_poses("lift", n_steps, rng), "1.4.1") for n_steps in lengths]
        server.content = write_file(tmp_path / quality, "lift", "1.4.1", episodes).read_bytes()
        make_demos(config("lift", url=f"{site}/lift/{quality}/low_dim_v141.hdf5"), out)
        np.testing.assert_array_equal(read_demos(out, TASKS["lift"]).episode_ends, np.cumsum(lengths))


def test_wrong_checksum_writes_nothing(tmp_path: Path, server: FileServer, site: str) -> None:
    server.content = published(tmp_path, "lift").read_bytes()
    out = tmp_path / "demos" / "robomimic.hdf5"
    with pytest.raises(InputError, match=r"low_dim\.hdf5: checksum: expected SHA-256 0000"):
        make_demos(config("lift", url=f"{site}/low_dim.hdf5", sha256="0" * 64), out)
    assert list(out.parent.iterdir()) == []


def test_failed_download_is_not_taken_for_whole_later(tmp_path: Path, server: FileServer, site: str) -> None:
    whole = published(tmp_path, "lift").read_bytes()
    server.content, server.statuses = whole, [404]
    out = tmp_path / "demos" / "robomimic.hdf5"
    cfg = config("lift", url=f"{site}/low_dim.hdf5")
    with pytest.raises(InputError, match="expected a file, got HTTP status 404"):
        make_demos(cfg, out)
    assert list(out.parent.iterdir()) == []
    make_demos(cfg, out)
    assert len(read_demos(out, TASKS["lift"]).episode_ends) == len(LENGTHS)


def test_old_demonstrations_survive_an_unusable_download(tmp_path: Path, server: FileServer, site: str) -> None:
    out = tmp_path / "demos" / "robomimic.hdf5"
    server.content = published(tmp_path, "lift").read_bytes()
    make_demos(config("lift", url=f"{site}/low_dim.hdf5"), out)
    before = out.read_bytes()
    server.content = server.content[: len(server.content) // 2]  # cut short before it was published
    with pytest.raises(InputError) as caught:
        make_demos(config("lift", url=f"{site}/other.hdf5"), out)
    expected = f"{site}/other.hdf5: expected a whole HDF5 file, got a truncated or damaged one ("
    assert str(caught.value).startswith(expected)
    assert not list(out.parent.glob("other-*"))
    assert out.read_bytes() == before


def test_hint_of_a_download_that_reads_badly(tmp_path: Path, server: FileServer, site: str) -> None:
    path = published(tmp_path, "lift")
    with h5py.File(path, "r+") as file:
        del file["data/demo_5"]
    server.content = path.read_bytes()
    with pytest.raises(InputError, match=r"data@total: .*Move it, and the \.sha256 beside it, away to download"):
        make_demos(config("lift", url=f"{site}/low_dim.hdf5"), tmp_path / "robomimic.hdf5")


@pytest.mark.parametrize("quality", ["mh", "ph"])
@pytest.mark.parametrize("task_id", TASKS)
def test_documentation_names_the_file_of_a_download_by_hand(tmp_path: Path, task_id: str, quality: str) -> None:
    url = inril.data.thirdparty.robomimic_url(task_id, quality)
    name = recording(url, tmp_path / "robomimic.hdf5").name
    page = (CONFIG.parent / "docs" / "demonstrations.md").read_text(encoding="utf-8")
    assert f"| {task_id} | `{quality}` | <{url}> | `{name}` |" in page


# Bad input


def message(path: Path, task_id: str) -> str:
    with pytest.raises(InputError) as caught:
        read_robomimic(path, TASKS[task_id])
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(str(path), "FILE")


def change_env_args(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with h5py.File(path, "r+") as file:
        args = json.loads(file["data"].attrs["env_args"])
        change(args)
        file["data"].attrs["env_args"] = json.dumps(args)


def replace(path: Path, name: str, array: np.ndarray) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = array


def setting(name: str, value: object, *sections: str) -> Callable[[dict[str, Any]], object]:
    def change(args: dict[str, Any]) -> None:
        for section in sections:
            args = args[section]
        args[name] = value

    return change


KWARGS = ("env_kwargs",)
OLD = ("env_kwargs", "controller_configs")
NEW = (*OLD, "body_parts", "right")
CONFIGS = "env_kwargs.controller_configs"
KNOWN = "one of '1.4.1', '1.5.0', '1.5.1', '1.5.2'"
MISSING = "expected named settings, got nothing there"


@pytest.mark.parametrize(
    ("version", "change", "complaint"),
    [
        ("1.4.1", setting("env_version", "1.3.2"), f"env_version: expected {KNOWN}, got '1.3.2'"),
        ("1.5.1", setting("env_version", "1.6.0"), f"env_version: expected {KNOWN}, got '1.6.0'"),
        ("1.4.1", lambda args: args.pop("env_version"), f"env_version: expected {KNOWN}, got nothing there"),
        ("1.4.1", setting("env_name", "PickPlaceCan"), "env_name: expected 'Lift', got 'PickPlaceCan'"),
        ("1.4.1", lambda args: args.clear(), "env_name: expected 'Lift', got nothing there"),
        ("1.4.1", lambda args: args.pop("env_kwargs"), f"env_kwargs: {MISSING}"),
        (
            "1.4.1",
            setting("robots", ["Sawyer"], *KWARGS),
            "env_kwargs.robots: expected one of ['Panda'], 'Panda', got ['Sawyer']",
        ),
        ("1.4.1", setting("control_freq", 10, *KWARGS), "env_kwargs.control_freq: expected 20, got 10"),
        (
            "1.4.1",
            setting("type", "JOINT_POSITION", *OLD),
            f"{CONFIGS}.type: expected 'OSC_POSE', got 'JOINT_POSITION'",
        ),
        ("1.4.1", setting("control_delta", False, *OLD), f"{CONFIGS}.control_delta: expected True, got False"),
        ("1.4.1", setting("kp", 300, *OLD), f"{CONFIGS}.kp: expected 150, got 300"),
        ("1.4.1", setting("controller_configs", None, *KWARGS), f"{CONFIGS}: {MISSING}"),
        (
            "1.4.1",
            setting("controller_configs", COMPOSITE, *KWARGS),
            f"{CONFIGS}.type: expected 'OSC_POSE', got 'BASIC'",
        ),
        ("1.5.1", setting("controller_configs", ARM, *KWARGS), f"{CONFIGS}.body_parts: {MISSING}"),
        (
            "1.5.1",
            setting("type", "OSC_POSITION", *NEW),
            f"{CONFIGS}.body_parts.right.type: expected 'OSC_POSE', got 'OSC_POSITION'",
        ),
        (
            "1.5.1",
            setting("input_type", "absolute", *NEW),
            f"{CONFIGS}.body_parts.right.input_type: expected 'delta', got 'absolute'",
        ),
    ],
)
def test_another_environment(
    tmp_path: Path, version: str, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    path = published(tmp_path, "lift", version)
    change_env_args(path, change)
    assert message(path, "lift") == f"FILE: data@env_args.{complaint}"


def test_actions_of_two_arms_in_the_axes_of_their_bases(tmp_path: Path) -> None:
    path = published(tmp_path, "transport", "1.5.1")
    change_env_args(path, setting("input_ref_frame", "base", *NEW))
    field = f"data@env_args.{CONFIGS}.body_parts.right.input_ref_frame"
    assert message(path, "transport") == f"FILE: {field}: expected 'world', got 'base'"


@pytest.mark.parametrize(("task_id", "robots"), [("lift", ["Panda", "Panda"]), ("transport", ["Panda"])])
def test_another_number_of_robots(tmp_path: Path, task_id: str, robots: list[str]) -> None:
    path = published(tmp_path, task_id)
    change_env_args(path, setting("robots", robots, *KWARGS))
    assert message(path, task_id).startswith("FILE: data@env_args.env_kwargs.robots: expected ")
    assert message(path, task_id).endswith(f", got {robots}")


@pytest.mark.parametrize(
    ("text", "complaint"), [("{", "expected JSON, got '{'"), ("[1]", "expected named settings, got [1]")]
)
def test_unusable_env_args(tmp_path: Path, text: str, complaint: str) -> None:
    path = published(tmp_path, "lift")
    with h5py.File(path, "r+") as file:
        file["data"].attrs["env_args"] = text
    assert message(path, "lift") == f"FILE: data@env_args: {complaint}"


@pytest.mark.parametrize(("version", "claimed"), [VERSIONS, VERSIONS[::-1]])
@pytest.mark.parametrize("task_id", TASKS)
def test_order_of_another_version_than_the_file_says(tmp_path: Path, task_id: str, version: str, claimed: str) -> None:
    path = published(tmp_path, task_id, version)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps(env_args(task_id, claimed))
    complaint = "expected positions relative to the gripper that fit the poses within 0.01 m, got "
    assert message(path, task_id).startswith(f"FILE: data/demo_0/obs/object: {complaint}")


def test_quaternions_that_are_none(tmp_path: Path) -> None:
    path = published(tmp_path, "can")
    replace(path, "data/demo_3/obs/robot0_eef_quat", np.zeros((9, 4)))
    complaint = "FILE: data/demo_3/obs/robot0_eef_quat: expected quaternions of unit norm, got norm 0.000 at step 0"
    assert message(path, "can") == complaint


def changed(array: np.ndarray, index: Any, value: float) -> np.ndarray:
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("obs/object", None, "obs/object: expected a dataset, got nothing there"),
        ("obs/robot0_eef_pos", None, "obs/robot0_eef_pos: expected a dataset, got nothing there"),
        ("obs/object", lambda x: x[:, :9], "obs/object: expected shape (9, 10), got shape (9, 9)"),
        (
            "obs/robot0_gripper_qpos",
            lambda x: x[:-1],
            "obs/robot0_gripper_qpos: expected shape (9, 2), got shape (8, 2)",
        ),
        (
            "obs/robot0_eef_quat",
            lambda x: changed(x, (2, 1), np.nan),
            "obs/robot0_eef_quat: expected finite numbers, got nan at index (2, 1)",
        ),
        (
            "actions",
            lambda x: changed(x, (4, 6), -1.5),
            "actions: expected numbers in [-1, 1], got -1.5 at index (4, 6)",
        ),
        ("actions", lambda x: changed(x, (0, 0), np.inf), "actions: expected finite numbers, got inf at index (0, 0)"),
        ("actions", lambda x: np.hstack([x, x]), "actions: expected shape (N, 7), got shape (9, 14)"),
        ("rewards", None, "rewards: expected a dataset, got nothing there"),
        ("dones", lambda x: x[:3], "dones: expected shape (9,), got shape (3,)"),
    ],
)
def test_unusable_demonstration(tmp_path: Path, name: str, change: Any, complaint: str) -> None:
    path = published(tmp_path, "lift")
    with h5py.File(path, "r+") as file:
        array = file[f"data/demo_3/{name}"][()]
        del file[f"data/demo_3/{name}"]
        if change is not None:
            file[f"data/demo_3/{name}"] = change(array)
    assert message(path, "lift") == f"FILE: data/demo_3/{complaint}"


def test_task_that_robosuite_does_not_have(tmp_path: Path) -> None:
    other = TASKS["lift"].model_copy(update={"id": "tool_hang"})
    expected = r"^demonstrations: task: expected one of lift, can, square, transport, got 'tool_hang'$"
    with pytest.raises(InputError, match=expected):
        read_robomimic(published(tmp_path, "lift"), other)


def test_file_cut_short(tmp_path: Path) -> None:
    path = published(tmp_path, "lift")
    with h5py.File(path, "r+") as file:
        del file["data/demo_5"]
    assert message(path, "lift") == "FILE: data@total: expected 34, got 42"
    with h5py.File(path, "r+") as file:
        file["data/demo_3"].attrs["num_samples"] = 10
    assert message(path, "lift") == "FILE: data/demo_3@num_samples: expected 9, got 10"
    with h5py.File(path, "r+") as file:
        for name in list(file["data"]):
            del file[f"data/{name}"]
    assert message(path, "lift") == "FILE: data: expected at least one demonstration, got none"


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.99])
def test_truncated_file(tmp_path: Path, keep: float) -> None:
    path = published(tmp_path, "lift")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    assert message(path, "lift").startswith("FILE: expected a whole HDF5 file, got a truncated or damaged one (")
