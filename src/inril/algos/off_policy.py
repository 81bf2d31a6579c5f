"""What algorithms share that fine-tune a diffusion policy on a replay buffer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inril.config.algos import OffPolicyBase
from inril.envs.base import BatchedEnv
from inril.learning.experience import Choose, Experience
from inril.learning.networks import Networks
from inril.learning.replay_buffer import Transitions
from inril.learning.update import Info, Update
from inril.policies.acting import Actor, FunctionActor, Memoryless
from inril.policies.chain_sampler import ChainSampler
from inril.policies.critics import Critics
from inril.policies.denoiser import Denoiser
from inril.policies.diffusion import DiffusionPolicy, denoising_loss, draw_noise, evaluation_std, training_std
from inril.seeding import torch_stream
from inril.types import FloatArray


class OffPolicy(Memoryless, ABC):
    """Experience, networks and imitation; a subclass adds critics, the order of updates and how chunks are chosen.

    All denoising steps are trained. See `Algorithm` for the methods.

    Args:
        config: hyper-parameters.
        policy: pre-trained; its denoiser draws the chunks.
        experience: replay buffer and environments' state.
        n_updates: of the actor in an iteration.
        seed: of the run.
        actor: denoiser that learns: the policy's own or a copy of it.
        critics: networks that learn at the critics' rate, by the names of their updates.
        followers: networks that are moved in other ways.
        acting: names of the networks that evaluations depend on.
    """

    def __init__(
        self,
        config: OffPolicyBase,
        policy: DiffusionPolicy,
        experience: Experience,
        n_updates: int,
        seed: int,
        actor: Denoiser,
        critics: Mapping[str, nn.Module],
        followers: Mapping[str, nn.Module],
        acting: Sequence[str],
    ) -> None:
        self.config, self.policy, self.experience = config, policy, experience
        self.act_steps = policy.act_steps
        self.n_updates, self.seed = n_updates, seed
        self.actor = actor
        networks = {"actor": actor, **critics, **followers}
        for network in networks.values():
            network.to(policy.normalizer.device)
        self.networks = Networks(networks, lr={"actor": config.actor_lr, **dict.fromkeys(critics, config.critic_lr)})
        self._acting = nn.ModuleDict({name: networks[name] for name in acting})
        denoisers, schedule = policy.denoisers(), policy.schedule
        self.training_chain = ChainSampler(denoisers, schedule, training_std(schedule, config.min_sampling_std))
        self.evaluation_chain = ChainSampler(denoisers, schedule, evaluation_std(schedule))

    @property
    def choices(self) -> Mapping[str, Actor]:
        """None."""
        return {}

    @abstractmethod
    def updates(self, itr: int) -> Iterator[Update]:
        """Yield one iteration's gradient steps in order."""

    def explore(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return chunks (E, Tp, Da) to execute in training, normalised, for normalised observations (E, Do)."""
        return self.draw(self.training_chain, obs, generator)

    def exploit(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return chunks (E, Tp, Da) to execute in evaluation, normalised, for normalised observations (E, Do)."""
        return self.draw(self.evaluation_chain, obs, generator)

    def draw(self, chain: ChainSampler, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a chunk (E, Tp, Da) for each normalised observation (E, Do)."""
        return chain.chunks(obs, self.policy.chunk_shape, generator, self.config.randn_clip)

    def collect(self, env: BatchedEnv, itr: int) -> Info:
        """Run S chunks in every environment into the replay buffer."""
        return self.experience.collect(env, itr, self.explore)

    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """Evaluation chunks in raw units."""
        return self.choosing(self.exploit).act(obs, generator)

    def choosing(self, choose: Choose) -> Actor:
        """Return a way to choose chunks as an actor."""
        normalizer = self.policy.normalizer

        @torch.no_grad()
        def act(obs: FloatArray, generator: torch.Generator) -> FloatArray:
            return normalizer.to_env(choose(normalizer.from_env(obs), generator))

        return FunctionActor(act, self.act_steps)

    def diagnose(self) -> Info:
        """What the rollout's observations tell."""
        return self.experience.episodes.diagnose()

    def stream(self, purpose: str, itr: int) -> torch.Generator:
        """Return the random numbers of one purpose in an iteration.

        Batches have a stream of their own, so that runs that differ in what is learnt from them draw the same ones.
        """
        return torch_stream(self.seed, purpose, itr)

    def q_backward(self, q: Critics, q_target: Critics, batch: Transitions, generator: torch.Generator) -> Info:
        """Gradient of critics of chunks towards r + gamma min Q'(s', a'), for an `Update`.

        Args:
            q: critics that learn.
            q_target: Q', which they bootstrap from.
            batch: transitions (B, ...).
            generator: of a', drawn from the acting denoiser's chain, exploration noise included.
        """
        with torch.no_grad():
            next_chunk = self.explore(batch.next_obs, generator)
            next_value = q_target.smaller(batch.next_obs, next_chunk)
            target = batch.reward + self.config.gamma * (1 - batch.terminated) * next_value
        loss = q.loss(batch.obs, batch.chunk, target)
        loss.backward()
        return {"critic_loss": loss.item(), "target_value": target.mean().item()}

    def actor_loss(
        self, obs: Tensor, chunk: Tensor, generator: torch.Generator, weight: Tensor | None = None
    ) -> Tensor:
        """Denoising loss over all steps, each sample of the batch times its weight (B,)."""
        t, eps = draw_noise(chunk, self.policy.schedule.denoising_steps, generator)
        return denoising_loss(self.actor, self.policy.schedule, obs, chunk, t, eps, weight)

    def actor_backward(
        self, obs: Tensor, chunk: Tensor, generator: torch.Generator, weight: Tensor | None = None
    ) -> Info:
        """Gradient of `actor_loss`, for an `Update`."""
        loss = self.actor_loss(obs, chunk, generator, weight)
        loss.backward()
        return {"actor_loss": loss.item()}

    def il_parameters(self) -> Sequence[Tensor]:
        """The whole denoiser that learns."""
        return list(self.actor.parameters())

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Denoising loss over all steps, as in pre-training."""
        return self.actor_loss(obs, chunk, generator)

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """Loss of imitating part of the replay buffer, as it is now."""
        batch = self.experience.replay.sample_half(generator, size, half)
        return self.actor_loss(batch.obs, batch.chunk, generator)

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """The imitation loss; all steps are fine-tuned, so there is but one."""
        loss = self.il_loss(obs, chunk, generator).item()
        return {"il_loss": loss, "il_loss_all_steps": loss}

    def policy_state(self) -> dict[str, Tensor]:
        """The policy alone: a file of it proposes chunks, whatever chooses among them here."""
        return self.policy.state_dict()

    def acting_state(self) -> dict[str, Tensor]:
        """The networks that evaluations depend on."""
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
