"""State of simulators, and copies and pickles of them that share nothing.

Compiled loops step simulators by address. An address that were copied as a number would go on naming the memory of the
original, and nothing in another process; so a suite is copied by what it was made of, and by its state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.base import Suite
from inril.envs.kernel import log_mujoco_warnings
from inril.errors import InputError
from inril.types import FloatArray

_INTEGRATION_STATE = mujoco.mjtState.mjSTATE_INTEGRATION

MakeSuite = Callable[[Any, int], Suite]


def physics(suite: Suite) -> FloatArray:
    """Return the states (E, n) of all MuJoCo data, with what the solver starts from."""
    states = np.empty((len(suite.data), mujoco.mj_stateSize(suite.model, _INTEGRATION_STATE)))
    for data, state in zip(suite.data, states, strict=True):
        mujoco.mj_getState(suite.model, data, state, _INTEGRATION_STATE)
    return states


def set_physics(suite: Suite, states: npt.NDArray[np.generic]) -> None:
    """Set the states (E, n) of all MuJoCo data; what follows from them is computed by `Suite.resume`."""
    for data, state in zip(suite.data, states, strict=True):
        mujoco.mj_resetData(suite.model, data)  # clears the warning counters, which are not part of the state
        mujoco.mj_setState(suite.model, data, state, _INTEGRATION_STATE)


def reduced(suite: Suite, task: Any) -> tuple[Any, ...]:
    """Return what `__reduce__` of a suite is to return.

    Args:
        suite: made by its class with a task and the number of environments.
        task: that task.

    Raises:
        InputError: the suite is closed.
    """
    if not suite.data:
        what = f"environments of {suite.task_id}"
        raise InputError(what, expected="open ones, to be copied or pickled", got="closed ones, which have no state")
    return _restored, (type(suite), task, len(suite.data), physics(suite), suite.memory())


def _restored(make: MakeSuite, task: Any, n_envs: int, states: FloatArray, memory: dict[str, FloatArray]) -> Suite:
    log_mujoco_warnings()
    suite = make(task, n_envs)
    set_physics(suite, states)
    suite.resume(memory, np.empty((n_envs, suite.obs_dim)))
    return suite
