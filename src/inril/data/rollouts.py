"""Demonstrations rolled out by an expert policy: a pure function of the expert and the seed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from inril.config.runs import DemosConfig
from inril.data.demo_file import Episode, Float32Array, mean_return, write_demos
from inril.envs import BatchedEnv, make_env
from inril.errors import InputError
from inril.progress import progress
from inril.seeding import stream
from inril.types import FloatArray


class Demonstrator(Protocol):
    """A demonstrator."""

    def act(self, obs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw actions (E, Da) for observations (E, Do), both in raw units."""
        ...


class _Span(NamedTuple):
    """Steps [start, end) of one episode in its environment."""

    start: int
    end: int
    terminated: bool


def generate(cfg: DemosConfig, expert: Demonstrator, out: Path, sim_threads: int = 1) -> None:
    """Roll out an expert and write the demonstrations.

    Args:
        cfg: task, number of steps, seed and environments.
        expert: the demonstrator.
        out: the demonstration file.
        sim_threads: of the simulator.

    Raises:
        InputError: the simulation diverges, or `out` cannot be written.
    """
    assert cfg.n_steps is not None
    torch.set_num_threads(cfg.torch_threads)
    env = make_env(cfg.task, cfg.n_envs, 1, sim_threads)
    try:
        episodes = roll_out(env, expert, cfg.n_steps, cfg.seed)[: cfg.max_episodes]
    finally:
        env.close()
    recipe = {"seed": cfg.seed, "n_envs": cfg.n_envs}
    write_demos(out, cfg.task, episodes, {"source": "generated", **recipe, "mean_return": mean_return(episodes)})


def roll_out(env: BatchedEnv, expert: Demonstrator, n_steps: int, seed: int) -> list[Episode]:
    """Collect whole episodes until they hold at least `n_steps` steps.

    Every environment contributes the same number of episodes. Taking episodes as they end instead would favour short
    ones.

    Args:
        env: environments with one step per chunk.
        expert: the demonstrator.
        n_steps: environment steps wanted.
        seed: seed of the environments and of the expert's actions.

    Returns:
        Episodes in the order (round, environment).

    Raises:
        InputError: the simulation diverges.
    """
    obs_log: list[Float32Array] = []
    action_log: list[Float32Array] = []
    reward_log: list[Float32Array] = []
    spans: list[list[_Span]] = [[] for _ in range(env.n_envs)]
    obs = env.reset(seed)
    n_done = 0  # steps in whole rounds; the spans of an environment leave no gaps, so its last one tells
    with progress("demonstrations", n_steps) as advance:
        while n_done < n_steps:
            action = expert.act(obs, stream(seed, "demo", len(obs_log)))  # (E, Da)
            step = env.step_chunk(action[:, None])
            if step.diverged.any():
                got = f"{int(step.diverged.sum())} environments that diverged at step {len(obs_log)}"
                raise InputError("demonstrations", field="rollout", expected="finite simulation states", got=got)
            obs_log.append(obs.astype(np.float32))
            action_log.append(action.astype(np.float32))
            reward_log.append(step.reward.astype(np.float32))
            for i in np.flatnonzero(step.terminated | step.truncated):
                start = spans[i][-1].end if spans[i] else 0
                spans[i].append(_Span(start, len(obs_log), bool(step.terminated[i])))
            n_rounds, n_before = min(map(len, spans)), n_done
            n_done = sum(env_spans[n_rounds - 1].end for env_spans in spans) if n_rounds else 0
            obs = step.obs
            advance(n_done - n_before)
    all_obs, all_action, all_reward = np.stack(obs_log), np.stack(action_log), np.stack(reward_log)  # (T, E, ...)
    return [
        Episode(all_obs[start:end, i], all_action[start:end, i], all_reward[start:end, i], terminated)
        for env_round in zip(*(env_spans[:n_rounds] for env_spans in spans), strict=True)
        for i, (start, end, terminated) in enumerate(env_round)
    ]
