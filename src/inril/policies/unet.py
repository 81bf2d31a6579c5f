"""Denoiser that convolves along the chunk: a one-dimensional U-Net over its steps, conditioned by FiLM.

Source: Chi et al. 2023, "Diffusion Policy", the CNN-based network; FiLM: Perez et al. 2018. As there, features of the
finest level are not passed across, and the scale is not offset by 1.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, UNetConfig
from inril.policies.denoiser import Denoiser, Predict


class UNetDenoiser(Denoiser):
    """U-Net over the steps of a chunk; [time embedding, observation] scale and shift the channels of every block.

    With n widths there are n levels, each two blocks down and (but for the lowest, which has two in the middle) two
    up. Each level below the first has half the steps.

    Args:
        config: sizes.
        network: widths, kernel and groups.
        task: dimensions of observation and action.
    """

    def __init__(self, config: DiffusionConfig, network: UNetConfig, task: TaskSpec) -> None:
        super().__init__(config, expansion=4)
        self.time_dim = config.time_dim
        cond_dim = config.time_dim + task.obs_dim
        first, last = network.widths[0], network.widths[-1]

        def two_blocks(n_in: int, n_out: int) -> nn.ModuleList:
            return nn.ModuleList(_Block(n, n_out, cond_dim, network) for n in (n_in, n_out))

        self.down = nn.ModuleList(two_blocks(n, m) for n, m in pairwise((task.action_dim, *network.widths)))
        self.shorten = nn.ModuleList(nn.Conv1d(n, n, 3, stride=2, padding=1) for n in network.widths[:-1])
        self.middle = two_blocks(last, last)
        # From the lowest level upwards; the input is what comes from below and from the same level on the way down.
        upwards = list(pairwise(network.widths[::-1]))
        self.up = nn.ModuleList(two_blocks(2 * m, n) for m, n in upwards)
        self.lengthen = nn.ModuleList(nn.ConvTranspose1d(n, n, 4, stride=2, padding=1) for _, n in upwards)
        self.out = nn.Sequential(_Convolution(first, first, network), nn.Conv1d(first, task.action_dim, 1))

    def given(self, obs: Tensor) -> Predict:
        """Take the observation's part of every block's conditioning once."""
        times, films = self.time_table(), self._films_of_obs(obs)
        return lambda chunk, t: self._predict(chunk, times[t : t + 1], films)

    def forward(self, chunk: Tensor, time: Tensor, obs: Tensor) -> Tensor:
        """Predict the noise; see `Denoiser`."""
        return self._predict(chunk, time, self._films_of_obs(obs))

    def _films_of_obs(self, obs: Tensor) -> dict[_Block, Tensor]:
        seen = F.mish(obs)
        return {block: block.film_of_obs(seen, self.time_dim) for block in self.modules() if isinstance(block, _Block)}

    def _predict(self, chunk: Tensor, time: Tensor, films: dict[_Block, Tensor]) -> Tensor:
        """Predict the noise at rows of the time table, (B, time_dim) or one for all (1, time_dim)."""
        time = F.mish(time)

        def run(blocks: nn.Module, x: Tensor) -> Tensor:
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                assert isinstance(block, _Block)
                x = block(x, films[block] + block.film_of_time(time))
            return x

        x = chunk.transpose(1, 2)  # (B, Da, Tp)
        passed = []
        for blocks, shorten in zip(self.down, (*self.shorten, nn.Identity()), strict=True):
            x = run(blocks, x)
            passed.append(x)
            x = shorten(x)
        x = run(self.middle, x)
        for blocks, lengthen in zip(self.up, self.lengthen, strict=True):
            x = lengthen(run(blocks, torch.cat([x, passed.pop()], dim=1)))
        return self.out(x).transpose(1, 2)  # type: ignore[no-any-return]


class _Convolution(nn.Sequential):
    """Convolution along time, group norm, Mish."""

    def __init__(self, n_in: int, n_out: int, network: UNetConfig) -> None:
        super().__init__(
            nn.Conv1d(n_in, n_out, network.kernel, padding=network.kernel // 2),
            nn.GroupNorm(network.groups, n_out),
            nn.Mish(),
        )


class _Block(nn.Module):
    """Residual block of two convolutions, with FiLM between them.

    Args:
        n_in: channels.
        n_out: channels of the output.
        cond_dim: size of [time embedding, observation].
        network: kernel and groups.
    """

    def __init__(self, n_in: int, n_out: int, cond_dim: int, network: UNetConfig) -> None:
        super().__init__()
        self.first = _Convolution(n_in, n_out, network)
        self.second = _Convolution(n_out, n_out, network)
        self.film = nn.Linear(cond_dim, 2 * n_out)
        self.skip = nn.Conv1d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def film_of_obs(self, seen: Tensor, time_dim: int) -> Tensor:
        """Return the part (B, 2 n_out) of the linear layer that multiplies the observation, and its bias."""
        return F.linear(seen, self.film.weight[:, time_dim:], self.film.bias)

    def film_of_time(self, time: Tensor) -> Tensor:
        """Return the part (B, 2 n_out), or (1, 2 n_out), that multiplies the time embedding."""
        return F.linear(time, self.film.weight[:, : time.shape[1]])

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        """Map (B, n_in, T) to (B, n_out, T), given scale and shift (B, 2 n_out)."""
        scale, shift = film[:, :, None].chunk(2, dim=1)
        return self.second(self.first(x) * scale + shift) + self.skip(x)  # type: ignore[no-any-return]
