"""Every task's batched simulator, by the task's id."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from inril.config.base import TaskSpec
from inril.envs.base import BatchedEnv, Suite
from inril.envs.batched import BatchedSimulator
from inril.envs.furniture.suite import FurnitureSuite
from inril.envs.furniture.tasks import FURNITURE_TASKS
from inril.envs.gym.rules import GYM_TASKS
from inril.envs.gym.suite import GymLocomotion
from inril.envs.robomimic.stock import StockRobomimic
from inril.envs.robomimic.suite import FastRobomimic
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS
from inril.errors import InputError

MakeEnvs = Callable[[int, int, int, int | None], BatchedEnv]


def _batched(
    suite: Callable[[int], Suite], n_envs: int, act_steps: int, threads: int, max_episode_steps: int | None
) -> BatchedEnv:
    return BatchedSimulator(suite(n_envs), act_steps, threads, max_episode_steps)


TASKS: dict[str, MakeEnvs] = {
    **{task_id: partial(_batched, partial(GymLocomotion, task)) for task_id, task in GYM_TASKS.items()},
    **{task_id: partial(_batched, partial(FastRobomimic, task)) for task_id, task in ROBOMIMIC_TASKS.items()},
    **{task_id: partial(_batched, partial(FurnitureSuite, task)) for task_id, task in FURNITURE_TASKS.items()},
}
_STOCK: dict[str, MakeEnvs] = {
    task_id: partial(_batched, partial(StockRobomimic, task)) for task_id, task in ROBOMIMIC_TASKS.items()
}
_DESCRIPTIONS: dict[str, Any] = {**GYM_TASKS, **ROBOMIMIC_TASKS, **FURNITURE_TASKS}


def _description(task_id: str) -> Any:
    return _DESCRIPTIONS[task_id]


def _reduced(description: Any) -> Any:
    """Return how a task's description is copied and pickled: as itself, for what is built of it is kept by identity."""
    task_id = description.task_id
    is_listed = _DESCRIPTIONS.get(task_id) is description
    return (_description, (task_id,)) if is_listed else object.__reduce_ex__(description, 2)


for _kind in {type(description) for description in _DESCRIPTIONS.values()}:
    copyreg.pickle(_kind, _reduced)


def make(
    task_id: str,
    n_envs: int,
    act_steps: int,
    threads: int = 1,
    max_episode_steps: int | None = None,
    sim: Literal["fast", "stock"] = "fast",
) -> BatchedEnv:
    """Make the environments of one task.

    Args:
        task_id: key of `TASKS`.
        n_envs: number of environments, E, at least 1.
        act_steps: environment steps per action chunk, Ta, at least 1.
        threads: simulator threads, at least 1; has no influence on results.
        max_episode_steps: time limit of an episode, at least 1; the task's own if None.
        sim: the compiled simulator, or the original code of a suite that has another one.

    Raises:
        InputError: if the task is unknown or a number is below 1.
    """
    if task_id not in TASKS:
        raise InputError("environments", field="task", expected=f"one of {', '.join(TASKS)}", got=repr(task_id))
    sizes = {"n_envs": n_envs, "act_steps": act_steps, "threads": threads, "max_episode_steps": max_episode_steps}
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise InputError(f"environments of {task_id}", field=name, expected="at least 1", got=str(size))
    simulators = _STOCK if sim == "stock" else TASKS
    if task_id not in simulators:
        raise InputError(f"environments of {task_id}", field="sim", expected="fast", got=repr(sim))
    return simulators[task_id](n_envs, act_steps, threads, max_episode_steps)


def make_env(task: TaskSpec, n_envs: int, act_steps: int, threads: int = 1) -> BatchedEnv:
    """Make the environments of a task as its settings describe it; arguments as in `make`.

    Raises:
        InputError: as in `make`, or the settings name other dimensions than the simulator has.
    """
    env = make(task.id, n_envs, act_steps, threads, task.max_episode_steps)
    for name in ("obs_dim", "action_dim"):
        has, said = getattr(env, name), getattr(task, name)
        if has != said:
            env.close()
            raise InputError(f"task {task.id}", field=name, expected=f"{has}, as its simulator has", got=str(said))
    return env
