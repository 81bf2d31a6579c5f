from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.policy import NetworkConfig
from inril.policies.mish import mish, mish_backward
from inril.policies.mlp import MLP
from inril.policies.operations import linear, small_products_by_onednn, transposed_product

ACTIVATIONS = {"relu": F.relu, "mish": F.mish, "tanh": torch.tanh}


PLAIN = {"residual": False}


def network(activation: str, widths: tuple[int, ...], **kind: bool) -> MLP:
    torch.manual_seed(0)
    config = NetworkConfig(widths=widths, activation=activation, **kind)  # type: ignore[arg-type]
    return MLP(config, 4, 3).double()


def reference(net: MLP, x: Tensor, activation: str) -> Tensor:
    """The residual network as its formula says, under plain autograd."""
    act = ACTIVATIONS[activation]
    first, *inner, last = net.layers
    h = first(x)
    for layer_1, layer_2 in zip(inner[::2], inner[1::2], strict=True):
        h = h + layer_2(act(layer_1(act(h))))
    return last(h)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(5,), (5, 5, 5), (4, 4, 4, 4, 4)])
def test_gradients_agree_with_finite_differences(activation: str, widths: tuple[int, ...]) -> None:
    net = network(activation, widths)
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: net(x), (x, *net.parameters()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("active_rows", [0, 1, 19, 37, 40])
def test_rows_without_output_gradient_are_dropped_exactly(activation: str, active_rows: int) -> None:
    net = network(activation, (16, 16, 16, 16, 16))
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(40, 3, dtype=torch.float64, generator=generator)
    weight[torch.randperm(40, generator=generator)[active_rows:]] = 0.0
    grads = []
    for function in (net, lambda x: reference(net, x, activation)):
        x = torch.randn(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
        out = function(x)
        grads.append([out.detach(), *torch.autograd.grad((weight * out).sum(), [x, *net.parameters()])])
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("active_rows", [300, 700, 1000])
def test_large_float32_batches_give_the_same_outputs_and_gradients(activation: str, active_rows: int) -> None:
    # Other kernels may serve large float32 batches.
    net = network(activation, (32, 32, 32)).float()
    exact = network(activation, (32, 32, 32))
    x = torch.randn(1000, 4, generator=torch.Generator().manual_seed(3))
    weight = torch.randn(1000, 3, generator=torch.Generator().manual_seed(2))
    weight[active_rows:] = 0.0
    ours, expected = net(x), reference(exact, x.double(), activation)
    with torch.no_grad():
        torch.testing.assert_close(net(x), ours, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.double(), expected, atol=2e-6, rtol=1e-5)
    grads = torch.autograd.grad((weight * ours).sum(), list(net.parameters()))
    for ours_, plain in zip(
        grads, torch.autograd.grad((weight * expected).sum(), list(exact.parameters())), strict=True
    ):
        torch.testing.assert_close(ours_.double(), plain, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_zero_in_one_output_does_not_drop_the_row(activation: str) -> None:
    net = network(activation, (5, 5, 5))
    x = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    parameters = list(net.parameters())
    ours = torch.autograd.grad(net(x)[:, 1].sum(), parameters)
    plain = torch.autograd.grad(reference(net, x, activation)[:, 1].sum(), parameters)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)


def test_non_finite_gradients_are_not_hidden() -> None:
    net = network("relu", (5, 5, 5))
    out = net(torch.ones(10, 4, dtype=torch.float64))
    weight = torch.zeros(10, 3, dtype=torch.float64)
    weight[3, 1] = float("nan")
    (gradient,) = torch.autograd.grad(out, [net.layers[0].weight], weight)
    assert gradient.isnan().any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("widths", "kind"),
    [((5,), {}), ((5,) * 3, {}), ((5,) * 5, {}), ((6, 7), PLAIN), ((6, 7), PLAIN | {"layer_norm": True})],
)
def test_network_with_most_of_its_input_worked_in_is_the_network(
    widths: tuple[int, ...], kind: dict[str, bool], activation: str
) -> None:
    net = network(activation, widths, **kind)
    generator = torch.Generator().manual_seed(7)
    sizes = ((2, 9, 1), (3, 1), (9, 2))
    chunks, times, obs = (torch.randn(*size, dtype=torch.float64, generator=generator) for size in sizes)
    with torch.no_grad():
        given = net.sharing(times, 2)(obs)
        for chunk, k in ((chunks[0], 2), (chunks[1], 2), (chunks[0], 1)):
            expected = net(torch.cat([chunk, times[k].expand(9, 1), obs], dim=1))
            torch.testing.assert_close(given(chunk, k), expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("n_rows", [40, 256])  # below and above oneDNN's threshold
def test_product_with_weights_of_any_layout(n_rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(n_rows, 5, generator=generator), torch.randn(7, 9, generator=generator)
    for layout in (weight[:, 2:7], weight[:, 2:7].contiguous(), weight[:, 2:7].t().contiguous().t()):
        torch.testing.assert_close(linear(x, layout), x @ layout.t())


@pytest.mark.parametrize("n_rows", [40, 256, 257, 640])  # below, at and above oneDNN's threshold, and a number it skips
def test_gradient_of_weights_of_any_layout(n_rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(n_rows, 5, generator=generator), torch.randn(n_rows, 7, generator=generator)
    exact = (a.double().t() @ b.double()).float()
    for left, right in ((a, b), (a.t().contiguous().t(), b), (a, b.t().contiguous().t())):
        torch.testing.assert_close(transposed_product(left, right), exact, atol=2e-5, rtol=1e-5)


def test_gradients_of_imitations_batches_keep_their_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(256, 64, generator=generator), torch.randn(256, 64, generator=generator)
    assert torch.equal(transposed_product(a, b), a.t() @ b)


def test_input_stays_as_it_was() -> None:
    for activation in ACTIVATIONS:
        net = network(activation, (5, 5, 5))
        x = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        before = x.clone()
        net(x).sum().backward()
        assert torch.equal(x, before)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_plain_network_is_a_sequence_of_layers(activation: str) -> None:
    net = network(activation, (6, 7), residual=False)
    act = {"relu": nn.ReLU, "mish": nn.Mish, "tanh": nn.Tanh}[activation]
    sequence = nn.Sequential(net.layers[0], act(), net.layers[1], act(), net.layers[2])
    x = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(net(x), sequence(x), atol=1e-14, rtol=1e-12)
    parameters = list(net.parameters())
    for a, b in zip(
        torch.autograd.grad(net(x).square().sum(), parameters),
        torch.autograd.grad(sequence(x).square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [True, False])
def test_fast_pass_equals_the_other_in_values_and_gradients(activation: str, residual: bool) -> None:
    net = network(activation, (6, 6, 6), residual=residual)
    x = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(7), requires_grad=True)
    inputs = [x, *net.parameters()]
    torch.testing.assert_close(net.fast(x), net(x), atol=1e-14, rtol=1e-12)
    for fast, plain in zip(
        torch.autograd.grad(net.fast(x).square().sum(), inputs),
        torch.autograd.grad(net(x).square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(fast, plain, atol=1e-13, rtol=1e-10)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("n_rows", [8, 100, 250])  # below and above the least that is worth it, no round numbers
def test_small_products_by_onednn_differ_in_rounding_alone_and_within_the_context(n_rows: int, residual: bool) -> None:
    net = network("mish", (256, 256, 256), residual=residual).float()
    x = torch.randn(n_rows, 4, generator=torch.Generator().manual_seed(8))

    def outcome() -> list[Tensor]:
        out = net(x)
        return [out, *torch.autograd.grad(out.square().mean(), list(net.parameters()))]

    before = outcome()
    with small_products_by_onednn():
        within = outcome()
    for one, other in zip(before, within, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-4)
    assert all(map(torch.equal, before, outcome()))


def test_plain_network_in_part_frozen_gives_gradients_to_the_rest_alone() -> None:
    net = network("relu", (256, 256), residual=False).float()
    net.layers[1].requires_grad_(False)
    x = torch.randn(100, 4, generator=torch.Generator().manual_seed(9), requires_grad=True)
    with small_products_by_onednn():
        net(x).square().mean().backward()
    assert x.grad is not None
    assert [parameter.grad is None for parameter in net.parameters()] == [False, False, True, True, False, False]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-7)])
def test_mish_equals_torchs(dtype: torch.dtype, tolerance: float) -> None:
    x = torch.cat([torch.linspace(-30, 30, 2001), torch.tensor([-1e4, -200.0, -1e-8, 0.0, 1e-8, 200.0, 1e4])]).to(dtype)
    torch.testing.assert_close(mish(x), F.mish(x), atol=tolerance, rtol=5 * tolerance)


def test_mish_of_a_view_and_of_numbers_that_are_none() -> None:
    x = torch.randn(6, 8)
    torch.testing.assert_close(mish(x.t()), F.mish(x.t()), atol=2e-7, rtol=1e-6)
    torch.testing.assert_close(mish_backward(torch.ones(8, 6), x.t()), mish_backward(torch.ones(6, 8), x).t())
    assert mish(torch.tensor([1.0, float("nan")])).isnan().tolist() == [False, True]
    assert mish_backward(torch.ones(2), torch.tensor([1.0, float("nan")])).isnan().tolist() == [False, True]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_gradient_of_mish_equals_torchs_also_far_from_zero(dtype: torch.dtype, tolerance: float) -> None:
    # One block of width 1 with unit weights and no bias passes its input through mish twice.
    net = MLP(NetworkConfig(widths=(1, 1, 1), activation="mish"), 1, 1).to(dtype)
    for layer in net.layers:
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([-1e4, -100.0, 100.0, 1e4])]).to(dtype)[:, None]
    x.requires_grad_()
    (ours,) = torch.autograd.grad(net(x).sum(), x)
    (plain,) = torch.autograd.grad((x + F.mish(F.mish(x))).sum(), x)
    torch.testing.assert_close(ours, plain, atol=tolerance, rtol=tolerance)
