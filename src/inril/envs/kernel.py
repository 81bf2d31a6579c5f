"""Compiled stepping of MuJoCo data by address, shared by all suites.

Compiled loops call MuJoCo's C functions on the addresses of MjModel and MjData without holding the GIL, so that
environments advance on several threads of one process at the speed of C. The functions are declared as symbols of a
library that is loaded into the process (and not as ctypes function objects), because only then Numba can keep the
compiled code on disk.

A suite composes its loop from these pieces: `restart`, `advance` (one control step) and `has_diverged`. What it
observes, rewards and terminates on is its own.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import llvmlite.binding
import mujoco
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from inril.jit import compiled
from inril.types import FloatArray, IntArray

logger = logging.getLogger(__name__)

_LIBRARY = next(
    path for path in Path(mujoco.__file__).parent.iterdir() if path.name.startswith(("libmujoco", "mujoco.dll"))
)
llvmlite.binding.load_library_permanently(str(_LIBRARY))


def mujoco_function(name: str, *argument_types: Any) -> Any:
    """Declare one of MuJoCo's functions without a result for compiled code; addresses are `uintp`."""
    return types.ExternalFunction(name, types.void(*argument_types))


_mj_step = mujoco_function("mj_step", types.uintp, types.uintp)
_mj_forward = mujoco_function("mj_forward", types.uintp, types.uintp)
_mj_reset_data = mujoco_function("mj_resetData", types.uintp, types.uintp)

_STATE_ARRAYS = ("qpos", "qvel", "ctrl", "eq_active", "mocap_pos")
_COMPUTED_ARRAYS = ("qM", "qfrc_bias", "xpos", "xquat", "xmat", "site_xpos", "site_xmat", "geom_xpos", "geom_xmat")
_MODEL_ARRAYS = ("body_pos", "body_quat", "body_gravcomp", "geom_contype", "geom_conaffinity")
_COUNTS = ("nq", "nv", "nu", "nbody", "nsite", "ngeom", "neq", "nmocap")

SIMULATOR_DTYPE = np.dtype(
    [(name, np.uintp) for name in ("model", "data", *_STATE_ARRAYS, *_COMPUTED_ARRAYS, *_MODEL_ARRAYS)]
    + [(name, np.uintp) for name in ("bad_state_warnings", "n_contacts", "contact_geoms")]
    + [(name, np.intp) for name in ("contact_stride", *_COUNTS)]
)
"""Where one environment lives in memory: addresses of its structures and arrays, and their lengths.

Arrays have MuJoCo's names. `contact_geoms` is the address of the first contact's pair of geoms; the next pair is
`contact_stride` int32 further.
"""

# One row of the table. mypy knows nothing of a record's fields, Numba all.
Simulator = Any

# mjMAXVAL of MuJoCo's mjmodel.h, which the Python package does not export: the largest magnitude that is not "bad".
_MAX_VALUE = 1e10
# Counters of BADQPOS, BADQVEL and BADQACC: int32, consecutive, each followed by the `lastinfo` of the next warning.
_N_BAD_STATE_WARNINGS = 3


def simulator_table(models: Sequence[mujoco.MjModel], data: Sequence[mujoco.MjData]) -> npt.NDArray[np.void]:
    """Collect the addresses that compiled loops work on.

    Args:
        models: one per environment; the same one everywhere unless compiled code changes it.
        data: one per environment. The caller keeps them and the models alive as long as the table is used.

    Returns:
        (E,) of `SIMULATOR_DTYPE`.
    """
    table = np.zeros(len(data), dtype=SIMULATOR_DTYPE)
    for row, model, env_data in zip(table, models, data, strict=True):
        counters = env_data.warning.number[mujoco.mjtWarning.mjWARN_BADQPOS :]
        contact_geoms = env_data.contact.geom
        row["model"], row["data"] = model._address, env_data._address
        for name in (*_STATE_ARRAYS, *_COMPUTED_ARRAYS):
            row[name] = getattr(env_data, name).ctypes.data
        for name in _MODEL_ARRAYS:
            row[name] = getattr(model, name).ctypes.data
        for name in _COUNTS:
            row[name] = getattr(model, name)
        row["bad_state_warnings"] = counters.ctypes.data
        row["n_contacts"] = _address_of_contact_count(env_data)
        row["contact_geoms"] = contact_geoms.ctypes.data
        row["contact_stride"] = contact_geoms.strides[0] // contact_geoms.itemsize
    if mujoco.get_mjcb_time() is None:
        # The package has just started MuJoCo's profiling clock with these data; nothing reads what it measures.
        mujoco.set_mjcb_time(None)
    return table


