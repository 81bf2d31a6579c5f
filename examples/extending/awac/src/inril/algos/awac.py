"""AWAC: a diffusion policy that imitates its own experience, with the more weight the more a critic prefers it.

What differs from AWR is where advantages come from: a critic of chunks, learnt off-policy, compares a stored chunk with
one of the present policy. Demonstrations are no part of the replay buffer, since IN-RIL does not see their rewards.

Source: Nair et al. 2020, "AWAC: Accelerating Online Reinforcement Learning with Offline Datasets".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from inril.algos.awr import exponential_weights
from inril.algos.off_policy import OffPolicy
from inril.config.algos import AWACConfig
from inril.config.runs import FinetuneConfig
from inril.learning.experience import Experience, make_experience
from inril.learning.replay_buffer import Transitions
from inril.learning.update import Update
from inril.policies.critics import Critics
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.ema import update_ema
from inril.seeding import subseed


class AWAC(OffPolicy):
    """AWAC on a pre-trained diffusion policy; see `OffPolicy`.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser is trained in place.
        q: critics of chunks.
        experience: replay buffer and environments' state.
        n_updates: of each network in an iteration.
        seed: of the run.
    """

    config: AWACConfig

    def __init__(
        self, config: AWACConfig, policy: DiffusionPolicy, q: Critics, experience: Experience, n_updates: int, seed: int
    ) -> None:
        self.q, self.q_target = q, copy.deepcopy(q)
        super().__init__(
            config,
            policy,
            experience,
            n_updates,
            seed,
            actor=policy.denoiser,
            critics={"critic": self.q},
            followers={"critic_target": self.q_target},
            acting=("actor",),
        )

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield the steps of critic and actor on one batch after the other."""
        batches, critic_noise, actor_noise = (
            self.stream(purpose, itr) for purpose in ("minibatch", "critic_noise", "actor_noise")
        )
        for _ in range(self.n_updates):
            batch = self.experience.replay.sample(batches, self.config.batch_size)
            yield self.networks.update("critic", partial(self.q_backward, self.q, self.q_target, batch, critic_noise))
            update_ema(self.q_target, self.q, 1 - self.config.target_rate)
            if itr > self.config.critic_warmup_itr:
                weight = self.weights(batch, actor_noise)
                backward = partial(self.actor_backward, batch.obs, batch.chunk, actor_noise, weight)
                yield self.networks.update("actor", backward)

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """Loss of imitating part of the replay buffer, weighted as it is now."""
        batch = self.experience.replay.sample_half(generator, size, half)
        return self.actor_loss(batch.obs, batch.chunk, generator, self.weights(batch, generator))

    @torch.no_grad()
    def weights(self, batch: Transitions, generator: torch.Generator) -> Tensor:
        """Return exp(A / lambda) (B,) up to its bound, with A = Q(s, a) - Q(s, a') and a' drawn from the policy."""
        value = self.q.smaller(batch.obs, self.explore(batch.obs, generator))
        advantage = self.q.smaller(batch.obs, batch.chunk) - value
        return exponential_weights(advantage, self.config.advantage_factor, self.config.max_weight)


def make_awac(config: FinetuneConfig, policy: DiffusionPolicy, _: object = None) -> AWAC:
    """Build AWAC for one run, with fresh critics.

    Args:
        config: resolved settings of the run.
        policy: pre-trained diffusion policy.
    """
    algo = config.algo
    assert isinstance(algo, AWACConfig)
    torch.manual_seed(subseed(config.seed, "init"))
    return AWAC(
        config=algo,
        policy=policy,
        q=Critics(algo.critic_network, config.task.obs_dim, config.task.action_dim, policy.chunk_shape[0]),
        experience=make_experience(config, algo, policy),
        n_updates=algo.n_updates(config.n_envs * config.n_steps),
        seed=config.seed,
    )
