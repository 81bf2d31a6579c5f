"""DIPO: a diffusion policy that is fitted to actions which a critic has improved.

The critic's gradient moves chunks in the replay buffer towards higher values and leaves them there; the actor imitates
what has become of them. Slowly following copies of actor and critic act and give the critic its targets.

Source: Yang et al. 2023, "Policy Representation via Diffusion Probability Model for Reinforcement Learning", in the
form of the DPPO reference.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from inril.algos.base import Info, Update
from inril.algos.experience import Experience, make_experience
from inril.algos.networks import Networks
from inril.config import DIPOConfig, FinetuneConfig
from inril.envs.base import BatchedEnv
from inril.policies.chain_sampler import ChainSampler
from inril.policies.critics import TwinQ
from inril.policies.diffusion import DiffusionPolicy, denoising_loss, draw_noise, evaluation_std, training_std
from inril.policies.ema import update_ema
from inril.seeding import subseed, torch_stream
from inril.train.replay import Transitions
from inril.types import FloatArray


class DIPO:
    """DIPO on a pre-trained diffusion policy, all of whose denoising steps are trained; see `Algorithm`.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser becomes the target actor, which acts. A copy of it is trained.
        q: critic.
        experience: replay buffer and environments' state.
        n_updates: of each network in an iteration.
        seed: of the run.
    """

    def __init__(
        self, config: DIPOConfig, policy: DiffusionPolicy, q: TwinQ, experience: Experience, n_updates: int, seed: int
    ) -> None:
        self.config, self.policy, self.experience = config, policy, experience
        self.n_updates, self.seed = n_updates, seed
        self.actor, self.actor_target = copy.deepcopy(policy.denoiser), policy.denoiser
        self.q = q.to(policy.normalizer.device)
        self.q_target = copy.deepcopy(self.q)
        self.networks = Networks(
            {
                "actor": self.actor,
                "actor_target": self.actor_target,
                "critic": self.q,
                "critic_target": self.q_target,
            },
            lr={"actor": config.actor_lr, "critic": config.critic_lr},
        )
        schedule, denoisers = policy.schedule, [self.actor_target] * policy.schedule.denoising_steps
        self.explore = ChainSampler(denoisers, schedule, training_std(schedule, config.min_sampling_std))
        self.exploit = ChainSampler(denoisers, schedule, evaluation_std(schedule))

    def collect(self, env: BatchedEnv, itr: int) -> Info:
        """Run S chunks of the target actor in every environment into the replay buffer."""
        return self.experience.collect(env, itr, partial(self._chunks, self.explore))

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield the steps of critic and actor, each on a batch of its own."""
        generator = torch_stream(self.seed, "minibatch", itr)
        replay, size = self.experience.replay, self.config.batch_size
        for _ in range(self.n_updates):
            batch = replay.sample(generator, size)
            yield self.networks.update("critic", partial(self._critic_backward, batch, generator))
            position = replay.positions(generator, size)
            batch = replay[position]
            improved = self._improved(batch.obs, batch.chunk)
            replay.write_chunks(position, improved)
            if itr > self.config.critic_warmup_itr:
                yield self.networks.update("actor", partial(self._actor_backward, batch.obs, improved, generator))
            update_ema(self.q_target, self.q, 1 - self.config.target_rate)
            update_ema(self.actor_target, self.actor, 1 - self.config.target_rate)

    def il_parameters(self) -> Sequence[Tensor]:
        """The actor that is trained."""
        return list(self.actor.parameters())

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Denoising loss of the actor that is trained, over all steps."""
        t, eps = draw_noise(chunk, self.policy.schedule.denoising_steps, generator)
        return denoising_loss(self.actor, self.policy.schedule, obs, chunk, t, eps)

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """The actor's loss on part of the replay buffer, its chunks as far improved as they are."""
        batch = self.experience.replay.sample_half(generator, size, half)
        return self.il_loss(batch.obs, batch.chunk, generator)

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """The imitation loss; all steps are fine-tuned, so there is but one."""
        loss = self.il_loss(obs, chunk, generator).item()
        return {"il_loss": loss, "il_loss_all_steps": loss}

    @torch.no_grad()
    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """Chunks of the target actor with evaluation noise, in raw units."""
        chunk = self._chunks(self.exploit, self.experience.normalized(obs), generator)
        return self.policy.normalizer.denormalize_action(chunk).double().cpu().numpy()

    def policy_state(self) -> dict[str, Tensor]:
        """The policy that acts, its denoiser the target actor."""
        return self.policy.state_dict()

    def acting_state(self) -> dict[str, Tensor]:
        """The target actor."""
        return self.actor_target.state_dict()

    def load_acting_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `acting_state` returned."""
        self.actor_target.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and experience."""
        return {**self.networks.state_dict(), "experience": self.experience.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.networks.load_state_dict(state)
        self.experience.load_state_dict(state["experience"])

    def _chunks(self, sampler: ChainSampler, obs: Tensor, generator: torch.Generator) -> Tensor:
        return sampler.chunks(obs, self.policy.chunk_shape, generator, self.config.randn_clip)

    def _critic_backward(self, batch: Transitions, generator: torch.Generator) -> Info:
        """Towards r + gamma min Q'(s', a'), with a' from the target actor's chain, exploration noise included."""
        with torch.no_grad():
            next_chunk = self._chunks(self.explore, batch.next_obs, generator)
            next_value = self.q_target.smaller(batch.next_obs, next_chunk)
            target = batch.reward + self.config.gamma * (1 - batch.terminated) * next_value
        loss = self.q.loss(batch.obs, batch.chunk, target)
        loss.backward()
        return {"critic_loss": loss.item(), "target_value": target.mean().item()}

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

    def _actor_backward(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        loss = self.il_loss(obs, chunk, generator)
        loss.backward()
        return {"actor_loss": loss.item()}


def make_dipo(config: FinetuneConfig, policy: DiffusionPolicy) -> DIPO:
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
        q=TwinQ(algo.critic_network, config.task, policy.chunk_shape[0]),
        experience=make_experience(config, algo, policy),
        n_updates=algo.n_updates(config.n_envs * config.n_steps),
        seed=config.seed,
    )
