"""Images of the Robomimic tasks: robosuite's full model, in the state of a simulator that may not know all of it."""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from inril.types import FloatArray

_SIZE_PX = 480
_COLLISION_GEOMS = 0  # group of the shapes that robosuite does not show


class RobomimicCamera:
    """Looks at robosuite's model from its camera "agentview"; needs an OpenGL context.

    Args:
        model: robosuite's own.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._renderer = mujoco.Renderer(model, height=_SIZE_PX, width=_SIZE_PX)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[_COLLISION_GEOMS] = 0

    def image(self, state: FloatArray) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of a state (1 + nq + nv,): time, positions, velocities."""
        self._data.qpos[:] = state[1 : 1 + self._model.nq]
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, camera="agentview", scene_option=self._options)
        image: npt.NDArray[np.uint8] = self._renderer.render()
        return image

    def close(self) -> None:
        """Free the rendering context."""
        self._renderer.close()
