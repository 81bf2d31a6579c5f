"""robosuite's environments as their makers ship them, imported only when one is built."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inril.envs.robomimic.tasks import RobomimicTask

MODEL_SEED = 0
"""Seed of what robosuite draws when it builds a model, such as the size of Lift's cube: the same everywhere."""

# The controller of the data sets, in the form of robosuite 1.4.1.
CONTROLLER: dict[str, Any] = {
    "type": "OSC_POSE",
    "input_max": 1,
    "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150,
    "damping": 1,
    "impedance_mode": "fixed",
    "kp_limits": [0, 300],
    "damping_limits": [0, 10],
    "position_limits": None,
    "orientation_limits": None,
    "uncouple_pos_ori": True,
    "control_delta": True,
    "interpolation": None,
    "ramp_ratio": 0.2,
}
CONTROL_FREQ_HZ = 20


def make_robosuite(task: RobomimicTask) -> Any:
    """Build robosuite's environment of a task with the settings of the data sets; takes seconds.

    Its resets keep the model (`hard_reset=False`, as in the reference implementation) and draw from `env.rng`.
    """
    with _quiet_robosuite():
        import robosuite
        from robosuite.controllers.composite.composite_controller_factory import refactor_composite_controller_config

        # In 1.4.1 deltas were always in the world's frame, which is not the default now.
        arm = {**CONTROLLER, "input_ref_frame": "world"}
        controllers = [refactor_composite_controller_config(arm, "Panda", ["right"]) for _ in range(task.n_arms)]
        arms = {"env_configuration": "opposed"} if task.n_arms > 1 else {}
        return robosuite.make(
            task.env_name,
            robots=["Panda"] * task.n_arms,
            controller_configs=controllers if task.n_arms > 1 else controllers[0],
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            use_object_obs=True,
            control_freq=CONTROL_FREQ_HZ,
            reward_shaping=False,
            ignore_done=True,
            hard_reset=False,
            lite_physics=True,  # the same trajectories as the slower way of 1.4.1
            seed=MODEL_SEED,
            **arms,
        )


@contextmanager
def _quiet_robosuite() -> Iterator[None]:
    """Keep away what robosuite remarks about itself: optional packages, private settings, old syntax.

    Importing it also sets environment variables, which would reach programs started later.
    """
    logger = logging.getLogger("robosuite_logs")
    environment = dict(os.environ)
    logger.addFilter(_is_error)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(_is_error)
        os.environ.clear()
        os.environ.update(environment)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
