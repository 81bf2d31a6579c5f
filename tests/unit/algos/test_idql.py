from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from off_policy_oracles import batches_of, learn, weights
from torch import Tensor, nn
from toy_env import RESET_OBS, ToyEnv

from inril.algos.idql import IDQL, expectile_loss
from inril.config.algos import IDQLConfig
from inril.config.policy import NetworkConfig
from inril.data.chunks import ChunkDataset
from inril.learning.episodes import TrainingEpisodes
from inril.learning.experience import Experience
from inril.learning.replay_buffer import Replay
from inril.learning.rewarded_demos import RewardedDemos
from inril.policies.chain_sampler import ChainSampler
from inril.policies.critics import Critics
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.mlp import MLP
from inril.seeding import torch_stream
from inril.tensor_file import pack, unpack

Make = Callable[..., IDQL]
PLAIN = NetworkConfig(widths=(8, 8), activation="mish", residual=False)
RESIDUAL = NetworkConfig(widths=(8, 8, 8), activation="mish")


@pytest.fixture
def make(diffusion_policy: DiffusionPolicy, task: Any) -> Make:
    def build(
        env: ToyEnv | None = None,
        n_updates: int = 3,
        n_collected: int = 2,
        rewarded_demos: RewardedDemos | None = None,
        **changed: Any,
    ) -> IDQL:
        settings = {
            "gamma": 0.9, "actor_lr": 1e-3, "critic_lr": 1e-2, "batch_size": 10, "replay_ratio": 4, "buffer_rows": 12,
            "reward_factor": 0.5, "expectile": 0.8, "n_samples": 3, "explore_weight": 0.7, "target_rate": 0.1,
            "critic_warmup_itr": 0, "critic_network": PLAIN, "value_network": RESIDUAL, "min_sampling_std": 0.1,
        }  # fmt: skip
        config = IDQLConfig(**{**settings, **changed})
        env, policy = env or ToyEnv(), copy.deepcopy(diffusion_policy)
        torch.manual_seed(1)
        replay = Replay(config.buffer_rows, env.n_envs, env.obs_dim, (2, 2))
        episodes = TrainingEpisodes(env.n_envs, 0, False)
        experience = Experience(replay, policy.normalizer, episodes, 5, 0, config.reward_factor)
        demos = ChunkDataset(torch.full((9, 2), 7.0), torch.full((9, 2), 7.0), np.arange(8), 2)
        networks = Critics(PLAIN, task.obs_dim, task.action_dim, 2), MLP(RESIDUAL, 2, 1)
        idql = IDQL(config, policy, *networks, experience, demos, n_updates, 0, rewarded_demos)
        for itr in range(1, n_collected + 1):
            idql.collect(env, itr)
        return idql

    return build


def plain_forward(network: nn.Module, x: Tensor) -> Tensor:
    """A plain MLP layer by layer, in double precision."""
    *hidden, last = [(layer.weight.double(), layer.bias.double()) for layer in network.layers]  # type: ignore[union-attr]
    for weight, bias in hidden:
        x = nn.functional.mish(x @ weight.T + bias)
    return (x @ last[0].T + last[1]).squeeze(1)


def residual_forward(network: nn.Module, x: Tensor) -> Tensor:
    first, inner_1, inner_2, last = [(layer.weight.double(), layer.bias.double()) for layer in network.layers]  # type: ignore[union-attr]
    mish = nn.functional.mish
    h = x @ first[0].T + first[1]
    h = h + mish(mish(h) @ inner_1[0].T + inner_1[1]) @ inner_2[0].T + inner_2[1]
    return (h @ last[0].T + last[1]).squeeze(1)


def next_updates(idql: IDQL) -> Any:
    """Each update with its gradient in place, before it is applied; the batch is the first that the stream gives."""
    for update in idql.updates(1):
        update.zero_grad()
        update.backward()
        yield update
        update.apply()


def test_expectile_weighs_positive_errors_by_tau() -> None:
    assert expectile_loss(torch.tensor([2.0, -1.0]), 0.8).item() == pytest.approx((0.8 * 4 + 0.2 * 1) / 2)


