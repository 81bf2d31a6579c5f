"""Denoising chains that are sampled again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inril.policies.denoiser import Denoiser
from inril.policies.diffusion import Chain, chain_noise, sample_chain
from inril.policies.noise_schedule import NoiseSchedule


class ChainSampler:
    """`sample_chain` for many calls with the same networks.

    A chain is K small network calls, each of which costs a GPU more to launch than to compute. There the chain is
    recorded at the first call of each batch size and launched as one CUDA graph from then on. A recording reads the
    weights where they lie: it sees what an optimiser or `load_state_dict` writes into them.

    Args:
        denoisers: network of each denoising index t.
        schedule: noise schedule.
        std: K standard deviations, one of each index t.
    """

    def __init__(self, denoisers: Sequence[Denoiser], schedule: NoiseSchedule, std: Sequence[float]) -> None:
        self.denoisers, self.schedule, self.std = denoisers, schedule, std
        self._recordings: dict[int, _Recording] = {}

    def __call__(self, obs: Tensor, noise: Tensor) -> Chain:
        """Run the reverse process; on a GPU the next call overwrites the result.

        Args:
            obs: (E, Do) normalised.
            noise: (K + 1, E, Tp, Da) from `chain_noise`.
        """
        if not obs.is_cuda:
            return sample_chain(self.denoisers, self.schedule, obs, noise, self.std)
        if len(obs) not in self._recordings:
            self._recordings[len(obs)] = self._record(obs, noise)
        recording = self._recordings[len(obs)]
        recording.obs.copy_(obs)
        recording.noise.copy_(noise)
        recording.graph.replay()
        return recording.chain

    def chunks(
        self, obs: Tensor, chunk_shape: tuple[int, int], generator: torch.Generator, clip: float = 3.0
    ) -> Tensor:
        """Draw noise, truncated at +-clip, and return the chunks (E, Tp, Da) at the ends of the chains."""
        return self(obs, chain_noise(self.schedule, (len(obs), *chunk_shape), generator, clip)).x[-1]

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the recordings, which replay this sampler's weights: copies record their own."""
        return {**self.__dict__, "_recordings": {}}

    def _record(self, obs: Tensor, noise: Tensor) -> _Recording:
        obs, noise = obs.clone(), noise.clone()
        # Libraries set themselves up at their first calls, which must not be recorded; nor may they share our stream.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                sample_chain(self.denoisers, self.schedule, obs, noise, self.std)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            chain = sample_chain(self.denoisers, self.schedule, obs, noise, self.std)
        return _Recording(graph, obs, noise, chain)


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    obs: Tensor
    noise: Tensor
    chain: Chain
