"""Speed of the batched Gym environments against a bare loop over `mj_step`, in environment steps per CPU-second.

Both do the same physics to the last bit: our environments are run once with random actions, and the bare loop replays
that run's actions, episode lengths and initial states, without observation, reward, termination or random numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from statistics import median
from typing import Any, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt
from numba import types

from inril.envs.batched import BatchedSimulator
from inril.envs.gym.rules import GYM_TASKS
from inril.envs.gym.suite import GymLocomotion
from inril.envs.kernel import advance
from inril.jit import compiled
from inril.types import FloatArray, IntArray

_N_CHUNKS = 25
_SEED = 0
_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)

_mj_set_state: Any = types.ExternalFunction(
    "mj_setState", types.void(types.uintp, types.uintp, types.uintp, types.int32)
)


class _Recording(NamedTuple):
    """One run: action_chunks (N, E, Ta, Da), n_steps (N, E), ended (N, E), physics (N + 1, E, state size)."""

    action_chunks: FloatArray
    n_steps: IntArray
    ended: npt.NDArray[np.bool_]
    physics: FloatArray


@compiled
def _replay(
    simulators: npt.NDArray[np.void],
    frame_skip: int,
    action_chunks: FloatArray,
    n_steps: IntArray,
    ended: npt.NDArray[np.bool_],
    physics: FloatArray,
) -> None:
    """Take the recorded steps and nothing else, chunk by chunk through all environments."""
    for e in range(simulators.size):
        _mj_set_state(simulators[e].model, simulators[e].data, physics[0, e].ctypes.data, _STATE)
    for i in range(n_steps.shape[0]):
        for e in range(simulators.size):
            simulator = simulators[e]
            for t in range(n_steps[i, e]):
                advance(simulator, action_chunks[i, e, t], frame_skip)
            if ended[i, e]:
                _mj_set_state(simulator.model, simulator.data, physics[i + 1, e].ctypes.data, _STATE)


def _action_chunks(env: BatchedSimulator) -> FloatArray:
    return np.random.default_rng(_SEED).uniform(-1, 1, (_N_CHUNKS, env.n_envs, env.act_steps, env.action_dim))


@lru_cache
def _record(task_id: str, n_envs: int, act_steps: int) -> _Recording:
    env = BatchedSimulator(GymLocomotion(GYM_TASKS[task_id], n_envs), act_steps)
    env.reset(_SEED)
    action_chunks = _action_chunks(env)
    physics, steps = [env.get_state()["physics"]], []
    for action_chunk in action_chunks:
        steps.append(env.step_chunk(action_chunk))
        physics.append(env.get_state()["physics"])
    return _Recording(
        action_chunks=action_chunks,
        n_steps=np.array([step.n_steps for step in steps]),
        ended=np.array([step.terminated | step.truncated for step in steps]),
        physics=np.array(physics, dtype=np.float64),
    )


def _bare_run(task_id: str, n_envs: int, act_steps: int) -> Callable[[], None]:
    """Make the function that replays the recorded run once, and check that it ends where the run ended."""
    recording = _record(task_id, n_envs, act_steps)
    suite = GymLocomotion(GYM_TASKS[task_id], n_envs)
    env = BatchedSimulator(suite, act_steps)
    env.reset(_SEED)

    def run() -> None:
        _replay(suite.simulators, suite.task.rules.frame_skip, *recording)

    run()
    n_compared = 1 + suite.model.nq  # time and positions
    if not np.array_equal(env.get_state()["physics"][:, :n_compared], recording.physics[-1, :, :n_compared]):
        raise RuntimeError(f"{task_id}: the bare loop does not follow the recorded run")
    return run


def _batched_run(task_id: str, n_envs: int, act_steps: int) -> Callable[[], None]:
    """Make the function that takes the same run through our environments, on one thread."""
    env = BatchedSimulator(GymLocomotion(GYM_TASKS[task_id], n_envs), act_steps)
    action_chunks = _action_chunks(env)

    def run() -> None:
        env.reset(_SEED)
        for action_chunk in action_chunks:
            env.step_chunk(action_chunk)

    run()
    return run


def _cpu_s(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _steps_per_cpu_second(run: Callable[[], None], n_env_steps: int, seconds: float) -> float:
    cpu_s = [_cpu_s(run)]
    while sum(cpu_s) < seconds:
        cpu_s.append(_cpu_s(run))
    return len(cpu_s) * n_env_steps / sum(cpu_s)


def raw_mujoco_steps_per_cpu_second(task_id: str, seconds: float, n_envs: int = 40, act_steps: int = 4) -> float:
    """Measure the bare compiled loop over `mj_step`.

    Args:
        task_id: "hopper", "walker2d" or "halfcheetah".
        seconds: CPU time to measure for, at least; whole replays of the recorded run.
        n_envs: environments, each with simulator data of its own.
        act_steps: environment steps before the loop goes on to the next environment.

    Returns:
        Environment steps (of `frame_skip` physics steps) per CPU-second.
    """
    n_env_steps = int(_record(task_id, n_envs, act_steps).n_steps.sum())
    return _steps_per_cpu_second(_bare_run(task_id, n_envs, act_steps), n_env_steps, seconds)


def batched_env_steps_per_cpu_second(task_id: str, n_envs: int, act_steps: int, seconds: float) -> float:
    """Measure our environments: everything that `step_chunk` does, with the resets that random actions cause.

    Args:
        task_id: "hopper", "walker2d" or "halfcheetah".
        n_envs: number of environments.
        act_steps: environment steps per chunk.
        seconds: CPU time to measure for, at least; whole repetitions of the run that the bare loop replays.

    Returns:
        Environment steps per CPU-second, on one thread.
    """
    n_env_steps = int(_record(task_id, n_envs, act_steps).n_steps.sum())
    return _steps_per_cpu_second(_batched_run(task_id, n_envs, act_steps), n_env_steps, seconds)


def stepping_fraction_of_raw_mujoco(
    task_id: str, repeats: int = 20, n_envs: int = 40, act_steps: int = 4
) -> dict[str, float]:
    """Measure both in turn, a fraction of a second each, so that a busy machine slows both, and compare.

    Returns:
        `raw_mujoco` and `batched_env` (environment steps per CPU-second) and `fraction` (median of the pairs' ratios).
    """
    n_env_steps = int(_record(task_id, n_envs, act_steps).n_steps.sum())
    bare, batched = _bare_run(task_id, n_envs, act_steps), _batched_run(task_id, n_envs, act_steps)
    cpu_s = [(_cpu_s(bare), _cpu_s(batched)) for _ in range(repeats)]
    return {
        "raw_mujoco": n_env_steps / median(pair[0] for pair in cpu_s),
        "batched_env": n_env_steps / median(pair[1] for pair in cpu_s),
        "fraction": median(pair[0] / pair[1] for pair in cpu_s),
    }
