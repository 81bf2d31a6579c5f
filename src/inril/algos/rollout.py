"""A rollout of PPO: what the actor does in every environment, and how much better than expected that was."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inril.algos.actor import ActorHead
from inril.envs.base import BatchedEnv
from inril.learning.episodes import TrainingEpisodes
from inril.learning.gae import RewardScaler, gae, successor_values
from inril.types import BoolArray, FloatArray


class Trajectories(NamedTuple):
    """S chunks in each of E environments, as they happened.

    Attributes:
        obs: (S, E, Do) normalised.
        final_obs: (S, E, Do) of the chunk's true successor; rows that nobody asks for are arbitrary (`follow`).
        trace: (S, E, ...) of the actor head.
        logprob: (S, E, K') under the policy that acted.
        reward: (S, E) sum over the chunk.
        terminated: (S, E).
        truncated: (S, E).
    """

    obs: Tensor
    final_obs: Tensor
    trace: Tensor
    logprob: Tensor
    reward: FloatArray
    terminated: BoolArray
    truncated: BoolArray


class Rollout(NamedTuple):
    """What PPO learns from, flattened over (S, E).

    Attributes:
        obs: (S E, Do) normalised.
        trace: (S E, ...) of the actor head.
        logprob: (S E, K') under the policy that acted.
        advantage: (S E,).
        returns: (S E,) targets of the critic.
    """

    obs: Tensor
    trace: Tensor
    logprob: Tensor
    advantage: Tensor
    returns: Tensor


def follow(
    head: ActorHead, episodes: TrainingEpisodes, env: BatchedEnv, n_steps: int, generator: torch.Generator
) -> Trajectories:
    """Let the actor run `n_steps` chunks in every environment, from where its episodes stand."""
    observer, normalizer = head.observer, head.normalizer
    shape, device = (n_steps, episodes.n_envs), normalizer.device
    obs = torch.empty(*shape, env.obs_dim + observer.n_extra, device=device)
    final_obs = torch.empty_like(obs)
    trace = torch.empty(*shape, *head.trace_shape(), device=device)
    logprob = torch.empty(*shape, head.ft_denoising_steps, device=device)
    reward, terminated, truncated = np.empty(shape), np.empty(shape, bool), np.empty(shape, bool)
    for s in range(n_steps):
        obs[s] = observer.see(normalizer.from_env(episodes.see()), generator)
        sample = head.sample(obs[s], generator)
        trace[s], logprob[s] = sample.trace, sample.logprob
        step = env.step_chunk(normalizer.to_env(sample.chunk))
        # An unfinished episode's successor is seen at the next step, but for the last.
        wanted = ~step.terminated if s == n_steps - 1 else step.truncated
        final_obs[s] = observer.foresee(normalizer.from_env(step.final_obs), wanted, generator)
        observer.drop(step.terminated | step.truncated)
        reward[s], terminated[s], truncated[s] = step.reward, step.terminated, step.truncated
        episodes.add(step)
    return Trajectories(obs, final_obs, trace, logprob, reward, terminated, truncated)


def rate(
    trajectories: Trajectories,
    values: Callable[[Tensor], Tensor],
    scale: RewardScaler | None,
    gamma: float,
    gae_lambda: float,
) -> Rollout:
    """Estimate the advantages of what happened.

    Args:
        trajectories: of one iteration.
        values: maps observations (B, Do) to the critic's values (B,).
        scale: of the rewards; None for rewards as they are.
        gamma: discount per chunk.
        gae_lambda: lambda.
    """
    obs, device = trajectories.obs, trajectories.obs.device
    done = trajectories.terminated | trajectories.truncated
    reward = trajectories.reward if scale is None else scale(trajectories.reward, done)
    value = values(obs.flatten(0, 1)).view(obs.shape[:2])
    next_value = successor_values(values, value, trajectories.final_obs, torch.from_numpy(done).to(device))
    # On the CPU: a recursion of S tiny steps, each of which would cost a GPU more to launch than to compute.
    advantage, returns = gae(
        torch.from_numpy(reward).float(),
        value.cpu(),
        next_value.cpu(),
        torch.from_numpy(trajectories.terminated),
        torch.from_numpy(trajectories.truncated),
        gamma,
        gae_lambda,
    )
    flat = (obs, trajectories.trace, trajectories.logprob, advantage, returns)
    return Rollout(*(x.flatten(0, 1).to(device) for x in flat))
