"""Imitation as a part of the actor's loss: what interleaving is compared with.

Both forms are regularisers of PPO (`inril.algos.ppo.Regularizer`): in every gradient step of the actor their weighted
gradient is added to the surrogate's, without any projection.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inril.data.chunks import ChunkDataset
from inril.learning.update import Info
from inril.seeding import torch_stream

# Observations for which the teacher draws chains at a time. Part of the numbers: it orders the draws of the noise.
_TAUGHT_AT_A_TIME = 2000


class TeacherLoss:
    """Negative log-likelihood of the frozen pre-trained policy's own chains at the observations of the rollout.

    The teacher draws one chain per observation and iteration. A minibatch of pairs (chunk, denoising step) evaluates
    the transitions of these very pairs; over an epoch that is the mean over all fine-tuned steps of all chains.

    Args:
        teach: draws the teacher's traces for observations.
        logprob: of an actor head, under the policy that is trained.
        weight: of the loss.
        microbatch: rows evaluated at a time; no influence on the gradient.
        seed: of the run.

    Source: Ren et al. 2024 (DPPO), released code, after arXiv 2403.03949, eq. 2.
    """

    def __init__(
        self,
        teach: Callable[[Tensor, torch.Generator], Tensor],
        logprob: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        weight: float,
        microbatch: int,
        seed: int,
    ) -> None:
        self.teach, self.logprob, self.weight, self.microbatch, self.seed = teach, logprob, weight, microbatch, seed
        self.obs = self.trace = torch.empty(0)

    def start(self, obs: Tensor, itr: int) -> None:
        """Let the teacher act at every observation."""
        generator = torch_stream(self.seed, "teacher", itr)
        self.obs = obs
        # On a GPU the teacher overwrites its last result.
        self.trace = torch.cat([self.teach(part, generator).clone() for part in obs.split(_TAUGHT_AT_A_TIME)])

    def backward(self, row: Tensor, k: Tensor) -> Info:
        """Gradient of weight x -mean log-probability."""
        total = 0.0
        for index in torch.arange(len(row), device=row.device).split(self.microbatch):
            loss = -self.logprob(self.obs, self.trace, k[index], row[index]).sum() / len(row)
            (self.weight * loss).backward()
            total += loss.item()
        return {"bc_loss": total}


class DemoLoss:
    """Imitation loss on demonstrations, the one that interleaving uses, on a new batch in every gradient step.

    Args:
        il_loss: of a batch of observations and chunks.
        demos: what is imitated.
        weight: of the loss.
        batch_size: chunks in a batch.
        seed: of the run.
    """

    def __init__(
        self,
        il_loss: Callable[[Tensor, Tensor, torch.Generator], Tensor],
        demos: ChunkDataset,
        weight: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.il_loss, self.demos, self.weight, self.batch_size, self.seed = il_loss, demos, weight, batch_size, seed
        self.generator = torch.Generator()

    def start(self, obs: Tensor, itr: int) -> None:
        """Begin the iteration's stream of batches; the rollout has no part in it."""
        self.generator = torch_stream(self.seed, "demo_loss", itr)

    def backward(self, row: Tensor, k: Tensor) -> Info:
        """Gradient of weight x imitation loss."""
        batch = self.demos.sample(self.generator, self.batch_size)
        loss = self.il_loss(batch.obs, batch.action_chunk, self.generator)
        (self.weight * loss).backward()
        return {"bc_loss": loss.item()}
