from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from inril.config.algos import ResidualConfig
from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, NetworkConfig
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.policy_file import PolicySpec, load_policy, save_policy
from inril.policies.residual import ChunkQueue, ResidualPolicy, gaussian_logprob

PLAIN = NetworkConfig(widths=(8, 8), activation="relu", residual=False)
N_ENVS, ACT_STEPS = 4, 3


@pytest.fixture
def queue() -> ChunkQueue:
    queue = ChunkQueue(ACT_STEPS, 1)
    queue.start(N_ENVS)
    return queue


@pytest.fixture
def config() -> ResidualConfig:
    return ResidualConfig(network=PLAIN, scale=0.2, log_std=-0.5, act_steps=2, ddim_steps=3)


@pytest.fixture
def policy(task: TaskSpec, diffusion_config: DiffusionConfig, config: ResidualConfig) -> ResidualPolicy:
    torch.manual_seed(0)
    return ResidualPolicy(DiffusionPolicy(diffusion_config, task, horizon_steps=3), config)


class Planner:
    """Plans chunks 10 n, 10 n + 1, ... at its n-th call, plus the observation; remembers whom it planned for."""

    def __init__(self) -> None:
        self.asked: list[list[float]] = []

    def __call__(self, obs: Tensor) -> Tensor:
        self.asked.append(obs[:, 0].tolist())
        return obs[:, None] + 10 * len(self.asked) + torch.arange(ACT_STEPS)[:, None]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def correct(policy: ResidualPolicy) -> None:
    """Give the residual something to say."""
    (weight,) = policy.residual.layers[-1].parameters()
    torch.nn.init.normal_(weight, generator=stream(3))


def observations(base: float = 0.0) -> Tensor:
    return base + torch.arange(N_ENVS)[:, None] / 10


def test_chunk_is_executed_in_order_and_planned_anew_when_it_is_used_up(queue: ChunkQueue) -> None:
    plan = Planner()
    actions = [queue.pop(observations(i), plan)[:, 0].tolist() for i in range(4)]
    start = observations()[:, 0]
    assert actions[:3] == [pytest.approx((10 + i + start).tolist()) for i in range(3)]  # of the first observation
    assert actions[3] == pytest.approx((20 + 3 + start).tolist())
    assert len(plan.asked) == 2


def test_a_reset_drops_the_plan_of_its_environment_and_of_no_other(queue: ChunkQueue) -> None:
    plan = Planner()
    queue.pop(observations(), plan)
    queue.drop(np.array([False, False, True, False]))
    action = queue.pop(observations(), plan)
    assert plan.asked[1] == [pytest.approx(0.2)]
    assert action[:, 0].tolist() == pytest.approx([11, 11.1, 20.2, 11.3])
    queue.pop(observations(), plan)
    queue.pop(observations(), plan)
    assert plan.asked[2] == pytest.approx([0, 0.1, 0.3])  # environment 2 is one step behind from now on


def test_start_drops_everything(queue: ChunkQueue) -> None:
    plan = Planner()
    queue.pop(observations(), plan)
    queue.start(2)
    assert queue.pop(observations()[:2], plan)[:, 0].tolist() == pytest.approx([20, 20.1])
    with pytest.raises(AssertionError, match="start"):
        queue.pop(observations(), plan)


def test_peek_sees_what_pop_would_take_and_takes_nothing(queue: ChunkQueue) -> None:
    plan, everyone = Planner(), np.ones(N_ENVS, bool)
    queue.pop(observations(), plan)
    queue.drop(np.array([True, False, False, False]))
    before = queue.state_dict()["next"].copy()
    wanted = np.array([True, True, False, False])
    assert queue.peek(observations(5), wanted, plan)[:, 0].tolist() == pytest.approx([25, 11.1, 0, 0])
    assert plan.asked[1] == [5.0]
    np.testing.assert_array_equal(queue.state_dict()["next"], before)
    expected = queue.peek(observations(5), everyone, lambda obs: 7 + obs[:, None].repeat(1, ACT_STEPS, 1))
    assert torch.equal(queue.pop(observations(5), lambda obs: 7 + obs[:, None].repeat(1, ACT_STEPS, 1)), expected)


