"""Multilayer perceptrons that compute no more than the loss asks for.

The residual network has layers without an activation between them. Their weights are multiplied out first, which leaves
half of the wide matrix products (`Folded`).

PPO's clipped surrogate gives many rows of a minibatch an output gradient of exactly zero. Such rows add exactly zero to
every parameter's gradient, so the residual network drops them before its matrix products instead of multiplying zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.policy import NetworkConfig
from inril.policies.mish import mish, mish_backward
from inril.policies.operations import (
    activate,
    activation_backward,
    linear,
    small_products_are_onednns,
    transposed_product,
)

# Rows kept for a backward pass are rounded up to a multiple of this: it keeps a kernel for every number of rows.
_KEPT_ROW_MULTIPLE = 128
# For plain networks, which leave their backward pass to autograd.
_DIFFERENTIABLE = {"relu": torch.relu, "mish": F.mish, "tanh": torch.tanh}


def _rows_to_keep(grad_out: Tensor) -> Tensor:
    """Indices of the rows (B, m) with a gradient, filled up with others to a round number; all rows if few are idle."""
    active = grad_out.any(dim=1)
    n_active, n_rows = int(active.sum()), len(grad_out)
    n_kept = -(-n_active // _KEPT_ROW_MULTIPLE) * _KEPT_ROW_MULTIPLE
    if n_kept > 0.9 * n_rows:  # gathering would cost more than the products saved
        return torch.arange(n_rows, device=grad_out.device)
    idle = (~active).nonzero().squeeze(1)[: n_kept - n_active]
    return torch.cat([active.nonzero().squeeze(1), idle])


class Folded(NamedTuple):
    """A residual network of n blocks, its output layer multiplied into all layers that add to the residual sum.

    With b_0 = x, h_i = h_(i-1) + W_i b_(i-1) + u_i and b_i = act(R_i act(h_i) + v_i), the output is
    D_0 b_0 + ... + D_n b_n + c. The D are as narrow as the output, and the last block needs no second wide product.

    Attributes:
        inner: [W_1, u_1, R_1, v_1, ..., W_n, u_n, R_n, v_n]: all layers but the last two, as they are.
        direct: [D_0, ..., D_n].
        bias: c.
    """

    inner: Sequence[Tensor]
    direct: Sequence[Tensor]
    bias: Tensor


def fold(parameters: Sequence[Tensor]) -> Folded:
    """Fold a network's [weight, bias, ...]; autograd takes the gradients of D and c back to what they are made of."""
    weights, biases = parameters[::2], parameters[1::2]
    summed = slice(0, -1, 2)  # the layers that add to the residual sum
    return Folded(
        inner=parameters[:-4],
        direct=[weights[-1] @ weight for weight in weights[summed]],
        bias=biases[-1] + weights[-1] @ torch.stack(list(biases[summed])).sum(0),
    )


def _residual_forward(x: Tensor, activation: str, net: Folded) -> tuple[Tensor, list[Tensor]]:
    """Map (B, n) to the output, and to what a backward pass needs."""
    out = linear(x, net.direct[0], net.bias)
    h = linear(x, net.inner[0], net.inner[1]) if net.inner else out  # no block, no h
    kept = _residual_blocks(out, h, activation, net)
    return out, [x, *kept]


def _residual_blocks(out: Tensor, h: Tensor, activation: str, net: Folded) -> list[Tensor]:
    """Add to `out` what the blocks add, from h of the first one; return what they compute on the way."""
    layers = list(zip(net.inner[::2], net.inner[1::2], strict=True))
    kept: list[Tensor] = []
    for i, direct in enumerate(net.direct[1:]):
        a = activate(activation, h)
        if activation == "mish":
            z = linear(a, *layers[2 * i + 1])
            b = mish(z)
            kept += [a, b, h, z]
        else:
            b = linear(a, *layers[2 * i + 1], activation)
            kept += [a, b]
        out += linear(b, direct)
        if 2 * i + 2 < len(layers):
            h = linear(b, *layers[2 * i + 2]).add_(h)
    return kept


