"""The limit of every simulator here: physics alone, from the states of a recorded run."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from numba import types

from inril.envs.kernel import mujoco_function
from inril.jit import compiled
from inril.types import BoolArray, ChunkStep, FloatArray

_PARTS = {"collision": "POS_COLLISION", "constraints": "POS_MAKE", "solver": "CONSTRAINT"}
_REPLAYED = 60  # recorded chunks, at most
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


class Watched:
    """An environment whose steps are timed, and of which states and actions are kept.

    Args:
        env: batched simulator.

    Attributes:
        seconds: CPU-seconds of its steps so far.
        recording: of keeping what they began with.
    """

    def __init__(self, env: Any) -> None:
        self._env, self.seconds, self.recording = env, 0.0, 0.0
        self._chunks: list[tuple[dict[str, Any], FloatArray]] = []

    def __getattr__(self, name: str) -> Any:
        """Be the environment in all else."""
        return getattr(self._env, name)

    def step_chunk(self, action_chunk: FloatArray, running: BoolArray | None = None) -> ChunkStep:
        """Step and time."""
        start = time.process_time()
        self._chunks.append((self._env.get_state(), action_chunk))
        recorded = time.process_time()
        step: ChunkStep = self._env.step_chunk(action_chunk, running)
        self.recording += recorded - start
        self.seconds += time.process_time() - recorded
        return step

    def physics(self) -> dict[str, float]:
        """Return the seconds that bare physics would have taken for all steps, and of these its parts.

        The first actions of chunks that are spread over the record are taken again: by the environment, and by physics
        alone from the same states under the controls that the environment left, in turns.
        """
        suite = self._env.suite
        spent: dict[str, float] = defaultdict(float)

        def replay() -> float:
            simulator_s = bare_s = 0.0
            for state, action_chunk in self._chunks[:: max(1, len(self._chunks) // _REPLAYED)]:
                self._env.set_state(state)
                start = time.process_time()
                self._env.step_chunk(action_chunk[:, :1])
                simulator_s += time.process_time() - start
                # An episode that ended has begun again at 0.
                advanced_s = max(
                    data.time - begun for data, begun in zip(suite.data, state["physics"][:, 0], strict=True)
                )
                controls = [data.ctrl.copy() for data in suite.data]
                self._env.set_state(state)
                for data, ctrl in zip(suite.data, controls, strict=True):
                    data.ctrl[:] = ctrl
                start = time.process_time()
                bare_steps(suite.simulators, round(advanced_s / suite.model.opt.timestep))
                bare_s += time.process_time() - start
                for data in suite.data:  # all 0 since the state was set
                    for timer in ("STEP", *_PARTS.values()):
                        spent[timer] += data.timer[getattr(mujoco.mjtTimer, f"mjTIMER_{timer}")].duration
            return bare_s / simulator_s

        act_steps, self._env.act_steps = self._env.act_steps, 1
        bare_steps(suite.simulators, 0)  # compiles
        physics_s = replay() * self.seconds
        mujoco.MjData(suite.model)  # starts MuJoCo's clocks
        replay()
        self._env.act_steps = act_steps
        parts = {f"physics: {name}": spent[timer] / spent["STEP"] * physics_s for name, timer in _PARTS.items()}
        return {"physics": physics_s, **parts}
