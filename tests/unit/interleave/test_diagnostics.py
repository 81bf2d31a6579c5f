from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from inril.interleave.diagnostics import gradient_angle

DIM = 400


def noisy_linear(parameter: Tensor, direction: Tensor, noise: float, seed: int) -> Callable[[], Tensor]:
    """A quadratic loss with its gradient at the origin given by `direction` plus new noise at every call."""
    generator = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        target = direction + noise * torch.randn(DIM, generator=generator)
        return 0.5 * (parameter + target).square().sum()

    return loss


def directions(cosine: float) -> tuple[Tensor, Tensor]:
    a, b = torch.zeros(DIM), torch.zeros(DIM)
    a[0] = 2.0
    b[0], b[1] = 0.7 * cosine, 0.7 * (1 - cosine**2) ** 0.5
    return a, b


@pytest.mark.parametrize("cosine", [-1.0, -0.6, 0.0, 0.3, 1.0])
def test_without_noise_the_angle_is_exact(cosine: float) -> None:
    parameter = torch.zeros(DIM, requires_grad=True)
    a, b = directions(cosine)
    info = gradient_angle(noisy_linear(parameter, a, 0, 0), noisy_linear(parameter, b, 0, 1), [parameter])
    assert info["grad_cosine"] == pytest.approx(cosine, abs=1e-6)
    assert info["rho"] == -info["grad_cosine"]
    assert info["grad_cosine_raw"] == pytest.approx(cosine, abs=1e-6)
    assert info["grad_conflict"] == float(cosine < 0)
    assert info["grad_signal"] == 1
    assert info["grad_norm_rl_corrected"] == pytest.approx(2.0)
    assert info["grad_norm_il_corrected"] == pytest.approx(0.7)


@pytest.mark.parametrize("cosine", [-0.6, 0.4, 0.8])
def test_noise_hides_the_angle_less_than_in_the_raw_cosine(cosine: float) -> None:
    # Noise of norm 2 on gradients of norm 2 and noise of norm 0.7 on those of norm 0.7.
    parameter = torch.zeros(DIM, requires_grad=True)
    a, b = directions(cosine)
    infos = [
        gradient_angle(
            noisy_linear(parameter, a, 2.0 / DIM**0.5, 2 * seed),
            noisy_linear(parameter, b, 0.7 / DIM**0.5, 2 * seed + 1),
            [parameter],
        )
        for seed in range(100)
    ]
    corrected, raw = (np.array([info[name] for info in infos]) for name in ("grad_cosine", "grad_cosine_raw"))
    assert corrected.mean() == pytest.approx(cosine, abs=0.03)
    assert raw.mean() == pytest.approx(cosine / 1.5, abs=0.03)  # each norm grows by sqrt(1 + 1/2)
    assert np.abs(corrected - cosine).mean() < np.abs(raw - cosine).mean()
    norms = np.array([info["grad_norm_rl_corrected"] for info in infos])
    assert norms.mean() == pytest.approx(2.0, abs=0.03)


def test_signal_that_drowns_in_noise_is_said_to() -> None:
    parameter = torch.zeros(DIM, requires_grad=True)
    zero = torch.zeros(DIM)
    infos = [
        gradient_angle(
            noisy_linear(parameter, zero, 1.0, 2 * seed), noisy_linear(parameter, zero, 1.0, 2 * seed + 1), [parameter]
        )
        for seed in range(60)
    ]
    lost = [info for info in infos if info["grad_signal"] == 0]
    assert 30 < len(lost) < 58  # three of four, by chance
    for info in lost:
        assert info["grad_cosine"] == 0
        assert info["rho"] == 0
        assert info["grad_norm_rl_corrected"] == 0 or info["grad_norm_il_corrected"] == 0
    assert all(-1 <= info["grad_cosine"] <= 1 for info in infos)


def test_zero_gradients_are_no_error() -> None:
    parameter = torch.zeros(DIM, requires_grad=True)
    zero = torch.zeros(DIM)
    info = gradient_angle(noisy_linear(parameter, zero, 0, 0), noisy_linear(parameter, zero, 0, 1), [parameter])
    assert all(np.isfinite(value) for value in info.values())
    assert info["grad_cosine"] == info["grad_cosine_raw"] == info["grad_signal"] == 0


def test_measuring_changes_no_gradient_and_no_random_stream() -> None:
    first, second = torch.zeros(10, 20, requires_grad=True), torch.zeros(200, requires_grad=True)
    first.grad = torch.full((10, 20), 3.0)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002

    def loss(seed: int) -> Callable[[], Tensor]:
        generator = torch.Generator().manual_seed(seed)

        def new() -> Tensor:
            both = torch.cat([first.flatten(), second])
            return (both - torch.randn(DIM, generator=generator)).square().sum()

        return new

    gradient_angle(loss(0), loss(1), [first, second])
    assert first.grad is not None
    assert torch.equal(first.grad, torch.full((10, 20), 3.0))
    assert second.grad is None
    assert torch.equal(first, torch.zeros(10, 20))
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]  # noqa: NPY002


def test_each_loss_is_asked_for_two_batches() -> None:
    parameter = torch.zeros(DIM, requires_grad=True)
    calls = {"rl": 0, "il": 0}

    def counted(name: str) -> Callable[[], Tensor]:
        def loss() -> Tensor:
            calls[name] += 1
            return (parameter - 1).square().sum()

        return loss

    gradient_angle(counted("rl"), counted("il"), [parameter])
    assert calls == {"rl": 2, "il": 2}
