"""How off-policy algorithms gather experience: chunks are executed and stored, whatever chose them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inril.config.algos import OffPolicyBase
from inril.config.runs import FinetuneConfig
from inril.data.normalizer import Normalizer
from inril.envs.base import BatchedEnv
from inril.learning.episodes import TrainingEpisodes
from inril.learning.replay_buffer import Replay
from inril.learning.update import Info
from inril.learning.watch import Watch
from inril.policies.diffusion import DiffusionPolicy
from inril.seeding import torch_stream
from inril.types import BoolArray

# Maps normalised observations (E, Do) and a generator to normalised chunks (E, Tp, Da).
Choose = Callable[[Tensor, torch.Generator], Tensor]


class Experience:
    """A replay buffer, and the environments' state between iterations.

    Args:
        replay: where transitions go.
        normalizer: of the policy.
        episodes: of the environments.
        n_steps: S, chunks per environment and iteration.
        seed: of the run.
        reward_factor: what rewards are multiplied by before they are stored.
    """

    def __init__(
        self,
        replay: Replay,
        normalizer: Normalizer,
        episodes: TrainingEpisodes,
        n_steps: int,
        seed: int,
        reward_factor: float,
    ) -> None:
        self.replay, self.normalizer, self.episodes = replay, normalizer, episodes
        self.n_steps, self.seed, self.reward_factor = n_steps, seed, reward_factor

    @torch.no_grad()
    def collect(self, env: BatchedEnv, itr: int, choose: Choose) -> Info:
        """Run S chunks in every environment and store them; returns scalars to log."""
        generator = torch_stream(self.seed, "rollout", itr)
        self.episodes.begin(env, itr)
        for s in range(self.n_steps):
            obs = self.normalizer.from_env(self.episodes.see())
            chunk = choose(obs, generator)
            step = env.step_chunk(self.normalizer.to_env(chunk))
            reward = torch.from_numpy(step.reward * self.reward_factor)
            # What the next iteration does not continue ends here.
            truncated = step.truncated | (self.episodes.reset_each_itr and s == self.n_steps - 1)
            successor = self.normalizer.from_env(step.final_obs)
            self.replay.add(obs, chunk, reward, successor, _flag(step.terminated), _flag(truncated))
            self.episodes.add(step)
        return self.episodes.pop()

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer, unfinished episodes and the current observation."""
        return {"replay": self.replay.state_dict(), **self.episodes.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.replay.load_state_dict(state["replay"])
        self.episodes.load_state_dict(state)


def _flag(value: BoolArray) -> Tensor:
    return torch.from_numpy(value).float()


def make_experience(config: FinetuneConfig, algo: OffPolicyBase, policy: DiffusionPolicy) -> Experience:
    """Build an empty buffer for a fine-tuning run of a policy."""
    device = policy.normalizer.device
    return Experience(
        replay=Replay(algo.buffer_rows, config.n_envs, config.task.obs_dim, policy.chunk_shape, device),
        normalizer=policy.normalizer,
        episodes=TrainingEpisodes(
            config.n_envs, config.seed, config.reset_each_itr, Watch(policy.normalizer, config.task)
        ),
        n_steps=config.n_steps,
        seed=config.seed,
        reward_factor=algo.reward_factor,
    )
