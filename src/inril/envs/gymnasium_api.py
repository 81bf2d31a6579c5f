"""Each task as an ordinary gymnasium environment: `gymnasium.make("inril/Hopper-v0")` after `import inril.envs`."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt

from inril.envs.furniture.tasks import FURNITURE_TASKS
from inril.envs.gym.rules import GYM_TASKS
from inril.envs.registry import make
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS

_NO_TIME_LIMIT = int(np.iinfo(np.int64).max)


class _Registration(NamedTuple):
    task_id: str
    render_fps: int
    max_episode_steps: int = 1000


_REGISTERED = {
    **{f"inril/{task.name}-v0": _Registration(task_id, task.control_rate_hz) for task_id, task in GYM_TASKS.items()},
    **{
        f"inril/{task_id.capitalize()}-v0": _Registration(task_id, 20, task.max_episode_steps)
        for task_id, task in ROBOMIMIC_TASKS.items()
    },
    **{
        f"inril/{task_id.title().replace('_', '')}-v0": _Registration(task_id, 10, task.max_episode_steps)
        for task_id, task in FURNITURE_TASKS.items()
    },
}


def control_rate_hz(task_id: str) -> int:
    """Return the control steps of a task per second of simulated time."""
    return next(entry.render_fps for entry in _REGISTERED.values() if entry.task_id == task_id)


class SingleEnv(gymnasium.Env[npt.NDArray[np.float64], npt.NDArray[np.float32]]):
    """One environment of a task, one action per step; gymnasium's wrapper keeps the time limit.

    Args:
        task_id: task, as for `inril.envs.make`.
        render_fps: control steps per second of simulated time.
        render_mode: None or "rgb_array".
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 125}  # noqa: RUF012 (declared so by gymnasium)

    def __init__(self, task_id: str, render_fps: int, render_mode: str | None = None) -> None:
        self.metadata = {**self.metadata, "render_fps": render_fps}
        self.render_mode = render_mode
        self._env = make(task_id, n_envs=1, act_steps=1, max_episode_steps=_NO_TIME_LIMIT)
        self._episode_running = False
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self._env.obs_dim,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._env.action_dim,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
        """Start an episode; the same seed gives the same episodes from then on."""
        super().reset(seed=seed)
        obs = self._env.reset(int(self.np_random.integers(2**63 - 1)))
        self._episode_running = True
        return obs[0], {}

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,).

        `info["success"]` tells that the task is solved now, `info["diverged"]` that the simulation left the finite
        numbers.
        """
        if not self._episode_running:
            raise gymnasium.error.ResetNeeded("the episode has ended: call reset() before the next step()")
        step = self._env.step_chunk(np.asarray(action, dtype=np.float64)[None, None])
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        self._episode_running = not (terminated or truncated)
        info = {"success": bool(step.success[0]), "diverged": bool(step.diverged[0])}
        return step.final_obs[0], float(step.reward[0]), terminated, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return an image (height, width, 3), or None without a render mode."""
        return self._env.render() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the simulator and the rendering context."""
        self._env.close()


def register_gymnasium() -> None:
    """Make the tasks known to `gymnasium.make`; calling it again changes nothing."""
    for gymnasium_id, (task_id, render_fps, max_episode_steps) in _REGISTERED.items():
        if gymnasium_id not in gymnasium.registry:
            gymnasium.register(
                gymnasium_id,
                entry_point="inril.envs.gymnasium_api:SingleEnv",
                max_episode_steps=max_episode_steps,
                kwargs={"task_id": task_id, "render_fps": render_fps},
            )
