"""One attempt at a demonstration: a pure function of (task, level, seed, operator group, number)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from inril.data.demo_file import Episode
from inril.data.hdf5 import Array
from inril.data.scripted.furniture import lamp, mug_rack, one_leg, peg_in_hole, round_table
from inril.data.scripted.furniture.furniture_scene import make_furniture_scene
from inril.data.scripted.operator import GROUPS, Group, Operator
from inril.data.scripted.robomimic import can, lift, square, transport
from inril.data.scripted.robomimic.scene import DivergedError, make_scene
from inril.envs.furniture.tasks import FURNITURE_TASKS
from inril.seeding import stream
from inril.types import FloatArray

# As in the collection of robomimic's human data: an episode ends when success has held for this many more steps.
HOLD_STEPS = 10


class Workplace(Protocol):
    """What an attempt needs of a scene; experts look further into their own kind."""

    action_dim: int
    n_arms: int

    def reset(self, rng: np.random.Generator) -> FloatArray:
        """Start an episode drawn from a generator; returns obs (Do,)."""
        ...

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool]:
        """Execute one action (Da,); returns obs (Do,), the reward, and whether the task is solved."""
        ...

    def state(self) -> FloatArray | None:
        """Return the simulator's state as data files hold it, if they do."""
        ...


class ScriptedExpert(NamedTuple):
    """Who demonstrates a task, and where.

    Attributes:
        demonstrate: yields the actions (Da,) of one attempt, for a scene of its kind and an operator.
        make_scene: makes such a scene.
        hold_steps: further steps for which success has to hold; if none, it ends the episode for good.
    """

    demonstrate: Callable[[Any, Operator], Iterator[FloatArray]]
    make_scene: Callable[[], Workplace]
    hold_steps: int


_ROBOMIMIC = {
    "lift": lift.demonstrate,
    "can": can.demonstrate,
    "square": square.demonstrate,
    "transport": transport.demonstrate,
}
_FURNITURE = {
    "one_leg": one_leg.demonstrate,
    "lamp": lamp.demonstrate,
    "round_table": round_table.demonstrate,
    "mug_rack": mug_rack.demonstrate,
    "peg_in_hole": peg_in_hole.demonstrate,
}
EXPERTS: dict[str, ScriptedExpert] = {
    **{
        task_id: ScriptedExpert(expert, partial(make_scene, task_id), HOLD_STEPS)
        for task_id, expert in _ROBOMIMIC.items()
    },
    **{
        task_id: ScriptedExpert(_FURNITURE[task.furniture.name], partial(make_furniture_scene, task_id), 0)
        for task_id, task in FURNITURE_TASKS.items()
    },
}


class Recipe(NamedTuple):
    """What an attempt depends on besides its group and number.

    Attributes:
        task_id: key of `EXPERTS`.
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


def attempt(scene: Workplace, recipe: Recipe, group: Group, number: int) -> Attempt:
    """Let an operator try once.

    Args:
        scene: of the recipe's task; whatever happened in it before has no influence.
        recipe: task, level, seed and time limit.
        group: skill of the operator.
        number: of the attempt within its group.
    """
    obs = scene.reset(reset_rng(recipe, group, number))
    rng = stream(recipe.seed, "scripted operator", GROUPS.index(group), number)
    operator = Operator(group, recipe.level, rng, scene.n_arms)
    expert = EXPERTS[recipe.task_id]
    obs_log: list[Array] = []
    action_log: list[Array] = []
    state_log: list[Array | None] = []
    reward_log: list[float] = []
    n_held = 0
    for wanted in expert.demonstrate(scene, operator):
        action = wanted.astype(np.float32)  # as files hold it, so that a replay does the same
        obs_log.append(obs.astype(np.float32))
        state_log.append(scene.state())
        action_log.append(action)
        try:
            obs, reward, success = scene.step(action.astype(np.float64))
        except DivergedError:
            return Attempt(len(action_log), None)
        reward_log.append(reward)
        n_held = n_held + 1 if success else 0
        if n_held > expert.hold_steps or len(reward_log) == recipe.max_steps:
            break
    if n_held <= expert.hold_steps:
        return Attempt(len(reward_log), None)
    episode = Episode(
        obs=np.array(obs_log),
        action=np.array(action_log),
        reward=np.array(reward_log, dtype=np.float32),
        terminated=not expert.hold_steps,
        states=None if state_log[0] is None else np.array(state_log),
    )
    return Attempt(len(reward_log), episode)


def reset_rng(recipe: Recipe, group: Group, number: int) -> np.random.Generator:
    """Return what an attempt's start is drawn from."""
    return stream(recipe.seed, "scripted reset", GROUPS.index(group), number)
