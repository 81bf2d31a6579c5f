from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import double_sum
from pydantic import ValidationError
from torch import Tensor
from toy_env import ToyEnv

from inril.algos.make import make_algorithm
from inril.algos.ppo import PPO
from inril.algos.residual_ppo import LastingNoise, ResidualHead, make_residual_ppo
from inril.config.base import TaskSpec
from inril.config.runs import FinetuneConfig
from inril.errors import InputError
from inril.interleave.imitation_block import ImitationBlock
from inril.learning.update import Info, Update
from inril.policies.diffusion import DiffusionPolicy, denoising_loss, draw_noise
from inril.tensor_file import pack, unpack
from inril.train.interleaving import make_interleaver

N_ENVS, TP = 4, 2
PLAIN = {"widths": (8, 8), "activation": "relu", "residual": False}
ALGO: dict[str, Any] = {
    "kind": "residual_ppo", "gamma": 0.9, "gae_lambda": 0.8, "actor_lr": 1e-2, "critic_lr": 1e-2, "minibatch": 1000,
    "epochs": 3, "clip_coef": {"base": 0.2, "top": 0.2}, "vf_coef": 0.5, "target_kl": None, "max_grad_norm": 1.0,
    "critic_network": PLAIN, "residual": {"network": PLAIN, "scale": 0.1, "log_std": -1.0, "ddim_steps": 3},
}  # fmt: skip
Configure = Callable[..., FinetuneConfig]
Make = Callable[..., PPO]


@pytest.fixture
def configure(task: TaskSpec) -> Configure:
    def make(algo: dict[str, Any] | None = None, **changed: Any) -> FinetuneConfig:
        settings = {
            "task": task.model_dump(), "method": "residual_ppo", "separation": "none", "m": "inf", "seed": 0,
            "policy_name": "diffusion", "env_steps": 180, "n_envs": N_ENVS, "n_steps": 9,
            "algo": {**ALGO, **(algo or {})},
            "il": {"unit": "iteration", "network": {"n_steps": 3, "lr": 1e-2, "batch_size": 16}},
            "eval": {}, "report_episodes": 2, "checkpoint_every": 1,
        }  # fmt: skip
        return FinetuneConfig.model_validate({**settings, **changed})

    return make


@pytest.fixture
def make(configure: Configure, diffusion_policy: DiffusionPolicy) -> Make:
    """Residual PPO on the toy environment with one rollout in it."""

    def build(env: ToyEnv | None = None, itr: int = 1, **changed: Any) -> PPO:
        ppo = make_residual_ppo(configure(**changed), copy.deepcopy(diffusion_policy))
        ppo.collect(env or ToyEnv(N_ENVS, act_steps=1), itr)
        return ppo

    return build


def head_of(ppo: PPO) -> ResidualHead:
    assert isinstance(ppo.head, ResidualHead)
    return ppo.head


def network_block(ppo: PPO, configure: Configure) -> ImitationBlock:
    interleaver = make_interleaver(configure(separation="network", m=2), ppo, lambda size, _: torch.zeros(size))
    assert interleaver.block is not None
    return interleaver.block


def demos(seed: int = 3, size: int = 16) -> tuple[Tensor, Tensor]:
    generator = stream(seed)
    return torch.randn(size, 2, generator=generator), torch.rand(size, TP, 2, generator=generator) - 0.5


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(updates: Iterable[Update]) -> list[Info]:
    infos = []
    for update in updates:
        update.zero_grad()
        infos.append(update.backward())
        update.apply()
    return infos


def imitate(ppo: PPO, block: ImitationBlock) -> None:
    run(block.updates(lambda: ppo.il_loss(*demos(), stream(4))))


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def correct(ppo: PPO) -> None:
    """Give the residual something to say."""
    (weight,) = head_of(ppo).policy.residual.layers[-1].parameters()
    torch.nn.init.normal_(weight, std=0.5, generator=stream(5))


