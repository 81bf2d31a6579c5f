"""Random streams addressed by name, so that no generator state ever has to be saved.

A stream is a pure function of (seed, purpose, counters). A run that resumes at iteration 17 asks for the streams of
iteration 17 and gets the numbers it would have got without the interruption, whatever ran before.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def stream(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return the NumPy generator of one purpose.

    Args:
        seed: seed of the run, non-negative.
        purpose: what the numbers are for; different purposes are independent.
        counters: for example iteration, environment or episode; different counters are independent. A purpose always
            has the same number of them: NumPy takes missing ones for zeros.
    """
    key = zlib.crc32(purpose.encode())
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, key, *counters])))


def torch_stream(seed: int, purpose: str, *counters: int, device: str = "cpu") -> torch.Generator:
    """Return the torch generator of one purpose; arguments as in `stream`."""
    generator = torch.Generator(device=device)
    generator.manual_seed(subseed(seed, purpose, *counters))
    return generator


def subseed(seed: int, purpose: str, *counters: int) -> int:
    """Return a seed of 63 bits for something that takes a seed and not a generator; arguments as in `stream`."""
    return int(stream(seed, purpose, *counters).integers(2**63 - 1))
