"""Mish and its derivative, in one compiled pass over the numbers each.

With e = exp(x) and n = e (e + 2), mish(x) = x tanh(softplus(x)) = x n / (n + 2): one exponential in place of four
transcendental functions. What is left costs more in memory than in arithmetic when every operation is a pass of its
own, hence the compiled loops. They take float32 in the CPU's memory; all else goes through torch. Operations are
carried out as written, so that processors agree.

Source: Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation Function".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numba
import numpy as np
import numpy.typing as npt
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from inril.jit import compiled

_LARGEST = np.float32(20.0)  # from here on n / (n + 2) is 1, in float64 too
_SMALLEST = np.float32(-80.0)  # below it exp(x) leaves float32's normal numbers, and mish(x) is 0 anyway
_LOG2_E = np.float32(1.44269504)
_LN_2_HIGH, _LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # their sum is ln 2 to 35 bits
# exp(r) = 1 + r + r^2 (c_0 r^5 + ... + c_5) for |r| <= ln 2 / 2, minimax, to 1 in 10^7 (Cephes' expf).
_EXP = tuple(
    np.float32(c) for c in (1.98756915e-4, 1.39819995e-3, 8.33345191e-3, 4.16657959e-2, 1.66666655e-1, 5.00000012e-1)
)
_MANTISSA_BITS, _EXPONENT_BIAS = np.int32(23), np.int32(127)
_ONE, _TWO, _FOUR, _HALF = np.float32(1.0), np.float32(2.0), np.float32(4.0), np.float32(0.5)


def _reinterpret_bits(typing_context: Any, bits: Any) -> Any:
    """Reinterpret an int32 as a float32, which Numba offers no function for."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


_float_of_bits = cast(Callable[[Any], np.float32], intrinsic(_reinterpret_bits))


@numba.njit(inline="always")
def _exp(x: Any) -> Any:
    """Return exp(x) of a float32 between -80 and 20."""
    k = np.floor(x * _LOG2_E + _HALF)
    r = x - k * _LN_2_HIGH - k * _LN_2_LOW
    p = _EXP[0] * r + _EXP[1]
    p = p * r + _EXP[2]
    p = p * r + _EXP[3]
    p = p * r + _EXP[4]
    p = p * r + _EXP[5]
    p = p * r * r + r + _ONE
    return p * _float_of_bits((np.int32(k) + _EXPONENT_BIAS) << _MANTISSA_BITS)


@partial(compiled, error_model="numpy")
def mish_numbers(x: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    """Write Mish of the numbers x (n,) to `out`; compiled loops call it too."""
    for i in range(x.size):
        e = _exp(max(min(x[i], _LARGEST), _SMALLEST))
        n = e * (e + _TWO)
        out[i] = x[i] * (n / (n + _TWO))


@partial(compiled, error_model="numpy")
def _backward(x: npt.NDArray[np.float32], grad: npt.NDArray[np.float32]) -> None:
    for i in range(x.size):
        e = _exp(max(min(x[i], _LARGEST), _SMALLEST))
        n = e * (e + _TWO)
        # d/dx [x n / (n + 2)] = n / (n + 2) + 4 x e (e + 1) / (n + 2)^2
        grad[i] *= (n + _FOUR * e * (e + _ONE) * x[i] / (n + _TWO)) / (n + _TWO)


def _compiled_can(*tensors: Tensor) -> bool:
    return all(t.dtype == torch.float32 and t.device.type == "cpu" and t.is_contiguous() for t in tensors)


def _numbers(x: Tensor) -> Any:
    return x.detach().view(-1).numpy()


def mish(x: Tensor) -> Tensor:
    """Apply Mish; no autograd."""
    if _compiled_can(x):
        out = torch.empty_like(x)
        mish_numbers(_numbers(x), _numbers(out))
        return out
    e = x.clamp(max=20.0).exp_()
    n = (e + 2).mul_(e)
    return (n + 2).reciprocal_().mul_(n).mul_(x)


def mish_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Return the gradient before a Mish of x, of which `grad` is the gradient after it; overwrites `grad`."""
    if _compiled_can(grad, x):
        _backward(_numbers(x), _numbers(grad))
        return grad
    e = x.clamp(max=20.0).exp_()
    n2 = (e + 2).mul_(e).add_(2)
    return grad.mul_((e + 1).mul_(e).mul_(4).mul_(x).div_(n2).add_(n2).sub_(2).div_(n2))
