"""Speed of the compiled Robomimic simulator against robosuite's own, in environment steps per CPU-second.

Both take the same actions from the same starts, in turn, a fraction of a second each, so that a busy machine slows
both. Ours does all that `step_chunk` does; robosuite's does its own `step`. The limit is physics alone: `mj_step` on
our model from the states of our run, with the control that each action ended with, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.physics import bare_physics
from inril.envs.batched import BatchedSimulator
from inril.envs.robomimic.build import make_robosuite
from inril.envs.robomimic.osc import N_SUBSTEPS
from inril.envs.robomimic.suite import FastRobomimic
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS
from inril.seeding import stream
from inril.types import FloatArray

_SEED = 0
_N_STEPS = 60  # from a reset on
_N_ENVS = 4


def _action_chunks(action_dim: int, act_steps: int) -> FloatArray:
    """Smooth random actions (N, E, Ta, Da)."""
    rng = np.random.default_rng(_SEED)
    actions = np.zeros((_N_STEPS, _N_ENVS, action_dim))
    for i in range(1, _N_STEPS):
        actions[i] = np.clip(0.7 * actions[i - 1] + 0.6 * rng.uniform(-1, 1, actions[i].shape), -1, 1)
    return np.swapaxes(actions.reshape(_N_STEPS // act_steps, act_steps, _N_ENVS, action_dim), 1, 2)


def _fast_run(task_id: str, action_chunks: FloatArray, threads: int) -> Callable[[], None]:
    env = BatchedSimulator(FastRobomimic(ROBOMIMIC_TASKS[task_id], _N_ENVS), action_chunks.shape[2], threads)

    def run() -> None:
        env.reset(_SEED)
        for action_chunk in action_chunks:
            env.step_chunk(np.ascontiguousarray(action_chunk))

    return run


def _stock_run(task_id: str, action_chunks: FloatArray) -> Callable[[], None]:
    """Make the function that takes the first environment's actions in robosuite."""
    env: Any = make_robosuite(ROBOMIMIC_TASKS[task_id])
    samplers = getattr(env.placement_initializer, "samplers", {}).values()

    def run() -> None:
        rng = stream(_SEED, "env", 0, 0)
        for drawing in (env, env.placement_initializer, *samplers):
            drawing.rng = rng
        env.reset()
        for action in action_chunks[:, 0].reshape(_N_STEPS, -1):
            env.step(action)

    return run


def _bare_run(task_id: str, action_chunks: FloatArray) -> Callable[[], None]:
    suite = FastRobomimic(ROBOMIMIC_TASKS[task_id], _N_ENVS)
    env = BatchedSimulator(suite, act_steps=1)
    env.reset(_SEED)
    physics = []
    for actions in np.swapaxes(action_chunks, 1, 2).reshape(_N_STEPS, _N_ENVS, 1, -1):
        env.step_chunk(actions)
        physics.append(env.get_state()["physics"])
    recorded = np.array(physics, dtype=np.float64)
    return lambda: bare_physics(suite.simulators, recorded, N_SUBSTEPS)


def _seconds(run: Callable[[], None]) -> tuple[float, float]:
    """Return CPU and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def robomimic_speed(task_id: str, repeats: int = 9, act_steps: int = 4) -> dict[str, float]:
    """Measure one task.

    Returns:
        `fast`, `stock`, `bare_physics`: environment steps per CPU-second, medians; `ratio`: of fast and stock, median
        of the pairs, with the smallest and the largest; `fraction`: of the bare physics' speed that is reached;
        `two_threads`: speed on two threads by that on one, in wall time.
    """
    action_chunks = _action_chunks(ROBOMIMIC_TASKS[task_id].action_dim, act_steps)
    fast_run, two_threads_run = (_fast_run(task_id, action_chunks, threads) for threads in (1, 2))
    runs = (fast_run, _stock_run(task_id, action_chunks), _bare_run(task_id, action_chunks), two_threads_run)
    for run in runs:
        run()
    seconds = np.array([[_seconds(run) for run in runs] for _ in range(repeats)])  # (repeats, run, CPU or wall)
    n_steps = _N_STEPS * _N_ENVS
    fast, stock, bare = n_steps / seconds[:, 0, 0], _N_STEPS / seconds[:, 1, 0], n_steps / seconds[:, 2, 0]
    ratios = fast / stock
    return {
        "fast": median(fast),
        "stock": median(stock),
        "bare_physics": median(bare),
        "ratio": median(ratios),
        "ratio_smallest": min(ratios),
        "ratio_largest": max(ratios),
        "fraction": median(fast / bare),
        "two_threads": median(seconds[:, 0, 1] / seconds[:, 3, 1]),
    }


def robomimic_speeds() -> dict[str, float]:
    """Measure all four tasks; names like `robomimic_lift_ratio`."""
    speeds = {task_id: robomimic_speed(task_id) for task_id in ROBOMIMIC_TASKS}
    return {f"robomimic_{task_id}_{name}": value for task_id, speed in speeds.items() for name, value in speed.items()}
