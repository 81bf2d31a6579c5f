from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from inril.algos.bc_loss import DemoLoss, TeacherLoss
from inril.algos.dppo import DiffusionHead
from inril.algos.ppo import PPO
from inril.data.chunks import ChunkDataset
from inril.policies.diffusion import DiffusionPolicy
from inril.seeding import torch_stream

Make = Callable[..., PPO]


def demos(dtype: torch.dtype = torch.float32) -> ChunkDataset:
    generator = torch.Generator().manual_seed(7)
    obs, action = (2 * torch.rand(50, 2, generator=generator) - 1 for _ in range(2))
    return ChunkDataset(obs.to(dtype), action.to(dtype), np.arange(48), 2)


def teacher(weight: float, microbatch: int = 7) -> Callable[[DiffusionHead], TeacherLoss]:
    return lambda head: TeacherLoss(head.teach, head.logprob, weight, microbatch, seed=3)


def on_demos(weight: float, dtype: torch.dtype = torch.float32) -> Callable[[DiffusionHead], DemoLoss]:
    return lambda head: DemoLoss(head.il_loss, demos(dtype), weight, 20, seed=3)


def to_double(ppo: PPO, monkeypatch: pytest.MonkeyPatch) -> PPO:
    """Continue in float64 from a rollout that was collected in float32."""
    assert isinstance(ppo.head, DiffusionHead)
    assert ppo.rollout is not None
    ppo.head.policy.double()
    ppo.head.actor.double()
    ppo.critic.double()
    ppo.rollout = type(ppo.rollout)(*(x.double() for x in ppo.rollout))
    monkeypatch.setattr(
        "inril.policies.diffusion.randn",
        lambda shape, generator, device: torch.randn(shape, generator=generator).double(),
    )
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in ppo.head.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return ppo


def actor_gradients(ppo: PPO, itr: int = 1) -> tuple[list[Tensor], list[dict[str, float]]]:
    """Gradient and log of each actor step, none of which is taken."""
    gradients, infos = [], []
    for update in ppo.updates(itr):
        update.zero_grad()
        info = update.backward()
        if update.is_actor:
            gradients.append(torch.cat([p.grad.flatten() for p in update.parameters if p.grad is not None]))
            infos.append(info)
    return gradients, infos


def run(ppo: PPO, itr: int) -> None:
    for update in ppo.updates(itr):
        update.zero_grad()
        update.backward()
        update.apply()


def weights(ppo: PPO) -> Tensor:
    return torch.cat([p.detach().flatten() for p in [*ppo.head.parameters(), *ppo.critic.parameters()]])


