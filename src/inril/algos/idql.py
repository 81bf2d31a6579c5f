"""IDQL: a diffusion policy that imitates its own experience, and critics that choose among the chunks it proposes.

The actor is fitted to what lies in the replay buffer, without any weighting. What improves the behaviour is the choice:
of M proposed chunks the one that the critic likes best is executed. Critics learn as in implicit Q-learning, from the
buffer's actions alone.

Source: Hansen-Estruch et al. 2023, "IDQL: Implicit Q-Learning as an Actor-Critic Method with Diffusion Policies", in
the form of the DPPO reference.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from inril.algos.base import Info, Update
from inril.algos.experience import Experience, make_experience
from inril.algos.networks import Networks
from inril.config import FinetuneConfig, IDQLConfig
from inril.data.chunks import ChunkDataset, DemoBatch
from inril.envs.base import BatchedEnv
from inril.policies.chain_sampler import ChainSampler
from inril.policies.critics import TwinQ
from inril.policies.diffusion import DiffusionPolicy, evaluation_std, training_std
from inril.policies.ema import update_ema
from inril.policies.mlp import MLP
from inril.seeding import subseed, torch_stream
from inril.train.replay import Transitions
from inril.types import FloatArray


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error: its minimiser lies above the mean for expectiles beyond 1/2.

    Args:
        error: (B,) target minus prediction.
        expectile: tau, weight of positive errors; negative ones weigh 1 - tau.

    Source: Kostrikov et al. 2021, "Offline Reinforcement Learning with Implicit Q-Learning", eq. 5.
    """
    return (torch.where(error > 0, expectile, 1 - expectile) * error.square()).mean()


