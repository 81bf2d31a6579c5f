from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from off_policy_oracles import Adam, batches_of, denoising_errors, end_of_chain, follow, learn, to_double, weights
from torch import Tensor, nn
from toy_env import ToyEnv

from inril.algos.dipo import DIPO
from inril.config.algos import DIPOConfig
from inril.config.policy import NetworkConfig
from inril.learning.episodes import TrainingEpisodes
from inril.learning.experience import Experience
from inril.learning.replay_buffer import Replay
from inril.policies.critics import Critics
from inril.policies.diffusion import DiffusionPolicy
from inril.seeding import torch_stream
from inril.tensor_file import pack, unpack

Make = Callable[..., DIPO]
PLAIN = NetworkConfig(widths=(8, 8), activation="mish", residual=False)


@pytest.fixture
def make(diffusion_policy: DiffusionPolicy, task: Any) -> Make:
    def build(env: ToyEnv | None = None, n_updates: int = 3, n_collected: int = 2, **changed: Any) -> DIPO:
        settings = {
            "gamma": 0.9, "actor_lr": 1e-3, "critic_lr": 1e-2, "batch_size": 10, "replay_ratio": 4, "buffer_rows": 12,
            "reward_factor": 0.5, "target_rate": 0.1, "improve_steps": 4, "improve_lr": 1e-2, "improve_max_grad": 0.01,
            "critic_warmup_itr": 0, "critic_network": PLAIN, "min_sampling_std": 0.1,
        }  # fmt: skip
        config = DIPOConfig(**{**settings, **changed})
        env, policy = env or ToyEnv(), copy.deepcopy(diffusion_policy)
        torch.manual_seed(1)
        replay = Replay(config.buffer_rows, env.n_envs, env.obs_dim, (2, 2))
        episodes = TrainingEpisodes(env.n_envs, 0, False)
        experience = Experience(replay, policy.normalizer, episodes, 5, 0, config.reward_factor)
        dipo = DIPO(config, policy, Critics(PLAIN, task.obs_dim, task.action_dim, 2), experience, n_updates, seed=0)
        for itr in range(1, n_collected + 1):
            dipo.collect(env, itr)
        return dipo

    return build


def shift(net: nn.Module, by: float) -> None:
    with torch.no_grad():
        net.mlp.layers[-1].bias.add_(by)  # type: ignore[union-attr, index, operator]


def chunks(dipo: DIPO) -> Tensor:
    return dipo.experience.replay.in_order().chunk.flatten(0, 1).clone()


class Oracle:
    """One iteration of DIPO, written down from its description."""

    def __init__(self, dipo: DIPO) -> None:
        self.schedule = dipo.policy.schedule
        self.actor, self.actor_target, self.q, self.q_target = copy.deepcopy(
            (dipo.actor, dipo.actor_target, dipo.q, dipo.q_target)
        )
        self.actor_adam, self.critic_adam = Adam(self.actor.parameters(), 1e-3), Adam(self.q.parameters(), 1e-2)
        buffer = dipo.experience.replay.in_order()
        self.obs, self.chunk, self.reward, self.next_obs, self.terminated = (
            x.flatten(0, 1).clone() for x in buffer[:5]
        )

    def both(self, q: Critics, obs: Tensor, chunk: Tensor) -> list[Tensor]:
        x = torch.cat([obs, chunk.reshape(len(chunk), 4)], dim=1)
        values = []
        for network in q.networks:
            first, second, last = network.layers  # type: ignore[misc, union-attr]
            values.append(last(nn.functional.mish(second(nn.functional.mish(first(x)))))[:, 0])
        return values

    def improve(self, obs: Tensor, chunk: Tensor) -> Tensor:
        chunk = chunk.clone().requires_grad_(True)
        adam = Adam([chunk], 1e-2, eps=1e-5)
        for _ in range(4):
            value = torch.minimum(*self.both(self.q, obs, chunk)).sum()
            (uphill,) = torch.autograd.grad(value, [chunk])
            adam.descend([-uphill * min(1.0, 0.01 * 4 / (float(uphill.norm()) + 1e-6))])
            with torch.no_grad():
                chunk.clamp_(-1, 1)
        return chunk.detach()

    def iteration(self, itr: int, n_updates: int, actor_learns: bool = True) -> None:
        batches, critic_noise, actor_noise = (
            torch_stream(0, purpose, itr) for purpose in ("minibatch", "critic_noise", "actor_noise")
        )
        for _ in range(n_updates):
            i = torch.randint(len(self.obs), (10,), generator=batches)
            with torch.no_grad():
                action = end_of_chain(self.actor_target, self.schedule, self.next_obs[i], 0.1, critic_noise)
                value = torch.minimum(*self.both(self.q_target, self.next_obs[i], action))
                y = self.reward[i] + 0.9 * torch.where(self.terminated[i] == 1, 0.0, value)
            self.critic_adam.minimise(
                sum(((v - y) ** 2).mean() for v in self.both(self.q, self.obs[i], self.chunk[i]))  # type: ignore[arg-type]
            )
            i = torch.randint(len(self.obs), (10,), generator=batches)
            self.chunk[i] = self.improve(self.obs[i], self.chunk[i])
            if actor_learns:
                errors = denoising_errors(self.actor, self.schedule, self.obs[i], self.chunk[i], actor_noise)
                self.actor_adam.minimise(errors.mean())
            follow(self.q_target, self.q, 0.1)
            follow(self.actor_target, self.actor, 0.1)


