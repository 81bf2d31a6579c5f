from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from off_policy_oracles import Adam, batches_of, denoising_errors, learn, to_double, weights
from oracles import double_sum
from toy_env import ToyEnv

from inril.algos.awr import AWR, advantage_weights
from inril.config.algos import AWRConfig
from inril.config.policy import NetworkConfig
from inril.learning.episodes import TrainingEpisodes
from inril.learning.experience import Experience
from inril.learning.replay_buffer import Replay
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.mlp import MLP
from inril.seeding import torch_stream
from inril.tensor_file import pack, unpack

Make = Callable[..., AWR]
RESIDUAL = NetworkConfig(widths=(8, 8, 8), activation="mish")


@pytest.fixture
def make(diffusion_policy: DiffusionPolicy) -> Make:
    def build(
        env: ToyEnv | None = None,
        n_updates: int = 6,
        n_collected: int = 2,
        reset_each_itr: bool = False,
        **changed: Any,
    ) -> AWR:
        settings = {
            "gamma": 0.8, "actor_lr": 1e-3, "critic_lr": 1e-2, "batch_size": 10, "replay_ratio": 4, "buffer_rows": 12,
            "reward_factor": 0.5, "td_lambda": 0.7, "td_rate": 0.6, "advantage_factor": 2.0, "max_weight": 4.0,
            "actor_steps_per_critic_step": 2, "critic_warmup_itr": 0, "critic_network": RESIDUAL,
            "min_sampling_std": 0.1,
        }  # fmt: skip
        config = AWRConfig(**{**settings, **changed})
        env, policy = env or ToyEnv(), copy.deepcopy(diffusion_policy)
        torch.manual_seed(1)
        replay = Replay(config.buffer_rows, env.n_envs, env.obs_dim, (2, 2))
        episodes = TrainingEpisodes(env.n_envs, 0, reset_each_itr)
        experience = Experience(replay, policy.normalizer, episodes, 5, 0, config.reward_factor)
        awr = AWR(config, policy, MLP(RESIDUAL, 2, 1), experience, n_updates, seed=0)
        for itr in range(1, n_collected + 1):
            awr.collect(env, itr)
        return awr

    return build


def brute_force(awr: AWR, value: MLP) -> tuple[np.ndarray, np.ndarray]:
    """Values and lambda-weighted n-step advantages (rows, E) of the buffer, oldest row first."""
    buffer = awr.experience.replay.in_order()
    with torch.no_grad():
        v, v_next = (value(x.flatten(0, 1)).view(x.shape[:2]).double().numpy() for x in (buffer.obs, buffer.next_obs))
    reward, terminated, truncated = (x.double().numpy() for x in (buffer.reward, buffer.terminated, buffer.truncated))
    return v, double_sum(reward, v, v_next, terminated == 1, truncated == 1, gamma=0.8, lam=0.7)


@pytest.mark.parametrize("n_collected", [1, 2, 5])  # rows 5, 10, 12 of 25: the oldest are overwritten
def test_targets_are_those_of_a_double_loop_over_episodes_that_end_and_time_out(
    make: Make, monkeypatch: pytest.MonkeyPatch, n_collected: int
) -> None:
    awr = make(n_collected=n_collected)
    to_double(awr, monkeypatch)
    value, advantage = brute_force(awr, awr.value)
    rows = awr.experience.replay.in_order()
    assert rows.terminated[:-1].any()
    assert rows.truncated[:-1].any()
    buffer = awr._evaluated()
    n_rows = min(5 * n_collected, 12)
    assert buffer.target.shape == buffer.advantage.shape == (4 * n_rows,)
    torch.testing.assert_close(buffer.advantage.view(n_rows, 4), torch.from_numpy(0.6 * advantage))
    torch.testing.assert_close(buffer.target.view(n_rows, 4), torch.from_numpy(value + 0.6 * advantage))
    assert torch.equal(buffer.obs, rows.obs.flatten(0, 1))
    assert torch.equal(buffer.chunk, rows.chunk.flatten(0, 1))


def test_buffer_is_in_order_of_time_though_it_is_a_ring(make: Make) -> None:
    env = ToyEnv()
    awr = make(env, n_collected=5)
    obs = torch.from_numpy(np.stack([before for before, _ in env.log[-12:]])).float()
    normalized = awr.policy.normalizer.normalize_obs(obs)
    assert torch.equal(awr.experience.replay.in_order().obs, normalized)


def test_a_trace_ends_where_an_iteration_that_is_not_continued_ends(make: Make) -> None:
    env = ToyEnv(6)  # episodes of two to seven chunks in iterations of five
    awr = make(env, reset_each_itr=True)
    rows = awr.experience.replay.in_order()
    assert (rows.truncated[[4, 9]] == 1).all()
    assert not (rows.truncated[:4, 5] == 1).any()
    continued = make(ToyEnv(6), reset_each_itr=False)
    assert not (continued.experience.replay.in_order().truncated[4] == 1).all()


def test_weights_grow_with_the_advantage_up_to_their_bound() -> None:
    advantage = torch.tensor([3.0, -1.0, 0.5, 7.0, -4.0], dtype=torch.float64)
    normalized = (advantage - 1.1) / advantage.std()
    expected = (2 * normalized).exp()
    result = advantage_weights(advantage, 2.0, 4.0)
    assert expected.max() > 4
    torch.testing.assert_close(result, expected.clamp(max=4.0))
    assert result[3] == 4
    assert result[2] > result[1] > result[4]


