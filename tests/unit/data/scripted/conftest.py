from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inril.config.base import TaskSpec
from inril.config.runs import DemosConfig
from inril.types import FloatArray

OBS_KEYS = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "object": 10}


class PointHands:
    """Arms that do exactly what an action asks for, of which the first `stiff` of every move is lost."""

    obs_dim = 3

    def __init__(self, n_arms: int = 1, stiff: float = 0.0) -> None:
        self.action_dim = 7 * n_arms
        self.stiff = stiff
        self.pos = np.zeros((n_arms, 3))

    def step(self, action: FloatArray) -> tuple[FloatArray, bool]:
        move = action.reshape(-1, 7)[:, :3]
        self.pos += 0.05 * np.sign(move) * np.maximum(np.abs(move) - self.stiff, 0)
        return self.pos[0].copy(), False

    def grip_pos(self, arm: int) -> FloatArray:
        return self.pos[arm].copy()

    def grip_rot(self, arm: int) -> FloatArray:
        return np.eye(3)


@pytest.fixture
def point_hands() -> type[PointHands]:
    return PointHands


@pytest.fixture
def lift_demos() -> Callable[..., DemosConfig]:
    """Settings of generated demonstrations of Lift."""
    task = TaskSpec(
        id="lift", title="Lift", suite="robomimic", obs_dim=19, action_dim=7, max_episode_steps=300, metric="success",
        obs_keys=OBS_KEYS,
    )  # fmt: skip

    def make(**kwargs: Any) -> DemosConfig:
        values = {"n_demos": 7, "level": 1.0, "max_demo_steps": 400, **kwargs}
        return DemosConfig(task=task, source="generated", **values)

    return make