@pytest.mark.parametrize("critic_warmup_itr", [0, 1])
def test_iterations_are_those_of_the_formulas_parameter_by_parameter(
    make: Make, monkeypatch: pytest.MonkeyPatch, critic_warmup_itr: int
) -> None:
    dipo = make(critic_warmup_itr=critic_warmup_itr)
    assert dipo.experience.replay.in_order().terminated.any()
    to_double(dipo, monkeypatch)
    oracle, before = Oracle(dipo), weights(dipo)
    learn(dipo, 1)
    oracle.iteration(1, 3, actor_learns=not critic_warmup_itr)
    learn(dipo, 2)
    oracle.iteration(2, 3)
    expected = [p for net in (oracle.actor, oracle.q, oracle.actor_target, oracle.q_target) for p in net.parameters()]
    for value, wanted, start in zip(weights(dipo), expected, before, strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-10, rtol=1e-8)
        assert not torch.equal(value, start)
    torch.testing.assert_close(chunks(dipo), oracle.chunk, atol=1e-10, rtol=1e-8)


def test_improvement_climbs_the_smaller_value_and_stays_in_the_box(make: Make) -> None:
    dipo = make(improve_steps=10)
    batch = dipo.experience.replay.in_order()
    obs, chunk = batch.obs.flatten(0, 1), batch.chunk.flatten(0, 1)
    inside = chunk.clamp(-1, 1)
    assert not torch.equal(inside, chunk)  # exploration noise left the box
    improved = dipo._improved(obs, inside)
    gain = dipo.q.smaller(obs, improved) - dipo.q.smaller(obs, inside)
    assert gain.min() >= 0
    assert gain.mean() > 0.002
    assert dipo._improved(obs, chunk).abs().max() <= 1
    assert all(p.grad is None for p in dipo.q.parameters())


def test_bound_on_the_gradient_is_that_of_the_whole_batch(make: Make) -> None:
    # Adam hardly sees the scale of gradients but for its eps, next to which tiny bounds leave little.
    loose, tight = make(improve_max_grad=1e6), make(improve_max_grad=1e-6)
    batch = loose.experience.replay.in_order()
    obs, chunk = batch.obs.flatten(0, 1), batch.chunk.flatten(0, 1).clamp(-1, 1)
    far, near = ((dipo._improved(obs, chunk) - chunk).abs().mean() for dipo in (loose, tight))
    assert near < 0.2 * far


def test_improved_chunks_lie_in_the_buffer_where_they_were_drawn(make: Make) -> None:
    dipo = make(n_updates=1, improve_steps=1)
    before = chunks(dipo)
    learn(dipo, 1)
    generator = torch_stream(0, "minibatch", 1)
    torch.randint(40, (10,), generator=generator)
    drawn = torch.randint(40, (10,), generator=generator).unique()
    changed = (chunks(dipo) != before).flatten(1).any(dim=1)
    assert changed.nonzero().flatten().tolist() == drawn.tolist()


def test_order_of_updates_and_warm_up(make: Make) -> None:
    assert learn(make(), 1) == ["critic", "actor"] * 3
    dipo = make(critic_warmup_itr=1)
    actor, stored = copy.deepcopy(dipo.actor.state_dict()), chunks(dipo)
    assert learn(dipo, 1) == ["critic"] * 3
    assert all(torch.equal(value, actor[name]) for name, value in dipo.actor.state_dict().items())
    assert not torch.equal(chunks(dipo), stored)
    assert learn(dipo, 2) == ["critic", "actor"] * 3


