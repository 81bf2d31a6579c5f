"""What layers are computed by: products by the fastest library at hand, and activations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional as F

from inril.policies.mish import mish, mish_backward

# Where there is AVX-512, oneDNN's product is faster than the BLAS call behind F.linear, by some 10 % or, on processors
# on which that library makes no use of it, by half to twice; and it applies the activation on its way out. With AVX2 it
# is slower. Its set-up pays from some five million multiplications on: 80 rows and 256 x 256 weights.
_USES_ONEDNN = (
    torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
)
_ONEDNN_MIN_MULTIPLICATIONS = 5_000_000
# What it is given outside of `small_products_by_onednn`.
_ONEDNN_MIN_ROWS = 256
_ONEDNN_ROW_MULTIPLE = 4
_SMALL_TOO = ContextVar("small_too", default=False)


@contextmanager
def small_products_by_onednn() -> Iterator[None]:
    """Have oneDNN take all products that it is faster at, and not only those of many rows.

    Fine-tuning does. Pre-training and demonstrators keep the rounding that their published results have.
    """
    token = _SMALL_TOO.set(True)
    try:
        yield
    finally:
        _SMALL_TOO.reset(token)


def small_products_are_onednns() -> bool:
    """Tell whether oneDNN is given small products too."""
    return _SMALL_TOO.get()


def is_onednns(x: Tensor, n_multiplications: int, min_rows: int = _ONEDNN_MIN_ROWS) -> bool:
    """Tell whether oneDNN takes a product of the rows x (B, n), a layer's unless another minimum is given."""
    if not _USES_ONEDNN or x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    if _SMALL_TOO.get():
        return n_multiplications >= _ONEDNN_MIN_MULTIPLICATIONS
    n_rows = x.shape[0]
    return n_rows >= min_rows and n_rows % _ONEDNN_ROW_MULTIPLE == 0


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """Return activation(x weight^T + bias) with the fastest kernel at hand; no autograd.

    Args:
        x: (B, n).
        weight: (m, n).
        bias: (m,) or None.
        activation: "none" or the name of one.
    """
    # Other layouts of the weights are a thousand times slower there.
    weight_suits = weight.is_contiguous() or weight.t().is_contiguous()
    if weight_suits and is_onednns(x, x.shape[0] * weight.numel()):
        fused = activation if activation == "relu" else "none"
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, fused, [], "")
        return out if activation == fused else activate(activation, out)
    out = F.linear(x, weight, bias)
    return out if activation == "none" else activate(activation, out)


def transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """Return a^T b, the gradient of a layer's weights, with the fastest kernel at hand; no autograd.

    Args:
        a: (B, m) gradient of the layer's output.
        b: (B, n) its input.

    Returns:
        (m, n)
    """
    # Batches of the smallest size that `linear` gives to oneDNN are pre-training's and stay with the BLAS.
    if is_onednns(a, a.numel() * b.shape[1], _ONEDNN_MIN_ROWS + 1):
        # Slow with a left factor that is read by columns; the copy costs less than that.
        out: Tensor = torch.ops.mkldnn._linear_pointwise(a.t().contiguous(), b.t(), None, "none", [], "")
        return out
    return a.t() @ b


def activate(name: str, x: Tensor) -> Tensor:
    """Apply an activation by its config name; no autograd."""
    if name == "mish":
        return mish(x)
    return torch.relu(x) if name == "relu" else torch.tanh(x)


def activation_backward(name: str, grad: Tensor, saved: Tensor) -> Tensor:
    """Gradient before an activation; may overwrite `grad`.

    Args:
        name: of the activation.
        grad: gradient after it.
        saved: its output for ReLU and tanh, its input for Mish.
    """
    if name == "relu":
        torch.ops.aten.threshold_backward.grad_input(grad, saved, 0, grad_input=grad)
        return grad
    if name == "tanh":
        return grad.mul_(1 - saved * saved)
    return mish_backward(grad, saved)
