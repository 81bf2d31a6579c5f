"""What off-policy algorithms remember of the environments."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

# Arrays of a transition, as they are stored.
_FIELDS = ("obs", "chunk", "reward", "next_obs", "terminated", "truncated")


class Transitions(NamedTuple):
    """Chunks and what came of them, all normalised.

    Attributes:
        obs: (B, Do) observation that was acted on.
        chunk: (B, Tp, Da) executed chunk.
        reward: (B,) undiscounted sum over the chunk, scaled as the algorithm wants it.
        next_obs: (B, Do) true successor, never a reset observation.
        terminated: (B,) 1 where the episode ended in a terminal state, else 0.
        truncated: (B,) 1 where it was cut off at a time limit, else 0.
    """

    obs: Tensor
    chunk: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    truncated: Tensor


class Replay:
    """Ring buffer of transitions: one row of E environments at a time, the oldest rows overwritten.

    Args:
        n_rows: capacity in rows.
        n_envs: E.
        obs_dim: Do.
        chunk_shape: (Tp, Da).
        device: where it lies. Memory is taken as rows come in.
    """

    def __init__(
        self, n_rows: int, n_envs: int, obs_dim: int, chunk_shape: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        self.n_rows, self.n_envs = n_rows, n_envs
        shapes = {"obs": (obs_dim,), "next_obs": (obs_dim,), "chunk": chunk_shape}
        self._data = {name: torch.empty(n_rows, n_envs, *shapes.get(name, ()), device=device) for name in _FIELDS}
        self._next_row = 0
        self._n_filled = 0

    def __len__(self) -> int:
        """Number of transitions."""
        return self._n_filled * self.n_envs

    def add(
        self, obs: Tensor, chunk: Tensor, reward: Tensor, next_obs: Tensor, terminated: Tensor, truncated: Tensor
    ) -> None:
        """Store one transition of each environment, (E, ...) each."""
        for name, value in zip(_FIELDS, (obs, chunk, reward, next_obs, terminated, truncated), strict=True):
            self._data[name][self._next_row] = value
        self._next_row = (self._next_row + 1) % self.n_rows
        self._n_filled = min(self._n_filled + 1, self.n_rows)

    def positions(self, generator: torch.Generator, size: int) -> Tensor:
        """Draw positions (size,) of transitions uniformly, with replacement: row times E plus environment."""
        return torch.randint(len(self), (size,), generator=generator)

    def half_positions(self, generator: torch.Generator, size: int, half: int) -> Tensor:
        """Draw from every second environment alone, so that halves 0 and 1 share no episode (with one: from it)."""
        envs = torch.arange(half if self.n_envs > 1 else 0, self.n_envs, 2)
        env = envs[torch.randint(len(envs), (size,), generator=generator)]
        return torch.randint(self._n_filled, (size,), generator=generator) * self.n_envs + env

    def sample(self, generator: torch.Generator, size: int) -> Transitions:
        """Draw transitions (size, ...) uniformly, with replacement."""
        return self[self.positions(generator, size)]

    def sample_half(self, generator: torch.Generator, size: int, half: int) -> Transitions:
        """Draw transitions (size, ...) of one half of the environments."""
        return self[self.half_positions(generator, size, half)]

    def __getitem__(self, position: Tensor) -> Transitions:
        """Return the transitions at `position` (B,), row times E plus environment."""
        position = position.to(self._data["obs"].device)
        return Transitions(*(self._data[name].flatten(0, 1)[position] for name in _FIELDS))

    def write_chunks(self, position: Tensor, chunk: Tensor) -> None:
        """Put other chunks (B, Tp, Da) in the place of those at `position` (B,)."""
        stored = self._data["chunk"]
        stored.view(-1, *stored.shape[2:])[position.to(stored.device)] = chunk

    def in_order(self) -> Transitions:
        """Return all transitions (rows, E, ...), the oldest row first."""
        oldest = self._next_row if self._n_filled == self.n_rows else 0
        rows = (torch.arange(self._n_filled, device=self._data["obs"].device) + oldest) % self.n_rows
        return Transitions(*(self._data[name][rows] for name in _FIELDS))

    def state_dict(self) -> dict[str, Any]:
        """Return the filled rows."""
        rows = {name: values[: self._n_filled] for name, values in self._data.items()}
        return {**rows, "next_row": self._next_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._n_filled = len(state["obs"])
        self._next_row = int(state["next_row"])
        for name, values in self._data.items():
            values[: self._n_filled] = state[name]
