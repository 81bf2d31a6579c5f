"""The limit of every simulator here: physics alone, from the states of a recorded run."""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt
from numba import types

from inril.envs.kernel import mujoco_function
from inril.jit import compiled
from inril.types import FloatArray

_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)

_mj_step = mujoco_function("mj_step", types.uintp, types.uintp)
_mj_set_state = mujoco_function("mj_setState", types.uintp, types.uintp, types.uintp, types.int32)


@compiled
def bare_steps(simulators: npt.NDArray[np.void], n_substeps: int) -> None:
    """Take the physics steps of one action in each environment from where it is."""
    for e in range(simulators.size):
        for _ in range(n_substeps):
            _mj_step(simulators[e].model, simulators[e].data)


@compiled
def bare_physics(simulators: npt.NDArray[np.void], physics: FloatArray, n_substeps: int) -> None:
    """Take the physics steps of one action from each recorded state (N, E, state size)."""
    for i in range(physics.shape[0]):
        for e in range(simulators.size):
            _mj_set_state(simulators[e].model, simulators[e].data, physics[i, e].ctypes.data, np.int32(_STATE))
            for _ in range(n_substeps):
                _mj_step(simulators[e].model, simulators[e].data)
