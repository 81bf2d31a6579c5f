"""DPPO: policy gradients through the last denoising steps of a diffusion policy.

Two copies of the pre-trained network: a frozen one denoises down to t = K', the fine-tuned one does the rest. Every
fine-tuned step is a Gaussian whose log-probability PPO can use.

Source: Ren et al. 2024, "Diffusion Policy Policy Optimization".
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inril.algos.actor import PlainHead, Sample
from inril.algos.bc_loss import DemoLoss, TeacherLoss
from inril.algos.ppo import PPO, Regularizer, make_ppo, rows_at_a_time
from inril.config.algos import DPPOConfig
from inril.config.runs import FinetuneConfig
from inril.data.chunks import ChunkDataset, SplitDemos
from inril.learning.update import Info
from inril.policies.chain_sampler import ChainSampler
from inril.policies.diffusion import (
    Chain,
    DiffusionPolicy,
    chain_logprob,
    chain_noise,
    denoising_loss,
    draw_noise,
    evaluation_std,
    training_std,
)


class DiffusionHead(PlainHead):
    """Actor of DPPO; see `ActorHead` for the methods. Index k = 0 is the noisiest fine-tuned step, t = K' - 1 - k.

    Args:
        policy: pre-trained; stays as it is.
        config: number of fine-tuned steps and noise floors.
    """

    def __init__(self, policy: DiffusionPolicy, config: DPPOConfig) -> None:
        self.policy = policy.requires_grad_(False)
        self.actor = copy.deepcopy(policy.denoiser).requires_grad_(True)
        self.normalizer = policy.normalizer
        self.act_steps = policy.act_steps
        self.schedule = policy.schedule
        self.ft_denoising_steps = config.ft_denoising_steps
        self.gamma_denoising = config.gamma_denoising
        self.randn_clip = config.randn_clip
        self.logprob_std = self.schedule.std.clamp(min=config.min_logprob_std)
        denoisers = [self.actor] * self.ft_denoising_steps + policy.denoisers()[self.ft_denoising_steps :]
        std = training_std(self.schedule, config.min_sampling_std)
        self.explore = ChainSampler(denoisers, self.schedule, std)
        self.exploit = ChainSampler(denoisers, self.schedule, evaluation_std(self.schedule))
        self.teacher = ChainSampler(policy.denoisers(), self.schedule, std)

    def parameters(self) -> Sequence[Tensor]:
        """The fine-tuned copy."""
        return list(self.actor.parameters())

    def il_parameters(self) -> Sequence[Tensor]:
        """The fine-tuned copy: what surgery projects is the gradient of one and the same network."""
        return self.parameters()

    def sample(self, obs: Tensor, generator: torch.Generator) -> Sample:
        """Run the chain with exploration noise and keep its fine-tuned part."""
        noise = chain_noise(self.schedule, (len(obs), *self.policy.chunk_shape), generator, self.randn_clip)
        chain = self.explore(obs, noise)
        trace = self._fine_tuned_part(chain)
        mean = chain.mean[-self.ft_denoising_steps :].transpose(0, 1)  # (E, K', Tp, Da)
        std = self.logprob_std[: self.ft_denoising_steps].flip(0)[:, None, None]
        return Sample(chain.x[-1], trace, chain_logprob(trace[:, 1:], mean, std))

    def teach(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the same part of chains (E, K'+1, Tp, Da) that the pre-trained policy draws, exploration noise too."""
        noise = chain_noise(self.schedule, (len(obs), *self.policy.chunk_shape), generator, self.randn_clip)
        return self._fine_tuned_part(self.teacher(obs, noise))

    def _fine_tuned_part(self, chain: Chain) -> Tensor:
        return chain.x[-self.ft_denoising_steps - 1 :].transpose(0, 1)  # (E, K'+1, Tp, Da)

    def trace_shape(self) -> tuple[int, ...]:
        """(K'+1, Tp, Da)."""
        return (self.ft_denoising_steps + 1, *self.policy.chunk_shape)

    def logprob(self, obs: Tensor, trace: Tensor, k: Tensor, row: Tensor | None = None) -> Tensor:
        """Log-probability of the transition from entry k to entry k + 1 of the chain."""
        t = self.ft_denoising_steps - 1 - k
        if row is None:
            row = torch.arange(len(k), device=k.device)
        entries, entry = trace.flatten(0, 1), row * trace.shape[1] + k  # of whole chains only these are gathered
        x, x_next = entries.index_select(0, entry), entries.index_select(0, entry + 1)
        eps = self.actor(x, self.actor.time_table().index_select(0, t), obs.index_select(0, row))
        mean = self.schedule.posterior_mean(x, eps, t)
        return chain_logprob(x_next, mean, self.logprob_std[t, None, None])

    def entropy(self) -> Tensor:
        """The noise of the chain is not learned."""
        return torch.zeros(())

    def after_step(self) -> None:
        """Nothing is bounded."""

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Denoising loss of the fine-tuned copy over exactly the steps that are sampled from it."""
        t, eps = draw_noise(chunk, self.ft_denoising_steps, generator)
        return denoising_loss(self.actor, self.schedule, obs, chunk, t, eps)

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """Denoising loss over the fine-tuned steps, and over all steps with the network that samples each."""
        il_loss = self.il_loss(obs, chunk, generator).item()
        t, eps = draw_noise(chunk, self.schedule.denoising_steps, generator)
        frozen = t >= self.ft_denoising_steps
        total = 0.0
        for net, part in ((self.policy.denoiser, frozen), (self.actor, ~frozen)):
            if part.any():
                loss = denoising_loss(net, self.schedule, obs[part], chunk[part], t[part], eps[part])
                total += loss.item() * int(part.sum())
        return {"il_loss": il_loss, "il_loss_all_steps": total / len(t)}

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Run the chain with evaluation noise."""
        return self.exploit.chunks(obs, self.policy.chunk_shape, generator, self.randn_clip)

    def policy_state(self) -> dict[str, Tensor]:
        """Pre-trained policy plus the fine-tuned copy."""
        fine_tuned = {f"denoiser_ft.{name}": value for name, value in self.actor.state_dict().items()}
        return {**self.policy.state_dict(), **fine_tuned}

    def state_dict(self) -> dict[str, Any]:
        """The fine-tuned copy."""
        return self.actor.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the fine-tuned copy."""
        self.actor.load_state_dict(state)


def make_dppo(config: FinetuneConfig, policy: DiffusionPolicy, demos: SplitDemos) -> PPO:
    """Build DPPO for one run.

    Args:
        config: resolved settings of the run.
        policy: pre-trained diffusion policy.
        demos: what a BC loss on demonstrations imitates.
    """
    assert isinstance(config.algo, DPPOConfig)
    head = DiffusionHead(policy, config.algo)
    return make_ppo(config, head, regularizer=_bc_loss(config, config.algo, head, demos.train))


def _bc_loss(config: FinetuneConfig, algo: DPPOConfig, head: DiffusionHead, demos: ChunkDataset) -> Regularizer | None:
    if algo.bc_loss is None:
        return None
    if algo.bc_loss.teacher == "demos":
        return DemoLoss(head.il_loss, demos, algo.bc_loss.weight, config.il.batch_size, config.seed)
    microbatch = rows_at_a_time(algo, head.normalizer.device)
    return TeacherLoss(head.teach, head.logprob, algo.bc_loss.weight, microbatch, config.seed)
