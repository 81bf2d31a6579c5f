"""Episodes that can be seen again: recorded while a policy is evaluated, replayed step by step, rendered.

A replay starts from the recorded state of one environment and executes the recorded actions. It is the evaluated
episode: observations are compared bit for bit on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inril.config.base import TaskSpec
from inril.envs import make_env
from inril.envs.base import BatchedEnv
from inril.evaluate import evaluate
from inril.policies.acting import Actor
from inril.types import ChunkStep, FloatArray

Image = npt.NDArray[np.uint8]


class RecordedEpisode(NamedTuple):
    """One episode of a round.

    Attributes:
        env_index: environment.
        succeeded: the task was solved; where the suite knows no success, the time limit was reached.
        n_steps: environment steps until the end of the chunk in which the task was first solved, else until the end.
    """

    env_index: int
    succeeded: bool
    n_steps: int


class Round:
    """The first episode of each of E environments, recorded; a `Watcher` of an evaluation.

    Args:
        task: what is evaluated.
    """

    def __init__(self, task: TaskSpec) -> None:
        self.task = task
        self._state: dict[str, npt.NDArray[np.generic]] = {}
        self._obs: list[FloatArray] = []
        self._actions: list[FloatArray] = []
        self._steps: list[ChunkStep] = []

    def start(self, env: BatchedEnv) -> None:
        """Keep the state that the episodes start from."""
        self._state = env.get_state()

    def add(self, obs: FloatArray, action_chunk: FloatArray, step: ChunkStep) -> None:
        """Keep a chunk."""
        self._obs.append(obs)
        self._actions.append(action_chunk)
        self._steps.append(step)

    def episodes(self) -> list[RecordedEpisode]:
        """Return how each episode went."""
        return [self._episode(env_index) for env_index in range(len(self._obs[0]))]

    def _episode(self, env_index: int) -> RecordedEpisode:
        n_steps = 0
        for step in self._steps:
            n_steps += int(step.n_steps[env_index])
            if step.success[env_index]:
                return RecordedEpisode(env_index, True, n_steps)
            if step.terminated[env_index] or step.truncated[env_index]:
                break
        ended_early = bool(step.terminated[env_index] or step.diverged[env_index])
        return RecordedEpisode(env_index, self.task.metric == "return" and not ended_early, n_steps)

    def images(self, env_index: int, steps: Collection[int]) -> Iterator[tuple[int, Image]]:
        """Replay an episode and yield images (height, width, 3) of its state before the wanted steps, in order.

        Args:
            env_index: environment.
            steps: numbers of environment steps, below the episode's; what follows its last one cannot be seen, since
                an environment is reset at once.

        Raises:
            RuntimeError: the replay is not the recorded episode.
        """
        actions = np.concatenate([chunk[env_index] for chunk in self._actions])
        act_steps = self._actions[0].shape[1]
        env = make_env(self.task, 1, 1)
        try:
            obs = env.set_state(_only(self._state, env_index))
            for step in range(max(steps) + 1):
                if step % act_steps == 0 and not np.array_equal(obs[0], self._obs[step // act_steps][env_index]):
                    raise RuntimeError(f"{self.task.id}: step {step} of a replay is not that of the recorded episode")
                if step in steps:
                    yield step, env.render()
                obs = env.step_chunk(actions[None, step, None]).obs
        finally:
            env.close()


def record(actor: Actor, task: TaskSpec, n_episodes: int, seed: int, *, threads: int = 1) -> Round:
    """Evaluate whole episodes side by side, and record them; arguments as of `evaluate`."""
    recorded = Round(task)
    evaluate(actor, task, n_episodes, seed, n_envs=n_episodes, threads=threads, watcher=recorded)
    return recorded


def _only(state: dict[str, npt.NDArray[np.generic]], env_index: int) -> dict[str, npt.NDArray[np.generic]]:
    """Return the part of environments' state that is about one of them; all but the seed has a row for each."""
    return {name: rows if name == "seed" else rows[[env_index]] for name, rows in state.items()}
