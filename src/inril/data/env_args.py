"""What a demonstration file says about its environment: robomimic's `env_args`.

A file of a Robomimic task carries those of robomimic's own v1.4.1 files, key for key, so that its users' tools build
the same environment from it. The version there states a layout, the order and signs of `obs/object`, and not which
robosuite simulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import inril
from inril.config.base import TaskSpec
from inril.envs.robomimic.build import CONTROL_FREQ_HZ, CONTROLLER
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS, RobomimicTask
from inril.errors import InputError

# Values of robomimic.envs.env_base.EnvType.
_ROBOSUITE_TYPE = 1
_GYM_TYPE = 2

LAYOUT_VERSION = "1.4.1"


def robomimic_task(task: TaskSpec) -> RobomimicTask:
    """Return what robosuite knows of a Robomimic task.

    Raises:
        InputError: there is no such task.
    """
    if task.id not in ROBOMIMIC_TASKS:
        raise InputError(
            "demonstrations", field="task", expected=f"one of {', '.join(ROBOMIMIC_TASKS)}", got=repr(task.id)
        )
    return ROBOMIMIC_TASKS[task.id]


def env_name(task: TaskSpec) -> str:
    """Return the name by which a file knows its task: robosuite's for a Robomimic task, else the task's id."""
    return robomimic_task(task).env_name if task.suite == "robomimic" else task.id


def check_task(path: Path, task: TaskSpec, name: str | None) -> None:
    """Raise InputError unless a file that says that it is of an environment of some name is of a task."""
    if name is None or not is_called(task, name):
        got = "no task" if name is None else f"task {name!r}"
        raise InputError(path, field="data@env_args", expected=f"task {env_name(task)!r}", got=got)


def is_called(task: TaskSpec, name: str) -> bool:
    """Tell whether a name is a task's, as files, gymnasium ("Hopper-v4") or D4RL ("hopper-medium-v2") write it."""
    known = env_name(task)
    return name == known or (task.suite == "gym" and name.partition("-")[0].lower() == known)


def env_args(task: TaskSpec) -> dict[str, Any]:
    """Return the `env_args` of a task's demonstration files.

    Source: robomimic's v1.4.1 files, as DPPO's cfg/robomimic/env_meta/ repeats them.
    """
    if task.suite == "robomimic":
        return {
            "env_name": env_name(task),
            "env_version": LAYOUT_VERSION,
            "type": _ROBOSUITE_TYPE,
            "env_kwargs": _robosuite_kwargs(task),
        }
    kwargs = {"obs_dim": task.obs_dim, "action_dim": task.action_dim, "max_episode_steps": task.max_episode_steps}
    return {"env_name": env_name(task), "type": _GYM_TYPE, "env_version": inril.__version__, "env_kwargs": kwargs}


def _robosuite_kwargs(task: TaskSpec) -> dict[str, Any]:
    robots = robots_of(task)
    opposed = {"env_configuration": "single-arm-opposed"} if len(robots) > 1 else {}
    return {
        "has_renderer": False,
        "has_offscreen_renderer": False,
        "ignore_done": True,
        "use_object_obs": True,
        "use_camera_obs": False,
        "control_freq": CONTROL_FREQ_HZ,
        "controller_configs": CONTROLLER,
        "robots": robots,
        **opposed,
        "camera_depths": False,
        "camera_heights": 84,
        "camera_widths": 84,
        "reward_shaping": False,
    }


def robots_of(task: TaskSpec) -> list[str]:
    """Return the robots of a Robomimic task."""
    return ["Panda"] * robomimic_task(task).n_arms
