"""D4RL and robomimic are used through what imports cleanly, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import h5py
import numpy as np
import pytest

from inril.errors import InputError
from inril.thirdparty import d4rl_url, robomimic_url, sequence_dataset

LENGTHS = (5, 3)


@pytest.fixture
def demo_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for i, n_steps in enumerate(LENGTHS):
            demo = file.create_group(f"data/demo_{i}")
            demo.attrs["num_samples"] = n_steps
            demo["obs/flat"] = rng.normal(size=(n_steps, 4)).astype(np.float32)
            demo["actions"] = rng.normal(size=(n_steps, 2)).astype(np.float32)
            demo["rewards"] = rng.normal(size=n_steps).astype(np.float32)
            demo["dones"] = np.zeros(n_steps, dtype=np.int64)
        file["mask/valid"] = np.array([b"demo_1"])
    return path


@pytest.mark.parametrize("task_id", ["hopper", "walker2d", "halfcheetah"])
def test_d4rl_names_the_medium_data_of_each_locomotion_task(task_id: str) -> None:
    url = urlparse(d4rl_url(task_id))

    assert url.scheme in ("http", "https")
    assert url.netloc
    assert url.path.endswith(f"/gym_mujoco_v2/{task_id}_medium-v2.hdf5")


@pytest.mark.parametrize("task_id", ["lift", "can", "square", "transport"])
@pytest.mark.parametrize("quality", ["ph", "mh"])
def test_robomimic_names_the_low_dim_data_of_each_task(task_id: str, quality: str) -> None:
    url = urlparse(robomimic_url(task_id, quality))

    assert url.scheme in ("http", "https")
    assert url.netloc
    assert f"/{task_id}/{quality}/low_dim" in url.path
    assert url.path.endswith(".hdf5")


def test_an_unknown_d4rl_task_lists_the_choices() -> None:
    with pytest.raises(InputError, match=r"^d4rl: task: expected one of .*halfcheetah, hopper, walker2d, got 'lift'$"):
        d4rl_url("lift")


def test_an_unknown_robomimic_task_or_quality_lists_the_choices() -> None:
    with pytest.raises(
        InputError, match=r"^robomimic: task: expected one of can, lift, square, tool_hang, transport, got 'hopper'$"
    ):
        robomimic_url("hopper", "mh")
    with pytest.raises(InputError, match=r"^robomimic: tool_hang: quality: expected one of ph, got 'mh'$"):
        robomimic_url("tool_hang", "mh")


def test_sequence_dataset_reads_what_the_file_holds(demo_file: Path) -> None:
    dataset = sequence_dataset(demo_file)

    assert len(dataset) == sum(LENGTHS)  # type: ignore[arg-type]
    with h5py.File(demo_file) as file:
        np.testing.assert_array_equal(dataset[6]["obs"]["flat"], file["data/demo_1/obs/flat"][1:2])
        np.testing.assert_array_equal(dataset[6]["actions"], file["data/demo_1/actions"][1:2])


def test_sequence_dataset_pads_and_filters(demo_file: Path) -> None:
    dataset = sequence_dataset(demo_file, seq_length=2, frame_stack=3, filter_key="valid")

    assert len(dataset) == LENGTHS[1]  # type: ignore[arg-type]
    assert dataset[0]["obs"]["flat"].shape == (4, 4)
    with h5py.File(demo_file) as file:
        last = file["data/demo_1/actions"][-1]
    np.testing.assert_array_equal(dataset[2]["actions"][-2:], [last, last])


def test_sequence_dataset_names_what_is_missing(demo_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"demos.hdf5: mask: expected one of valid, got 'train'$"):
        sequence_dataset(demo_file, filter_key="train")
    with pytest.raises(InputError, match=r"nowhere.hdf5: expected an HDF5 file, got nothing there$"):
        sequence_dataset(tmp_path / "nowhere.hdf5")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = [1.0]
    with pytest.raises(InputError, match=r"other.hdf5: data: expected demonstrations, got none$"):
        sequence_dataset(tmp_path / "other.hdf5")


def test_use_prints_nothing_and_leaves_dead_requirements_out(demo_file: Path) -> None:
    code = f"""
import pathlib, sys
from inril.thirdparty import d4rl_url, robomimic_url, sequence_dataset
d4rl_url("hopper"), robomimic_url("lift", "mh"), sequence_dataset(pathlib.Path({str(demo_file)!r}))[0]
loaded = {{"mujoco_py", "torchvision", "pybullet", "dm_control", "tensorboard"}} & set(sys.modules)
sys.exit(f"imported: {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