def test_queues_come_back(queue: ChunkQueue) -> None:
    plan = Planner()
    queue.pop(observations(), plan)
    other = ChunkQueue(ACT_STEPS, 1)
    state = queue.state_dict()
    other.load_state_dict({"chunk": state["chunk"], "next": torch.from_numpy(state["next"])})
    assert torch.equal(*(q.pop(observations(), plan) for q in (queue, other)))
    assert torch.equal(*(q.pop(observations(), plan) for q in (queue, other)))
    assert len(plan.asked) == 1


def test_policy_starts_as_its_base(policy: ResidualPolicy) -> None:
    obs = torch.randn(5, 5, generator=stream(1))
    base = policy.base
    expected = base.normalizer.denormalize_action(base.sample(base.normalizer.normalize_obs(obs), stream(2), 3))
    policy.start(5)
    generator = stream(2)
    for step in range(2):
        action = policy.act(obs, generator)
        assert action.shape == (5, 1, 2)
        assert torch.equal(action[:, 0], expected[:, step])


def test_action_is_base_plus_scaled_mean_residual(policy: ResidualPolicy) -> None:
    obs = torch.randn(5, 5, generator=stream(1))
    correct(policy)
    policy.start(5)
    planned = policy.base.sample(obs, stream(2), 3)[:, 0]
    hidden = torch.cat([obs, planned], dim=1).double().numpy()
    *biased, last = ([p.detach().double().numpy() for p in layer.parameters()] for layer in policy.residual.layers)
    for weight, bias in biased:
        hidden = np.maximum(hidden @ weight.T + bias, 0)
    assert len(last) == 1
    expected = planned.numpy() + 0.2 * hidden @ last[0].T
    np.testing.assert_allclose(policy.exploit(obs, stream(2))[:, 0], expected, atol=1e-5)


def test_logprob_is_the_sum_of_gaussian_logprobs(policy: ResidualPolicy) -> None:
    correct(policy)
    policy.double()
    seen, residual = (torch.randn(6, n, dtype=torch.float64, generator=stream(n)) for n in (7, 2))
    each = torch.distributions.Normal(policy.mean(seen), np.exp(-0.5)).log_prob(residual)
    logprob = gaussian_logprob(residual, policy.mean(seen), policy.std)
    torch.testing.assert_close(logprob, each.sum(dim=1), atol=1e-12, rtol=0)


def test_whole_chain_and_whole_chunk_without_settings(
    task: TaskSpec, diffusion_config: DiffusionConfig, policy: ResidualPolicy
) -> None:
    plain = ResidualPolicy(policy.base, ResidualConfig(network=PLAIN))
    obs = torch.randn(5, 5, generator=stream(1))
    assert torch.equal(plain.plan(stream(2))(obs), policy.base.sample(obs, stream(2)))
    assert policy.plan(stream(2))(obs).shape == (5, 2, 2)


def test_policy_file_holds_base_and_residual(
    tmp_path: Path,
    task: TaskSpec,
    diffusion_config: DiffusionConfig,
    policy: ResidualPolicy,
    config: ResidualConfig,
) -> None:
    correct(policy)
    spec = PolicySpec(task=task, policy=diffusion_config, horizon_steps=3, residual=config)
    save_policy(tmp_path / "policy.safetensors", spec, policy.state_dict(), {})
    loaded, read = load_policy(tmp_path / "policy.safetensors", task)
    assert read == spec
    assert isinstance(loaded, ResidualPolicy)
    assert loaded.act_steps == 1
    obs = torch.randn(4, 5, generator=stream(1))
    act: list[Callable[..., Tensor]] = [policy.act, loaded.act]
    for p in (policy, loaded):
        p.start(4)
    assert torch.equal(*(f(obs, stream(2)) for f in act))


def test_files_of_other_policies_name_no_residual(task: TaskSpec, diffusion_config: DiffusionConfig) -> None:
    spec = PolicySpec(task=task, policy=diffusion_config, horizon_steps=3)
    assert "residual" not in spec.model_dump(mode="json")
    assert spec.build().act_steps == 3


def test_residual_network_must_be_plain() -> None:
    with pytest.raises(ValidationError, match="a plain network"):
        ResidualConfig(network=NetworkConfig(widths=(8, 8, 8), activation="relu"))
