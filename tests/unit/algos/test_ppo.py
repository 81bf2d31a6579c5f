from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from oracles import double_sum
from torch import Tensor
from toy_env import RESET_OBS, ToyEnv

from inril.algos.dppo import DiffusionHead
from inril.algos.ppo import PPO
from inril.algos.ppo_gaussian import GaussianHead
from inril.learning.ppo_loss import clipped_surrogate, normalize_advantage
from inril.learning.update import Info, Update
from inril.tensor_file import pack, unpack

Make = Callable[..., PPO]


@pytest.fixture(params=["dppo", "gaussian"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.getfixturevalue(f"make_{request.param}")
    return made


def to_double(ppo: PPO) -> PPO:
    """Continue in float64 from a rollout that was collected in float32."""
    assert isinstance(ppo.head, DiffusionHead | GaussianHead)
    assert ppo.rollout is not None
    ppo.head.policy.double()
    ppo.critic.double()
    if isinstance(ppo.head, DiffusionHead):
        ppo.head.actor.double()
    ppo.rollout = type(ppo.rollout)(*(x.double() for x in ppo.rollout))
    return ppo


def disturb(parameters: Iterator[Tensor] | list[Tensor], size: float) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def gradient(update: Update) -> tuple[Info, Tensor]:
    update.zero_grad()
    info = update.backward()
    return info, torch.cat([p.grad.flatten() for p in update.parameters if p.grad is not None])


def run(ppo: PPO, itr: int) -> list[Info]:
    infos = []
    for update in ppo.updates(itr):
        update.zero_grad()
        infos.append(update.backward())
        update.apply()
    return infos


def weights(ppo: PPO) -> Tensor:
    parameters = [*ppo.head.parameters(), *ppo.critic.parameters()]
    return torch.cat([p.detach().flatten() for p in parameters])


@pytest.mark.parametrize("n_steps", [1, 5, 11])
def test_time_limits_bootstrap_from_the_true_successor_and_never_from_a_reset(make: Make, n_steps: int) -> None:
    env = ToyEnv()
    ppo = make(env, n_steps, reward_scaling=False)
    steps = [step for _, step in env.log]

    def value(obs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            normalized = ppo.head.normalizer.normalize_obs(torch.from_numpy(obs).float())
            return ppo.critic(normalized).squeeze(-1).double().numpy()

    obs = np.stack([before for before, _ in env.log])
    final_obs = np.stack([step.final_obs for step in steps])
    reward, terminated, truncated = (
        np.stack([getattr(step, name) for step in steps]) for name in ("reward", "terminated", "truncated")
    )
    assert (obs[..., 1] == RESET_OBS).any()
    assert (final_obs[..., 1] < 0).all()
    expected = double_sum(reward, value(obs), value(final_obs), terminated, truncated, gamma=0.9, lam=0.8)
    assert ppo.rollout is not None
    np.testing.assert_allclose(ppo.rollout.advantage.view(n_steps, 4), expected, atol=2e-6)
    np.testing.assert_allclose(ppo.rollout.returns.view(n_steps, 4), expected + value(obs), atol=2e-6)
    if n_steps > 2:
        after_reset = np.stack([step.obs for step in steps])
        wrong = double_sum(reward, value(obs), value(after_reset), terminated, truncated, gamma=0.9, lam=0.8)
        assert np.abs(wrong - expected).max() > 1e-3


def test_rollout_scales_rewards_before_the_advantages(make: Make) -> None:
    env = ToyEnv()
    ppo = make(env, 6, reward_scaling=True)
    plain = make(ToyEnv(), 6, reward_scaling=False)
    assert ppo.rollout is not None
    assert plain.rollout is not None
    assert ppo.reward_scaler.count == pytest.approx(24, abs=1e-3)
    assert plain.reward_scaler.count == 1e-4
    assert not torch.allclose(ppo.rollout.returns, plain.rollout.returns)


def test_environments_go_on_from_one_iteration_to_the_next(make: Make) -> None:
    env = ToyEnv()
    ppo = make(env, 3)
    info = ppo.collect(env, 2)
    first, *rest = env.log
    assert (first[0][:, 1] == RESET_OBS).all()
    for (_, step), (before, _) in zip(env.log, rest, strict=False):
        np.testing.assert_array_equal(before, step.obs)
    assert info["env_steps"] == 3 * 4 * 2
    assert info["n_diverged"] == 0


def test_every_iteration_starts_new_episodes_when_told_to(make: Make) -> None:
    env = ToyEnv()
    ppo = make(env, n_steps=4)
    assert env.time.any()
    ppo.episodes.reset_each_itr = True
    for itr in (2, 3):
        info = ppo.collect(env, itr)
        first_obs, _ = env.log[-4]
        assert (first_obs[:, 1] == RESET_OBS).all()
        assert info["n_episodes"] == 2 + 1 + 1  # lengths 2, 3, 4, 5 of the four environments in four chunks


def test_acting_state_brings_back_the_policy_that_acted(make: Make) -> None:
    ppo, obs = make(), ToyEnv().reset(0)
    state = {name: tensor.clone() for name, tensor in ppo.acting_state().items()}
    before = ppo.act(obs, torch.Generator().manual_seed(1))
    run(ppo, 1)
    assert not np.array_equal(ppo.act(obs, torch.Generator().manual_seed(1)), before)
    ppo.load_acting_state(state)
    assert np.array_equal(ppo.act(obs, torch.Generator().manual_seed(1)), before)


def test_finished_episodes_are_counted_once_with_their_whole_return(make: Make) -> None:
    env = ToyEnv()
    ppo = make(env, 3)  # ends one episode each of environments 0 and 1
    info = ppo.collect(env, 2)
    returns, lengths = [], []
    for e in range(4):
        total, length = 0.0, 0
        for i, (_, step) in enumerate(env.log):
            total, length = total + step.reward[e], length + 2
            if step.terminated[e] or step.truncated[e]:
                if i >= 3:
                    returns.append(total)
                    lengths.append(length)
                total, length = 0.0, 0
    assert info["n_episodes"] == len(returns)
    assert info["return"] == pytest.approx(np.mean(returns))
    assert info["episode_length"] == pytest.approx(np.mean(lengths))
    assert info["success"] == 0


@pytest.mark.parametrize("name", ["critic", "actor"])
def test_gradient_of_an_update_agrees_with_finite_differences_of_its_loss(make: Make, name: str) -> None:
    ppo = to_double(make(n_steps=9, minibatch=30))
    disturb(list(ppo.head.parameters()), 0.01)
    update = next(update for update in ppo.updates(1) if update.name == name)
    info, g = gradient(update)
    if name == "actor":
        assert 0.1 < info["clip_fraction"] < 0.9
        assert info["approx_kl"] > 0
    loss = {"critic": "value_loss", "actor": "surrogate"}[name]
    factor = 0.5 if name == "critic" else 1.0  # vf_coef
    generator = torch.Generator().manual_seed(6)
    for _ in range(4):
        direction = [torch.randn(p.shape, dtype=torch.float64, generator=generator) for p in update.parameters]
        losses = []
        for h in (1e-6, -2e-6):
            with torch.no_grad():
                for parameter, d in zip(update.parameters, direction, strict=True):
                    parameter.add_(h * d)
            losses.append(gradient(update)[0][loss])
        with torch.no_grad():
            for parameter, d in zip(update.parameters, direction, strict=True):
                parameter.add_(1e-6 * d)
        slope = factor * (losses[0] - losses[1]) / 2e-6
        assert slope == pytest.approx(float(g @ torch.cat([d.flatten() for d in direction])), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("microbatch", [1, 7, 29])
def test_microbatches_add_up_to_the_gradient_of_the_whole(make: Make, microbatch: int) -> None:
    ppo = to_double(make(n_steps=9, minibatch=30))
    disturb(list(ppo.head.parameters()), 0.02)
    results = []
    for size in (microbatch, 10_000):
        ppo.config = ppo.config.model_copy(update={"microbatch": size})
        results.append([gradient(update) for update in ppo.updates(1)])
    for (info, g), (whole_info, whole) in zip(*results, strict=True):
        torch.testing.assert_close(g, whole, atol=1e-12, rtol=1e-9)
        assert info.keys() == whole_info.keys()
        for key, value in info.items():
            assert value == pytest.approx(whole_info[key], rel=1e-9, abs=1e-13)


def test_critic_evaluates_each_observation_once_with_the_gradient_of_all_pairs(make_dppo: Make) -> None:
    ppo = to_double(make_dppo(n_steps=5, minibatch=60, epochs=1))  # the whole rollout: 20 observations, 3 steps each
    rollout = ppo.rollout
    assert rollout is not None
    info, g = gradient(next(ppo.updates(1)))
    assert info["n_distinct_obs"] == 20
    row = torch.arange(60) // 3
    loss = 0.5 * (ppo.critic(rollout.obs[row]).squeeze(1) - rollout.returns[row]).square().mean()
    naive = torch.autograd.grad(0.5 * loss, list(ppo.critic.parameters()))
    assert info["value_loss"] == pytest.approx(loss.item(), rel=1e-10)
    torch.testing.assert_close(g, torch.cat([x.flatten() for x in naive]), atol=1e-13, rtol=1e-9)


def test_critic_weighs_an_observation_by_its_pairs_in_the_minibatch(make_dppo: Make) -> None:
    # The minibatches of an epoch cover all pairs, so that their mean is the gradient of the whole.
    ppo = to_double(make_dppo(n_steps=5, minibatch=15, epochs=1))
    parts = [gradient(update) for update in ppo.updates(1) if update.name == "critic"]
    assert len(parts) == 4
    assert all(5 <= info["n_distinct_obs"] < 15 for info, _ in parts)
    ppo.config = ppo.config.model_copy(update={"minibatch": 60})
    _, whole = gradient(next(ppo.updates(1)))
    torch.testing.assert_close(sum(g for _, g in parts) / 4, whole, atol=1e-13, rtol=1e-9)


def test_actor_gradient_is_that_of_the_surrogate_over_pairs(make_dppo: Make) -> None:
    ppo = to_double(make_dppo(n_steps=5, minibatch=60, epochs=1))
    disturb(list(ppo.head.parameters()), 0.02)
    rollout = ppo.rollout
    assert rollout is not None
    _, actor = list(ppo.updates(1))
    info, g = gradient(actor)
    row, k = torch.arange(60) // 3, torch.arange(60) % 3
    advantage = normalize_advantage(rollout.advantage[row]) * torch.tensor([0.81, 0.9, 1.0], dtype=torch.float64)[k]
    growth = (np.exp(3 * 0.5) - 1) / (np.exp(3) - 1)
    clip = torch.tensor([0.01, 0.01 + 0.01 * growth, 0.02], dtype=torch.float64)[k]
    logprob = ppo.head.logprob(rollout.obs[row], rollout.trace[row], k)
    result = clipped_surrogate(logprob, rollout.logprob[row, k], advantage, clip)
    naive = torch.autograd.grad(result.loss.mean(), list(ppo.head.parameters()))
    torch.testing.assert_close(g, torch.cat([x.flatten() for x in naive]), atol=1e-7, rtol=1e-5)
    assert info["surrogate"] == pytest.approx(result.loss.mean().item(), rel=1e-6)
    assert info["clip_fraction"] == pytest.approx(result.clipped.double().mean().item(), abs=1e-9)
    assert info["approx_kl"] == pytest.approx(result.approx_kl.mean().item(), rel=1e-6)


def test_first_step_sees_the_policy_that_acted(make: Make) -> None:
    ppo = make(n_steps=9, minibatch=30)
    actor = next(update for update in ppo.updates(1) if update.is_actor)
    info, _ = gradient(actor)
    assert info["approx_kl"] < 1e-8
    assert info["clip_fraction"] == 0


def test_updates_alternate_and_left_over_pairs_wait(make: Make) -> None:
    ppo = make(n_steps=9, minibatch=30, epochs=2)
    assert ppo.rollout is not None
    n_pairs = ppo.rollout.logprob.numel()
    names = [update.name for update in ppo.updates(1)]
    assert n_pairs % 30 != 0
    assert names == ["critic", "actor"] * (2 * (n_pairs // 30))


def test_fewer_pairs_than_a_minibatch_make_one_smaller_one(make: Make) -> None:
    ppo = make(n_steps=2, minibatch=1000, epochs=3)
    assert ppo.rollout is not None
    updates = list(ppo.updates(1))
    assert len(updates) == 6
    whole = make(n_steps=2, minibatch=ppo.rollout.logprob.numel(), epochs=3)
    torch.testing.assert_close(gradient(updates[1])[1], gradient(list(whole.updates(1))[1])[1])


def test_actor_rests_while_the_critic_warms_up(make: Make) -> None:
    ppo = make(n_steps=9, critic_warmup_itr=2)
    assert {update.name for update in ppo.updates(2)} == {"critic"}
    assert {update.name for update in ppo.updates(3)} == {"critic", "actor"}


def test_updates_stop_after_the_step_that_diverged_too_far(make: Make) -> None:
    ppo = make(n_steps=9, minibatch=30, epochs=5, target_kl=1e-3, actor_lr=0.05)
    infos = run(ppo, 1)
    kls = [info["approx_kl"] for info in infos if "approx_kl" in info]
    assert len(infos) < len(list(make(n_steps=9, minibatch=30, epochs=5).updates(1)))
    assert kls[-1] > 1e-3
    assert max(kls[:-1]) <= 1e-3


def test_gradient_clipping_bounds_the_step_and_not_the_loss(make: Make) -> None:
    ppo = make(n_steps=9, max_grad_norm=1e-3)
    update = next(ppo.updates(1))
    _, before = gradient(update)
    assert before.norm() > 1e-3
    update.apply()
    after = torch.cat([p.grad.flatten() for p in update.parameters if p.grad is not None])
    assert after.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_same_seed_gives_the_same_weights_bit_for_bit(make: Make) -> None:
    runs = []
    for _ in range(2):
        env = ToyEnv()
        ppo = make(env, 9)
        run(ppo, 1)
        ppo.collect(env, 2)
        run(ppo, 2)
        runs.append(weights(ppo))
    assert torch.equal(*runs)


@pytest.mark.parametrize("critic_warmup_itr", [0, 2])
def test_resumed_algorithm_goes_on_bit_for_bit(make: Make, critic_warmup_itr: int) -> None:
    # During the warm-up the actor's optimiser has no state yet.
    env = ToyEnv()
    ppo = make(env, 9, critic_warmup_itr=critic_warmup_itr)
    run(ppo, 1)
    state = copy.deepcopy(unpack(*pack(ppo.state_dict())))
    other_env = copy.deepcopy(env)
    ppo.collect(env, 2)
    run(ppo, 2)
    ppo.collect(env, 3)
    run(ppo, 3)

    resumed = make(ToyEnv(), 9, critic_warmup_itr=critic_warmup_itr)
    resumed.load_state_dict(state)
    resumed.collect(other_env, 2)
    run(resumed, 2)
    info = resumed.collect(other_env, 3)
    run(resumed, 3)
    assert info["env_steps"] == 72
    assert torch.equal(weights(resumed), weights(ppo))
    assert resumed.reward_scaler.state_dict()["var"] == ppo.reward_scaler.state_dict()["var"]


@pytest.mark.parametrize("half", [0, 1])
def test_loss_for_diagnostics_touches_no_gradient(make: Make, half: int) -> None:
    ppo = make(n_steps=9)
    loss = ppo.rl_loss(50, half, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss)
    assert all(p.grad is None for p in ppo.head.parameters())
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(loss, list(ppo.il_parameters()), allow_unused=True))


def test_halves_for_diagnostics_share_no_environment(make: Make) -> None:
    ppo = make(n_steps=9)
    assert ppo.rollout is not None
    ppo.rollout.advantage.view(9, 4)[:, 1::2] = torch.nan
    assert torch.isfinite(ppo.rl_loss(50, 0, torch.Generator().manual_seed(0)))
    assert torch.isnan(ppo.rl_loss(50, 1, torch.Generator().manual_seed(0)))
    ppo.rollout.advantage.view(9, 4)[:, 1::2] = 1.0
    ppo.rollout.advantage.view(9, 4)[:, 0::2] = torch.nan
    assert torch.isfinite(ppo.rl_loss(50, 1, torch.Generator().manual_seed(0)))


def test_evaluation_acts_in_raw_units(make: Make) -> None:
    ppo = make()
    obs = np.zeros((3, 2))
    action = ppo.act(obs, torch.Generator().manual_seed(0))
    assert action.shape == (3, 2, 2)
    assert action.dtype == np.float64
    ppo.head.normalizer.action_max.fill_(3.0)
    np.testing.assert_allclose(ppo.act(obs, torch.Generator().manual_seed(0)), (action + 1) * 2 - 1, atol=1e-5)


def test_learned_standard_deviation_stays_within_its_bounds(make_gaussian: Make) -> None:
    ppo = make_gaussian(n_steps=9, actor_lr=5.0)
    assert isinstance(ppo.head, GaussianHead)
    for update in ppo.updates(1):
        update.zero_grad()
        update.backward()
        update.apply()
    std = ppo.head.policy.log_std.exp()
    assert std.min() >= 0.05 * (1 - 1e-6)
    assert std.max() <= 0.2 * (1 + 1e-6)
    assert not torch.allclose(std, torch.tensor(0.1))


def test_entropy_bonus_pushes_the_standard_deviation_up(make_gaussian: Make) -> None:
    gradients = []
    for ent_coef in (0.0, 0.3):
        ppo = to_double(make_gaussian(n_steps=9, ent_coef=ent_coef, microbatch=7))
        assert isinstance(ppo.head, GaussianHead)
        actor = next(update for update in ppo.updates(1) if update.is_actor)
        gradient(actor)
        assert ppo.head.policy.log_std.grad is not None
        gradients.append(ppo.head.policy.log_std.grad.clone())
    expected = torch.full((2,), -0.15, dtype=torch.float64)  # the mean over two dimensions
    torch.testing.assert_close(gradients[1] - gradients[0], expected, atol=1e-12, rtol=0)


def test_imitation_of_a_gaussian_touches_its_mean_network_only(make_gaussian: Make) -> None:
    ppo = make_gaussian()
    assert isinstance(ppo.head, GaussianHead)
    assert [id(p) for p in ppo.il_parameters()] == [id(p) for p in ppo.head.policy.mlp.parameters()]
    shared: list[Any] = [id(p) for p in ppo.head.parameters()]
    assert {id(p) for p in ppo.il_parameters()} < set(shared)
    obs, chunk = torch.zeros(4, 2), torch.full((4, 2, 2), 0.5)
    with torch.no_grad():
        values = ppo.probe(obs, chunk, torch.Generator())
        error = (ppo.head.policy.mean(obs) - chunk).square().mean().item()
    assert values == {"il_loss": pytest.approx(error), "il_loss_all_steps": pytest.approx(error)}
