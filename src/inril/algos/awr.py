"""AWR: a diffusion policy that imitates its own experience, what went better than expected with more weight.

Source: Peng et al. 2019, "Advantage-Weighted Regression: Simple and Scalable Off-Policy Reinforcement Learning", in the
form of the DPPO reference, but for the errors of its critic (docs/deviations.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from inril.algos.base import Info, Update
from inril.algos.experience import Experience, make_experience
from inril.algos.gae import gae
from inril.algos.networks import Networks
from inril.algos.ppo_loss import normalize_advantage
from inril.config import AWRConfig, FinetuneConfig
from inril.envs.base import BatchedEnv
from inril.policies.chain_sampler import ChainSampler
from inril.policies.diffusion import DiffusionPolicy, denoising_loss, draw_noise, evaluation_std, training_std
from inril.policies.mlp import MLP
from inril.seeding import subseed, torch_stream
from inril.types import FloatArray

_ROWS_AT_A_TIME = 8192  # observations whose values are computed at once; no influence on results


class Evaluated(NamedTuple):
    """The whole buffer, as the critic sees it now; N = rows x E, the oldest row first.

    Attributes:
        obs: (N, Do).
        chunk: (N, Tp, Da).
        advantage: (N,) TD(lambda) error, times `td_rate`.
        target: (N,) value plus advantage.
    """

    obs: Tensor
    chunk: Tensor
    advantage: Tensor
    target: Tensor


def advantage_weights(advantage: Tensor, factor: float, max_weight: float) -> Tensor:
    """Weight of each sample, min(exp(factor x normalised advantage), max_weight).

    Args:
        advantage: (B,) of a minibatch, over which it is normalised.
        factor: beta.
        max_weight: bound.
    """
    return (factor * normalize_advantage(advantage)).exp().clamp(max=max_weight)


class AWR:
    """AWR on a pre-trained diffusion policy, all of whose denoising steps are trained; see `Algorithm`.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser is trained in place.
        value: critic of observations.
        experience: replay buffer and environments' state.
        n_updates: of the actor in an iteration.
        seed: of the run.
    """

    def __init__(
        self, config: AWRConfig, policy: DiffusionPolicy, value: MLP, experience: Experience, n_updates: int, seed: int
    ) -> None:
        self.config, self.policy, self.experience = config, policy, experience
        self.n_updates, self.seed = n_updates, seed
        self.actor, self.value = policy.denoiser, value.to(policy.normalizer.device)
        self.networks = Networks(
            {"actor": self.actor, "critic": self.value}, lr={"actor": config.actor_lr, "critic": config.critic_lr}
        )
        schedule = policy.schedule
        self.explore = ChainSampler(policy.denoisers(), schedule, training_std(schedule, config.min_sampling_std))
        self.exploit = ChainSampler(policy.denoisers(), schedule, evaluation_std(schedule))

    def collect(self, env: BatchedEnv, itr: int) -> Info:
        """Run S chunks in every environment into the replay buffer."""
        return self.experience.collect(env, itr, partial(self._chunks, self.explore))

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield all steps of the critic towards fixed targets, then all steps of the actor with its new advantages."""
        generator = torch_stream(self.seed, "minibatch", itr)
        replay, size = self.experience.replay, self.config.batch_size
        buffer = self._evaluated()
        for _ in range(self.n_updates // self.config.actor_steps_per_critic_step):
            position = replay.positions(generator, size)
            yield self.networks.update("critic", partial(self._critic_backward, buffer, position))
        if itr <= self.config.critic_warmup_itr:
            return
        buffer = self._evaluated()
        for _ in range(self.n_updates):
            position = replay.positions(generator, size)
            yield self.networks.update("actor", partial(self._actor_backward, buffer, position, generator))

    def il_parameters(self) -> Sequence[Tensor]:
        """The whole denoiser."""
        return list(self.actor.parameters())

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Denoising loss over all steps, as in pre-training."""
        return self.policy.bc_loss(obs, chunk, generator)

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """The actor's loss on part of the replay buffer."""
        position = self.experience.replay.half_positions(generator, size, half)
        return self._actor_loss(self._evaluated(), position, generator)

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """The imitation loss; all steps are fine-tuned, so there is but one."""
        loss = self.il_loss(obs, chunk, generator).item()
        return {"il_loss": loss, "il_loss_all_steps": loss}

    @torch.no_grad()
    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """Chunks with evaluation noise, in raw units."""
        chunk = self._chunks(self.exploit, self.experience.normalized(obs), generator)
        return self.policy.normalizer.denormalize_action(chunk).double().cpu().numpy()

    def policy_state(self) -> dict[str, Tensor]:
        """The policy."""
        return self.policy.state_dict()

    def acting_state(self) -> dict[str, Tensor]:
        """The denoiser."""
        return self.actor.state_dict()

    def load_acting_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `acting_state` returned."""
        self.actor.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and experience."""
        return {**self.networks.state_dict(), "experience": self.experience.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.networks.load_state_dict(state)
        self.experience.load_state_dict(state["experience"])

    def _chunks(self, sampler: ChainSampler, obs: Tensor, generator: torch.Generator) -> Tensor:
        return sampler.chunks(obs, self.policy.chunk_shape, generator, self.config.randn_clip)

    @torch.no_grad()
    def _evaluated(self) -> Evaluated:
        """Evaluate the whole buffer with the critic as it is; traces are cut where an episode ended."""
        buffer = self.experience.replay.in_order()
        value, next_value = self._values(buffer.obs), self._values(buffer.next_obs)
        # On the CPU: a recursion of many tiny steps.
        ends = (buffer.terminated.bool().cpu(), buffer.truncated.bool().cpu())
        gamma, td_lambda = self.config.gamma, self.config.td_lambda
        error, _ = gae(buffer.reward.cpu(), value.cpu(), next_value.cpu(), *ends, gamma, td_lambda)
        advantage = self.config.td_rate * error.to(value.device)
        flat = [x.flatten(0, 1) for x in (buffer.obs, buffer.chunk, advantage, value + advantage)]
        return Evaluated(*flat)

    def _values(self, obs: Tensor) -> Tensor:
        """Values (rows, E) of observations (rows, E, Do)."""
        parts = obs.flatten(0, 1).split(_ROWS_AT_A_TIME)
        return torch.cat([self.value(part).squeeze(1) for part in parts]).view(obs.shape[:2])

    def _critic_backward(self, buffer: Evaluated, position: Tensor) -> Info:
        position = position.to(buffer.obs.device)
        loss = F.mse_loss(self.value(buffer.obs[position]).squeeze(1), buffer.target[position])  # (B,) and (B,)
        loss.backward()
        return {"value_loss": loss.item()}

    def _actor_backward(self, buffer: Evaluated, position: Tensor, generator: torch.Generator) -> Info:
        loss = self._actor_loss(buffer, position, generator)
        loss.backward()
        return {"actor_loss": loss.item()}

    def _actor_loss(self, buffer: Evaluated, position: Tensor, generator: torch.Generator) -> Tensor:
        position = position.to(buffer.obs.device)
        weight = advantage_weights(buffer.advantage[position], self.config.advantage_factor, self.config.max_weight)
        chunk = buffer.chunk[position]
        t, eps = draw_noise(chunk, self.policy.schedule.denoising_steps, generator)
        return denoising_loss(self.actor, self.policy.schedule, buffer.obs[position], chunk, t, eps, weight)


def make_awr(config: FinetuneConfig, policy: DiffusionPolicy) -> AWR:
    """Build AWR for one run, with a fresh critic.

    Args:
        config: resolved settings of the run.
        policy: pre-trained diffusion policy.
    """
    algo = config.algo
    assert isinstance(algo, AWRConfig)
    torch.manual_seed(subseed(config.seed, "init"))
    return AWR(
        config=algo,
        policy=policy,
        value=MLP(algo.critic_network, config.task.obs_dim, 1),
        experience=make_experience(config, algo, policy),
        n_updates=algo.n_updates(config.n_envs * config.n_steps),
        seed=config.seed,
    )
