"""The contracts of simulators: many environments advance one action chunk per call.

`BatchedEnv` is what learners see; a `Suite` is what a suite of simulators supplies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import mujoco
import numpy as np
import numpy.typing as npt

from inril.types import BoolArray, ChunkStep, FloatArray, IntArray


class BatchedEnv(Protocol):
    """E copies of one task, stepped together in compiled code.

    Each (seed, environment, episode) has a random stream of its own, so that results depend neither on the number of
    threads nor on what the other environments do. Episodes that end are reset at once. Copies and pickles are
    independent environments in the same state.

    Attributes:
        n_envs: number of environments, E.
        obs_dim: observation dimensions, Do.
        action_dim: action dimensions, Da.
        act_steps: environment steps per action chunk, Ta.
        max_episode_steps: environment steps after which an episode is truncated.
    """

    n_envs: int
    obs_dim: int
    action_dim: int
    act_steps: int
    max_episode_steps: int

    @property
    def n_diverged(self) -> int:
        """Episodes that left the finite numbers since the environments were made."""
        ...

    def reset(self, seed: int) -> FloatArray:
        """Start episode 0 of `seed` in every environment.

        Args:
            seed: non-negative seed of all random streams.

        Returns:
            obs: (E, Do), raw units.
        """
        ...

    def step_chunk(self, action_chunk: FloatArray, running: BoolArray | None = None) -> ChunkStep:
        """Execute one chunk in every environment; an episode that ends inside its chunk skips the rest.

        Args:
            action_chunk: (E, Ta, Da) finite, raw units.
            running: (E,) environments that are stepped; the others cost nothing, stay as they are and report a step
                without reward in which nothing ended. None steps all.

        Returns:
            What happened; no array is overwritten by later calls.

        Raises:
            InputError: if the chunk has another shape or holds a non-finite value; nothing has moved then.
        """
        ...

    def get_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return copies of all that later results depend on, as named arrays."""
        ...

    def set_state(self, state: dict[str, npt.NDArray[np.generic]]) -> FloatArray:
        """Continue exactly where `get_state` was called.

        Args:
            state: as returned by `get_state` of environments of the same task and number.

        Returns:
            obs: (E, Do) observation to act on next.

        Raises:
            InputError: if an array is missing or does not fit.
        """
        ...

    def render(self, env_index: int = 0) -> npt.NDArray[np.uint8]:
        """Return an image (height, width, 3) of one environment."""
        ...

    def close(self) -> None:
        """Free threads and rendering contexts; the environments cannot be used afterwards."""
        ...


class Suite(Protocol):
    """E simulators of one task, without the bookkeeping of episodes.

    Copies and pickles are independent simulators in the same state (`inril.envs.copies`).

    Attributes:
        task_id: as in config and messages.
        obs_dim: observation dimensions, Do.
        action_dim: action dimensions, Da.
        max_episode_steps: the task's own time limit.
        model: the MuJoCo model of all simulators.
        data: one per environment; emptied by `close`.
    """

    task_id: str
    obs_dim: int
    action_dim: int
    max_episode_steps: int
    model: mujoco.MjModel
    data: list[mujoco.MjData]

    def advance(
        self, part: slice, action_chunk: FloatArray, elapsed_steps: IntArray, max_episode_steps: int, step: ChunkStep
    ) -> None:
        """Execute one chunk in a slice of environments; called on any thread, with slices that do not overlap.

        Args:
            part: environments.
            action_chunk: (E, Ta, Da) of all environments.
            elapsed_steps: (E,) counted up.
            max_episode_steps: an episode is truncated when it has elapsed so many.
            step: fields of all environments to write to, zero before; `final_obs` holds the previous observation, and
                keeps the last finite one where a simulation diverges.
        """
        ...

    def start(self, env_indices: IntArray, rngs: Sequence[np.random.Generator], obs: FloatArray) -> None:
        """Start episodes in env_indices (N,), each drawn from its generator, and write their rows of obs (E, Do)."""
        ...

    def memory(self) -> dict[str, FloatArray]:
        """Return what later results depend on beyond MuJoCo's state, by name, each (E, ...)."""
        ...

    def resume(self, memory: dict[str, FloatArray], obs: FloatArray) -> None:
        """Continue after MuJoCo's state has been set: take over a memory and write obs (E, Do)."""
        ...

    def image(self, env_index: int) -> npt.NDArray[np.uint8]:
        """Return an image (height, width, 3) of one environment."""
        ...

    def close(self) -> None:
        """Free simulator data and rendering contexts; closing twice is harmless."""
        ...

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what copy and pickle make another one of, by `reduced`: nothing in it is an address."""
        ...