def test_gradients_of_one_round_follow_the_formulas(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    idql = make(n_updates=1)
    with torch.no_grad():
        for parameter in idql.q_target.parameters():  # so that targets cannot come from the online critic
            parameter.mul_(1.5)
    batch = idql.experience.replay.sample(torch.Generator().manual_seed(4), 10)
    monkeypatch.setattr(idql.experience.replay, "sample", lambda generator, size: batch)
    obs, reward, terminated = batch.obs.double(), batch.reward.double(), batch.terminated.double()
    pairs = torch.cat([obs, batch.chunk.flatten(1).double()], dim=1)
    assert 0 < terminated.sum() < 10
    updates = next_updates(idql)

    value = next(updates)
    with torch.no_grad():
        target = torch.minimum(*[plain_forward(q, pairs) for q in idql.q_target.networks])
    error = target - residual_forward(idql.value, obs)
    loss = torch.where(error > 0, 0.8 * error**2, 0.2 * error**2).mean()
    compare(value, torch.autograd.grad(loss, list(idql.value.parameters())))

    critic = next(updates)
    with torch.no_grad():  # with the value that has just learnt
        next_value = residual_forward(idql.value, batch.next_obs.double())
        target = reward + 0.9 * (1 - terminated) * next_value
    loss = sum(((plain_forward(q, pairs) - target) ** 2).mean() for q in idql.q.networks)  # type: ignore[assignment]
    compare(critic, torch.autograd.grad(loss, list(idql.q.parameters())))
    before = [parameter.clone() for parameter in idql.q_target.parameters()]

    actor = next(updates)
    assert actor.name == "actor"
    for old, target, online in zip(before, idql.q_target.parameters(), idql.q.parameters(), strict=True):
        torch.testing.assert_close(target, 0.9 * old + 0.1 * online)
    assert next(updates, None) is None


def compare(update: Any, expected: Any) -> None:
    for parameter, gradient in zip(update.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient.float(), atol=1e-6, rtol=1e-4)


def test_actor_imitates_the_batch_and_every_fraction_of_demonstrations(make: Make) -> None:
    for fraction, n_demos in ((0.0, 0), (0.3, 3), (0.5, 5), (1.0, 10)):
        idql = make(demo_fraction=fraction)
        batch = idql.experience.replay.sample(torch.Generator().manual_seed(1), 10)
        imitated = idql._imitated(batch, torch.Generator().manual_seed(2))
        from_demos = (imitated.obs == 7).all(dim=1)
        assert from_demos.sum() == n_demos
        assert torch.equal(imitated.obs[~from_demos], batch.obs[n_demos:])
        assert torch.equal(imitated.action_chunk[~from_demos], batch.chunk[n_demos:])


def test_critics_and_actor_share_a_batch_with_every_fraction_of_rewarded_demonstrations(make: Make) -> None:
    sevens = torch.full((9, 2), 7.0)
    chunks = ChunkDataset(sevens, sevens, np.arange(8), 2)
    rewarded = RewardedDemos(chunks, torch.full((8,), 3.0), sevens[1:], torch.ones(8))
    for fraction, n_demos in ((0.0, 0), (0.3, 3), (0.5, 5), (1.0, 10)):
        idql = make(demo_fraction=fraction, demo_buffers="both", rewarded_demos=rewarded)
        own = idql.experience.replay.sample(torch_stream(0, "minibatch", 1), 10)
        value, critic, actor, *_ = (update.backward for update in idql.updates(1))
        batch = value.args[0]  # type: ignore[attr-defined]
        assert batch is critic.args[0]  # type: ignore[attr-defined]
        assert torch.equal(batch.obs, actor.args[0])  # type: ignore[attr-defined]
        assert torch.equal(batch.chunk, actor.args[1])  # type: ignore[attr-defined]
        from_demos = (batch.obs == 7).all(dim=1)
        assert from_demos.sum() == n_demos
        for mixed, replayed, demonstrated in zip(batch, own, rewarded[torch.zeros(1, dtype=torch.int64)], strict=True):
            assert torch.equal(mixed[~from_demos], replayed[n_demos:])
            assert torch.equal(mixed[from_demos], demonstrated.expand(n_demos, *replayed.shape[1:]))


def test_actor_gradient_is_that_of_the_denoising_loss_over_all_steps(make: Make) -> None:
    idql = make()
    batch = idql.experience.replay.sample(torch.Generator().manual_seed(1), 10)
    idql.actor.zero_grad()
    info = idql.actor_backward(*idql._imitated(batch, torch.Generator()), torch.Generator().manual_seed(5))
    generator, schedule = torch.Generator().manual_seed(5), idql.policy.schedule
    t = torch.randint(6, (10,), generator=generator)
    eps = torch.randn(batch.chunk.shape, generator=generator)
    predicted = idql.actor(schedule.add_noise(batch.chunk, eps, t), idql.actor.time_table()[t], batch.obs)
    loss = ((predicted - eps) ** 2).mean()
    assert info["actor_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for parameter, gradient in zip(
        idql.il_parameters(), torch.autograd.grad(loss, list(idql.il_parameters())), strict=True
    ):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)


def test_order_of_updates_and_warm_up(make: Make) -> None:
    assert learn(make(), 1) == ["value", "critic", "actor"] * 3
    assert learn(make(critic_warmup_itr=1), 1) == ["value", "critic"] * 3
    assert learn(make(critic_warmup_itr=1), 2) == ["value", "critic", "actor"] * 3


