"""Maps observations and actions to [-1, 1] and back; part of every checkpoint."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from inril.types import FloatArray

_EPS = 1e-6  # keeps constant dimensions finite


class Normalizer(nn.Module):
    """Scales each dimension by its extremes in the training demonstrations.

    normalize(x) = 2 (x - min) / (max - min + 1e-6) - 1;  denormalize(a) = (a + 1) / 2 * (max - min) + min.

    Args:
        obs_dim: Do.
        action_dim: Da.

    Attributes:
        clip: bound on normalised observations, no part of the weights; None for none. Scripted experts hold some
            dimensions nearly constant, and a rollout that leaves such a narrow range would be mapped to hundreds.

    Source: DPPO, script/dataset/ (demonstrations) and env/gym_utils/wrapper/ (environments); ResiP for the bound.
    """

    obs_min: Tensor
    obs_max: Tensor
    action_min: Tensor
    action_max: Tensor

    def __init__(self, obs_dim: int, action_dim: int) -> None:
        super().__init__()
        self.clip: float | None = None
        for name, dim in (("obs", obs_dim), ("action", action_dim)):
            self.register_buffer(f"{name}_min", torch.full((dim,), -1.0))
            self.register_buffer(f"{name}_max", torch.ones(dim))

    @property
    def device(self) -> torch.device:
        """Where it computes, and with it the policy that it is part of."""
        return self.obs_min.device

    @classmethod
    def fit(
        cls, obs: npt.NDArray[np.float32], action: npt.NDArray[np.float32], range_floor: float | None = None
    ) -> Normalizer:
        """Take the extremes of the training part.

        Args:
            obs: (N, Do) raw units.
            action: (N, Da) raw units.
            range_floor: narrower ranges of observations are widened to it about their middle, those of constant
                dimensions by 1 to either side, as in the reference; None widens nothing.
        """
        normalizer = cls(obs.shape[1], action.shape[1])
        for name, values in (("obs", obs), ("action", action)):
            getattr(normalizer, f"{name}_min").copy_(torch.from_numpy(values.min(axis=0)))
            getattr(normalizer, f"{name}_max").copy_(torch.from_numpy(values.max(axis=0)))
        if range_floor is not None:
            normalizer._widen(range_floor)
        return normalizer

    def _widen(self, floor: float) -> None:
        width = self.obs_max - self.obs_min
        missing = torch.where(width > 0, (floor - width).clamp(min=0.0), 2.0)
        self.obs_min -= missing / 2
        self.obs_max += missing / 2

    def normalize_obs(self, obs: Tensor) -> Tensor:
        """Map observations (..., Do) from raw units to about [-1, 1], within +-clip."""
        normalized = _normalize(obs, self.obs_min, self.obs_max)
        return normalized if self.clip is None else normalized.clamp(-self.clip, self.clip)

    def from_env(self, obs: FloatArray) -> Tensor:
        """Map raw observations (E, Do) of environments to what networks see, on their device."""
        return self.normalize_obs(torch.from_numpy(obs).float().to(self.device))

    def to_env(self, chunk: Tensor) -> FloatArray:
        """Map normalised chunks (E, Ta, Da) to what environments execute."""
        return self.denormalize_action(chunk).double().cpu().numpy()

    def reach(self, obs: Tensor) -> Tensor:
        """Return how far raw observations (E, Do) go: their largest normalised dimension (E,), unbounded."""
        low, high = self.obs_min.to(obs.device), self.obs_max.to(obs.device)
        return _normalize(obs, low, high).abs().amax(dim=1)

    def normalize_action(self, action: Tensor) -> Tensor:
        """Map actions (..., Da) from raw units to about [-1, 1]."""
        return _normalize(action, self.action_min, self.action_max)

    def denormalize_action(self, action: Tensor) -> Tensor:
        """Map actions (..., Da) from [-1, 1] to raw units."""
        return (action + 1) / 2 * (self.action_max - self.action_min) + self.action_min


def _normalize(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return 2 * (x - low) / (high - low + _EPS) - 1
