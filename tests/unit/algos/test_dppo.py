from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from inril.algos.dppo import DiffusionHead
from inril.learning.ppo_loss import clipped_surrogate
from inril.policies.denoiser import Denoiser
from inril.policies.diffusion import DiffusionPolicy, denoising_loss, draw_noise

MakeHead = Callable[..., DiffusionHead]


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def observations(n: int = 40) -> Tensor:
    return torch.randn(n, 2, generator=stream(9))


def shift(net: Denoiser, by: float) -> None:
    with torch.no_grad():
        net.mlp.layers[-1].bias.add_(by)


@pytest.mark.parametrize("n_steps", [1, 3, 6])
def test_logprob_of_every_step_is_the_one_recorded_while_acting(make_head: MakeHead, n_steps: int) -> None:
    head = make_head(n_steps)
    obs = observations()
    sample = head.sample(obs, stream(0))
    assert sample.trace.shape == (40, *head.trace_shape()) == (40, n_steps + 1, 2, 2)
    assert sample.logprob.shape == (40, n_steps)
    assert torch.equal(sample.chunk, sample.trace[:, -1])
    for k in range(n_steps):
        logprob = head.logprob(obs, sample.trace, torch.full((40,), k))
        torch.testing.assert_close(logprob, sample.logprob[:, k], atol=2e-5, rtol=1e-5)


def test_logprob_is_that_of_independent_gaussians(make_head: MakeHead, diffusion_policy: DiffusionPolicy) -> None:
    diffusion_policy.double()
    head = make_head(3, min_logprob_std=0.2)
    shift(head.actor, 0.1)
    obs, trace = observations(30).double(), torch.randn(30, 4, 2, 2, dtype=torch.float64, generator=stream(1))
    k = torch.randint(3, (30,), generator=stream(2))
    logprob = head.logprob(obs, trace, k)
    schedule = diffusion_policy.schedule
    for i in range(30):
        t = 2 - int(k[i])
        x, x_next = trace[i, k[i]], trace[i, k[i] + 1]
        eps = head.actor(x[None], head.actor.time_table()[t][None], obs[i : i + 1])[0]
        mean = schedule.posterior_mean(x[None], eps[None], torch.tensor([t]))[0]
        each = Normal(mean, schedule.std[t].clamp(min=0.2)).log_prob(x_next)
        assert logprob[i].item() == pytest.approx(each.clamp(-5, 2).mean().item(), abs=1e-10)


def test_early_steps_come_from_the_frozen_copy_and_late_ones_from_the_fine_tuned(
    make_head: MakeHead, diffusion_policy: DiffusionPolicy
) -> None:
    obs = observations()
    head = make_head(3)
    before = head.sample(obs, stream(0))
    shift(head.actor, 0.5)
    tuned = head.sample(obs, stream(0))
    assert torch.equal(tuned.trace[:, 0], before.trace[:, 0])  # input of the first fine-tuned step
    for k in (1, 2, 3):
        assert not torch.isclose(tuned.trace[:, k], before.trace[:, k]).all()
    head = make_head(3)  # a new copy of the policy, as it was
    shift(diffusion_policy.denoiser, 0.5)
    frozen = head.sample(obs, stream(0))
    assert not torch.isclose(frozen.trace[:, 0], before.trace[:, 0]).all()
    logprob = head.logprob(obs, before.trace, torch.ones(40, dtype=torch.long))
    torch.testing.assert_close(logprob, before.logprob[:, 1], atol=2e-5, rtol=1e-5)  # the frozen copy has no part in it


def test_evaluation_uses_both_copies_and_the_evaluation_noise(
    make_head: MakeHead, diffusion_policy: DiffusionPolicy
) -> None:
    obs = observations()
    head = make_head(3)
    same = diffusion_policy.normalizer.normalize_action(diffusion_policy.act(obs, stream(0)))
    normalized = diffusion_policy.normalizer.normalize_obs(obs)
    torch.testing.assert_close(head.act(normalized, stream(0)), same, atol=1e-5, rtol=0)
    assert head.act(obs, stream(0)).abs().max() <= 1  # no noise after the last, clipped step
    before = head.act(obs, stream(0))
    shift(head.actor, 0.5)
    assert not torch.isclose(head.act(obs, stream(0)), before).all()
    head = make_head(3)
    shift(diffusion_policy.denoiser, 0.5)
    assert not torch.isclose(head.act(obs, stream(0)), before).all()