@pytest.mark.parametrize("changed", [{"train_actor": False}, {"demo_fraction": 0.3}, {"critic_warmup_itr": 1}])
def test_arms_learn_from_the_same_batches_whatever_their_actors_do(make: Make, changed: dict[str, Any]) -> None:
    plain, other = batches_of(make()), batches_of(make(**changed))
    assert len(plain) == 3
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


def test_imitation_may_join_the_actor_alone(make: Make) -> None:
    joined = {update.name: update.is_actor for update in next_updates(make(n_updates=1))}
    assert joined == {"value": False, "critic": False, "actor": True}


def test_every_observation_gets_its_own_proposals_and_values(make: Make) -> None:
    idql, obs = make(), torch.arange(8.0).view(4, 2)

    class Recall:  # chunks that tell for which observation they were drawn
        def chunks(self, repeated: Tensor, *_: object) -> Tensor:
            return repeated[:, None, :].expand(-1, 2, -1).contiguous()

    chunks = idql.propose(Recall(), obs, torch.Generator())  # type: ignore[arg-type]
    assert torch.equal(chunks, obs[:, None, None, :].expand(4, 3, 2, 2))
    chunks = chunks + torch.randn(chunks.shape, generator=torch.Generator().manual_seed(1))
    values = idql.q_target.rank(obs, chunks)
    for m in range(3):
        torch.testing.assert_close(values[:, m], idql.q_target.smaller(obs, chunks[:, m]))


