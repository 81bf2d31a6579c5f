"""Files as robomimic publishes them, in both layouts, made of poses by code that neither it nor the project uses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

LENGTHS = (7, 12, 5, 9, 1, 8)
# Two operators of each skill, and part of the keys that were made of them.
MASKS = {
    "better": (0, 1),
    "better_operator_1": (0,),
    "okay": (2, 3),
    "worse": (4, 5),
    "worse_train": (5,),
    "train": (0, 2, 3, 4, 5),
    "valid": (1,),
}
ENV_NAMES = {
    "lift": "Lift",
    "can": "PickPlaceCan",
    "square": "NutAssemblySquare",
    "transport": "TwoArmTransport",
}
ARM = {
    "type": "OSC_POSE",
    "input_max": 1,
    "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150,
    "damping": 1,
    "impedance_mode": "fixed",
    "kp_limits": [0, 300],
    "damping_limits": [0, 10],
    "position_limits": None,
    "orientation_limits": None,
    "uncouple_pos_ori": True,
    "control_delta": True,
    "interpolation": None,
    "ramp_ratio": 0.2,
}
Obs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Poses:
    """Where things were during an episode.

    Args:
        grippers: position (N, 3) and orientation (N, 4) of each.
        bodies: the same of each object, by name.
        bins: positions of Transport's target bin and trash bin, (3,) or (N, 3).
        flags: (N,) truth of Transport's two goals.
    """

    grippers: list[tuple[np.ndarray, np.ndarray]]
    bodies: dict[str, tuple[np.ndarray, np.ndarray]]
    bins: tuple[np.ndarray, np.ndarray]
    flags: tuple[np.ndarray, np.ndarray]


def random_poses(task_id: str, n_steps: int, rng: np.random.Generator) -> Poses:
    """Let grippers and objects wander, at most some 3 cm and some degrees per step."""

    def pose() -> tuple[np.ndarray, np.ndarray]:
        pos = rng.uniform(-0.5, 0.5, 3) + rng.uniform(-0.03, 0.03, (n_steps, 3)).cumsum(axis=0)
        quat = rng.normal(size=4) + rng.normal(scale=0.05, size=(n_steps, 4)).cumsum(axis=0)
        return pos, quat / np.linalg.norm(quat, axis=1, keepdims=True)

    names = {"lift": ("cube",), "transport": ("payload", "trash", "lid_handle")}.get(task_id, ("object",))
    return Poses(
        grippers=[pose() for _ in range(2 if task_id == "transport" else 1)],
        bodies={name: pose() for name in names},
        bins=(rng.uniform(-0.5, 0.5, 3), rng.uniform(-0.5, 0.5, 3)),
        flags=(rng.random(n_steps) < 0.5, rng.random(n_steps) < 0.5),
    )


def observe(task_id: str, poses: Poses, version: str) -> Obs:
    """Return what robosuite of a version observes, in the order of its files."""
    obs: Obs = {}
    for i, (pos, quat) in enumerate(poses.grippers):
        obs[f"robot{i}_eef_pos"] = pos
        obs[f"robot{i}_eef_quat"] = quat
        obs[f"robot{i}_gripper_qpos"] = 0.04 * np.stack([np.ones(len(pos)), -np.ones(len(pos))], axis=1)
    is_old = version == "1.4.1"
    vector = {"lift": _lift, "transport": _transport}.get(task_id, _object_in_hand)
    obs["object"] = np.concatenate(vector(poses, is_old), axis=1)
    return obs


def _lift(poses: Poses, is_old: bool) -> list[np.ndarray]:
    gripper, (pos, quat) = poses.grippers[0][0], poses.bodies["cube"]
    return [pos, quat, gripper - pos if is_old else pos - gripper]


def _object_in_hand(poses: Poses, is_old: bool) -> list[np.ndarray]:
    (hand, hand_quat), (pos, quat) = poses.grippers[0], poses.bodies["object"]
    # 1.5 pairs the gripper with the object of the step before, at the first step with that of another scene.
    seen_pos = pos if is_old else np.concatenate([[[0.0, 0.0, 9.0]], pos[:-1]])
    seen_quat = quat if is_old else np.concatenate([[[0.0, 0.0, 1.0, 0.0]], quat[:-1]])
    rel_pos = np.array([_rotate(_conjugate(q), v) for q, v in zip(hand_quat, seen_pos - hand, strict=True)])
    rel_quat = np.array([_multiply(_conjugate(q), r) for q, r in zip(hand_quat, seen_quat, strict=True)])
    rel_quat *= np.where(rel_quat[:, 3:] < 0, -1.0, 1.0)
    return [pos, quat, rel_pos, rel_quat] if is_old else [rel_pos, rel_quat, pos, quat]


def _transport(poses: Poses, is_old: bool) -> list[np.ndarray]:
    first, second = (pos for pos, _ in poses.grippers)
    payload, trash, lid = (poses.bodies[name] for name in ("payload", "trash", "lid_handle"))
    bins = [np.broadcast_to(pos, first.shape) for pos in poses.bins]
    flags = [flag[:, None].astype(float) for flag in poses.flags]
    vectors = [payload[0] - first, lid[0] - first, payload[0] - second, trash[0] - second]
    return [*payload, *trash, *lid, *bins, *(vectors + flags if is_old else flags + vectors)]


def _conjugate(quat: np.ndarray) -> np.ndarray:
    return quat * [-1, -1, -1, 1]


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.append(a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3]), a[3] * b[3] - a[:3] @ b[:3])


def _rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return _multiply(_multiply(quat, np.append(vector, 0.0)), _conjugate(quat))[:3]


def env_args(task_id: str, version: str) -> dict[str, Any]:
    """Return the environment arguments of the file of a task and version."""
    n_robots = 2 if task_id == "transport" else 1
    arm = {**ARM, "input_ref_frame": "world", "gripper": {"type": "GRIP"}}
    composite = {"type": "BASIC", "body_parts": {"right": arm}}
    kwargs: dict[str, Any] = {
        "has_renderer": False,
        "has_offscreen_renderer": False,
        "ignore_done": True,
        "use_object_obs": True,
        "use_camera_obs": False,
        "control_freq": 20,
        "controller_configs": ARM if version == "1.4.1" else composite,
        "robots": ["Panda"] * n_robots,
        "camera_depths": False,
        "camera_heights": 84,
        "camera_widths": 84,
        "reward_shaping": False,
    }
    if n_robots == 2:
        kwargs["env_configuration"] = "single-arm-opposed"
    if version != "1.4.1":
        kwargs["lite_physics"] = False
    return {"env_name": ENV_NAMES[task_id], "env_version": version, "type": 1, "env_kwargs": kwargs}


def write_file(path: Path, task_id: str, version: str, episodes: list[Obs], seed: int = 0) -> Path:
    """Write observations of whole episodes, with random actions and states."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for i, obs in enumerate(episodes):
            _write_demo(data.create_group(f"demo_{i}"), task_id, version, obs, rng)
        data.attrs["total"] = sum(len(obs["object"]) for obs in episodes)
        data.attrs["env_args"] = json.dumps(env_args(task_id, version), indent=4)
        for key, members in MASKS.items():
            file[f"mask/{key}"] = np.array([f"demo_{i}" for i in members], dtype="S")
    return path


def _write_demo(demo: h5py.Group, task_id: str, version: str, obs: Obs, rng: np.random.Generator) -> None:
    n_steps = len(obs["object"])
    done = (np.arange(n_steps) == n_steps - 1).astype(np.int64)
    demo["actions"] = rng.uniform(-1, 1, (n_steps, 14 if task_id == "transport" else 7))
    demo["states"] = rng.normal(size=(n_steps, 45))
    demo["rewards"] = done.astype(np.float64)
    demo["dones"] = done
    more = ("eef_vel_ang", "eef_vel_lin") if version == "1.4.1" else ("eef_quat_site",)
    for i in range(sum(key.endswith("_eef_pos") for key in obs)):
        for name in (*more, "gripper_qvel", "joint_pos", "joint_pos_cos", "joint_pos_sin", "joint_vel"):
            demo[f"obs/robot{i}_{name}"] = rng.normal(size=(n_steps, 7))
    for key, array in obs.items():
        demo[f"obs/{key}"] = array
        demo[f"next_obs/{key}"] = np.roll(array, -1, axis=0)
    demo.attrs["num_samples"] = n_steps
    demo.attrs["model_file"] = "<mujoco/>"
    if version != "1.4.1":
        demo.attrs["ep_meta"] = "{}"