def test_reinforcement_never_touches_the_base_and_imitation_never_the_residual(
    make: Make, configure: Configure
) -> None:
    env = ToyEnv(N_ENVS, act_steps=1)
    ppo = make(env, separation="network", m=2)
    policy, block = head_of(ppo).policy, network_block(ppo, configure)
    for itr in (1, 2, 3):
        base, residual, critic = (weights(net).clone() for net in (policy.base, policy.residual, ppo.critic))
        for parameter in policy.parameters():
            parameter.grad = None
        run(ppo.updates(itr))
        assert all(p.grad is None for p in policy.base.parameters())
        assert torch.equal(weights(policy.base), base)
        assert not torch.equal(weights(policy.residual), residual)
        residual, critic = weights(policy.residual).clone(), weights(ppo.critic).clone()
        for parameter in policy.parameters():
            parameter.grad = None
        imitate(ppo, block)
        assert all(p.grad is None for p in policy.residual.parameters())
        assert all(p.grad is not None for p in policy.base.denoiser.parameters())
        assert torch.equal(weights(policy.residual), residual)
        assert torch.equal(weights(ppo.critic), critic)
        assert not torch.equal(weights(policy.base), base)
        ppo.collect(env, itr + 1)


def test_losses_of_the_two_have_no_gradient_on_each_others_network(make: Make) -> None:
    ppo = make(separation="network", m=2)
    correct(ppo)
    policy = head_of(ppo).policy
    base, residual = list(policy.base.denoiser.parameters()), list(policy.residual.parameters())
    rl_loss, il_loss = ppo.rl_loss(20, 0, stream()), ppo.il_loss(*demos(), stream())
    assert all(g is None for g in torch.autograd.grad(rl_loss, base, allow_unused=True, retain_graph=True))
    assert all(g is None for g in torch.autograd.grad(il_loss, residual, allow_unused=True, retain_graph=True))
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(rl_loss, residual))
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(il_loss, base))


@pytest.mark.parametrize("m", ["inf", 2])
def test_base_is_frozen_where_imitation_has_no_network_of_its_own(make: Make, m: Any) -> None:
    ppo = make(m=m)
    policy = head_of(ppo).policy
    assert not any(p.requires_grad for p in policy.base.parameters())
    assert [id(p) for p in ppo.il_parameters()] == [id(p) for p in policy.residual.parameters()]


def test_control_trains_nothing_but_the_base(make: Make, configure: Configure) -> None:
    ppo = make(separation="network", m=2, method="residual_il_only", algo={"train_residual": False})
    policy = head_of(ppo).policy
    before, base = weights(policy.residual).clone(), weights(policy.base).clone()
    assert list(ppo.updates(1)) == []
    imitate(ppo, network_block(ppo, configure))
    assert torch.equal(weights(policy.residual), before)
    assert not torch.equal(weights(policy.base), base)


def test_evaluation_starts_as_the_base(make: Make) -> None:
    ppo = make()
    base, obs = head_of(ppo).policy.base, np.linspace(-1, 1, 6).reshape(3, 2)
    normalized = base.normalizer.normalize_obs(torch.from_numpy(obs).float())
    expected = base.normalizer.denormalize_action(base.sample(normalized, stream(2), 3)).double().numpy()
    ppo.start(3)
    generator = stream(2)
    for step in range(TP):
        np.testing.assert_array_equal(ppo.act(obs, generator)[:, 0], expected[:, step])


def test_evaluation_leaves_the_plans_of_the_rollout_alone(make: Make) -> None:
    ppo = make()
    before = copy.deepcopy(ppo.head.observer.state_dict())
    ppo.start(3)
    ppo.act(np.zeros((3, 2)), stream())
    assert torch.equal(ppo.head.observer.state_dict()["chunk"], before["chunk"])
    np.testing.assert_array_equal(ppo.head.observer.state_dict()["next"], before["next"])


def plan_of_observation(self: DiffusionPolicy, obs: Tensor, *args: Any) -> Tensor:
    """A base that plans the observation's first component, plus 0, 1, ... in the chunk: plans can be told apart."""
    return (obs[:, :1, None] + torch.arange(TP)[:, None]).repeat(1, 1, 2)