class _ResidualMLP(torch.autograd.Function):
    """`_residual_forward` with a backward pass over the rows that have a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str, n_blocks: int, *parameters: Tensor) -> Tensor:
        net = Folded(parameters[: 4 * n_blocks], parameters[4 * n_blocks : -1], parameters[-1])
        out, saved = _residual_forward(x, activation, net)
        ctx.save_for_backward(*saved, *net.inner[::2], *net.direct)
        ctx.activation, ctx.n_blocks = activation, n_blocks
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        n_rows, n_inner = len(grad_out), 2 * ctx.n_blocks
        n_weights = n_inner + ctx.n_blocks + 1
        saved, weights = list(ctx.saved_tensors[:-n_weights]), ctx.saved_tensors[-n_weights:]
        inner, direct = weights[:n_inner], weights[n_inner:]
        kept = _rows_to_keep(grad_out)
        if len(kept) < n_rows:
            grad_out = grad_out.index_select(0, kept)
            saved = [tensor.index_select(0, kept) for tensor in saved]
        grads_inner: list[Tensor] = []
        grads_direct: list[Tensor] = []
        grad_h = None
        for i in reversed(range(ctx.n_blocks)):
            if ctx.activation == "mish":
                a, b, key_a, key_b = saved[-4:]
                del saved[-4:]
            else:
                key_a, key_b = a, b = saved[-2:]
                del saved[-2:]
            grads_direct.insert(0, transposed_product(grad_out, b))
            grad_b = linear(grad_out, direct[i + 1].t())
            if grad_h is not None:  # a later block saw b as well
                grads_inner[:0] = [transposed_product(grad_h, b), grad_h.sum(0)]
                grad_b += linear(grad_h, inner[2 * i + 2].t())
            grad_z = activation_backward(ctx.activation, grad_b, key_b)
            grads_inner[:0] = [transposed_product(grad_z, a), grad_z.sum(0)]
            change = activation_backward(ctx.activation, linear(grad_z, inner[2 * i + 1].t()), key_a)
            grad_h = change if grad_h is None else change.add_(grad_h)
        (x,) = saved
        grads_direct.insert(0, transposed_product(grad_out, x))
        if grad_h is not None:
            # A narrow input is multiplied from the left: products with long rows are faster.
            grads_inner[:0] = [transposed_product(x, grad_h).t().contiguous(), grad_h.sum(0)]
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = linear(grad_out, direct[0].t())
            if grad_h is not None:
                grad_x += linear(grad_h, inner[0].t())
            if len(grad_x) < n_rows:
                grad_x = grad_x.new_zeros(n_rows, grad_x.shape[1]).index_copy_(0, kept, grad_x)
        return grad_x, None, None, *grads_inner, *grads_direct, grad_out.sum(0)


class FirstLayer(NamedTuple):
    """[x, shared[k], own] weight^T + bias with `shared` worked in; see `MLP.sharing`.

    Attributes:
        of_x: (m, n) columns of the weight that x (B, n) meets.
        of_k: (K, m) what the K rows of `shared` add.
        of_own: (m, o) columns that `own` meets.
        bias: (m,).
    """

    of_x: Tensor
    of_k: Tensor
    of_own: Tensor
    bias: Tensor

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, shared: Tensor, n_own: int) -> FirstLayer:
        """Work in `shared` (K, s)."""
        n_shared = shared.shape[1]
        columns = weight.split([weight.shape[1] - n_shared - n_own, n_shared, n_own], dim=1)
        of_x, of_shared, of_own = (part.contiguous() for part in columns)
        return cls(of_x, linear(shared, of_shared), of_own, bias)

    def given(self, own: Tensor) -> GivenFirstLayer:
        """Work in `own` (B, o) too."""
        return GivenFirstLayer(self.of_x, self.of_k, linear(own, self.of_own, self.bias))


@dataclass(frozen=True)
class GivenFirstLayer:
    """The same with all but x worked in.

    Attributes:
        of_x: (m, n).
        of_k: (K, m).
        fixed: (B, m) what `own` and the bias add.
    """

    of_x: Tensor
    of_k: Tensor
    fixed: Tensor

    def __call__(self, x: Tensor, k: int) -> Tensor:
        """Map (B, n) and an index below K to (B, m)."""
        return (self.fixed + self.of_k[k]).addmm_(x, self.of_x.t())


@dataclass(frozen=True)
class GivenMLP:
    """A residual network of one block or more with most of its input worked in; see `MLP.sharing`.

    Attributes:
        activation: its name.
        out: `Folded`'s D_0 with c.
        h: W_1 with u_1.
        net: the whole network.
    """

    activation: str
    out: GivenFirstLayer
    h: GivenFirstLayer
    net: Folded

    def __call__(self, x: Tensor, k: int) -> Tensor:
        """Map (B, in_dim - s - o) and an index below K to (B, out_dim)."""
        out = self.out(x, k)
        _residual_blocks(out, self.h(x, k), self.activation, self.net)
        return out


class _Linear(torch.autograd.Function):
    """`linear` with a backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            linear(grad, weight.t()) if needs_x else None,
            transposed_product(grad, x) if needs_weight else None,
            grad.sum(0) if needs_bias else None,
        )


