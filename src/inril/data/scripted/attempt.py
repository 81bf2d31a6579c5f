"""One attempt at a demonstration: a pure function of (task, level, seed, operator group, number)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from inril.data.demo_file import Episode
from inril.data.hdf5 import Array
from inril.data.scripted import can, lift, square, transport
from inril.data.scripted.operator import GROUPS, Group, Operator
from inril.envs.scene import DivergedError, Scene
from inril.seeding import stream
from inril.types import FloatArray

Expert = Callable[[Scene, Operator], Iterator[FloatArray]]

EXPERTS: dict[str, Expert] = {
    "lift": lift.demonstrate,
    "can": can.demonstrate,
    "square": square.demonstrate,
    "transport": transport.demonstrate,
}

# As in the collection of the human data: an episode ends when success has held for this many more steps.
HOLD_STEPS = 10


class Recipe(NamedTuple):
    """What an attempt depends on besides its group and number.

    Attributes:
        task_id: lift, can, square or transport.
        level: how human the operators are.
        seed: of resets and operators.
        max_steps: after which an attempt has failed.
    """

    task_id: str
    level: float
    seed: int
    max_steps: int


class Attempt(NamedTuple):
    """How an attempt went.

    Attributes:
        n_steps: control steps that it took.
        episode: what was recorded; None unless it succeeded.
    """

    n_steps: int
    episode: Episode | None


def attempt(scene: Scene, recipe: Recipe, group: Group, number: int) -> Attempt:
    """Let an operator try once.

    Args:
        scene: of the recipe's task; whatever happened in it before has no influence.
        recipe: task, level, seed and time limit.
        group: skill of the operator.
        number: of the attempt within its group.
    """
    obs = scene.reset(reset_rng(recipe, group, number))
    rng = stream(recipe.seed, "scripted operator", GROUPS.index(group), number)
    operator = Operator(group, recipe.level, rng, scene.action_dim // 7)
    obs_log: list[Array] = []
    action_log: list[Array] = []
    state_log: list[Array] = []
    success_log: list[bool] = []
    n_held = 0
    for wanted in EXPERTS[recipe.task_id](scene, operator):
        action = wanted.astype(np.float32)  # as files hold it, so that a replay does the same
        obs_log.append(obs.astype(np.float32))
        state_log.append(scene.state())
        action_log.append(action)
        try:
            obs, success = scene.step(action.astype(np.float64))
        except DivergedError:
            return Attempt(len(action_log), None)
        success_log.append(success)
        n_held = n_held + 1 if success else 0
        if n_held > HOLD_STEPS or len(success_log) == recipe.max_steps:
            break
    if n_held <= HOLD_STEPS:
        return Attempt(len(success_log), None)
    reward = np.array(success_log, dtype=np.float32)
    episode = Episode(np.array(obs_log), np.array(action_log), reward, terminated=False, states=np.array(state_log))
    return Attempt(len(success_log), episode)


def reset_rng(recipe: Recipe, group: Group, number: int) -> np.random.Generator:
    """Return what an attempt's start is drawn from."""
    return stream(recipe.seed, "scripted reset", GROUPS.index(group), number)