def minibatches(n_pairs: int, size: int, epochs: int) -> list[tuple[Tensor, Tensor]]:
    """Rows and steps of an iteration's minibatches, drawn again; K' = 3."""
    generator = torch_stream(0, "minibatch", 1)
    orders = [torch.randperm(n_pairs, generator=generator) for _ in range(epochs)]
    pairs = [order[i : i + size] for order in orders for i in range(0, n_pairs - size + 1, size)]
    return [(p // 3, p % 3) for p in pairs]


def transition_logprob(head: DiffusionHead, obs: Tensor, trace: Tensor, k: int) -> Tensor:
    """Mean of the clamped Gaussian log-densities of transition k of each trace (B, K'+1, Tp, Da)."""
    t = 2 - k
    schedule = head.schedule
    alpha_bar = schedule.sqrt_alpha_bar[t].double() ** 2
    eps = head.actor(trace[:, k], head.actor.time_table()[t].expand(len(obs), -1), obs)
    x0 = ((trace[:, k] - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()).clamp(-1, 1)
    mean = schedule.mean_from_x0[t] * x0 + schedule.mean_from_x[t] * trace[:, k]
    each = Normal(mean, schedule.std[t].clamp(min=0.1)).log_prob(trace[:, k + 1])
    return each.clamp(-5, 2).mean(dim=(1, 2))


def test_teacher_acts_as_the_policy_did_before_fine_tuning(make_dppo: Make) -> None:
    head = make_dppo().head
    assert isinstance(head, DiffusionHead)
    obs = torch.randn(30, 2, generator=torch.Generator().manual_seed(1))
    before = head.sample(obs, torch.Generator().manual_seed(2)).trace
    with torch.no_grad():
        head.actor.mlp.layers[-1].bias.add_(0.5)
    assert torch.equal(head.teach(obs, torch.Generator().manual_seed(2)), before)
    assert not torch.isclose(head.sample(obs, torch.Generator().manual_seed(2)).trace[:, 1:], before[:, 1:]).all()


def test_teacher_draws_one_chain_per_observation_and_iteration(make_dppo: Make) -> None:
    taught: list[Tensor] = []

    def regularize(head: DiffusionHead) -> TeacherLoss:
        def teach(obs: Tensor, generator: torch.Generator) -> Tensor:
            taught.append(obs)
            return head.teach(obs, generator)

        return TeacherLoss(teach, head.logprob, 0.1, 7, seed=3)

    ppo = make_dppo(epochs=4, regularize=regularize)
    assert ppo.rollout is not None
    run(ppo, 1)
    assert len(taught) == 1
    assert torch.equal(taught[0], ppo.rollout.obs)
    assert isinstance(ppo.regularizer, TeacherLoss)
    first = ppo.regularizer.trace
    run(ppo, 2)
    assert len(taught) == 2
    assert not torch.isclose(ppo.regularizer.trace, first).any(dim=0).all()


@pytest.mark.parametrize("weight", [0.0, 0.1, 3.0])
def test_teacher_adds_the_weighted_gradient_of_its_chains_negative_log_likelihood(
    make_dppo: Make, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, ppo = make_dppo(), make_dppo(regularize=teacher(weight))
    plain, ppo = to_double(plain, monkeypatch), to_double(ppo, monkeypatch)
    assert ppo.rollout is not None
    g_rl, _ = actor_gradients(plain)
    gradients, infos = actor_gradients(ppo)
    assert isinstance(ppo.regularizer, TeacherLoss)
    assert isinstance(ppo.head, DiffusionHead)
    for (row, k), g, own, info in zip(minibatches(60, 30, 2), gradients, g_rl, infos, strict=True):
        obs, trace = ppo.rollout.obs[row], ppo.regularizer.trace[row]
        each = torch.stack([transition_logprob(ppo.head, obs, trace, i) for i in range(3)], dim=1)
        loss = -each[torch.arange(30), k].mean()
        imitation = torch.cat([x.flatten() for x in torch.autograd.grad(loss, list(ppo.head.parameters()))])
        torch.testing.assert_close(g, own + weight * imitation, atol=1e-6, rtol=1e-5)
        assert info["bc_loss"] == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
        assert imitation.norm() > 1e-2


def test_minibatches_of_an_epoch_add_up_to_all_fine_tuned_steps_of_all_chains(
    make_dppo: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ppo = to_double(make_dppo(epochs=1, minibatch=15, regularize=teacher(1.0)), monkeypatch)
    _, infos = actor_gradients(ppo)
    assert isinstance(ppo.regularizer, TeacherLoss)
    assert isinstance(ppo.head, DiffusionHead)
    assert ppo.rollout is not None
    trace = ppo.regularizer.trace
    whole = -sum(transition_logprob(ppo.head, ppo.rollout.obs, trace, k).mean().item() for k in range(3)) / 3
    assert len(infos) == 4
    assert np.mean([info["bc_loss"] for info in infos]) == pytest.approx(whole, rel=1e-5, abs=1e-6)


def test_teacher_pulls_the_policy_back_to_where_it_was(make_dppo: Make) -> None:
    likely = []
    for weight in (0.0, 10.0):
        ppo = make_dppo(n_steps=100, minibatch=120, epochs=10, actor_lr=0.01, regularize=teacher(weight, 200))
        assert isinstance(ppo.head, DiffusionHead)
        assert ppo.rollout is not None
        with torch.no_grad():
            ppo.head.actor.mlp.layers[-1].bias.add_(3.0)
        run(ppo, 1)
        with torch.no_grad():
            trace = ppo.head.teach(ppo.rollout.obs, torch.Generator().manual_seed(4))
            k = torch.arange(len(trace)) % 3
            likely.append(ppo.head.logprob(ppo.rollout.obs, trace, k).mean().item())
    assert likely[1] > likely[0] + 0.02


@pytest.mark.parametrize("microbatch", [1, 30, 1000])
def test_rows_at_a_time_do_not_change_the_teachers_gradient(
    make_dppo: Make, microbatch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_dppo(regularize=teacher(0.5, size)) for size in (microbatch, 7)]
    gradients = [actor_gradients(to_double(ppo, monkeypatch))[0][0] for ppo in made]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-9)


def noised(head: DiffusionHead, chunk: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    signal = head.schedule.sqrt_alpha_bar.double()[t]
    return signal[:, None, None] * chunk + (1 - signal**2).sqrt()[:, None, None] * eps


@pytest.mark.parametrize("weight", [0.0, 0.05, 2.0])
def test_demonstrations_add_their_weighted_denoising_loss_to_every_actor_step(
    make_dppo: Make, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, ppo = make_dppo(), make_dppo(regularize=on_demos(weight, torch.float64))
    plain, ppo = to_double(plain, monkeypatch), to_double(ppo, monkeypatch)
    g_rl, _ = actor_gradients(plain)
    gradients, infos = actor_gradients(ppo)
    assert isinstance(ppo.head, DiffusionHead)
    generator = torch_stream(3, "demo_loss", 1)
    assert len(gradients) == len(g_rl) == 4
    for g, own, info in zip(gradients, g_rl, infos, strict=True):
        start = torch.randint(48, (20,), generator=generator)
        source = demos(torch.float64)
        obs, chunk = source._obs[start], source._action[torch.stack([start, start + 1], dim=1)]
        t = torch.randint(3, (20,), generator=generator)
        eps = torch.randn(20, 2, 2, generator=generator)
        net = ppo.head.actor
        loss = (net(noised(ppo.head, chunk, t, eps), net.time_table()[t], obs) - eps).square().mean()
        imitation = torch.cat([x.flatten() for x in torch.autograd.grad(loss, list(ppo.head.parameters()))])
        torch.testing.assert_close(g, own + weight * imitation, atol=1e-6, rtol=1e-5)
        assert info["bc_loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert imitation.norm() > 1e-2
    assert len({info["bc_loss"] for info in infos}) == 4  # a new batch each time


@pytest.mark.parametrize("regularize", [teacher(0.0), on_demos(0.0)])
def test_a_weight_of_zero_is_plain_dppo_bit_for_bit(make_dppo: Make, regularize: Any) -> None:
    plain, ppo = make_dppo(), make_dppo(regularize=regularize)
    run(plain, 1)
    run(ppo, 1)
    assert torch.equal(weights(plain), weights(ppo))


@pytest.mark.parametrize("regularize", [teacher(0.2), on_demos(0.2)])
def test_the_critic_and_the_measured_reinforcement_loss_know_nothing_of_it(
    make_dppo: Make, diffusion_policy: DiffusionPolicy, regularize: Any
) -> None:
    plain, ppo = make_dppo(), make_dppo(regularize=regularize)
    losses = [p.rl_loss(20, 0, torch.Generator().manual_seed(0)) for p in (plain, ppo)]
    assert torch.equal(*losses)
    run(plain, 1)
    run(ppo, 1)
    assert not torch.equal(weights(plain), weights(ppo))
    for a, b in zip(plain.critic.parameters(), ppo.critic.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(p.grad is None for p in diffusion_policy.parameters())
