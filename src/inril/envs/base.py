"""The contract between learners and simulators: many environments advance one action chunk per call."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from inril.types import BoolArray, ChunkStep, FloatArray


class BatchedEnv(Protocol):
    """E copies of one task, stepped together in compiled code.

    Each (seed, environment, episode) has a random stream of its own, so that results depend neither on the number of
    threads nor on what the other environments do. Episodes that end are reset at once.

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
