from __future__ import annotations

import sys
from types import ModuleType

import gymnasium
import numpy as np
import pytest

from inril import envs
from inril.seeding import stream

SEED, N_STEPS = 11, 1000


@pytest.fixture
def swimmer() -> envs.BatchedEnv:
    return envs.make("swimmer", n_envs=1, act_steps=1)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> gymnasium.Env:
    monkeypatch.setitem(sys.modules, "imageio", ModuleType("imageio"))  # imported to write videos, which no test does
    from gymnasium.envs.mujoco.swimmer_v4 import SwimmerEnv

    env = SwimmerEnv()
    env.np_random = stream(SEED, "env", 0, 0)
    return env


def test_equals_gymnasium_exactly(swimmer: envs.BatchedEnv, reference: gymnasium.Env) -> None:
    np.testing.assert_array_equal(swimmer.reset(SEED)[0], reference.reset()[0])
    actions = np.random.default_rng(3).uniform(-1.2, 1.2, (N_STEPS, 2))  # some beyond the actuators' range
    for i, action in enumerate(actions):
        ours, (obs, reward, terminated, _, _) = swimmer.step_chunk(action[None, None]), reference.step(action)
        np.testing.assert_array_equal(ours.final_obs[0], obs)
        assert ours.reward[0] == reward
        assert not ours.terminated[0]
        assert not terminated
        assert ours.truncated[0] == (i == N_STEPS - 1)


def test_is_registered_with_gymnasiums_control_rate(reference: gymnasium.Env) -> None:
    env = gymnasium.make("inril/Swimmer-v0")
    assert env.unwrapped.metadata["render_fps"] == reference.metadata["render_fps"]
    env.close()
