from __future__ import annotations

import math

import pytest
import torch

from inril.config.algos import ClipSchedule
from inril.learning.ppo_loss import clip_schedule, clipped_surrogate, denoising_discount, normalize_advantage


def test_clip_schedule_is_the_references_on_robomimic() -> None:
    # facts/dppo.md section 2.3
    expected = [0.001, 0.00119, 0.00145, 0.00181, 0.00232, 0.00303, 0.00401, 0.00539, 0.00732, 0.01]
    schedule = clip_schedule(ClipSchedule(base=0.001, top=0.01, rate=3.0), 10)
    assert schedule.tolist() == pytest.approx(expected, abs=5.1e-6)


def test_one_denoising_step_clips_like_the_last() -> None:
    assert clip_schedule(ClipSchedule(base=0.001, top=0.01), 1).tolist() == pytest.approx([0.01])


def test_equal_end_points_make_the_clipping_constant() -> None:
    assert clip_schedule(ClipSchedule(base=0.01, top=0.01), 10).tolist() == pytest.approx([0.01] * 10)


def test_denoising_discount_is_one_at_the_last_step_and_smallest_at_the_noisiest() -> None:
    discount = denoising_discount(0.99, 10)
    assert discount.tolist() == pytest.approx([0.99**i for i in range(9, -1, -1)])
    assert discount[0].item() == pytest.approx(0.9135, abs=5e-5)
    assert denoising_discount(1.0, 3).tolist() == [1, 1, 1]
    assert denoising_discount(0.9, 1).tolist() == [1]


def random_pairs(n: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(n, dtype=torch.float64, generator=generator)
    new = (old + 0.03 * torch.randn(n, dtype=torch.float64, generator=generator)).requires_grad_()
    advantage = torch.randn(n, dtype=torch.float64, generator=generator)
    clip = 0.005 + 0.03 * torch.rand(n, dtype=torch.float64, generator=generator)
    return new, old, advantage, clip


def test_surrogate_equals_a_scalar_loop() -> None:
    new, old, advantage, clip = random_pairs()
    result = clipped_surrogate(new, old, advantage, clip)
    for i in range(len(new)):
        ratio = math.exp(new[i].item() - old[i].item())
        c, a = clip[i].item(), advantage[i].item()
        trusted = min(max(ratio, 1 - c), 1 + c)
        assert result.loss[i].item() == pytest.approx(-min(a * ratio, a * trusted), abs=1e-14)
        assert result.approx_kl[i].item() == pytest.approx(ratio - 1 - math.log(ratio), abs=1e-14)
        assert bool(result.clipped[i]) == (abs(ratio - 1) > c)
    assert 50 < int(result.clipped.sum()) < 350


def test_active_is_where_the_gradient_is_not_zero() -> None:
    new, old, advantage, clip = random_pairs()
    result = clipped_surrogate(new, old, advantage, clip)
    (gradient,) = torch.autograd.grad(result.loss.sum(), new)
    assert torch.equal(result.active.bool(), gradient != 0)
    assert 100 < int(result.active.sum()) < 390
    assert (result.clipped & result.active).any()  # clipped against the direction of improvement still pulls back


def test_gradient_of_the_surrogate_is_minus_ratio_times_advantage_where_active() -> None:
    new, old, advantage, clip = random_pairs()
    result = clipped_surrogate(new, old, advantage, clip)
    (gradient,) = torch.autograd.grad(result.loss.sum(), new)
    expected = -advantage * torch.exp(new.detach() - old) * result.active
    torch.testing.assert_close(gradient, expected, atol=1e-14, rtol=0)
    assert torch.autograd.gradcheck(lambda x: clipped_surrogate(x, old, advantage, clip).loss, (new,))


def test_policy_that_acted_is_neither_clipped_nor_diverged() -> None:
    _, old, advantage, _ = random_pairs()
    result = clipped_surrogate(old.clone(), old, advantage, torch.tensor(0.01))
    torch.testing.assert_close(result.loss, -advantage)
    assert result.approx_kl.abs().max() == 0
    assert not result.clipped.any()
    assert result.active.all()


def test_advantages_are_standardised_and_a_lone_one_only_shifted() -> None:
    generator = torch.Generator().manual_seed(0)
    advantage = 5 + 3 * torch.randn(100, dtype=torch.float64, generator=generator)
    normalized = normalize_advantage(advantage)
    assert normalized.mean().item() == pytest.approx(0, abs=1e-12)
    assert normalized.std().item() == pytest.approx(1, abs=1e-6)
    assert normalize_advantage(torch.tensor([3.0])).tolist() == [0.0]
    assert normalize_advantage(torch.full((5,), 3.0)).tolist() == [0.0] * 5
