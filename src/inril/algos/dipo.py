"""DIPO: a diffusion policy that is fitted to actions which a critic has improved.

The critic's gradient moves chunks in the replay buffer towards higher values and leaves them there; the actor imitates
what has become of them. Slowly following copies of actor and critic act and give the critic its targets.

Source: Yang et al. 2023, "Policy Representation via Diffusion Probability Model for Reinforcement Learning", in the
form of the DPPO reference.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from inril.algos.off_policy import OffPolicy
from inril.config.algos import DIPOConfig
from inril.config.runs import FinetuneConfig
from inril.learning.experience import Experience, make_experience
from inril.learning.update import Update
from inril.policies.critics import Critics
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.ema import update_ema
from inril.seeding import subseed


class DIPO(OffPolicy):
    """DIPO on a pre-trained diffusion policy; see `OffPolicy`.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser becomes the target actor, which acts. A copy of it is trained.
        q: critic.
        experience: replay buffer and environments' state.
        n_updates: of each network in an iteration.
        seed: of the run.
    """

    config: DIPOConfig

    def __init__(
        self, config: DIPOConfig, policy: DiffusionPolicy, q: Critics, experience: Experience, n_updates: int, seed: int
    ) -> None:
        self.actor_target, self.q, self.q_target = policy.denoiser, q, copy.deepcopy(q)
        super().__init__(
            config,
            policy,
            experience,
            n_updates,
            seed,
            actor=copy.deepcopy(policy.denoiser),
            critics={"critic": self.q},
            followers={"actor_target": self.actor_target, "critic_target": self.q_target},
            acting=("actor_target",),
        )

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield the steps of critic and actor, each on a batch of its own."""
        batches, critic_noise, actor_noise = (
            self.stream(purpose, itr) for purpose in ("minibatch", "critic_noise", "actor_noise")
        )
        replay, size = self.experience.replay, self.config.batch_size
        for _ in range(self.n_updates):
            batch = replay.sample(batches, size)
            yield self.networks.update("critic", partial(self.q_backward, self.q, self.q_target, batch, critic_noise))
            position = replay.positions(batches, size)
            batch = replay[position]
            improved = self._improved(batch.obs, batch.chunk)
            replay.write_chunks(position, improved)
            if itr > self.config.critic_warmup_itr:
                yield self.networks.update("actor", partial(self.actor_backward, batch.obs, improved, actor_noise))
            update_ema(self.q_target, self.q, 1 - self.config.target_rate)
            update_ema(self.actor_target, self.actor, 1 - self.config.target_rate)

    def _improved(self, obs: Tensor, chunk: Tensor) -> Tensor:
        """Climb the smaller of the two values by a few Adam steps on the chunks themselves, within [-1, 1]."""
        improved = chunk.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([improved], lr=self.config.improve_lr, eps=1e-5)
        max_norm = self.config.improve_max_grad * chunk[0].numel()
        for _ in range(self.config.improve_steps):
            (improved.grad,) = torch.autograd.grad(-self.q.smaller(obs, improved).sum(), [improved])
            torch.nn.utils.clip_grad_norm_([improved], max_norm)  # over the whole batch, as in the reference
            optimizer.step()
            with torch.no_grad():
                improved.clamp_(-1, 1)
        return improved.detach()


def make_dipo(config: FinetuneConfig, policy: DiffusionPolicy, _: object = None) -> DIPO:
    """Build DIPO for one run, with a fresh critic.

    Args:
        config: resolved settings of the run.
        policy: pre-trained diffusion policy.
    """
    algo = config.algo
    assert isinstance(algo, DIPOConfig)
    torch.manual_seed(subseed(config.seed, "init"))
    return DIPO(
        config=algo,
        policy=policy,
        q=Critics(algo.critic_network, config.task.obs_dim, config.task.action_dim, policy.chunk_shape[0]),
        experience=make_experience(config, algo, policy),
        n_updates=algo.n_updates(config.n_envs * config.n_steps),
        seed=config.seed,
    )