class IDQL:
    """IDQL on a pre-trained diffusion policy, all of whose denoising steps are trained; see `Algorithm`.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser is trained in place.
        q: critic of chunks.
        value: critic of observations.
        experience: replay buffer and environments' state.
        demos: for the control whose actor also learns from demonstrations at every step.
        n_updates: of each network in an iteration.
        seed: of the run.
    """

    def __init__(
        self,
        config: IDQLConfig,
        policy: DiffusionPolicy,
        q: TwinQ,
        value: MLP,
        experience: Experience,
        demos: ChunkDataset,
        n_updates: int,
        seed: int,
    ) -> None:
        self.config, self.policy, self.experience, self.demos = config, policy, experience, demos
        self.n_updates, self.seed = n_updates, seed
        device = policy.normalizer.device
        self.actor, self.q, self.value = policy.denoiser, q.to(device), value.to(device)
        self.q_target = copy.deepcopy(self.q)
        self.networks = Networks(
            {"actor": self.actor, "critic": self.q, "critic_target": self.q_target, "value": self.value},
            lr={"actor": config.actor_lr, "critic": config.critic_lr, "value": config.critic_lr},
        )
        schedule = policy.schedule
        self.explore = ChainSampler(policy.denoisers(), schedule, training_std(schedule, config.min_sampling_std))
        self.exploit = ChainSampler(policy.denoisers(), schedule, evaluation_std(schedule))

    def collect(self, env: BatchedEnv, itr: int) -> Info:
        """Run S chunks in every environment into the replay buffer."""
        return self.experience.collect(env, itr, self._explore)

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield the steps of value, critic and actor on one batch after the other."""
        generator = torch_stream(self.seed, "minibatch", itr)
        for _ in range(self.n_updates):
            batch = self.experience.replay.sample(generator, self.config.batch_size)
            yield self.networks.update("value", partial(self._value_backward, batch))
            yield self.networks.update("critic", partial(self._critic_backward, batch))
            update_ema(self.q_target, self.q, 1 - self.config.target_rate)
            if self.config.train_actor and itr > self.config.critic_warmup_itr:
                imitated = self._imitated(batch, generator)
                yield self.networks.update("actor", partial(self._actor_backward, imitated, generator))

    def il_parameters(self) -> Sequence[Tensor]:
        """The whole denoiser."""
        return list(self.actor.parameters())

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Denoising loss over all steps, as in pre-training."""
        return self.policy.bc_loss(obs, chunk, generator)

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """The actor's loss on part of the replay buffer."""
        batch = self.experience.replay.sample_half(generator, size, half)
        return self.policy.bc_loss(batch.obs, batch.chunk, generator)

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """The imitation loss; all steps are fine-tuned, so there is but one."""
        loss = self.il_loss(obs, chunk, generator).item()
        return {"il_loss": loss, "il_loss_all_steps": loss}

    @torch.no_grad()
    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """Of M chunks drawn with evaluation noise the one with the highest value, in raw units."""
        normalized = self.experience.normalized(obs)
        chunks = self._propose(self.exploit, normalized, generator)
        best = self._values_of(normalized, chunks).argmax(dim=1)
        chunk = chunks[torch.arange(len(best), device=best.device), best]
        return self.policy.normalizer.denormalize_action(chunk).double().cpu().numpy()

    def policy_state(self) -> dict[str, Tensor]:
        """The policy alone: a file of it proposes, and does not choose."""
        return self.policy.state_dict()

    def acting_state(self) -> dict[str, Tensor]:
        """The denoiser and the critic that chooses."""
        return self._acting.state_dict()

    def load_acting_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `acting_state` returned."""
        self._acting.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and experience."""
        return {**self.networks.state_dict(), "experience": self.experience.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.networks.load_state_dict(state)
        self.experience.load_state_dict(state["experience"])

    @property
    def _acting(self) -> nn.ModuleDict:
        return nn.ModuleDict({"actor": self.actor, "q_target": self.q_target})

    def _explore(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one of M chunks, those better than the average (Q > V) with the larger weight."""
        chunks = self._propose(self.explore, obs, generator)
        better = self._values_of(obs, chunks) > self.value(obs)
        weight = torch.where(better, self.config.explore_weight, 1 - self.config.explore_weight)
        chosen = torch.multinomial(weight.cpu(), 1, generator=generator).squeeze(1).to(obs.device)
        return chunks[torch.arange(len(chosen), device=obs.device), chosen]

    def _propose(self, sampler: ChainSampler, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw M chunks (E, M, Tp, Da) for each observation (E, Do)."""
        repeated = obs.repeat_interleave(self.config.n_samples, dim=0)
        chunks = sampler.chunks(repeated, self.policy.chunk_shape, generator, self.config.randn_clip)
        return chunks.view(len(obs), self.config.n_samples, *self.policy.chunk_shape)

    def _values_of(self, obs: Tensor, chunks: Tensor) -> Tensor:
        """Smaller target value (E, M) of chunks (E, M, Tp, Da)."""
        repeated = obs.repeat_interleave(chunks.shape[1], dim=0)
        values: Tensor = self.q_target.smaller(repeated, chunks.flatten(0, 1))
        return values.view(chunks.shape[:2])

    def _value_backward(self, batch: Transitions) -> Info:
        with torch.no_grad():
            target = self.q_target.smaller(batch.obs, batch.chunk)
        value = self.value(batch.obs).squeeze(1)
        loss = expectile_loss(target - value, self.config.expectile)
        loss.backward()
        return {"value_loss": loss.item(), "value": value.mean().item()}

    def _critic_backward(self, batch: Transitions) -> Info:
        with torch.no_grad():
            next_value = self.value(batch.next_obs).squeeze(1)
            target = batch.reward + self.config.gamma * (1 - batch.terminated) * next_value
        loss = self.q.loss(batch.obs, batch.chunk, target)
        loss.backward()
        return {"critic_loss": loss.item()}

    def _actor_backward(self, batch: DemoBatch, generator: torch.Generator) -> Info:
        loss = self.policy.bc_loss(batch.obs, batch.action_chunk, generator)
        loss.backward()
        return {"actor_loss": loss.item()}

    def _imitated(self, batch: Transitions, generator: torch.Generator) -> DemoBatch:
        """What the actor imitates: the batch, a part of it exchanged for demonstrations where the control asks so."""
        n_demos = round(self.config.demo_fraction * len(batch.obs))
        if not n_demos:
            return DemoBatch(batch.obs, batch.chunk)
        demos = self.demos.sample(generator, n_demos)
        obs = torch.cat([batch.obs[n_demos:], demos.obs])
        return DemoBatch(obs, torch.cat([batch.chunk[n_demos:], demos.action_chunk]))


def make_idql(config: FinetuneConfig, policy: DiffusionPolicy, demos: ChunkDataset) -> IDQL:
    """Build IDQL for one run, with fresh critics.

    Args:
        config: resolved settings of the run.
        policy: pre-trained diffusion policy.
        demos: for the control whose actor also learns from demonstrations at every step.
    """
    algo = config.algo
    assert isinstance(algo, IDQLConfig)
    torch.manual_seed(subseed(config.seed, "init"))
    horizon_steps, _ = policy.chunk_shape
    return IDQL(
        config=algo,
        policy=policy,
        q=TwinQ(algo.critic_network, config.task, horizon_steps),
        value=MLP(algo.value_network, config.task.obs_dim, 1),
        experience=make_experience(config, algo, policy),
        demos=demos,
        n_updates=algo.n_updates(config.n_envs * config.n_steps),
        seed=config.seed,
    )