def test_rollout_sees_base_actions_chunk_by_chunk_and_anew_after_a_reset(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiffusionPolicy, "sample", plan_of_observation)
    env = ToyEnv(N_ENVS, act_steps=1)
    ppo = make(env)
    assert ppo.rollout is not None
    seen = ppo.rollout.obs.view(9, N_ENVS, 4)
    age, start = np.zeros(N_ENVS, dtype=int), torch.zeros(N_ENVS)
    for s, (_, step) in enumerate(env.log):
        for e in range(N_ENVS):
            if age[e] % TP == 0:
                start[e] = seen[s, e, 0]
            assert seen[s, e, 2:].tolist() == [start[e] + age[e] % TP] * 2
            age[e] = 0 if step.terminated[e] or step.truncated[e] else age[e] + 1


def test_executed_action_is_base_plus_scaled_residual(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[np.ndarray] = []
    env = ToyEnv(N_ENVS, act_steps=1)
    step_chunk = env.step_chunk
    monkeypatch.setattr(env, "step_chunk", lambda chunk: executed.append(chunk) or step_chunk(chunk))
    ppo = make(env)
    assert ppo.rollout is not None
    residual = ppo.rollout.trace
    normalized = ppo.rollout.obs[:, 2:] + 0.1 * residual
    expected = ppo.head.normalizer.denormalize_action(normalized).view(9, N_ENVS, 1, 2)
    np.testing.assert_array_equal(np.stack(executed), expected.double().numpy())
    assert residual.std().item() == pytest.approx(np.exp(-1), rel=0.3)  # the mean is 0 at first
    z = residual.double() / np.exp(-1)
    logprob = (-0.5 * z**2 + 1 - 0.5 * np.log(2 * np.pi)).sum(dim=1)
    np.testing.assert_allclose(ppo.rollout.logprob[:, 0], logprob, atol=1e-5)


@pytest.mark.parametrize("act_steps", [None, 1])
@pytest.mark.parametrize("n_steps", [1, 8, 9])
def test_bootstrap_sees_the_base_action_at_the_true_successor(
    make: Make, monkeypatch: pytest.MonkeyPatch, n_steps: int, act_steps: int | None
) -> None:
    monkeypatch.setattr(DiffusionPolicy, "sample", plan_of_observation)
    env = ToyEnv(N_ENVS, act_steps=1)
    residual = {**ALGO["residual"], "act_steps": act_steps}
    ppo = make(env, n_steps=n_steps, algo={"reward_scaling": False, "residual": residual})
    ta = act_steps or TP

    def normalized(obs: np.ndarray) -> Tensor:
        return ppo.head.normalizer.normalize_obs(torch.from_numpy(obs).float())

    def value(obs: Tensor, base: Tensor) -> float:
        with torch.no_grad():
            return ppo.critic(torch.cat([obs, base.expand(2)])[None]).item()

    shape = (n_steps, N_ENVS)
    values, next_values = np.zeros(shape), np.zeros(shape)
    start, age = torch.zeros(N_ENVS), np.zeros(N_ENVS, dtype=int)
    for s, (before, step) in enumerate(env.log):
        obs, successor = normalized(before), normalized(step.final_obs)
        for e in range(N_ENVS):
            if age[e] == 0:
                start[e] = obs[e, 0]
            values[s, e] = value(obs[e], start[e] + age[e])
            used_up = age[e] + 1 == ta
            next_values[s, e] = value(successor[e], successor[e, 0] if used_up else start[e] + age[e] + 1)
            age[e] = 0 if used_up or step.terminated[e] or step.truncated[e] else age[e] + 1
    reward, terminated, truncated = (
        np.stack([getattr(step, name) for _, step in env.log]) for name in ("reward", "terminated", "truncated")
    )
    expected = double_sum(reward, values, next_values, terminated, truncated, gamma=0.9, lam=0.8)
    assert ppo.rollout is not None
    np.testing.assert_allclose(ppo.rollout.advantage.view(shape), expected, atol=5e-6)


def test_actor_and_critic_take_one_step_with_one_norm(make: Make) -> None:
    ppo = make()
    correct(ppo)
    rollout = ppo.rollout
    assert rollout is not None
    update = next(iter(ppo.updates(1)))
    update.zero_grad()
    info = update.backward()
    assert (update.name, update.is_actor) == ("actor_critic", True)
    residual, critic = list(head_of(ppo).policy.residual.parameters()), list(ppo.critic.parameters())
    assert [id(p) for p in update.parameters] == [id(p) for p in [*residual, *critic]]

    advantage = (rollout.advantage - rollout.advantage.mean()) / (rollout.advantage.std() + 1e-8)
    ratio = torch.exp(
        ppo.head.logprob(rollout.obs, rollout.trace, torch.zeros(36, dtype=torch.long)) - rollout.logprob[:, 0]
    )
    surrogate = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    error = 0.5 * (ppo.critic(rollout.obs).squeeze(1) - rollout.returns).square().mean()
    expected = torch.autograd.grad(surrogate + 0.5 * error, [*residual, *critic])
    got = torch.cat([p.grad.flatten() for p in update.parameters if p.grad is not None])
    torch.testing.assert_close(got, torch.cat([g.flatten() for g in expected]), atol=1e-5, rtol=1e-3)
    assert info["value_loss"] == pytest.approx(error.item(), rel=1e-5)
    assert info["grad_norm_rl"] == pytest.approx(torch.cat([g.flatten() for g in expected[:5]]).norm().item(), rel=1e-4)
    update.apply()
    assert torch.cat([p.grad.flatten() for p in update.parameters if p.grad is not None]).norm() <= 1 + 1e-5


def test_critic_alone_learns_while_it_warms_up(make: Make) -> None:
    ppo = make(algo={"critic_warmup_itr": 1})
    policy = head_of(ppo).policy
    before, critic = weights(policy.residual).clone(), weights(ppo.critic).clone()
    assert {update.name for update in ppo.updates(1)} == {"critic"}
    run(ppo.updates(1))
    assert torch.equal(weights(policy.residual), before)
    assert not torch.equal(weights(ppo.critic), critic)
    assert {update.name for update in ppo.updates(2)} == {"actor_critic"}


def test_kl_stops_the_epochs(make: Make) -> None:
    ppo = make(algo={"epochs": 50, "target_kl": 5e-3})
    infos = run(ppo.updates(1))
    assert len(infos) < 50
    assert infos[-1]["approx_kl"] > 5e-3
    assert max(info["approx_kl"] for info in infos[:-1]) <= 5e-3


def test_learning_rates_rise_and_fall_over_the_iterations_of_the_run(make: Make) -> None:
    ppo = make(algo={"lr_warmup_itr": 1, "critic_lr": 4e-2})  # 180 steps: 5 iterations of 36
    rates = []
    for itr in range(1, 6):
        next(iter(ppo.updates(itr)))
        (optimizer,) = ppo.optimizers.values()
        rates.append([group["lr"] for group in optimizer.param_groups])
    factors = [0.5, *(0.5 * (1 + np.cos(np.pi * i / 4)) for i in range(4))]
    np.testing.assert_allclose(rates, np.outer(factors, [1e-2, 4e-2]))


def test_rewards_are_scaled_by_their_own_standard_deviation_and_clipped(make: Make) -> None:
    env = ToyEnv(N_ENVS, act_steps=1)
    ppo = make(env, algo={"reward_clip": 2.0})
    reward = np.stack([step.reward for _, step in env.log])
    assert np.sqrt(ppo.reward_scaler.var) == pytest.approx(reward.std(), rel=1e-3)
    assert np.abs(ppo.reward_scaler(reward, np.zeros(reward.shape, bool))).max() == 2.0


def test_naive_imitation_is_the_error_of_the_corrected_first_action(make: Make) -> None:
    ppo = make(m=2)
    correct(ppo)
    policy, (obs, chunk) = head_of(ppo).policy, demos()
    planned = policy.base.sample(obs, stream(7), 3)[:, 0].double().numpy()
    hidden = np.concatenate([obs.double().numpy(), planned], axis=1)
    *biased, (last,) = ([p.detach().double().numpy() for p in layer.parameters()] for layer in policy.residual.layers)
    for weight, bias in biased:
        hidden = np.maximum(hidden @ weight.T + bias, 0)
    error = planned + 0.1 * hidden @ last.T - chunk[:, 0].double().numpy()
    assert ppo.il_loss(obs, chunk, stream(7)).item() == pytest.approx((error**2).mean(), rel=1e-5)


def test_imitation_of_the_base_is_that_of_pre_training(make: Make) -> None:
    ppo, (obs, chunk) = make(separation="network", m=2), demos()
    base = head_of(ppo).policy.base
    generator = stream(7)
    t, eps = draw_noise(chunk, 6, generator)
    expected = denoising_loss(base.denoiser, base.schedule, obs, chunk, t, eps)
    torch.testing.assert_close(ppo.il_loss(obs, chunk, stream(7)), expected)


def test_probe_measures_the_base_alike_whatever_is_trained(make: Make) -> None:
    with torch.no_grad():
        naive, network = (
            make(separation=separation, m=2).probe(*demos(), stream(7)) for separation in ("none", "network")
        )
    assert network["il_loss"] == network["il_loss_all_steps"] == naive["il_loss_all_steps"]
    assert naive["il_loss"] != naive["il_loss_all_steps"]


def test_a_phase_drops_what_the_old_base_has_planned(make: Make, configure: Configure) -> None:
    ppo = make(separation="network", m=2)
    assert (ppo.head.observer.state_dict()["next"] < TP).any()
    imitate(ppo, network_block(ppo, configure))
    assert (ppo.head.observer.state_dict()["next"] == TP).all()


@pytest.mark.parametrize("separation", ["none", "network"])
def test_resumed_algorithm_goes_on_bit_for_bit(make: Make, configure: Configure, separation: str) -> None:
    settings: dict[str, Any] = {"separation": separation, "m": 2, "algo": {"lr_warmup_itr": 1}}

    def advance(ppo: PPO, block: ImitationBlock | None, env: ToyEnv, itrs: range) -> None:
        for itr in itrs:
            ppo.collect(env, itr)
            run(ppo.updates(itr))
            if block is not None and itr == 3:
                imitate(ppo, block)

    env = ToyEnv(N_ENVS, act_steps=1)
    ppo = make(env, **settings)
    block = network_block(ppo, configure) if separation == "network" else None
    run(ppo.updates(1))
    if block is not None:
        imitate(ppo, block)  # its optimiser has moments to keep
    ppo.collect(env, 2)
    run(ppo.updates(2))
    assert (ppo.head.observer.state_dict()["next"] < TP).any()  # plans that a resume has to go on with
    state = copy.deepcopy(unpack(*pack({"ppo": ppo.state_dict(), **({"block": block.state_dict()} if block else {})})))
    other_env = copy.deepcopy(env)
    advance(ppo, block, env, range(3, 5))

    resumed = make(ToyEnv(N_ENVS, act_steps=1), **settings)
    resumed_block = network_block(resumed, configure) if separation == "network" else None
    resumed.load_state_dict(state["ppo"])
    if resumed_block is not None:
        resumed_block.load_state_dict(state["block"])
    advance(resumed, resumed_block, other_env, range(3, 5))
    assert torch.equal(*(weights(head_of(x).policy) for x in (ppo, resumed)))
    assert torch.equal(*(weights(x.critic) for x in (ppo, resumed)))
    assert torch.equal(*(x.head.observer.state_dict()["chunk"] for x in (ppo, resumed)))


def test_acting_state_brings_back_base_and_residual(make: Make, configure: Configure) -> None:
    ppo = make(separation="network", m=2)
    correct(ppo)
    obs, state = np.zeros((3, 2)), {name: tensor.clone() for name, tensor in ppo.acting_state().items()}

    def act() -> np.ndarray:
        ppo.start(3)
        return ppo.act(obs, stream(1))

    before = act()
    run(ppo.updates(1))
    imitate(ppo, network_block(ppo, configure))
    assert not np.array_equal(act(), before)
    ppo.load_acting_state(state)
    np.testing.assert_array_equal(act(), before)


def test_same_seed_gives_the_same_weights(make: Make) -> None:
    runs = [make() for _ in range(2)]
    for ppo in runs:
        run(ppo.updates(1))
    assert torch.equal(*(weights(head_of(ppo).policy) for ppo in runs))


def test_critic_starts_near_a_quarter(make: Make) -> None:
    last = make().critic.layers[-1]
    weight, bias = last.parameters()
    assert bias.item() == 0.25
    assert weight.norm().item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"act_steps": 3},
            "residual.act_steps: expected at most the 2 steps of the pre-trained policy's chunks, got 3",
        ),
        (
            {"ddim_steps": 7},
            "residual.ddim_steps: expected at most the 6 denoising steps of the pre-trained policy, got 7",
        ),
    ],
)
def test_a_base_that_cannot_act_so_is_refused(
    configure: Configure, diffusion_policy: DiffusionPolicy, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"algo: {message}"):
        make_algorithm(
            configure({"residual": {**ALGO["residual"], **changed}}),
            diffusion_policy,
            demos=None,  # type: ignore[arg-type] # refused before they are looked at
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"separation": "network", "m": "inf"}, "RL only"),
        ({"separation": "network", "m": 2, "il": {"unit": "grad_step"}}, "il.unit iteration"),
        ({"separation": "network", "m": 2, "il": {"unit": "iteration", "source": "noise"}}, "il.source demos"),
        (
            {"separation": "none", "m": 2, "method": "residual_il_only", "algo": {**ALGO, "train_residual": False}},
            "separation network for finite m of residual_il_only, not 'none'",
        ),
    ],
)
def test_combinations_without_a_meaning_are_refused(
    configure: Configure, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        configure(**changed)


def test_observer_plans_for_those_alone_whose_value_will_be_asked_for(make: Make) -> None:
    ppo = make()
    ppo.head.observer.start(N_ENVS)
    seen = ppo.head.observer.foresee(torch.zeros(N_ENVS, 2), np.array([True, False, False, True]), stream())
    assert seen.shape == (N_ENVS, 4)
    assert seen[[0, 3], 2:].abs().min() > 0
    assert not seen[1:3].any()


def test_lasting_noise_has_its_correlation_and_unit_variance() -> None:
    noise = LastingNoise(0.8, 2)
    noise.start(4000)
    generator = torch.Generator().manual_seed(0)
    steps = torch.stack([noise.draw(torch.randn(4000, 2, generator=generator))[0] for _ in range(6)])
    torch.testing.assert_close(steps.var(dim=(1, 2)), torch.ones(6), atol=0.05, rtol=0)
    for lag in (1, 2):
        correlation = (steps[lag:] * steps[:-lag]).mean().item()
        assert correlation == pytest.approx(0.8**lag, abs=0.02)


def test_an_episode_begins_with_fresh_noise() -> None:
    noise = LastingNoise(0.9, 1)
    noise.start(2)
    noise.draw(torch.full((2, 1), 3.0))
    noise.drop(np.array([True, False]))
    z, mean, std = noise.draw(torch.zeros(2, 1))
    assert (z[0].item(), mean[0].item(), std[0].item()) == (0.0, 0.0, 1.0)
    assert z[1].item() == pytest.approx(0.9 * 3)
    assert std[1].item() == pytest.approx((1 - 0.81) ** 0.5)
    noise.start(2)
    assert noise.draw(torch.zeros(2, 1))[2].tolist() == [[1.0], [1.0]]


def test_ratios_are_one_before_the_first_step_with_lasting_noise(make: Make) -> None:
    ppo = make(algo={"residual": {**ALGO["residual"], "noise_correlation": 0.7}})
    rollout = ppo.rollout
    assert rollout is not None
    logprob = ppo.head.logprob(rollout.obs, rollout.trace, torch.zeros(len(rollout.obs), dtype=torch.long))
    torch.testing.assert_close(logprob, rollout.logprob[:, 0])
    head = head_of(ppo)
    residual, offset, std = rollout.trace.split([2, 2, 1], dim=1)
    expected = torch.distributions.Normal(head.policy.mean(rollout.obs) + offset, std).log_prob(residual).sum(dim=1)
    torch.testing.assert_close(logprob, expected)


def test_lasting_noise_survives_a_resume(make: Make) -> None:
    ppo, resumed = (make(algo={"residual": {**ALGO["residual"], "noise_correlation": 0.7}}) for _ in range(2))
    noise = head_of(resumed).noise
    assert noise is not None
    noise.start(N_ENVS)  # has forgotten
    resumed.load_state_dict(copy.deepcopy(ppo.state_dict()))
    eps = torch.randn(N_ENVS, 2)
    draws = [head_of(one).noise.draw(eps)[0] for one in (ppo, resumed)]  # type: ignore[union-attr]
    assert torch.equal(*draws)
