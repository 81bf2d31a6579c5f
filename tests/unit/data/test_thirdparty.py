"""D4RL and robomimic are used through what imports cleanly, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlparse

import pytest

from inril.data.thirdparty import d4rl_url, robomimic_url
from inril.errors import InputError


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


def test_use_prints_nothing_and_leaves_dead_requirements_out() -> None:
    code = """
import sys
from inril.data.thirdparty import d4rl_url, robomimic_url
d4rl_url("hopper"), robomimic_url("lift", "mh")
loaded = {"mujoco_py", "torchvision", "pybullet", "dm_control", "tensorboard"} & set(sys.modules)
sys.exit(f"imported: {loaded}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
