"""Checks that the numbers in a file of robomimic's mean what the project's mean: task, version, robots, controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inril.config.base import TaskSpec
from inril.data.env_args import LAYOUT_VERSION, env_name, robots_of
from inril.envs.robomimic.build import CONTROL_FREQ_HZ, CONTROLLER
from inril.errors import InputError

_VERSIONS = (LAYOUT_VERSION, "1.5.0", "1.5.1", "1.5.2")  # those of 1.5 observe alike
_ARGS = "data@env_args"
_KWARGS = f"{_ARGS}.env_kwargs"
_CONFIGS = f"{_KWARGS}.controller_configs"


def robosuite_version(path: Path, task: TaskSpec, env_args: Any) -> str:
    """Check what a file says about its environment.

    Args:
        path: the file, for messages.
        task: the Robomimic task that it must be of.
        env_args: what it says.

    Returns:
        The version of robosuite that made the observations: 1.4.1 or one of 1.5.

    Raises:
        InputError: another task, version, robot, control frequency or controller.
    """
    args = _mapping(path, _ARGS, env_args)
    _expect(path, _ARGS, args, "env_name", env_name(task))
    version: str = _expect(path, _ARGS, args, "env_version", *_VERSIONS)
    kwargs = _mapping(path, _KWARGS, args.get("env_kwargs"))
    robots = robots_of(task)
    _expect(path, _KWARGS, kwargs, "robots", robots, *(robots if len(robots) == 1 else ()))  # one may have no list
    _expect(path, _KWARGS, kwargs, "control_freq", CONTROL_FREQ_HZ)
    configs = kwargs.get("controller_configs")
    for config in configs if isinstance(configs, list) else [configs]:
        _check_controller(path, _mapping(path, _CONFIGS, config), version, len(robots))
    return version


def _check_controller(path: Path, config: dict[str, Any], version: str, n_robots: int) -> None:
    """Check one controller: the arm's own settings in 1.4.1, those of all parts of a robot in 1.5."""
    field = _CONFIGS
    if version != LAYOUT_VERSION:
        parts = _mapping(path, f"{_CONFIGS}.body_parts", config.get("body_parts"))
        field = f"{_CONFIGS}.body_parts.right"
        config = _mapping(path, field, parts.get("arms", parts).get("right"))
    _expect(path, field, config, "type", CONTROLLER["type"])
    # A new name for control_delta. Of one arm alone the base's axes are the world's, of two opposed ones they are not.
    frames = ("world",) if n_robots > 1 else ("world", "base")
    settings = {key: (value,) for key, value in CONTROLLER.items()}
    for key, choices in {**settings, "input_type": ("delta",), "input_ref_frame": frames}.items():
        if key in config:
            _expect(path, field, config, key, *choices)


def _mapping(path: Path, field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        got = "nothing there" if value is None else repr(value)
        raise InputError(path, field=field, expected="named settings", got=got)
    return value


def _expect(path: Path, field: str, values: dict[str, Any], key: str, *choices: Any) -> Any:
    """Return a value, which has to be one of the choices."""
    got = values.get(key)
    if got not in choices:
        expected = f"one of {', '.join(map(repr, choices))}" if len(choices) > 1 else repr(choices[0])
        shown = "nothing there" if got is None else repr(got)
        raise InputError(path, field=f"{field}.{key}", expected=expected, got=shown)
    return got
