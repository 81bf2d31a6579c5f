"""The compiled simulator and robosuite's own code, side by side."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from inril.data.scripted.robomimic.scene import RobomimicScene
from inril.envs.robomimic.stock import StockRobomimic
from inril.envs.robomimic.suite import FastRobomimic
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS
from inril.types import FloatArray


class Pair(NamedTuple):
    fast: FastRobomimic
    stock: StockRobomimic

    def scenes(self) -> tuple[RobomimicScene, RobomimicScene]:
        return RobomimicScene(self.fast), RobomimicScene(self.stock)

    def place(self, qpos: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Put joints somewhere in both, at rest, and return both observations."""
        observed = []
        for suite in self:
            data = suite.data[0]
            for joint, values in qpos.items():
                data.joint(joint).qpos[:] = values
            data.qvel[:] = 0
            obs = np.zeros((1, suite.obs_dim))
            suite.resume(suite.memory(), obs)
            observed.append(obs[0])
        return observed[0], observed[1]


@cache
def pair(task_id: str) -> Pair:
    """Return the two, built once; every test starts with a reset."""
    task = ROBOMIMIC_TASKS[task_id]
    return Pair(FastRobomimic(task, 1), StockRobomimic(task, 1))


def smooth_actions(n_steps: int, action_dim: int, seed: int = 1) -> FloatArray:
    """Return actions (N, Da) that move the arms about."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((n_steps, action_dim))
    for previous, action in zip([actions[-1], *actions[:-1]], actions, strict=True):
        action[:] = np.clip(0.7 * previous + 0.6 * rng.uniform(-1, 1, action_dim), -1, 1)
    return actions
