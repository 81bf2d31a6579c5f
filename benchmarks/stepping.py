"""Speed of the batched Gym environments against a bare loop over `mj_step`, in environment steps per CPU-second.

Both do the same physics to the last bit: our environments are run once with random actions, and the bare loop replays
that run's actions, episode lengths and initial states, without observation, reward, termination or random numbers.
"""

from __future__ import annotations

import time
from functools import lru_cache
from statistics import median
from typing import Any, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt
from numba import types

from inril.envs.gym_locomotion import GymLocomotion
from inril.envs.gym_rules import HALFCHEETAH, HOPPER, WALKER2D
from inril.envs.kernel import advance, compiled, simulator_table
from inril.types import FloatArray, IntArray

_TASKS = {task.task_id: task for task in (HOPPER, WALKER2D, HALFCHEETAH)}
_N_CHUNKS = 100
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


def _action_chunks(env: GymLocomotion) -> FloatArray:
    return np.random.default_rng(_SEED).uniform(-1, 1, (_N_CHUNKS, env.n_envs, env.act_steps, env.action_dim))


@lru_cache
def _record(task_id: str, n_envs: int, act_steps: int) -> _Recording:
    env = GymLocomotion(_TASKS[task_id], n_envs, act_steps)
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
    recording = _record(task_id, n_envs, act_steps)
    env = GymLocomotion(_TASKS[task_id], n_envs, act_steps)
    data = [mujoco.MjData(env.model) for _ in range(n_envs)]
    simulators = simulator_table(env.model, data)

    def replay() -> None:
        _replay(simulators, env.task.rules.frame_skip, *recording)

    replay()  # compiles, and warms the caches
    end_state = np.empty(recording.physics.shape[-1])
    mujoco.mj_getState(env.model, data[0], end_state, _STATE)
    if not np.array_equal(end_state[: 1 + env.model.nq], recording.physics[-1, 0][: 1 + env.model.nq]):
        raise RuntimeError(f"{task_id}: the bare loop does not follow the recorded run")
    n_replays, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        replay()
        n_replays += 1
    return float(n_replays * recording.n_steps.sum() / (time.process_time() - start))


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
    env = GymLocomotion(_TASKS[task_id], n_envs, act_steps)
    action_chunks = _action_chunks(env)
    env.reset(_SEED)
    env.step_chunk(action_chunks[0])  # compiles, and warms the caches
    n_env_steps, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        env.reset(_SEED)
        for action_chunk in action_chunks:
            n_env_steps += int(env.step_chunk(action_chunk).n_steps.sum())
    return n_env_steps / (time.process_time() - start)


def stepping_fraction_of_raw_mujoco(
    task_id: str, seconds: float = 0.5, repeats: int = 9, n_envs: int = 40, act_steps: int = 4
) -> dict[str, float]:
    """Measure both in turn, so that a busy machine slows both, and compare.

    Returns:
        `raw_mujoco` and `batched_env` (medians, environment steps per CPU-second) and `fraction` (median of ratios).
    """
    raw, batched = [], []
    for _ in range(repeats):
        raw.append(raw_mujoco_steps_per_cpu_second(task_id, seconds, n_envs, act_steps))
        batched.append(batched_env_steps_per_cpu_second(task_id, n_envs, act_steps, seconds))
    return {
        "raw_mujoco": median(raw),
        "batched_env": median(batched),
        "fraction": median(ours / bare for ours, bare in zip(batched, raw, strict=True)),
    }
