"""FurnitureBench's assembly tasks behind the batched contract; see `Suite`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.camera import Camera
from inril.envs.copies import reduced
from inril.envs.furniture.model import CAMERA, FENCE, TIMESTEP_S, furniture_model
from inril.envs.furniture.panda import FINGERS, START_RAD
from inril.envs.furniture.records import Progress
from inril.envs.furniture.rotations import about, quat_of
from inril.envs.furniture.rules import observe_all, progress_of, restart_episode, step_chunk
from inril.envs.furniture.task import ACTION, FurnitureTask
from inril.envs.kernel import simulator_table
from inril.types import ChunkStep, FloatArray, IntArray

_SETTLE_S = 0.3
_MAX_DRAWS = 1000
_TRIES_PER_PART = 50
_OUT_OF_REACH_M = 5.0


class FurnitureSuite:
    """E simulators of one furniture task; see `Suite`.

    Args:
        task: the task.
        n_envs: number of environments, E.

    Attributes:
        shared: scene and rules.
        models: (E,) an engaged screw changes the model of its environment.
        progress: what is remembered beside MuJoCo's state, of all environments.
        simulators: (E,) table for compiled loops; valid as long as this suite lives and is not closed.
    """

    action_dim = ACTION

    def __init__(self, task: FurnitureTask, n_envs: int) -> None:
        self.task = task
        self.task_id = task.task_id
        self.obs_dim, self.max_episode_steps = task.obs_dim, task.max_episode_steps
        self.shared = furniture_model(task)
        self.model = self.shared.model
        self.models = [self.shared.compile() for _ in range(n_envs)]
        self.data = [mujoco.MjData(model) for model in self.models]
        self.simulators = simulator_table(self.models, self.data)
        n_pairs = len(task.furniture.pairs)
        self.progress = Progress(
            grip=np.zeros((n_envs, 1)),
            assembled=np.zeros((n_envs, n_pairs)),
            seat=np.zeros((n_envs, n_pairs)),
            entry_rad=np.zeros((n_envs, n_pairs)),
            still=np.zeros((n_envs, len(task.furniture.parts))),
        )
        self._draw = _StartDrawer(task, self.shared.model)
        self._camera: Camera | None = None

    def advance(
        self, part: slice, action_chunk: FloatArray, elapsed_steps: IntArray, max_episode_steps: int, step: ChunkStep
    ) -> None:
        """Execute one chunk in a slice of environments."""
        step_chunk(
            self.simulators[part], self.shared.rules, Progress(*(array[part] for array in self.progress)),
            max_episode_steps, action_chunk[part], elapsed_steps[part],
            step.final_obs[part], step.reward[part], step.n_steps[part],
            step.terminated[part], step.truncated[part], step.success[part], step.diverged[part],
        )  # fmt: skip

    def start(self, env_indices: IntArray, rngs: Sequence[np.random.Generator], obs: FloatArray) -> None:
        """Draw initial states until nothing overlaps, and let them settle."""
        for e, rng in zip(env_indices, rngs, strict=True):
            # In the environment's own data, which are cleared next: several threads start episodes.
            qpos, fence = self._draw(rng, self.data[e])
            progress, settle_steps = progress_of(self.progress, e), round(_SETTLE_S / TIMESTEP_S)
            restart_episode(self.simulators[e], self.shared.rules, progress, qpos, fence, settle_steps, obs[e])

    def memory(self) -> dict[str, FloatArray]:
        """Return gripper, rewarded pairs, engaged screws and sleeping parts."""
        return self.progress._asdict()

    def resume(self, memory: dict[str, FloatArray], obs: FloatArray) -> None:
        """Fit the screws and observe the state that has been set."""
        for name, array in self.progress._asdict().items():
            array[:] = memory[name]
        observe_all(self.simulators, self.shared.rules, self.progress, obs)

    def image(self, env_index: int) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of one environment."""
        if self._camera is None:
            self._camera = Camera(self.model, CAMERA)
        return self._camera.image(self.data[env_index])

    def close(self) -> None:
        """Free simulator data and the rendering context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
        self.data = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what copy and pickle make another suite of."""
        return reduced(self, self.task)


class _StartDrawer:
    """Draws starts of episodes: arm and fence, then part after part, each again until it touches none before it."""

    def __init__(self, task: FurnitureTask, model: mujoco.MjModel) -> None:
        self._task, self._model = task, model
        parts = task.furniture.parts
        self._parts = np.array([model.body(part.name).id for part in parts])
        self._qpos = [int(model.joint(part.name).qposadr[0]) for part in parts]
        self._fingers = [int(model.joint(name).qposadr[0]) for name in FINGERS]
        self._fence = model.body(FENCE).mocapid[0]

    def __call__(self, rng: np.random.Generator, data: mujoco.MjData) -> tuple[FloatArray, FloatArray]:
        """Return positions (nq,) and the fence's offset (2,); overwrites the data that it tries them in."""
        randomness = self._task.randomness
        qpos = np.array(self._model.qpos0)
        for _ in range(_MAX_DRAWS):
            qpos[self._fingers] = self._task.furniture.opening_m / 2
            qpos[: START_RAD.size] = START_RAD + rng.uniform(-1, 1, START_RAD.size) * randomness.joint_rad
            fence = rng.uniform(-randomness.fence_m, randomness.fence_m, 2)
            for i, first in enumerate(self._qpos):
                qpos[first : first + 3] = 0.0, 0.0, _OUT_OF_REACH_M * (1 + i)
            if all(self._place(i, qpos, fence, rng, data) for i in range(self._parts.size)):
                return qpos, fence
        raise RuntimeError(f"{self._task.task_id}: no start without overlaps in {_MAX_DRAWS} draws")

    def _place(
        self, i: int, qpos: FloatArray, fence: FloatArray, rng: np.random.Generator, data: mujoco.MjData
    ) -> bool:
        """Write a pose of one part into positions; False if it touches something wherever it is put."""
        part, randomness, first = self._task.furniture.parts[i], self._task.randomness, self._qpos[i]
        for _ in range(_TRIES_PER_PART):
            offset = rng.uniform(-randomness.part_m, randomness.part_m, 2)
            turn = about("z", rng.uniform(-randomness.part_rad, randomness.part_rad))
            qpos[first : first + 3] = part.pos + np.array([*offset, 0.0])
            qpos[first + 3 : first + 7] = quat_of(turn @ part.rot)
            if self._is_free(qpos, fence, data):
                return True
        return False

    def _is_free(self, qpos: FloatArray, fence: FloatArray, data: mujoco.MjData) -> bool:
        """Tell whether nothing touches anything, but parts the table."""
        model = self._model
        data.qpos[:] = qpos
        data.mocap_pos[self._fence, :2] = fence
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        bodies = model.geom_bodyid[data.contact.geom[data.contact.dist < 0]]
        resting = (bodies[:, 0] == 0) & np.isin(bodies[:, 1], self._parts)
        return bool(resting.all())