def test_a_learning_actor_leaves_the_batches_as_they_are(make: Make) -> None:
    learning, waiting = batches_of(make()), batches_of(make(critic_warmup_itr=1))
    assert len(learning) == 6
    assert all(torch.equal(a, b) for a, b in zip(learning, waiting, strict=True))


def test_the_target_actor_acts(make: Make) -> None:
    dipo, obs = make(), np.zeros((3, 2))

    def act() -> np.ndarray:
        return dipo.act(obs, torch.Generator().manual_seed(0))

    def explore() -> Tensor:
        env = ToyEnv()
        dipo.experience.episodes = TrainingEpisodes(env.n_envs, 0, False)
        dipo.collect(env, 9)
        return dipo.experience.replay.in_order().chunk[-5]

    before, explored = act(), explore()
    shift(dipo.actor, 1.0)
    np.testing.assert_array_equal(act(), before)
    assert torch.equal(explore(), explored)
    shift(dipo.actor_target, 1.0)
    assert not np.isclose(act(), before).all()
    assert not torch.isclose(explore(), explored).all()


def test_saved_policy_is_the_one_that_acts(make: Make, diffusion_policy: DiffusionPolicy) -> None:
    dipo, obs = make(), np.linspace(-1, 1, 6).reshape(3, 2)
    learn(dipo, 1)
    diffusion_policy.load_state_dict(dipo.policy_state())
    saved = diffusion_policy.act(torch.from_numpy(obs).float(), torch.Generator().manual_seed(3))
    np.testing.assert_allclose(dipo.act(obs, torch.Generator().manual_seed(3)), saved, atol=1e-6)
    state = {name: value.clone() for name, value in dipo.acting_state().items()}
    before = dipo.act(obs, torch.Generator().manual_seed(1))
    learn(dipo, 2)
    assert not np.array_equal(dipo.act(obs, torch.Generator().manual_seed(1)), before)
    dipo.load_acting_state(state)
    np.testing.assert_array_equal(dipo.act(obs, torch.Generator().manual_seed(1)), before)


def test_imitation_is_on_all_steps_of_the_actor_that_learns(make: Make) -> None:
    dipo = make()
    shift(dipo.actor_target, 5.0)
    obs, chunk = torch.zeros(20, 2), torch.full((20, 2, 2), 0.3)
    loss = dipo.il_loss(obs, chunk, torch.Generator().manual_seed(1))
    expected = denoising_errors(dipo.actor, dipo.policy.schedule, obs, chunk, torch.Generator().manual_seed(1))
    assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    values = dipo.probe(obs, chunk, torch.Generator().manual_seed(1))
    assert values == {"il_loss": loss.item(), "il_loss_all_steps": loss.item()}
    actor = next(update for update in dipo.updates(1) if update.is_actor)
    assert [id(p) for p in dipo.il_parameters()] == [id(p) for p in actor.parameters]


@pytest.mark.parametrize("half", [0, 1])
def test_halves_for_diagnostics_share_no_environment(make: Make, half: int) -> None:
    dipo = make()
    dipo.experience.replay._data["chunk"][:, 1 - half :: 2] = torch.nan
    loss = dipo.rl_loss(50, half, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss)
    assert torch.isnan(dipo.rl_loss(50, 1 - half, torch.Generator().manual_seed(0)))
    assert all(p.grad is None for p in dipo.il_parameters())
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(loss, list(dipo.il_parameters())))


@pytest.mark.parametrize("critic_warmup_itr", [0, 1])
def test_resumed_algorithm_goes_on_bit_for_bit(make: Make, critic_warmup_itr: int) -> None:
    env = ToyEnv()
    dipo = make(env, critic_warmup_itr=critic_warmup_itr)
    learn(dipo, 1)
    state, other_env = copy.deepcopy(unpack(*pack(dipo.state_dict()))), copy.deepcopy(env)
    resumed = make(ToyEnv(), critic_warmup_itr=critic_warmup_itr)
    resumed.load_state_dict(state)
    for algorithm, its_env in ((dipo, env), (resumed, other_env)):
        for itr in (3, 4):
            algorithm.collect(its_env, itr)
            learn(algorithm, itr)
    assert all(torch.equal(a, b) for a, b in zip(weights(dipo), weights(resumed), strict=True))
    assert torch.equal(chunks(dipo), chunks(resumed))