def test_training_explores_with_the_noise_floor_and_evaluation_without(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    idql, used = make(), []
    propose = idql.propose

    def watch(sampler: ChainSampler, obs: Tensor, generator: torch.Generator) -> Tensor:
        used.append(list(sampler.std))
        return propose(sampler, obs, generator)

    monkeypatch.setattr(idql, "propose", watch)
    with torch.no_grad():
        idql.explore(torch.zeros(4, 2), torch.Generator().manual_seed(0))
    idql.act(np.zeros((4, 2)), torch.Generator().manual_seed(0))
    assert min(used[0]) == pytest.approx(0.1)
    assert used[1][0] == 0


def test_a_frozen_actor_keeps_its_weights_while_critics_learn(make: Make) -> None:
    idql = make(train_actor=False)
    actor, q = copy.deepcopy(idql.actor.state_dict()), copy.deepcopy(idql.q.state_dict())
    assert learn(idql, 9) == ["value", "critic"] * 3
    assert all(torch.equal(value, actor[name]) for name, value in idql.actor.state_dict().items())
    assert not all(torch.equal(value, q[name]) for name, value in idql.q.state_dict().items())


def test_buffer_holds_true_successors_and_scaled_rewards(make: Make) -> None:
    env = ToyEnv()
    idql = make(env, n_collected=1)
    batch = idql.experience.replay.sample(torch.Generator().manual_seed(0), 200)
    rewards = np.concatenate([step.reward for _, step in env.log])
    assert set(batch.reward.tolist()) <= set((0.5 * rewards).astype(np.float32).tolist())
    final = torch.from_numpy(np.concatenate([step.final_obs for _, step in env.log])).float()
    normalized = set(idql.policy.normalizer.normalize_obs(final)[:, 1].tolist())
    assert set(batch.next_obs[:, 1].tolist()) <= normalized
    reset = idql.policy.normalizer.normalize_obs(torch.tensor([[0.0, RESET_OBS]]))[0, 1].item()
    assert reset not in set(batch.next_obs[:, 1].tolist())
    assert batch.truncated.any()
    assert batch.terminated.any()


def test_evaluation_takes_the_chunk_that_the_smaller_target_value_prefers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    idql = make()
    chunks = torch.stack([torch.full((2, 2), float(k)) for k in range(3)]).expand(4, 3, 2, 2)
    monkeypatch.setattr(idql, "propose", lambda sampler, obs, generator: chunks)
    first, second = (torch.tensor(scores).expand(4, 3).reshape(-1) for scores in ([5.0, 3.0, 9.0], [1.0, 2.0, 0.0]))
    monkeypatch.setattr(type(idql.q_target), "forward", lambda self, obs, chunk: torch.stack([first, second]))
    chosen = idql.act(np.zeros((4, 2)), torch.Generator())
    expected = idql.policy.normalizer.denormalize_action(torch.full((4, 2, 2), 1.0))
    np.testing.assert_allclose(chosen, expected.numpy())


def test_exploration_draws_better_chunks_more_often(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    idql, n = make(), 4000
    chunks = torch.stack([torch.full((2, 2), float(k)) for k in range(3)]).expand(n, 3, 2, 2)
    monkeypatch.setattr(idql, "propose", lambda sampler, obs, generator: chunks)
    monkeypatch.setattr(idql, "value", lambda obs: torch.zeros(len(obs), 1))
    monkeypatch.setattr(idql.q_target, "rank", lambda obs, chunks: torch.tensor([-1.0, 1.0, 2.0]).expand(n, 3))
    chosen = idql.explore(torch.zeros(n, 2), torch.Generator().manual_seed(0))[:, 0, 0]
    share = [(chosen == k).float().mean().item() for k in range(3)]
    assert share == pytest.approx([0.3 / 1.7, 0.7 / 1.7, 0.7 / 1.7], abs=0.03)


def test_a_resumed_algorithm_goes_on_bit_for_bit(make: Make) -> None:
    env = ToyEnv()
    idql = make(env)
    learn(idql, 1)
    resumed = make(n_collected=0)
    resumed.load_state_dict(unpack(*pack(idql.state_dict())))
    other_env = copy.deepcopy(env)
    for algorithm, its_env in ((idql, env), (resumed, other_env)):
        algorithm.collect(its_env, 3)
        learn(algorithm, 3)
    assert all(torch.equal(a, b) for a, b in zip(weights(idql), weights(resumed), strict=True))


def test_acting_state_brings_back_how_it_acted(make: Make) -> None:
    idql, obs = make(), ToyEnv().reset(0)
    state = {name: tensor.clone() for name, tensor in idql.acting_state().items()}
    before = idql.act(obs, torch.Generator().manual_seed(1))
    learn(idql, 1)
    assert not np.array_equal(idql.act(obs, torch.Generator().manual_seed(1)), before)
    idql.load_acting_state(state)
    assert np.array_equal(idql.act(obs, torch.Generator().manual_seed(1)), before)


def test_diagnostics_touch_no_gradient(make: Make) -> None:
    idql = make()
    loss = idql.rl_loss(20, 1, torch.Generator().manual_seed(0))
    torch.autograd.grad(loss, list(idql.il_parameters()))
    assert all(parameter.grad is None for parameter in idql.il_parameters())


def test_critics_choose_once_they_have_learnt_enough(make: Make) -> None:
    idql = make(rank_after_updates=4, n_collected=1)
    obs = torch.randn(6, 2)
    for itr, ranks in ((1, False), (2, True)):
        assert idql.ranks == (itr > 2)
        single = idql.draw(idql.evaluation_chain, obs, torch_stream(0, "test", itr))
        assert torch.equal(idql.exploit(obs, torch_stream(0, "test", itr)), single)
        for update in idql.updates(itr):
            update.zero_grad()
            update.backward()
            update.apply()
        assert idql.ranks == ranks  # three steps an iteration
    single = idql.draw(idql.evaluation_chain, obs, torch_stream(0, "test", 3))
    assert not torch.equal(idql.exploit(obs, torch_stream(0, "test", 3)), single)


@pytest.mark.parametrize(("n_actor", "at"), [(None, [0, 1, 2, 3, 4, 5]), (2, [2, 5]), (1, [5]), (4, [1, 2, 4, 5])])
def test_the_actor_takes_its_own_number_of_steps(make: Make, n_actor: int | None, at: list[int]) -> None:
    idql = make(actor_updates=n_actor, n_updates=6)
    names = [update.name for update in idql.updates(1)]
    assert names.count("critic") == names.count("value") == 6
    after_critic = [sum(name == "critic" for name in names[:i]) - 1 for i, name in enumerate(names) if name == "actor"]
    assert after_critic == at


def test_ways_to_choose_are_told_apart(make: Make) -> None:
    idql = make()
    raw = np.random.default_rng(0).normal(size=(5, 2))
    seen = idql.policy.normalizer.from_env(raw)
    alone = idql.draw(idql.evaluation_chain, seen, torch_stream(0, "test"))
    expected = idql.policy.normalizer.denormalize_action(alone).double().numpy()
    np.testing.assert_array_equal(idql.choices["actor"].act(raw, torch_stream(0, "test")), expected)
    weighted = idql.choices["weighted"].act(raw, torch_stream(0, "test"))
    again = idql.weighted(idql.evaluation_chain, seen, torch_stream(0, "test"))
    np.testing.assert_array_equal(weighted, idql.policy.normalizer.denormalize_action(again).double().numpy())


def test_what_evaluations_depend_on_is_kept_with_whether_critics_choose(make: Make) -> None:
    idql = make(rank_after_updates=3)
    before = {name: value.clone() for name, value in idql.acting_state().items()}
    for update in idql.updates(1):
        update.zero_grad()
        update.backward()
        update.apply()
    assert idql.ranks
    idql.load_acting_state(before)
    assert not idql.ranks
