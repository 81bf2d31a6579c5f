"""AWR: a diffusion policy that imitates its own experience, what went better than expected with more weight.

Source: Peng et al. 2019, "Advantage-Weighted Regression: Simple and Scalable Off-Policy Reinforcement Learning", in the
form of the DPPO reference, but for the errors of its critic (docs/deviations.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from inril.algos.off_policy import OffPolicy
from inril.config.algos import AWRConfig
from inril.config.runs import FinetuneConfig
from inril.learning.experience import Experience, make_experience
from inril.learning.gae import gae, successor_values
from inril.learning.ppo_loss import normalize_advantage
from inril.learning.update import Info, Update
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.mlp import MLP
from inril.seeding import subseed

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


def exponential_weights(advantage: Tensor, factor: float, max_weight: float) -> Tensor:
    """Weight of each sample (B,), min(exp(factor x advantage), max_weight).

    Args:
        advantage: (B,)
        factor: of the advantage: the inverse of a temperature.
        max_weight: bound.
    """
    return (factor * advantage).exp().clamp(max=max_weight)


def advantage_weights(advantage: Tensor, factor: float, max_weight: float) -> Tensor:
    """Return `exponential_weights` of the advantage (B,), normalised over its minibatch; factor is beta."""
    return exponential_weights(normalize_advantage(advantage), factor, max_weight)


class AWR(OffPolicy):
    """AWR on a pre-trained diffusion policy; see `OffPolicy`.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser is trained in place.
        value: critic of observations.
        experience: replay buffer and environments' state.
        n_updates: of the actor in an iteration.
        seed: of the run.
    """

    config: AWRConfig

    def __init__(
        self, config: AWRConfig, policy: DiffusionPolicy, value: MLP, experience: Experience, n_updates: int, seed: int
    ) -> None:
        self.value = value
        super().__init__(
            config,
            policy,
            experience,
            n_updates,
            seed,
            actor=policy.denoiser,
            critics={"critic": self.value},
            followers={},
            acting=("actor",),
        )

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield all steps of the critic towards fixed targets, then all steps of the actor with its new advantages."""
        batches, noise = self.stream("minibatch", itr), self.stream("actor_noise", itr)
        replay, size = self.experience.replay, self.config.batch_size
        buffer = self._evaluated()
        for _ in range(self.n_updates // self.config.actor_steps_per_critic_step):
            position = replay.positions(batches, size)
            yield self.networks.update("critic", partial(self._critic_backward, buffer, position))
        if itr <= self.config.critic_warmup_itr:
            return
        buffer = self._evaluated()
        for _ in range(self.n_updates):
            obs, chunk, weight = self._weighted(buffer, replay.positions(batches, size))
            yield self.networks.update("actor", partial(self.actor_backward, obs, chunk, noise, weight))

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """Loss of imitating part of the replay buffer, weighted as it is now."""
        position = self.experience.replay.half_positions(generator, size, half)
        obs, chunk, weight = self._weighted(self._evaluated(), position)
        return self.actor_loss(obs, chunk, generator, weight)

    @torch.no_grad()
    def _evaluated(self) -> Evaluated:
        """Evaluate the whole buffer with the critic as it is; traces are cut where an episode ended."""
        buffer = self.experience.replay.in_order()
        value = self._values(buffer.obs.flatten(0, 1)).view(buffer.reward.shape)
        terminated, truncated = buffer.terminated.bool(), buffer.truncated.bool()
        next_value = successor_values(self._values, value, buffer.next_obs, terminated | truncated)
        error, _ = gae(  # on the CPU: a recursion of many tiny steps
            buffer.reward.cpu(),
            value.cpu(),
            next_value.cpu(),
            terminated.cpu(),
            truncated.cpu(),
            self.config.gamma,
            self.config.td_lambda,
        )
        advantage = self.config.td_rate * error.to(value.device)
        flat = [x.flatten(0, 1) for x in (buffer.obs, buffer.chunk, advantage, value + advantage)]
        return Evaluated(*flat)

    def _values(self, obs: Tensor) -> Tensor:
        """Values (B,) of observations (B, Do)."""
        return torch.cat([self.value(part).squeeze(1) for part in obs.split(_ROWS_AT_A_TIME)])

    def _critic_backward(self, buffer: Evaluated, position: Tensor) -> Info:
        position = position.to(buffer.obs.device)
        loss = F.mse_loss(self.value(buffer.obs[position]).squeeze(1), buffer.target[position])  # (B,) and (B,)
        loss.backward()
        return {"value_loss": loss.item()}

    def _weighted(self, buffer: Evaluated, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Observations, chunks and weights of what lies at `position` (B,)."""
        position = position.to(buffer.obs.device)
        weight = advantage_weights(buffer.advantage[position], self.config.advantage_factor, self.config.max_weight)
        return buffer.obs[position], buffer.chunk[position], weight


def make_awr(config: FinetuneConfig, policy: DiffusionPolicy, _: object = None) -> AWR:
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
