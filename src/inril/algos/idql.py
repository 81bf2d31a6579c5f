"""IDQL: a diffusion policy that imitates its own experience, and critics that choose among the chunks it proposes.

The actor is fitted to what lies in the replay buffer, without any weighting. What improves the behaviour is the choice:
of M proposed chunks the one that the critic likes best is executed. Critics learn as in implicit Q-learning, from the
buffer's actions alone.

Source: Hansen-Estruch et al. 2023, "IDQL: Implicit Q-Learning as an Actor-Critic Method with Diffusion Policies", in
the form of the DPPO reference.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from inril.algos.off_policy import OffPolicy
from inril.config.algos import IDQLConfig
from inril.config.runs import FinetuneConfig
from inril.data.chunks import ChunkDataset, DemoBatch, SplitDemos
from inril.learning.experience import Experience, make_experience
from inril.learning.gae import explained_variance
from inril.learning.replay_buffer import Transitions
from inril.learning.rewarded_demos import RewardedDemos, read_rewarded_demos
from inril.learning.update import Info, Update
from inril.policies.acting import Actor
from inril.policies.chain_sampler import ChainSampler
from inril.policies.critics import Critics
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.ema import update_ema
from inril.policies.mlp import MLP
from inril.policies.ranked import build_critics, take
from inril.seeding import subseed

_DIAGNOSED = 1024  # transitions


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error: its minimiser lies above the mean for expectiles beyond 1/2.

    Args:
        error: (B,) target minus prediction.
        expectile: tau, weight of positive errors; negative ones weigh 1 - tau.

    Source: Kostrikov et al. 2021, "Offline Reinforcement Learning with Implicit Q-Learning", eq. 5.
    """
    return (torch.where(error > 0, expectile, 1 - expectile) * error.square()).mean()


