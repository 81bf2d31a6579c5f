from __future__ import annotations

import numpy as np
import pytest

from inril.config.base import TaskSpec
from inril.data.normalizer import Normalizer
from inril.learning.watch import Watch, position_dims

LIFT = TaskSpec(
    id="lift", title="Lift", suite="robomimic", obs_dim=6, action_dim=2, max_episode_steps=10, metric="success",
    obs_keys={"robot": 2, "object": 4},
)  # fmt: skip


def watch() -> Watch:
    return Watch(Normalizer(6, 2), LIFT)  # ranges of -1 to 1: normalised is raw


def test_share_and_size_of_what_leaves_the_range() -> None:
    watched = watch()
    obs = np.zeros((4, 6))
    obs[1, 0], obs[2, 3] = 2.9, -40.0
    watched.see(obs)
    watched.see(np.zeros((4, 6)))
    info = watched.pop()
    assert info["out_of_range"] == 1 / 8
    assert info["largest_obs"] == pytest.approx(40, rel=1e-5)


def test_a_bound_hides_nothing() -> None:
    watched = watch()
    watched.normalizer.clip = 3.0
    watched.see(np.full((1, 6), 7.0))
    assert watched.pop()["largest_obs"] == pytest.approx(7, rel=1e-5)


def test_cells_of_the_object_are_counted() -> None:
    watched = watch()
    obs = np.zeros((4, 6))
    obs[:, 2] = [0.001, 0.019, 0.021, 0.021]  # two cells of 2 cm, two visits each
    obs[:, 0] = [0.1, 0.2, 0.3, 0.4]  # the robot's position does not count
    watched.see(obs)
    info = watched.pop()
    assert info["cells"] == 2
    assert info["cell_entropy"] == pytest.approx(np.log(2))


def test_each_iteration_starts_anew() -> None:
    watched = watch()
    watched.see(np.full((2, 6), 50.0))
    watched.pop()
    watched.see(np.zeros((2, 6)))
    fresh = {"out_of_range": 0.0, "largest_obs": 0.0, "cells": 1.0, "cell_entropy": 0.0}
    assert watched.pop() == pytest.approx(fresh, abs=1e-6)


def test_where_positions_stand() -> None:
    assert position_dims(LIFT).tolist() == [2, 3, 4]
    furniture = LIFT.model_copy(update={"suite": "furniture", "obs_dim": 16 + 7 * 3, "obs_keys": {}})
    assert position_dims(furniture).tolist() == [16, 17, 18, 23, 24, 25]
    gym = LIFT.model_copy(update={"id": "hopper", "suite": "gym", "obs_dim": 11, "obs_keys": {}})
    assert position_dims(gym).tolist() == [0, 1, 2, 3, 4]
