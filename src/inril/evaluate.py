"""Evaluation of a policy on environments and seeds of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch

from inril.config.base import Metric, TaskSpec
from inril.envs import make_env
from inril.envs.base import BatchedEnv
from inril.policies.acting import Actor
from inril.seeding import subseed, torch_stream
from inril.types import BoolArray, ChunkStep, FloatArray


class Evaluation(NamedTuple):
    """One entry per episode, (n_episodes,) each.

    Attributes:
        episode_return: undiscounted sum of rewards.
        episode_length: environment steps.
        success: the task was solved at some time.
    """

    episode_return: FloatArray
    episode_length: FloatArray
    success: BoolArray

    def score(self, metric: Metric) -> float:
        """Mean of a task's headline metric."""
        return float((self.success if metric == "success" else self.episode_return).mean())

    def episodes(self, metric: Metric) -> Iterator[dict[str, float]]:
        """Yield what is recorded of each episode: its return and, where that is the headline, its success."""
        for episode_return, success in zip(self.episode_return, self.success, strict=True):
            solved = {"episode_success": float(success)} if metric == "success" else {}
            yield {"episode_return": float(episode_return), **solved}


class Watcher(Protocol):
    """Sees what happens in an evaluation without taking part in it."""

    def start(self, env: BatchedEnv) -> None:
        """Look at environments that have just been reset."""

    def add(self, obs: FloatArray, action_chunk: FloatArray, step: ChunkStep) -> None:
        """Take note of a chunk: observations before it, (E, Do), what was executed, (E, Ta, Da), and what followed."""


def evaluate(
    actor: Actor,
    task: TaskSpec,
    n_episodes: int,
    seed: int,
    *,
    n_envs: int = 50,
    threads: int = 1,
    watcher: Watcher | None = None,
) -> Evaluation:
    """Run whole episodes.

    Every environment contributes the same number of first episodes, so that short episodes are not over-counted.

    Args:
        actor: acts; hears of every episode that begins or ends.
        task: what to run.
        n_episodes: at least so many.
        seed: of environments and noise.
        n_envs: E, at most; lowered to `n_episodes`.
        threads: of the simulator.
        watcher: told of every chunk.
    """
    n_envs = min(n_envs, n_episodes)
    rounds = -(-n_episodes // n_envs)
    env = make_env(task, n_envs, actor.act_steps, threads)
    generator = torch_stream(seed, "eval_noise")
    results = []
    try:
        for i in range(rounds):
            obs = env.reset(subseed(seed, "eval_env", i))
            if watcher is not None:
                watcher.start(env)
            actor.start(n_envs)
            results.append(_first_episodes(actor, obs, env, generator, watcher))
    finally:
        env.close()
    returns, lengths, successes = (np.concatenate(values) for values in zip(*results, strict=True))
    return Evaluation(returns, lengths, successes)


def _first_episodes(
    actor: Actor, obs: FloatArray, env: BatchedEnv, generator: torch.Generator, watcher: Watcher | None
) -> Evaluation:
    total, length = np.zeros(env.n_envs), np.zeros(env.n_envs)
    success, running = np.zeros(env.n_envs, bool), np.ones(env.n_envs, bool)
    while running.any():
        action_chunk = actor.act(obs, generator)
        step = env.step_chunk(action_chunk, running)
        if watcher is not None:
            watcher.add(obs, action_chunk, step)
        total += step.reward * running
        length += step.n_steps * running
        success |= step.success & running
        ended = step.terminated | step.truncated
        running &= ~ended
        actor.drop(ended)
        obs = step.obs
    return Evaluation(total, length, success)
