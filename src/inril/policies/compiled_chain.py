"""Denoising chains of residual networks in compiled loops, the same bits in fewer steps.

At 20 to 128 rows a chain is hundreds of small operations, whose set-up costs more than their arithmetic. Here a stretch
of it is one call. Products are those of the BLAS that comes with torch, at the same sizes and in the same order, and
whatever torch rounds once (a number plus a multiple of another) is rounded once here too, so that results do not depend
on which way a chain was sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, cast

import llvmlite.binding
import numpy as np
import numpy.typing as npt
import torch
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from inril.jit import compiled
from inril.policies.denoiser import Predict
from inril.policies.mish import mish_numbers
from inril.policies.mlp import GivenMLP
from inril.policies.operations import is_onednns

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]

# Instruction sets with which torch rounds a number plus a multiple of another once.
_ROUND_ONCE = ("AVX2", "AVX512")
_SGEMM = "sgemm_"
_sgemm: Any = types.ExternalFunction(_SGEMM, types.void(*[types.uintp] * 13))


@cache
def can_equal_torch() -> bool:
    """Tell whether torch brings a BLAS that can be called and rounds as is done here; loads it for compiled code."""
    if torch.backends.cpu.get_cpu_capability() not in _ROUND_ONCE:
        return False
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not library.exists():
        return False
    llvmlite.binding.load_library_permanently(str(library))
    return llvmlite.binding.address_of_symbol(_SGEMM) is not None


def networks_of(predictions: Sequence[Predict]) -> list[GivenMLP] | None:
    """Return the networks behind predictions if `run` can stand for calls of them, else None.

    It cannot where torch would leave products to another library, or compute elsewhere than in this processor's memory.
    """
    networks = [getattr(prediction, "network", None) for prediction in predictions]
    distinct = {id(network): network for network in networks}.values()
    can_run = all(isinstance(network, GivenMLP) and _suits(network) for network in distinct) and can_equal_torch()
    return cast(list[GivenMLP], networks) if can_run else None


def _suits(network: GivenMLP) -> bool:
    if network.activation == "tanh":
        return False
    groups, rows = _tensors(network), network.h.fixed
    if not all(t.dtype == torch.float32 and t.device.type == "cpu" and t.is_contiguous() for g in groups for t in g):
        return False
    return not any(is_onednns(rows, len(rows) * weight.numel()) for weight in (*groups.weights, *groups.direct))


def run(
    networks: Sequence[GivenMLP],
    coefficients: Sequence[tuple[float, float, float, float]],
    std: Sequence[float],
    noise: Tensor,
    x: Tensor,
    mean: Tensor,
) -> None:
    """Run the reverse process as `diffusion.sample_chain` does.

    Args:
        networks: of each of K denoising indices t, from `networks_of`.
        coefficients: K rows of `NoiseSchedule.posterior_coefficients`.
        std: K standard deviations.
        noise: (K + 1, E, Tp, Da).
        x: (K + 1, E, Tp, Da) whose first entry is the start; the others are written.
        mean: (K, E, Tp, Da), written.
    """
    factors = np.array([(*row, s) for row, s in zip(coefficients, std, strict=True)], dtype=np.float32)
    noises, entries, means = (tensor.flatten(2).numpy() for tensor in (noise, x, mean))
    for _, stretch in groupby(reversed(range(len(networks))), key=lambda t: id(networks[t])):
        indices = list(stretch)
        network = networks[indices[0]]
        first, weights, biases, direct = (tuple(t.detach().numpy() for t in group) for group in _tensors(network))
        narrow, wide = _scratch(network)
        _run(
            indices[0], indices[-1], network.activation == "mish", first, weights, biases, direct, narrow, wide,
            factors, noises, entries, means,
        )  # fmt: skip


class _Tensors(NamedTuple):
    """What a network computes with: its two first layers, the other inner ones, and the direct ones but the first."""

    first: Sequence[Tensor]
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    direct: Sequence[Tensor]


def _tensors(network: GivenMLP) -> _Tensors:
    first = [tensor for layer in (network.out, network.h) for tensor in (layer.of_x, layer.of_k, layer.fixed)]
    inner = network.net.inner[2:]
    return _Tensors(first, inner[::2], inner[1::2], network.net.direct[1:])


def _scratch(network: GivenMLP) -> tuple[tuple[Any, Any], tuple[Any, Any, Any, Any]]:
    """Return memory from where torch takes it, since a product may depend on how its factors are aligned."""
    narrow, wide = network.out.fixed, network.h.fixed
    eps, change = (torch.empty_like(narrow).numpy() for _ in range(2))
    h, a, z, b = (torch.empty_like(wide).numpy() for _ in range(4))
    return (eps, change), (h, a, z, b)


def _fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Compute a b + c, rounded once, which Numba offers no function for."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), codegen


_multiply_add = cast(Callable[[Any, Any, Any], np.float32], intrinsic(_fused))


@compiled
def _product(x: Matrix, weight: Matrix, beta: np.float32, out: Matrix) -> None:
    """Write x weight^T + beta out to `out`: (B, n), (m, n) and (B, m)."""
    letters = np.array([ord("T"), ord("N")], dtype=np.uint8)
    sizes = np.array([weight.shape[0], x.shape[0], x.shape[1]], dtype=np.int32)
    factors = np.array([1.0, beta], dtype=np.float32)
    m, n_rows, n = sizes.ctypes.data, sizes.ctypes.data + 4, sizes.ctypes.data + 8
    one = factors.ctypes.data
    # In the BLAS's order of columns first this is out^T = weight x^T.
    _sgemm(
        letters.ctypes.data, letters.ctypes.data + 1, m, n_rows, n, one,
        weight.ctypes.data, n, x.ctypes.data, n, one + 4, out.ctypes.data, m,
    )  # fmt: skip


@compiled
def _first_layer(x: Matrix, of_x: Matrix, of_k: Vector, fixed: Matrix, out: Matrix) -> None:
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            out[row, column] = fixed[row, column] + of_k[column]
    _product(x, of_x, np.float32(1), out)


@compiled
def _linear(x: Matrix, weight: Matrix, bias: Vector, out: Matrix) -> None:
    for row in range(out.shape[0]):
        out[row] = bias
    _product(x, weight, np.float32(1), out)


@compiled
def _activate(is_mish: bool, x: Matrix, out: Matrix) -> None:
    numbers, results = x.reshape(x.size), out.reshape(x.size)
    if is_mish:
        mish_numbers(numbers, results)
    else:
        for i in range(numbers.size):
            results[i] = np.float32(0) if numbers[i] <= 0 else numbers[i]  # keeps what is no number


@compiled
def _run(
    first: int,
    last: int,
    is_mish: bool,
    first_layers: tuple[Matrix, ...],
    weights: tuple[Matrix, ...],
    biases: tuple[Vector, ...],
    direct: tuple[Matrix, ...],
    narrow: tuple[Matrix, Matrix],
    wide: tuple[Matrix, Matrix, Matrix, Matrix],
    factors: Matrix,
    noise: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
) -> None:
    """Denoise from index `first` down to index `last` with one network."""
    out_of_x, out_of_k, out_fixed, h_of_x, h_of_k, h_fixed = first_layers
    eps, change = narrow
    h, a, z, b = wide
    n_blocks = len(direct)
    for t in range(first, last - 1, -1):
        i = len(mean) - 1 - t
        _first_layer(x[i], out_of_x, out_of_k[t], out_fixed, eps)
        _first_layer(x[i], h_of_x, h_of_k[t], h_fixed, h)
        for block in range(n_blocks):
            _activate(is_mish, h, a)
            _linear(a, weights[2 * block], biases[2 * block], z)
            _activate(is_mish, z, b)
            _product(b, direct[block], np.float32(0), change)
            eps += change
            if block + 1 < n_blocks:
                _linear(b, weights[2 * block + 1], biases[2 * block + 1], a)
                h += a
        x0_from_x, x0_from_eps, mean_from_x0, mean_from_x, std = factors[t]
        for row in range(eps.shape[0]):
            for column in range(eps.shape[1]):
                noisy = x[i, row, column]
                x0 = _multiply_add(eps[row, column], -x0_from_eps, noisy * x0_from_x)
                if x0 < -1:
                    x0 = np.float32(-1)
                elif x0 > 1:
                    x0 = np.float32(1)
                mean[i, row, column] = _multiply_add(noisy, mean_from_x, x0 * mean_from_x0)
                x[i + 1, row, column] = _multiply_add(noise[i + 1, row, column], std, mean[i, row, column])
