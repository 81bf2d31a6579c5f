from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from inril.config.base import TaskSpec
from inril.data.demo_file import Episode


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def task() -> TaskSpec:
    return TaskSpec(
        id="hopper", title="Hopper", suite="gym", obs_dim=11, action_dim=3, max_episode_steps=1000, metric="return"
    )


@pytest.fixture
def robot_task() -> TaskSpec:
    keys = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "object": 10}
    return TaskSpec(
        id="lift",
        title="Lift",
        suite="robomimic",
        obs_dim=19,
        action_dim=7,
        max_episode_steps=300,
        metric="success",
        obs_keys=keys,
    )


@pytest.fixture
def make_episodes() -> Callable[..., list[Episode]]:
    def make(lengths: list[int], obs_dim: int = 11, action_dim: int = 3, seed: int = 0) -> list[Episode]:
        rng = np.random.default_rng(seed)
        return [
            Episode(
                obs=rng.normal(size=(n, obs_dim)).astype(np.float32),
                action=rng.uniform(-1, 1, (n, action_dim)).astype(np.float32),
                reward=rng.uniform(0, 2, n).astype(np.float32),
                terminated=bool(i % 2),
                states=rng.normal(size=(n, 4)),
            )
            for i, n in enumerate(lengths)
        ]

    return make