@pytest.mark.parametrize("critic_warmup_itr", [0, 1])
def test_iterations_are_those_of_the_formulas_parameter_by_parameter(
    make: Make, monkeypatch: pytest.MonkeyPatch, critic_warmup_itr: int
) -> None:
    awr = make(n_collected=3, critic_warmup_itr=critic_warmup_itr)
    to_double(awr, monkeypatch)
    actor, value, before = copy.deepcopy(awr.actor), copy.deepcopy(awr.value), weights(awr)
    actor_adam, value_adam = Adam(actor.parameters(), 1e-3), Adam(value.parameters(), 1e-2)
    rows = awr.experience.replay.in_order()
    obs, chunk = rows.obs.flatten(0, 1), rows.chunk.flatten(0, 1)
    for itr in (1, 2):
        learn(awr, itr)
        batches, noise = torch_stream(0, "minibatch", itr), torch_stream(0, "actor_noise", itr)
        v, advantage = brute_force(awr, value)
        target = torch.from_numpy(v + 0.6 * advantage).flatten()
        for _ in range(3):
            i = torch.randint(48, (10,), generator=batches)
            value_adam.minimise(torch.stack([(value(obs[j : j + 1])[0, 0] - target[j]) ** 2 for j in i]).mean())
        if itr <= critic_warmup_itr:
            continue
        new_advantage = torch.from_numpy(0.6 * brute_force(awr, value)[1]).flatten()
        for _ in range(6):
            i = torch.randint(48, (10,), generator=batches)
            a = new_advantage[i]
            weight = torch.exp(2 * (a - a.mean()) / (a.std() + 1e-8)).clamp(max=4)
            errors = denoising_errors(actor, awr.policy.schedule, obs[i], chunk[i], noise)
            actor_adam.minimise((weight * errors).mean())
    expected = [p for net in (actor, value) for p in net.parameters()]
    for got, wanted, start in zip(weights(awr), expected, before, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-10, rtol=1e-8)
        assert not torch.equal(got, start)


def test_critic_tells_observations_apart(make: Make) -> None:
    # A loss that broadcasts (B, 1) against (B,) would teach it the mean of all targets.
    awr = make(n_updates=1600, batch_size=40, critic_warmup_itr=9)
    target = awr._evaluated().target
    learn(awr, 1)
    with torch.no_grad():
        error = awr.value(awr._evaluated().obs).squeeze(1) - target
    assert error.square().mean() < 0.7 * target.var()


def test_every_transition_can_be_drawn(make: Make) -> None:
    awr = make(n_collected=5, n_updates=100)
    drawn = torch.cat(batches_of(awr))
    assert drawn.unique().tolist() == list(range(48))


def test_order_of_updates_and_warm_up(make: Make) -> None:
    assert learn(make(), 1) == ["critic"] * 3 + ["actor"] * 6
    assert learn(make(critic_warmup_itr=1), 1) == ["critic"] * 3
    assert learn(make(critic_warmup_itr=1), 2) == ["critic"] * 3 + ["actor"] * 6


def test_saved_policy_is_the_one_that_acts(make: Make, diffusion_policy: DiffusionPolicy) -> None:
    awr, obs = make(), np.linspace(-1, 1, 6).reshape(3, 2)
    learn(awr, 1)
    diffusion_policy.load_state_dict(awr.policy_state())
    saved = diffusion_policy.act(torch.from_numpy(obs).float(), torch.Generator().manual_seed(3))
    np.testing.assert_allclose(awr.act(obs, torch.Generator().manual_seed(3)), saved, atol=1e-6)
    state = {name: value.clone() for name, value in awr.acting_state().items()}
    before = awr.act(obs, torch.Generator().manual_seed(1))
    learn(awr, 2)
    assert not np.array_equal(awr.act(obs, torch.Generator().manual_seed(1)), before)
    awr.load_acting_state(state)
    np.testing.assert_array_equal(awr.act(obs, torch.Generator().manual_seed(1)), before)


def test_imitation_is_on_all_steps_of_the_actor(make: Make) -> None:
    awr = make()
    obs, chunk = torch.zeros(20, 2), torch.full((20, 2, 2), 0.3)
    loss = awr.il_loss(obs, chunk, torch.Generator().manual_seed(1))
    expected = denoising_errors(awr.actor, awr.policy.schedule, obs, chunk, torch.Generator().manual_seed(1))
    assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    values = awr.probe(obs, chunk, torch.Generator().manual_seed(1))
    assert values == {"il_loss": loss.item(), "il_loss_all_steps": loss.item()}
    actor = next(update for update in awr.updates(1) if update.is_actor)
    assert [id(p) for p in awr.il_parameters()] == [id(p) for p in actor.parameters]


@pytest.mark.parametrize("half", [0, 1])
def test_halves_for_diagnostics_share_no_environment(make: Make, half: int) -> None:
    awr = make()
    awr.experience.replay._data["chunk"][:, 1 - half :: 2] = torch.nan
    loss = awr.rl_loss(50, half, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss)
    assert torch.isnan(awr.rl_loss(50, 1 - half, torch.Generator().manual_seed(0)))
    assert all(p.grad is None for p in awr.il_parameters())
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(loss, list(awr.il_parameters())))


@pytest.mark.parametrize("critic_warmup_itr", [0, 1])
def test_resumed_algorithm_goes_on_bit_for_bit(make: Make, critic_warmup_itr: int) -> None:
    env = ToyEnv()
    awr = make(env, critic_warmup_itr=critic_warmup_itr)
    learn(awr, 1)
    state, other_env = copy.deepcopy(unpack(*pack(awr.state_dict()))), copy.deepcopy(env)
    resumed = make(ToyEnv(), critic_warmup_itr=critic_warmup_itr)
    resumed.load_state_dict(state)
    for algorithm, its_env in ((awr, env), (resumed, other_env)):
        for itr in (3, 4):
            algorithm.collect(its_env, itr)
            learn(algorithm, itr)
    assert all(torch.equal(a, b) for a, b in zip(weights(awr), weights(resumed), strict=True))
