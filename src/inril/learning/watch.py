"""What a rollout's observations tell: whether they leave the normaliser's range, and how much they cover."""

from __future__ import annotations

import numpy as np
import torch

from inril.config.base import TaskSpec
from inril.data.normalizer import Normalizer
from inril.envs.gym.rules import GYM_TASKS
from inril.learning.update import Info
from inril.types import FloatArray, IntArray

RANGE = 3.0  # normalised observations beyond it count as out of range, bounded or not
_CELL_M = 0.02  # edge of a cell of objects' positions
_CELL_GYM = 0.1  # of a robot's coordinates: metres and radians
_POSITION = 3
# Furniture: 16 numbers of the robot come first, then position and quaternion of each part and of the fence.
_ROBOT, _POSE = 16, 7


class Watch:
    """Accumulates the observations of one iteration's rollout.

    Args:
        normalizer: of the policy.
        task: tells which dimensions are positions.
    """

    def __init__(self, normalizer: Normalizer, task: TaskSpec) -> None:
        self.normalizer = normalizer
        self.dims, self.cell = position_dims(task), _CELL_GYM if task.suite == "gym" else _CELL_M
        self._n = self._n_beyond = 0
        self._largest = 0.0
        self._cells: list[IntArray] = []

    def see(self, obs: FloatArray) -> None:
        """Take note of raw observations (E, Do)."""
        reach = self.normalizer.reach(torch.from_numpy(obs).float()).numpy()
        self._n += reach.size
        self._n_beyond += int((reach > RANGE).sum())
        self._largest = max(self._largest, float(reach.max()))
        self._cells.append(np.floor(obs[:, self.dims] / self.cell).astype(np.int64))

    def pop(self) -> Info:
        """Return what was seen since the last call.

        Returns:
            out_of_range: share of observations with a normalised dimension beyond 3; largest_obs: the largest such
            dimension; cells: distinct cells of positions that were visited; cell_entropy: of the visits, in nats.
        """
        _, visits = np.unique(np.concatenate(self._cells), axis=0, return_counts=True)
        share = visits / visits.sum()
        info = {
            "out_of_range": self._n_beyond / self._n,
            "largest_obs": self._largest,
            "cells": float(len(visits)),
            "cell_entropy": float(-(share * np.log(share)).sum()),
        }
        self._n = self._n_beyond = 0
        self._largest, self._cells = 0.0, []
        return info


def position_dims(task: TaskSpec) -> IntArray:
    """Return the dimensions of an observation that are positions: of objects, or of a locomotion task's robot."""
    if task.suite == "gym":
        return np.arange(GYM_TASKS[task.id].n_positions(task.obs_dim))  # coordinates come before velocities
    if task.suite == "furniture":
        n_parts = (task.obs_dim - _ROBOT) // _POSE - 1
        return np.concatenate([_ROBOT + _POSE * i + np.arange(_POSITION) for i in range(n_parts)])
    sizes = list(task.obs_layout.values())
    first = sum(sizes[: list(task.obs_layout).index("object")])
    return first + np.arange(_POSITION)  # of the first object
