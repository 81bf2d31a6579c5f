"""What is read from robomimic's files is what the project's simulator observes in the states that the files hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from robomimic_files import Obs, Poses, observe, write_file

from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.data.robomimic import read_robomimic
from inril.data.scripted.robomimic.scene import make_scene
from inril.envs.robomimic.build import make_robosuite
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS

CONFIG = Path(__file__).parents[3] / "config"
LENGTHS = (12, 7)
BODIES = {
    "lift": {"cube": ("body", "cube_main")},
    "can": {"object": ("body", "Can_main")},
    "square": {"object": ("body", "SquareNut_main")},
    "transport": {
        "payload": ("body", "payload_root"),
        "trash": ("body", "trash_main"),
        "lid_handle": ("geom", "transport_start_bin_lid_handle"),
    },
}


def simulate(task_id: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Move the arms about; return each episode's states (N, Ds) and what was observed in them, (N, Do)."""
    scene = make_scene(task_id)
    episodes = []
    for seed, n_steps in enumerate(LENGTHS):
        rng = np.random.default_rng(seed)
        obs, action = scene.reset(rng), np.zeros(scene.action_dim)
        states, observations = [], []
        for _ in range(n_steps):
            states.append(scene.state())
            observations.append(obs)
            action = np.clip(0.7 * action + rng.normal(scale=0.6, size=scene.action_dim), -1, 1)
            obs, *_ = scene.step(action)
        episodes.append((np.array(states), np.array(observations)))
    return episodes


def set_state(env: Any, state: np.ndarray) -> mujoco.MjData:
    env.sim.set_state_from_flattened(state)
    env.sim.forward()
    data: mujoco.MjData = env.sim.data._data
    return data


def by_robosuite(env: Any, states: np.ndarray, keys: list[str]) -> Obs:
    """Observe with robosuite's own sensors, state by state, as robomimic's conversion to its version 1.5 does."""
    observations = []
    for state in states:
        set_state(env, state)
        seen = env._get_observations(force_update=True)
        observations.append([seen["object-state" if key == "object" else key] for key in keys])
    return {key: np.array(column) for key, column in zip(keys, zip(*observations, strict=True), strict=True)}


def by_hand(task_id: str, env: Any, states: np.ndarray) -> Obs:
    """Observe as robosuite 1.4.1 did, from what MuJoCo says of named bodies."""
    looks = [look(task_id, set_state(env, state)) for state in states]
    seen = {name: np.array([one[name] for one in looks]) for name in looks[0]}
    arms = range(2 if task_id == "transport" else 1)
    nowhere = np.zeros((len(states), 3))
    poses = Poses(
        grippers=[(seen[f"gripper{i}_pos"], seen[f"gripper{i}_quat"]) for i in arms],
        bodies={name: (seen[f"{name}_pos"], seen[f"{name}_quat"]) for name in BODIES[task_id]},
        bins=(seen.get("target_bin_pos", nowhere), seen.get("trash_bin_pos", nowhere)),
        flags=(nowhere[:, 0], nowhere[:, 0]),  # neither hammer nor cube gets that far
    )
    return observe(task_id, poses, "1.4.1") | {f"robot{i}_gripper_qpos": seen[f"fingers{i}"] for i in arms}


def look(task_id: str, data: mujoco.MjData) -> dict[str, np.ndarray]:
    """Return poses of grippers, objects and bins, quaternions as (x, y, z, w), and what the fingers do."""
    seen = {}
    for i in range(2 if task_id == "transport" else 1):
        seen[f"gripper{i}_pos"] = data.site(f"gripper{i}_right_grip_site").xpos
        seen[f"gripper{i}_quat"] = np.roll(data.body(f"robot{i}_right_hand").xquat, -1)
        seen[f"fingers{i}"] = np.concatenate([data.joint(f"gripper{i}_right_finger_joint{j}").qpos for j in (1, 2)])
    for name, (kind, named) in BODIES[task_id].items():
        thing = getattr(data, kind)(named)
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, thing.xmat)
        seen[f"{name}_pos"] = thing.xpos
        # Transport's rotations come from matrices, which know no sign.
        seen[f"{name}_quat"] = np.roll(quat * np.sign(quat[0]) if task_id == "transport" else thing.xquat, -1)
    if task_id == "transport":
        seen |= {f"{name}_pos": data.geom(f"transport_{name}_base").xpos for name in ("target_bin", "trash_bin")}
    return {name: np.array(array) for name, array in seen.items()}


@pytest.mark.parametrize("task_id", ROBOMIMIC_TASKS)
def test_files_are_read_to_what_the_simulator_observes_in_their_states(tmp_path: Path, task_id: str) -> None:
    task = Project(CONFIG, read_yaml(CONFIG / "config.yaml")).demos(task_id).task
    env = make_robosuite(ROBOMIMIC_TASKS[task_id])
    env.reset()
    episodes = simulate(task_id)
    recorded = {
        "1.4.1": [by_hand(task_id, env, states) for states, _ in episodes],
        "1.5.2": [by_robosuite(env, states, list(task.obs_keys)) for states, _ in episodes],
    }
    for version, observations in recorded.items():
        path = write_file(tmp_path / version, task_id, version, observations)
        for read, (_, expected) in zip(read_robomimic(path, task).episodes, episodes, strict=True):
            np.testing.assert_allclose(read.obs, expected, rtol=0, atol=1e-6)