class _Mish(torch.autograd.Function):
    """`mish` with a backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return mish(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return mish_backward(grad.clone(), x)


class MLP(nn.Module):
    """Plain or residual multilayer perceptron without an activation after its last layer.

    The residual one: h = L_first x; h = h + L_2 act(L_1 act(h)) for every block; out = L_last h.

    Args:
        config: hidden widths, activation, residual or not. A residual network of n widths has (n - 1) / 2 blocks.
        in_dim: size of the input.
        out_dim: size of the output.
    """

    def __init__(self, config: NetworkConfig, in_dim: int, out_dim: int) -> None:
        super().__init__()
        sizes = [in_dim, *config.widths, out_dim]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        normalized = config.widths if config.layer_norm else ()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in normalized)
        self.activation = config.activation
        self.residual = config.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, out_dim)."""
        if not self.residual:
            return self._plain(x, _DIFFERENTIABLE[self.activation])
        net = fold(self.parameters_of_layers())
        if not torch.is_grad_enabled():
            return _residual_forward(x, self.activation, net)[0]
        n_blocks, parameters = len(net.direct) - 1, (*net.inner, *net.direct, net.bias)
        return _ResidualMLP.apply(x, self.activation, n_blocks, *parameters)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def sharing(self, shared: Tensor, n_own: int) -> Callable[[Tensor], Callable[[Tensor, int], Tensor]]:
        """Return `forward` as a function of the first columns of its input, the others given; not for autograd.

        What the first layer makes of the columns that are given is computed once for all calls, and what does not
        depend on `own` here, once for all of those: the result is that of the weights of now.

        Args:
            shared: (K, s) the s columns that follow; each call says which of the K rows all its rows have there.
            n_own: o, number of the last columns.

        Returns:
            Maps `own` (B, o), the last columns, to a function of (B, in_dim - s - o) and an index below K to
            (B, out_dim).
        """
        if not self.residual:
            weight, bias = self.parameters_of_layers()[:2]
            first = FirstLayer.of(weight, bias, shared, n_own)
            return lambda own: partial(self._of_rest, first.given(own))
        net = fold(self.parameters_of_layers())
        out = FirstLayer.of(net.direct[0], net.bias, shared, n_own)
        if not net.inner:
            return out.given
        h = FirstLayer.of(net.inner[0], net.inner[1], shared, n_own)
        return lambda own: GivenMLP(self.activation, out.given(own), h.given(own), net)

    def fast(self, x: Tensor) -> Tensor:
        """Do what `forward` does, with the faster Mish in plain networks too: equal up to rounding.

        Not what `forward` does, since results that were published with plain networks should stay the same bit for bit.
        """
        if self.residual or self.activation != "mish":
            return self(x)  # type: ignore[no-any-return]
        return self._plain(x, _Mish.apply)

    def parameters_of_layers(self) -> list[Tensor]:
        """Return [weight, bias, ...]; `parameters`, which searches all modules by name, takes as long as a product."""
        layers = cast(Iterable[nn.Linear], self.layers)
        return [parameter for layer in layers for parameter in (layer.weight, layer.bias)]

    def _plain(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        return self._after_first(_layer(self.layers[0], x), activation)

    def _of_rest(self, first: GivenFirstLayer, x: Tensor, k: int) -> Tensor:
        return self._after_first(first(x, k), partial(activate, self.activation))

    def _after_first(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        for i, layer in enumerate(self.layers[1:]):
            x = _layer(layer, activation(self.norms[i](x) if self.norms else x))
        return x


def _layer(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a linear layer makes of x, by oneDNN only where that takes small products."""
    if not small_products_are_onednns():
        return layer(x)  # type: ignore[no-any-return]
    return _Linear.apply(x, layer.weight, layer.bias)  # type: ignore[no-any-return, no-untyped-call]
