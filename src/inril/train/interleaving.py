"""From a run's settings to the interleaver, which knows nothing of them."""

from __future__ import annotations

from functools import partial

import torch

from inril.algos.base import Algorithm
from inril.algos.ppo import PPO
from inril.config.base import M, Separation
from inril.config.runs import FinetuneConfig, IlConfig
from inril.data.chunks import ChunkDataset
from inril.interleave.adaptive import AdaptiveM
from inril.interleave.aggregators import make_aggregator
from inril.interleave.imitation_block import ImitationBlock
from inril.interleave.interleaver import ImitationLoss, Interleaver
from inril.interleave.own_step import OwnStep
from inril.interleave.schedule import Schedule
from inril.interleave.separation import Joiner


def imitation_loss(algorithm: Algorithm, demos: ChunkDataset) -> ImitationLoss:
    """Return the algorithm's imitation loss as one of new batches of demonstrations."""

    def loss(size: int, generator: torch.Generator) -> torch.Tensor:
        batch = demos.sample(generator, size)
        return algorithm.il_loss(batch.obs, batch.action_chunk, generator)

    return loss


def make_interleaver(cfg: FinetuneConfig, algorithm: Algorithm, il_loss: ImitationLoss) -> Interleaver:
    """Build what a run's settings say of imitation.

    Raises:
        InputError: the aggregator does not exist or lacks a package.
    """
    parameters = algorithm.il_parameters()
    block = own_step = None
    if cfg.separation == "network":
        assert isinstance(algorithm, PPO)  # the settings allow no other algorithm
        # What the base has planned before a block is planned anew by the base of after it.
        replan = partial(algorithm.head.observer.start, algorithm.n_envs)
        block = ImitationBlock(parameters, after=replan, **cfg.il.network.model_dump())
    elif cfg.il.optimizer == "own":
        own_step = OwnStep(parameters, cfg.il.lr, projects=cfg.separation == "surgery")
    return Interleaver(
        schedule=make_schedule(cfg.m, cfg.il, in_blocks=block is not None),
        joiner=make_joiner(cfg.separation, cfg.il),
        il_parameters=parameters,
        il_loss=il_loss,
        batch_size=cfg.il.batch_size,
        seed=cfg.seed,
        noise=cfg.il.source == "noise",
        own_step=own_step,
        block=block,
        adaptive=make_adaptive(cfg.m, cfg.il),
    )


def make_schedule(m: M, il: IlConfig, in_blocks: bool = False) -> Schedule:
    """Build the schedule of imitation."""
    return Schedule(m, il.unit, opens=il.phase == "first", in_blocks=in_blocks)


def make_adaptive(m: M, il: IlConfig) -> AdaptiveM | None:
    """Build what sets m anew, if it is not constant; reinforcement alone stays alone."""
    if il.adaptive is None or m == "inf":
        return None
    return AdaptiveM(m=m, **il.adaptive.model_dump())


def make_joiner(separation: Separation, il: IlConfig) -> Joiner:
    """Build what joins two gradients: the aggregator with separation `surgery`, else their mean.

    Raises:
        InputError: the aggregator does not exist or lacks a package.
    """
    aggregator = make_aggregator(il.aggregator if separation == "surgery" else "mean", il.scale)
    return Joiner(aggregator, per_layer=il.granularity == "layer", balances=il.balance == "norm")
