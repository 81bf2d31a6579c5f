from __future__ import annotations

import numpy as np
import pytest
import torch

from inril.config.algos import ResidualConfig
from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, NetworkConfig
from inril.policies.acting import FunctionActor, PolicyActor
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.residual import ResidualPolicy

OBS = np.linspace(-1, 1, 15).reshape(3, 5)
NOBODY, LAST = np.array([False] * 3), np.array([False, False, True])


@pytest.fixture
def base(task: TaskSpec, diffusion_config: DiffusionConfig) -> DiffusionPolicy:
    torch.manual_seed(0)
    return DiffusionPolicy(diffusion_config, task, horizon_steps=4)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_policy_acts_on_arrays_as_on_tensors(base: DiffusionPolicy) -> None:
    actor = PolicyActor(base)
    chunk = actor.act(OBS, stream())
    assert (actor.act_steps, chunk.shape, chunk.dtype) == (4, (3, 4, 2), np.float64)
    np.testing.assert_array_equal(chunk, base.act(torch.from_numpy(OBS).float(), stream()).numpy())


def test_what_remembers_nothing_acts_alike_whatever_it_is_told(base: DiffusionPolicy) -> None:
    policy = PolicyActor(base)
    for actor in (policy, FunctionActor(policy.act, policy.act_steps)):
        expected = actor.act(OBS, stream())
        actor.start(7)
        actor.drop(LAST)
        np.testing.assert_array_equal(actor.act(OBS, stream()), expected)


def test_a_policy_that_plans_hears_of_episodes_through_its_actor(base: DiffusionPolicy) -> None:
    network = NetworkConfig(widths=(8, 8), activation="relu", residual=False)
    actor = PolicyActor(ResidualPolicy(base, ResidualConfig(network=network)))
    assert actor.act_steps == 1

    def second_step(ended: np.ndarray) -> np.ndarray:
        actor.start(3)
        actor.act(OBS, stream(1))
        actor.drop(ended)
        return actor.act(OBS, stream(2))

    planned, dropped = second_step(NOBODY), second_step(LAST)
    np.testing.assert_array_equal(dropped[:2], planned[:2])
    assert not np.array_equal(dropped[2], planned[2])
