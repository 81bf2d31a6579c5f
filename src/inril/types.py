"""Shape legend of the whole project, and the few batch types that cross module boundaries.

B   batch                       K   fine-tuned denoising steps (ft_denoising_steps)
S   rollout steps (chunks)      To  observation history (cond_steps)
E   environments (n_envs)       Tp  predicted horizon (horizon_steps)
Do  observation dimensions      Ta  executed steps of a chunk (act_steps)
Da  action dimensions           P   parameters of a network, flattened
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class ChunkStep(NamedTuple):
    """What E environments return after executing one action chunk each.

    An episode that ends inside a chunk skips the rest of the chunk and is reset at once.

    Attributes:
        obs: (E, Do) observation to act on next, after an automatic reset.
        final_obs: (E, Do) true successor of the chunk; differs from `obs` only where an episode ended.
        reward: (E,) undiscounted sum over the executed steps.
        n_steps: (E,) executed environment steps, 1 to Ta.
        terminated: (E,) the episode reached a terminal state; its value is 0.
        truncated: (E,) the episode hit its time limit; bootstrap from `final_obs`.
        success: (E,) the task was solved in this chunk (always False where the suite defines no success).
        diverged: (E,) the simulation left the finite numbers; the episode was ended and reset.
    """

    obs: FloatArray
    final_obs: FloatArray
    reward: FloatArray
    n_steps: IntArray
    terminated: BoolArray
    truncated: BoolArray
    success: BoolArray
    diverged: BoolArray