def _address_of_contact_count(data: mujoco.MjData) -> int:
    """Locate mjData's `ncon`, of which the Python package shows the value alone: it follows the timers."""
    timers = data.timer.number  # (number of timers,) int32, the second field of {double duration; int number}
    address: int = timers.ctypes.data - ctypes.sizeof(ctypes.c_double) + len(timers) * timers.strides[0]
    count = ctypes.c_int32.from_address(address)
    kept, count.value = count.value, 12345
    moved = data.ncon == count.value
    count.value = kept
    if not moved:
        raise RuntimeError(f"MuJoCo {mujoco.__version__} lays out its data in another way than this code expects")
    return address


def log_mujoco_warnings() -> None:
    """Send MuJoCo's warnings to the log, unless the process already does something else with them.

    By default MuJoCo prints them and appends to a file in the working directory.
    """
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log_warning)


def _log_warning(message: str | bytes) -> None:
    logger.debug("MuJoCo: %s", message)


def _reinterpret_address(typing_context: Any, address: Any) -> Any:
    """Reinterpret an integer address as a pointer, which Numba offers no function for."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.uintp), codegen


_pointer = cast(Callable[[int], Any], intrinsic(_reinterpret_address))


@compiled
def float_view(address: int, length: int) -> FloatArray:
    """View `length` float64 numbers at an address (uintp) as an array, without copying."""
    view: FloatArray = carray(_pointer(address), (length,), np.float64)
    return view


@compiled
def int_view(address: int, length: int) -> npt.NDArray[np.int32]:
    """View `length` int32 numbers at an address (uintp) as an array, without copying."""
    view: npt.NDArray[np.int32] = carray(_pointer(address), (length,), np.int32)
    return view


@compiled
def byte_view(address: int, length: int) -> npt.NDArray[np.uint8]:
    """View `length` bytes at an address (uintp) as an array, without copying."""
    view: npt.NDArray[np.uint8] = carray(_pointer(address), (length,), np.uint8)
    return view


@compiled
def restart(simulator: Simulator, qpos: FloatArray, qvel: FloatArray) -> None:
    """Clear an environment's data, set its state and compute all that follows from the state.

    Args:
        simulator: one row of `simulator_table`.
        qpos: (nq,) joint positions.
        qvel: (nv,) joint velocities.
    """
    _mj_reset_data(simulator.model, simulator.data)
    float_view(simulator.qpos, simulator.nq)[:] = qpos
    float_view(simulator.qvel, simulator.nv)[:] = qvel
    _mj_forward(simulator.model, simulator.data)


@compiled
def advance(simulator: Simulator, action: FloatArray, frame_skip: int) -> None:
    """Advance one environment by one control step, the action acting directly on the actuators.

    Args:
        simulator: one row of `simulator_table`.
        action: (nu,) actuator controls, held constant.
        frame_skip: physics steps per control step.
    """
    float_view(simulator.ctrl, simulator.nu)[:] = action
    for _ in range(frame_skip):
        _mj_step(simulator.model, simulator.data)


@compiled
def _is_bad(values: FloatArray) -> bool:
    all_good = True
    for value in values:
        all_good &= abs(value) <= _MAX_VALUE  # False for NaN
    return not all_good


@compiled
def has_diverged(simulator: Simulator) -> bool:
    """Tell whether the state left the finite numbers since the last `restart`.

    MuJoCo resets the state itself when it turns bad, so that a finite state alone proves nothing: the warning
    counters, which `restart` clears, show it.
    """
    counters = int_view(simulator.bad_state_warnings, 2 * _N_BAD_STATE_WARNINGS - 1)
    for i in range(_N_BAD_STATE_WARNINGS):
        if counters[2 * i] > 0:
            return True
    return _is_bad(float_view(simulator.qpos, simulator.nq)) or _is_bad(float_view(simulator.qvel, simulator.nv))


@compiled
def has_contact(simulator: Simulator, geom: int, body: int, geom_body: IntArray) -> bool:
    """Tell whether a geom touches a body, by the contacts that MuJoCo found last.

    Args:
        simulator: one row of `simulator_table`.
        geom: one geom.
        body: any geom of this body counts.
        geom_body: (ngeom,) body of each geom.
    """
    n_contacts = int_view(simulator.n_contacts, 1)[0]
    if n_contacts == 0:
        return False
    stride = simulator.contact_stride
    geoms = int_view(simulator.contact_geoms, (n_contacts - 1) * stride + 2)
    for i in range(n_contacts):
        first, second = geoms[i * stride], geoms[i * stride + 1]
        other = second if first == geom else first if second == geom else -1  # negative also for flexible bodies
        if other >= 0 and geom_body[other] == body:
            return True
    return False