def test_exploration_noise_has_its_floor_in_the_last_step(make_head: MakeHead) -> None:
    obs = torch.zeros(2000, 2)
    sample = make_head(3, min_sampling_std=0.3).sample(obs, stream(0))
    quiet = make_head(3, min_sampling_std=1e-6).sample(obs, stream(0))
    assert sample.chunk.abs().max() > 1
    assert quiet.chunk.abs().max() < 1 + 1e-4


def test_noise_is_truncated_where_configured(make_head: MakeHead) -> None:
    sample = make_head(1, randn_clip=0.5, min_sampling_std=0.3).sample(torch.zeros(500, 2), stream(0))
    assert sample.chunk.abs().max() <= 1 + 0.5 * 0.3 + 1e-6


def test_imitation_trains_the_fine_tuned_copy_over_its_own_steps_only(
    make_head: MakeHead, diffusion_policy: DiffusionPolicy
) -> None:
    head = make_head(3)
    obs, chunk = observations(64), torch.rand(64, 2, 2, generator=stream(1)) * 2 - 1
    t, eps = draw_noise(chunk, 3, stream(2))
    assert t.unique().tolist() == [0, 1, 2]
    expected = denoising_loss(head.actor, head.schedule, obs, chunk, t, eps)
    loss = head.il_loss(obs, chunk, stream(2))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in head.il_parameters())
    assert all(parameter.grad is None for parameter in diffusion_policy.parameters())
    assert not any(parameter.requires_grad for parameter in diffusion_policy.parameters())
    assert [id(p) for p in head.il_parameters()] == [id(p) for p in head.parameters()]


def test_probe_measures_each_step_with_the_network_that_samples_it(
    make_head: MakeHead, diffusion_policy: DiffusionPolicy
) -> None:
    head = make_head(3)
    obs, chunk = observations(200), torch.rand(200, 2, 2, generator=stream(1)) * 2 - 1
    with torch.no_grad():
        same = head.probe(obs, chunk, stream(2))
        generator = stream(2)
        expected = head.il_loss(obs, chunk, generator).item()
        assert same["il_loss"] == pytest.approx(expected, rel=1e-5)
        everywhere = diffusion_policy.bc_loss(obs, chunk, generator).item()
        assert same["il_loss_all_steps"] == pytest.approx(everywhere, rel=1e-4)
        shift(head.actor, 1.0)
        tuned = head.probe(obs, chunk, stream(2))
        shift(diffusion_policy.denoiser, 1.0)
        both = head.probe(obs, chunk, stream(2))
    assert tuned["il_loss"] > same["il_loss"] + 0.3
    assert same["il_loss_all_steps"] < tuned["il_loss_all_steps"] < both["il_loss_all_steps"]
    assert both["il_loss"] == tuned["il_loss"]


@pytest.mark.parametrize("clip", [0.001, 0.05])
def test_gradient_of_the_surrogate_agrees_with_finite_differences(
    make_head: MakeHead, diffusion_policy: DiffusionPolicy, clip: float
) -> None:
    diffusion_policy.double()
    head = make_head(3)
    obs, trace = observations(8).double(), 0.4 * torch.randn(8, 4, 2, 2, dtype=torch.float64, generator=stream(1))
    k = torch.tensor([0, 1, 2, 0, 1, 2, 2, 0])
    advantage = torch.randn(8, dtype=torch.float64, generator=stream(3))
    with torch.no_grad():
        old = head.logprob(obs, trace, k) + 0.02 * torch.randn(8, dtype=torch.float64, generator=stream(4))

    def loss(*_: Tensor) -> Tensor:
        return clipped_surrogate(head.logprob(obs, trace, k), old, advantage, torch.tensor(clip)).loss.mean()

    gradients = torch.autograd.grad(loss(), list(head.parameters()))
    assert max(gradient.abs().max() for gradient in gradients) > 1e-3
    assert torch.autograd.gradcheck(loss, tuple(head.parameters()))


def test_saved_policy_holds_both_copies(make_head: MakeHead, diffusion_policy: DiffusionPolicy) -> None:
    head = make_head(3)
    shift(head.actor, 0.5)
    state = head.policy_state()
    assert torch.equal(state["denoiser_ft.mlp.layers.3.bias"], state["denoiser.mlp.layers.3.bias"] + 0.5)
    assert set(diffusion_policy.state_dict()) < set(state)
    restored = make_head(3)
    restored.load_state_dict(head.state_dict())
    obs = observations()
    assert torch.equal(restored.act(obs, stream(0)), head.act(obs, stream(0)))
