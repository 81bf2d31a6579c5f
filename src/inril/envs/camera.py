"""Images of simulators; whoever makes a camera needs an OpenGL context."""

from __future__ import annotations

from typing import NoReturn

import mujoco
import numpy as np
import numpy.typing as npt

from inril.envs.rendering import load_opengl
from inril.errors import InputError
from inril.types import FloatArray

_SIZE_PX = 480
_COLLISION_GEOMS = 0  # group of the shapes that robosuite does not show


class Camera:
    """One of a model's cameras.

    Args:
        model: what is seen.
        name: of the camera.
        options: what is shown; MuJoCo's own choice if None.

    Raises:
        InputError: nothing can be rendered on this machine.
    """

    def __init__(self, model: mujoco.MjModel, name: str, options: mujoco.MjvOption | None = None) -> None:
        load_opengl()
        self._renderer = mujoco.Renderer(model, height=_SIZE_PX, width=_SIZE_PX)
        self._name, self._options = name, options

    def image(self, data: mujoco.MjData) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of the poses that have been computed last."""
        self._renderer.update_scene(data, camera=self._name, scene_option=self._options)
        image: npt.NDArray[np.uint8] = self._renderer.render()
        return image

    def close(self) -> None:
        """Free the rendering context."""
        self._renderer.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: an OpenGL context cannot be.

        Raises:
            InputError: always.
        """
        expected = "a copy or pickle of the environment, which makes a camera of its own when it renders"
        raise InputError("camera", expected=expected, got="one of its camera")


class StateCamera:
    """A camera that is shown positions in place of a simulation, which so stays untouched.

    Args:
        model: what is seen.
        name: of the camera.
        options: what is shown; MuJoCo's own choice if None.
    """

    def __init__(self, model: mujoco.MjModel, name: str, options: mujoco.MjvOption | None = None) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._camera = Camera(model, name, options)

    def image(self, qpos: FloatArray) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of positions (nq,)."""
        self._data.qpos[:] = qpos
        mujoco.mj_forward(self._model, self._data)
        return self._camera.image(self._data)

    def close(self) -> None:
        """Free the rendering context."""
        self._camera.close()


class RobomimicCamera:
    """Looks at robosuite's full model, in the state of a simulator that may not know all of it.

    Args:
        model: robosuite's own.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        options = mujoco.MjvOption()
        options.geomgroup[_COLLISION_GEOMS] = 0
        self._nq = model.nq
        self._camera = StateCamera(model, "agentview", options)

    def image(self, state: FloatArray) -> npt.NDArray[np.uint8]:
        """Return an image (480, 480, 3) of a state (1 + nq + nv,): time, positions, velocities."""
        return self._camera.image(state[1 : 1 + self._nq])

    def close(self) -> None:
        """Free the rendering context."""
        self._camera.close()