class IDQL(OffPolicy):
    """IDQL on a pre-trained diffusion policy; see `OffPolicy`.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser is trained in place.
        q: critic of chunks.
        value: critic of observations.
        experience: replay buffer and environments' state.
        demos: for the control whose actor also learns from demonstrations at every step.
        n_updates: of each network in an iteration.
        seed: of the run.
        rewarded_demos: for the control whose critics learn from demonstrations too; None for all others.
    """

    config: IDQLConfig

    def __init__(
        self,
        config: IDQLConfig,
        policy: DiffusionPolicy,
        q: Critics,
        value: MLP,
        experience: Experience,
        demos: ChunkDataset,
        n_updates: int,
        seed: int,
        rewarded_demos: RewardedDemos | None = None,
    ) -> None:
        self.q, self.q_target, self.value = q, copy.deepcopy(q), value
        self.demos, self.rewarded_demos = demos, rewarded_demos
        self.n_demos = round(config.demo_fraction * config.batch_size)
        self.n_critic_updates = 0
        super().__init__(
            config,
            policy,
            experience,
            n_updates,
            seed,
            actor=policy.denoiser,
            critics={"critic": self.q, "value": self.value},
            followers={"critic_target": self.q_target},
            acting=("actor", "critic_target"),
        )

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield the steps of value, critic and actor on one batch after the other."""
        batches, demo_batches, noise = (
            self.stream(purpose, itr) for purpose in ("minibatch", "demo_minibatch", "actor_noise")
        )
        n_actor = self.n_updates if self.config.actor_updates is None else self.config.actor_updates
        for i in range(self.n_updates):
            batch = self._seen(self.experience.replay.sample(batches, self.config.batch_size), demo_batches)
            yield self.networks.update("value", partial(self._value_backward, batch))
            yield self.networks.update("critic", partial(self._critic_backward, batch))
            update_ema(self.q_target, self.q, 1 - self.config.target_rate)
            self.n_critic_updates += 1
            due = (i + 1) * n_actor // self.n_updates > i * n_actor // self.n_updates
            if due and self.config.train_actor and itr > self.config.critic_warmup_itr:
                imitated = self._imitated(batch, demo_batches)
                yield self.networks.update("actor", partial(self.actor_backward, *imitated, noise))

    @property
    def ranks(self) -> bool:
        """Whether the critics have learnt enough to choose."""
        return self.n_critic_updates >= self.config.rank_after_updates

    @property
    def choices(self) -> Mapping[str, Actor]:
        """Choice by the weights of training, and no choice: the actor alone."""
        return {
            "weighted": self.choosing(partial(self.weighted, self.evaluation_chain)),
            "actor": self.choosing(partial(self.draw, self.evaluation_chain)),
        }

    def explore(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one of M chunks; the only one until the critics choose."""
        choose = self.weighted if self.ranks else self.draw
        return choose(self.training_chain, obs, generator)

    def exploit(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Of M chunks drawn with evaluation noise take the one with the highest value."""
        if not self.ranks:
            return self.draw(self.evaluation_chain, obs, generator)
        chunks = self.propose(self.evaluation_chain, obs, generator)
        return take(chunks, self.q_target.rank(obs, chunks).argmax(dim=1))

    def weighted(self, chain: ChainSampler, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one of M chunks, those better than the average (Q > V) with the larger weight."""
        chunks = self.propose(chain, obs, generator)
        better = self.q_target.rank(obs, chunks) > self.value(obs)
        weight = torch.where(better, self.config.explore_weight, 1 - self.config.explore_weight)
        return take(chunks, torch.multinomial(weight.cpu(), 1, generator=generator).squeeze(1).to(obs.device))

    def propose(self, chain: ChainSampler, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw M chunks (E, M, Tp, Da) for each observation (E, Do)."""
        chunks = self.draw(chain, obs.repeat_interleave(self.config.n_samples, dim=0), generator)
        return chunks.view(len(obs), self.config.n_samples, *self.policy.chunk_shape)

    def diagnose(self) -> Info:
        """Also how much of its targets the critic explains."""
        return {**super().diagnose(), "explained_variance": self.explained_variance()}

    @torch.no_grad()
    def explained_variance(self) -> float:
        """Return how much the first critic explains of its targets on a part of the buffer."""
        batch = self.experience.replay.sample(self.stream("diagnose", self.n_critic_updates), _DIAGNOSED)
        return explained_variance(self.q(batch.obs, batch.chunk)[0], self._target(batch))

    def policy_state(self) -> dict[str, Tensor]:
        """The policy and the critics that choose among its chunks."""
        critic = {f"critic.{name}": value for name, value in self.q_target.state_dict().items()}
        return {**{f"base.{name}": value for name, value in super().policy_state().items()}, **critic}

    def acting_state(self) -> dict[str, Tensor]:
        """Networks that evaluations depend on, and whether critics choose."""
        return {**super().acting_state(), "n_critic_updates": torch.tensor(self.n_critic_updates)}

    def load_acting_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `acting_state` returned."""
        networks = dict(state)
        self.n_critic_updates = int(networks.pop("n_critic_updates"))
        super().load_acting_state(networks)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers, experience and how much the critics have learnt."""
        return {**super().state_dict(), "n_critic_updates": self.n_critic_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.n_critic_updates = state.get("n_critic_updates", 0)  # checkpoints of before this was counted have none

    def _value_backward(self, batch: Transitions) -> Info:
        with torch.no_grad():
            target = self.q_target.smaller(batch.obs, batch.chunk)
        value = self.value(batch.obs).squeeze(1)
        loss = expectile_loss(target - value, self.config.expectile)
        loss.backward()
        return {"value_loss": loss.item(), "value": value.mean().item()}

    def _critic_backward(self, batch: Transitions) -> Info:
        loss = self.q.loss(batch.obs, batch.chunk, self._target(batch))
        loss.backward()
        return {"critic_loss": loss.item()}

    @torch.no_grad()
    def _target(self, batch: Transitions) -> Tensor:
        next_value = self.value(batch.next_obs).squeeze(1)
        return batch.reward + self.config.gamma * (1 - batch.terminated) * next_value  # type: ignore[no-any-return]

    def _seen(self, batch: Transitions, generator: torch.Generator) -> Transitions:
        """What critics learn from: the batch, a part of it exchanged for demonstrations where the control asks so."""
        if self.rewarded_demos is None:
            return batch
        return Transitions(*_exchanged(batch, self.rewarded_demos.sample(generator, self.n_demos)))

    def _imitated(self, batch: Transitions, generator: torch.Generator) -> DemoBatch:
        """What the actor imitates: what critics learn from, with demonstrations where only the actor gets some."""
        own = DemoBatch(batch.obs, batch.chunk)
        if self.rewarded_demos is not None or not self.n_demos:
            return own
        return DemoBatch(*_exchanged(own, self.demos.sample(generator, self.n_demos)))


def _exchanged(batch: Sequence[Tensor], others: Sequence[Tensor]) -> Iterator[Tensor]:
    """Exchange the first rows of a batch for others, array by array."""
    return (torch.cat([own[len(other) :], other]) for own, other in zip(batch, others, strict=True))


def make_idql(config: FinetuneConfig, policy: DiffusionPolicy, demos: SplitDemos) -> IDQL:
    """Build IDQL for one run, with fresh critics.

    Args:
        config: resolved settings of the run.
        policy: pre-trained diffusion policy.
        demos: for the control whose actor also learns from demonstrations at every step; those whose critics do so too
            read their file again, rewards included.
    """
    algo = config.algo
    assert isinstance(algo, IDQLConfig)
    torch.manual_seed(subseed(config.seed, "init"))
    horizon_steps, _ = policy.chunk_shape
    rewarded_demos = None
    if algo.demo_buffers == "both":
        assert demos.file is not None
        rewarded_demos = read_rewarded_demos(
            demos.file, config.task, horizon_steps, config.holdout, policy.normalizer, algo.reward_factor
        )
    return IDQL(
        config=algo,
        policy=policy,
        q=build_critics(algo.ranker, config.task.obs_dim, config.task.action_dim, horizon_steps),
        value=MLP(algo.value_network, config.task.obs_dim, 1),
        experience=make_experience(config, algo, policy),
        demos=demos.train,
        n_updates=algo.n_updates(config.n_envs * config.n_steps),
        seed=config.seed,
        rewarded_demos=rewarded_demos,
    )
