"""Where networks are computed. Simulators, demonstrations' files and random numbers stay on the CPU."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from inril.config.base import Device
from inril.errors import InputError


def resolve(device: Device) -> torch.device:
    """Return the device that a setting means on this machine.

    Raises:
        InputError: a GPU is asked for and torch finds none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        hint = "Use auto or cpu, or install a CUDA build of torch"
        raise InputError("execution", field="device", expected="a GPU that torch can use", got="none", hint=hint)
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # Equal seeds give equal bits on one machine, on a GPU too.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device("cuda")


def randn(shape: tuple[int, ...] | torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw standard normal numbers: on the CPU whatever the device, so that every device sees the same ones."""
    return torch.randn(shape, generator=generator).to(device, non_blocking=True)
