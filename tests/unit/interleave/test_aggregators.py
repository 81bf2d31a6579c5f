from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor
from torchjd.aggregation import UPGrad
from torchjd.linalg import QuadprogProjector

from inril.errors import InputError
from inril.interleave.aggregators import make_aggregator, mean, upgrad

TORCHJD = ["AlignedMTL", "ConFIG", "DualProj", "IMTLG", "MGDA", "Mean", "PCGrad", "Sum", "UPGrad"]
EXACT = UPGrad(projector=QuadprogProjector(norm_eps=0.0, reg_eps=0.0))


def pair(seed: int, ratio: float = 1.0, cosine: float | None = None, size: int = 50) -> tuple[Tensor, Tensor]:
    """Two float64 gradients with norms 1 and `ratio`, at random or at a given angle."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, size, dtype=torch.float64, generator=generator)
    a /= a.norm()
    if cosine is not None:
        across = b - (a @ b) * a
        b = cosine * a + (1 - cosine**2) ** 0.5 * across / across.norm()
    return a, ratio * b / b.norm()


@pytest.mark.parametrize("ratio", [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e4])
@pytest.mark.parametrize("cosine", [None, 0.7, 0.0, -0.1, -0.5, -0.9, -0.99])
def test_closed_form_is_torchjds_exact_projection(ratio: float, cosine: float | None) -> None:
    for seed in range(5):
        g_rl, g_il = pair(seed, ratio, cosine)
        ours = upgrad(g_rl, g_il, 0.5)
        exact = EXACT(torch.stack([g_rl, g_il]))
        # The solver works on the Gramian, whose condition is the square of the norms' ratio.
        torch.testing.assert_close(ours, exact, atol=1e-7 * float(exact.norm()), rtol=1e-6)


@pytest.mark.parametrize("ratio", [1.0, 1e-2, 1e-4, 1e4])
@pytest.mark.parametrize("cosine", [-0.1, -0.5, -0.99])
def test_projections_are_perpendicular_to_what_they_conflicted_with(ratio: float, cosine: float) -> None:
    g_rl, g_il = pair(0, ratio, cosine)
    unit_rl, unit_il = g_rl / g_rl.norm(), g_il / g_il.norm()
    expected = (g_rl - (g_rl @ unit_il) * unit_il) + (g_il - (g_il @ unit_rl) * unit_rl)
    torch.testing.assert_close(upgrad(g_rl, g_il, 1.0), expected, atol=1e-14 * max(1.0, ratio), rtol=1e-10)


def test_projection_drops_the_result_of_a_conflict_onto_no_one() -> None:
    # The result helps each by what is left of its own projection: <d, g> = s |pi(g)|^2.
    for seed in range(200):
        g_rl, g_il = pair(seed, ratio=10 ** (seed % 9 - 4), cosine=-0.95 + 0.009 * seed)
        direction = upgrad(g_rl, g_il, 0.5)
        for g in (g_rl, g_il):
            assert float(direction @ g) >= -1e-12 * float(direction.norm() * g.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_never_opposes_either_gradient(dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        g_rl, g_il = torch.randn(2, 4, dtype=dtype, generator=generator)  # few dimensions: angles of all sizes
        g_il *= 10 ** (8 * torch.rand((), generator=generator).item() - 4)
        direction = upgrad(g_rl, g_il, 0.5)
        scale = 0.5 * (g_rl.norm() + g_il.norm())
        for g in (g_rl, g_il):
            assert float(direction @ g) >= -20 * eps * float(scale * g.norm())


@pytest.mark.parametrize("ratio", [1.0, 1e-4, 7.0, 1e4])
def test_exactly_opposed_gradients_cancel(ratio: float) -> None:
    g, _ = pair(0)
    assert upgrad(g, -ratio * g, 0.5).norm() <= 1e-15 * max(1.0, ratio)


@pytest.mark.parametrize("ratio", [1.0, 1e-4, 1e4])
def test_aligned_gradients_are_averaged(ratio: float) -> None:
    g, _ = pair(0)
    torch.testing.assert_close(upgrad(g, ratio * g, 0.5), 0.5 * (1 + ratio) * g)


def test_agreeing_gradients_are_left_alone() -> None:
    for cosine in (0.0, 1e-9, 0.3, 0.999):
        g_rl, g_il = pair(3, 0.1, cosine)
        torch.testing.assert_close(upgrad(g_rl, g_il, 0.5), mean(g_rl, g_il, 0.5), atol=1e-15, rtol=0)


def test_zero_gradient_conflicts_with_nothing() -> None:
    g, _ = pair(0)
    zero = torch.zeros_like(g)
    assert torch.equal(upgrad(g, zero, 0.5), 0.5 * g)
    assert torch.equal(upgrad(zero, g, 0.5), 0.5 * g)
    assert torch.equal(upgrad(zero, zero, 0.5), zero)


def test_inputs_stay_as_they_were() -> None:
    for cosine in (-0.5, 0.5):
        g_rl, g_il = pair(0, 1.0, cosine)
        before = g_rl.clone(), g_il.clone()
        upgrad(g_rl, g_il, 0.5)
        mean(g_rl, g_il, 0.5)
        assert torch.equal(g_rl, before[0])
        assert torch.equal(g_il, before[1])


@pytest.mark.parametrize("cosine", [-0.7, 0.4])
def test_pcgrad_is_twice_upgrad(cosine: float) -> None:
    g_rl, g_il = pair(1, 0.2, cosine)
    pcgrad = make_aggregator("upgrad", 1.0)(g_rl, g_il)
    torch.testing.assert_close(pcgrad, 2 * make_aggregator("upgrad", 0.5)(g_rl, g_il))
    torch.testing.assert_close(make_aggregator("torchjd.PCGrad", 0.5)(g_rl, g_il), pcgrad, atol=1e-12, rtol=1e-9)


def test_mean_is_the_plain_average() -> None:
    g_rl, g_il = pair(1, 5.0, -0.7)
    torch.testing.assert_close(make_aggregator("mean", 0.5)(g_rl, g_il), torch.stack([g_rl, g_il]).mean(0))


@pytest.mark.parametrize("name", TORCHJD)
@pytest.mark.parametrize("cosine", [-0.6, 0.5])
def test_every_aggregator_of_torchjd_works_at_any_size(name: str, cosine: float) -> None:
    aggregate = make_aggregator(f"torchjd.{name}", 0.5)
    g_rl, g_il = pair(2, 0.3, cosine)
    direction = aggregate(g_rl, g_il)
    assert direction.shape == g_rl.shape
    assert torch.isfinite(direction).all()
    # A convex or projected combination of two gradients stays in their plane.
    plane = torch.linalg.qr(torch.stack([g_rl, g_il], dim=1)).Q
    torch.testing.assert_close(plane @ (plane.T @ direction), direction, atol=1e-9, rtol=0)
    for size in (1e-6, 1e6):
        torch.testing.assert_close(aggregate(size * g_rl, size * g_il), size * direction, atol=1e-9 * size, rtol=1e-6)


@pytest.mark.parametrize("name", TORCHJD)
def test_scale_is_a_plain_factor_of_torchjds_aggregators(name: str) -> None:
    g_rl, g_il = pair(2, 0.3, -0.6)
    half, one = (make_aggregator(f"torchjd.{name}", scale)(g_rl, g_il) for scale in (0.5, 1.0))
    torch.testing.assert_close(one, 2 * half)


@pytest.mark.parametrize("name", TORCHJD)
def test_two_zero_gradients_give_no_direction(name: str) -> None:
    zero = torch.zeros(7)
    assert torch.equal(make_aggregator(f"torchjd.{name}", 0.5)(zero, zero), zero)


def test_torchjds_default_upgrad_agrees_where_norms_are_balanced() -> None:
    for cosine in (-0.7, 0.3):
        g_rl, g_il = pair(4, 1.0, cosine)
        theirs = make_aggregator("torchjd.UPGrad", 0.5)(g_rl, g_il)
        torch.testing.assert_close(theirs, upgrad(g_rl, g_il, 0.5), atol=2e-3, rtol=0)


def test_unknown_aggregator_is_refused_with_the_choices() -> None:
    choices = "upgrad, mean, torchjd.AlignedMTL, torchjd.CAGrad, " + ", ".join(f"torchjd.{n}" for n in TORCHJD[1:])
    for name in ("upgrade", "UPGrad", "torchjd.Upgrad", "torchjd.Krum"):
        with pytest.raises(InputError) as caught:
            make_aggregator(name, 0.5)
        assert str(caught.value) == f"il: aggregator: expected one of {choices}, got {name!r}"


@pytest.mark.skipif(importlib.util.find_spec("cvxpy") is not None, reason="cvxpy is installed")
def test_aggregator_without_its_packages_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        make_aggregator("torchjd.CAGrad", 0.5)
    text = str(caught.value)
    assert text.startswith("il: aggregator: expected all packages that torchjd.CAGrad needs, got ")
    assert "cvxpy" in text
    assert text.endswith("Or choose another aggregator")
    assert "\n" not in text


@pytest.mark.skipif(importlib.util.find_spec("cvxpy") is None, reason="cvxpy is not installed")
def test_cagrad_works_where_its_packages_are() -> None:
    g_rl, g_il = pair(2, 0.3, -0.6)
    assert torch.isfinite(make_aggregator("torchjd.CAGrad", 0.5)(g_rl, g_il)).all()


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf")])
def test_gradient_that_is_not_finite_stays_visible(spoilt: float) -> None:
    for cosine in (-0.6, 0.5):
        g_rl, g_il = pair(2, 0.3, cosine)
        g_il[3] = spoilt
        assert not torch.isfinite(upgrad(g_rl, g_il, 0.5)).all()
        assert not torch.isfinite(mean(g_rl, g_il, 0.5)).all()
