"""How off-policy algorithms gather experience: chunks are executed and stored, whatever chose them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inril.config.algos import OffPolicyBase
from inril.config.runs import FinetuneConfig
from inril.data.normalizer import Normalizer
from inril.envs.base import BatchedEnv
from inril.learning.episodes import EpisodeStatistics
from inril.learning.replay_buffer import Replay
from inril.learning.update import Info
from inril.learning.watch import Watch
from inril.policies.diffusion import DiffusionPolicy
from inril.seeding import subseed, torch_stream
from inril.types import BoolArray, FloatArray

# Maps normalised observations (E, Do) and a generator to normalised chunks (E, Tp, Da).
Choose = Callable[[Tensor, torch.Generator], Tensor]


class Experience:
    """A replay buffer, and the environments' state between iterations.

    Args:
        replay: where transitions go.
        normalizer: of the policy.
        n_steps: S, chunks per environment and iteration.
        seed: of the run.
        reset_each_itr: whether every iteration starts with new episodes.
        reward_factor: what rewards are multiplied by before they are stored.
        watch: sees the observations; None for nobody.
    """

    def __init__(
        self,
        replay: Replay,
        normalizer: Normalizer,
        n_steps: int,
        seed: int,
        reset_each_itr: bool,
        reward_factor: float,
        watch: Watch | None = None,
    ) -> None:
        self.replay, self.normalizer, self.watch = replay, normalizer, watch
        self.n_steps, self.seed, self.reset_each_itr, self.reward_factor = n_steps, seed, reset_each_itr, reward_factor
        self.episodes = EpisodeStatistics(replay.n_envs)
        self.obs: FloatArray | None = None  # raw, the observation to act on next

    @torch.no_grad()
    def collect(self, env: BatchedEnv, itr: int, choose: Choose) -> Info:
        """Run S chunks in every environment and store them; returns scalars to log."""
        generator = torch_stream(self.seed, "rollout", itr)
        reset_seed = subseed(self.seed, "train_env")
        if self.reset_each_itr:
            self.obs = env.reset(subseed(reset_seed, "iteration", itr))
            self.episodes.restart()
        elif self.obs is None:
            self.obs = env.reset(reset_seed)
        env_steps = n_diverged = 0
        for s in range(self.n_steps):
            if self.watch is not None:
                self.watch.see(self.obs)
            obs = self.normalizer.from_env(self.obs)
            chunk = choose(obs, generator)
            step = env.step_chunk(self.normalizer.to_env(chunk))
            reward = torch.from_numpy(step.reward * self.reward_factor)
            # What the next iteration does not continue ends here.
            truncated = step.truncated | (self.reset_each_itr and s == self.n_steps - 1)
            successor = self.normalizer.from_env(step.final_obs)
            self.replay.add(obs, chunk, reward, successor, _flag(step.terminated), _flag(truncated))
            self.episodes.add(step)
            env_steps += int(step.n_steps.sum())
            n_diverged += int(step.diverged.sum())
            self.obs = step.obs
        return {"env_steps": env_steps, "n_diverged": n_diverged, **self.episodes.pop()}

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer, unfinished episodes and the current observation."""
        assert self.obs is not None
        return {"replay": self.replay.state_dict(), "episodes": self.episodes.state_dict(), "obs": self.obs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.replay.load_state_dict(state["replay"])
        self.episodes.load_state_dict(state["episodes"])
        self.obs = np.asarray(state["obs"])


def _flag(value: BoolArray) -> Tensor:
    return torch.from_numpy(value).float()


def make_experience(config: FinetuneConfig, algo: OffPolicyBase, policy: DiffusionPolicy) -> Experience:
    """Build an empty buffer for a fine-tuning run of a policy."""
    device = policy.normalizer.device
    return Experience(
        replay=Replay(algo.buffer_rows, config.n_envs, config.task.obs_dim, policy.chunk_shape, device),
        normalizer=policy.normalizer,
        n_steps=config.n_steps,
        seed=config.seed,
        reset_each_itr=config.reset_each_itr,
        reward_factor=algo.reward_factor,
        watch=Watch(policy.normalizer, config.task),
    )
