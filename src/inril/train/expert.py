"""Demonstrators: tiny Gaussian policies trained from scratch with PPO, stopped at a wanted quality."""

from __future__ import annotations

import logging
import math
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inril.algos.ppo import PPO
from inril.algos.ppo_gaussian import GaussianHead
from inril.config.base import TaskSpec
from inril.config.policy import GaussianConfig
from inril.config.runs import ExpertConfig
from inril.envs import make_env
from inril.errors import InputError
from inril.evaluate import evaluate
from inril.jit import compiled
from inril.learning.episodes import TrainingEpisodes
from inril.policies.acting import FunctionActor
from inril.policies.gaussian import GaussianPolicy
from inril.policies.mlp import MLP
from inril.policies.policy_file import PolicySpec, load_policy, save_policy
from inril.seeding import subseed
from inril.types import FloatArray

log = logging.getLogger(__name__)


class TrainedDemonstrator:
    """A demonstrator that acts one step at a time, with its exploration noise.

    Its actions are the same on every processor: computed in float64, one operation after the other, and rounded to the
    float32 of demonstration files. A last bit would grow to another trajectory within an episode, and matrix products
    round differently from one instruction set to the next.

    Args:
        policy: Gaussian policy of a plain tanh network, with a horizon of one step.
    """

    def __init__(self, policy: GaussianPolicy) -> None:
        network = policy.mlp
        assert network.activation == "tanh"
        assert not network.residual
        weights_and_biases = [_float64(parameter) for parameter in network.parameters()]
        self._layers = list(zip(weights_and_biases[::2], weights_and_biases[1::2], strict=True))
        low, high = _float64(policy.normalizer.obs_min), _float64(policy.normalizer.obs_max)
        self._center, self._half_range = (low + high) / 2, (high - low) / 2
        self._std = np.array([math.exp(value) for value in policy.log_std.tolist()])

    def act(self, obs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw actions (E, Da) within [-1, 1] for raw observations (E, Do)."""
        x: FloatArray = (obs - self._center) / self._half_range
        for weight, bias in self._layers:  # the mean passes through tanh as well
            x = _tanh_layer(x, weight, bias)
        action: FloatArray = np.clip(x + self._std * rng.standard_normal(x.shape), -1.0, 1.0)
        return action.astype(np.float32).astype(np.float64)


def _float64(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().double().numpy()
    return array


@compiled
def _tanh_layer(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Return tanh(x weight^T + bias), (E, m), for x (E, n), each sum taken in the order of the inputs."""
    out = np.empty((x.shape[0], bias.size))
    for e in range(x.shape[0]):
        for i in range(bias.size):
            total: float = bias[i]
            for j in range(x.shape[1]):
                total += weight[i, j] * x[e, j]
            out[e, i] = math.tanh(total)
    return out


def load_expert(task: TaskSpec) -> TrainedDemonstrator:
    """Load the demonstrator that ships with the package.

    Raises:
        InputError: none ships for this task.
    """
    folder = resources.files("inril.data") / "experts"
    path = Path(str(folder)) / f"{task.id}.safetensors"
    if not path.is_file():
        hint = f"Put one there: snakemake --cores 1 results/<budget>/experts/{task.id}.safetensors trains it"
        raise InputError(path, expected="a shipped demonstrator", got="none for this task", hint=hint)
    policy, _ = load_policy(path, task)
    assert isinstance(policy, GaussianPolicy)
    return TrainedDemonstrator(policy)


class ObsStatistics:
    """Running mean and variance of observations, handed to a normaliser as the interval mean +- std.

    Args:
        obs_dim: Do.
    """

    def __init__(self, obs_dim: int) -> None:
        self.mean, self.var, self.count = torch.zeros(obs_dim), torch.ones(obs_dim), 1e-4

    def update(self, obs: Tensor) -> None:
        """Account for raw observations (N, Do)."""
        n, mean, var = len(obs), obs.mean(0), obs.var(0, unbiased=False)
        total, delta = self.count + n, mean - self.mean
        m2 = self.var * self.count + var * n + delta**2 * self.count * n / total
        self.mean, self.var, self.count = self.mean + delta * n / total, m2 / total, total


def run(cfg: ExpertConfig, task: TaskSpec, out: Path) -> None:
    """Train until the demonstrations that the policy would give are as good as wanted, and write the policy.

    The policy whose mean return is closest to the target is kept, should the budget end first.

    Args:
        cfg: settings.
        task: what to learn.
        out: policy file to write.
    """
    torch.set_num_threads(1)
    torch.manual_seed(subseed(cfg.seed, "init"))
    policy_config = GaussianConfig(network=cfg.network, std=cfg.initial_std)
    policy = GaussianPolicy(policy_config, task, horizon_steps=1)
    with torch.no_grad():
        next(policy.mlp.layers[-1].parameters()).mul_(0.01)  # weights of the last layer: start near zero action
    algorithm = PPO(
        config=cfg.ppo,
        head=GaussianHead(policy, cfg.ppo),
        critic=MLP(cfg.ppo.critic_network, task.obs_dim, 1),
        episodes=TrainingEpisodes(cfg.n_envs, cfg.seed, reset_each_itr=False),
        n_steps=cfg.n_steps,
        seed=cfg.seed,
    )
    spec = PolicySpec(task=task, policy=policy_config, horizon_steps=1)
    env = make_env(task, cfg.n_envs, act_steps=1)
    statistics = ObsStatistics(task.obs_dim)
    best_distance, env_steps, itr = float("inf"), 0, 0
    while env_steps < cfg.env_steps and best_distance > cfg.tolerance:
        itr += 1
        env_steps += int(algorithm.collect(env, itr)["env_steps"])
        for update in algorithm.updates(itr):
            update.zero_grad()
            update.backward()
            update.apply()
        _renormalize(algorithm, policy, statistics)
        if itr % cfg.eval.every:
            continue
        returns = _demonstration_returns(policy, task, cfg, itr)
        distance = abs(returns.mean() / cfg.target_return - 1)
        log.info("%s: %d env steps, return %.0f (target %.0f)", task.id, env_steps, returns.mean(), cfg.target_return)
        if distance < best_distance:
            best_distance = distance
            origin = {
                "env_steps": env_steps,
                "mean_return": float(returns.mean()),
                "config": cfg.model_dump(mode="json"),
            }
            save_policy(out, spec, policy.state_dict(), origin)
    env.close()


def _renormalize(algorithm: PPO, policy: GaussianPolicy, statistics: ObsStatistics) -> None:
    """Refresh the observation scale between iterations, when no stored log-probability depends on it."""
    assert algorithm.rollout is not None
    normalizer = policy.normalizer
    half_range = (normalizer.obs_max - normalizer.obs_min) / 2
    statistics.update((algorithm.rollout.obs + 1) * half_range + normalizer.obs_min)
    std = (statistics.var + 1e-8).sqrt()
    normalizer.obs_min.copy_(statistics.mean - std)
    normalizer.obs_max.copy_(statistics.mean + std)


def _demonstration_returns(policy: GaussianPolicy, task: TaskSpec, cfg: ExpertConfig, itr: int) -> FloatArray:
    expert = TrainedDemonstrator(policy)
    rng = np.random.default_rng(subseed(cfg.seed, "eval_action", itr))
    actor = FunctionActor(lambda obs, _: expert.act(obs, rng)[:, None], act_steps=1)
    return evaluate(actor, task, cfg.eval.n_envs, subseed(cfg.seed, "eval", itr)).episode_return
