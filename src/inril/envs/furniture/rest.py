"""Parts that lie still are left out of the contact problem until something touches them, compiled.

Most parts lie on the table most of the time, and their contacts with it are most of what the solver has to do. A part
that has lain still for a while and touches nothing that can move falls asleep: it keeps its pose, without weight and
without contacts with table and fence. Collisions with all else are still looked for, and it wakes up in the very
physics step in which hand or another part touches it, so that this contact is solved as if it had never slept. What
moves a part from outside has to wake it.
"""

from __future__ import annotations

import numpy as np
from numba import types

from inril.envs.furniture.records import UNMOVED, FurnitureRules, Progress
from inril.envs.furniture.shapes import Touch
from inril.envs.kernel import Simulator, float_view, int_view, mujoco_function
from inril.jit import compiled
from inril.types import BoolArray

# Actions that a part must have lain still for.
_ASLEEP = 2.0
# A resting part is a hundred times as slow, one that is carried or pushed a hundred times as fast.
_STILL_M_S, _STILL_RAD_S = 1e-4, 1e-3
_MOVING_ALONE = ~int(Touch.TABLE | Touch.FENCE)

_mj_step1 = mujoco_function("mj_step1", types.uintp, types.uintp)


@compiled
def fit_rest(simulator: Simulator, rules: FurnitureRules, progress: Progress, part: int) -> None:
    """Give a part weight and contacts with what never moves, or take them away while it sleeps."""
    asleep = progress.still[part] == _ASLEEP
    float_view(simulator.body_gravcomp, simulator.nbody)[rules.part_body[part]] = asleep
    conaffinity = int_view(simulator.geom_conaffinity, simulator.ngeom)
    for geom in range(simulator.ngeom):
        if rules.geom_part[geom] == part:
            conaffinity[geom] = rules.geom_conaffinity[geom] & (_MOVING_ALONE if asleep else -1)


@compiled
def wake(simulator: Simulator, rules: FurnitureRules, progress: Progress, part: int) -> bool:
    """Let a part take part again; tells whether it slept."""
    slept = progress.still[part] == _ASLEEP
    progress.still[part] = 0.0
    if slept:
        fit_rest(simulator, rules, progress, part)
    return bool(slept)


@compiled
def _mark_touched(simulator: Simulator, rules: FurnitureRules, by_moving: BoolArray, by_unmoved: BoolArray) -> None:
    """Mark the parts (parts,) that touch what can move, and those that touch what never does."""
    n_contacts = int_view(simulator.n_contacts, 1)[0]
    if n_contacts == 0:
        return
    stride = simulator.contact_stride
    geoms = int_view(simulator.contact_geoms, (n_contacts - 1) * stride + 2)
    for i in range(n_contacts):
        pair = rules.geom_part[geoms[i * stride]], rules.geom_part[geoms[i * stride + 1]]
        for part, other in (pair, pair[::-1]):
            if part >= 0:
                if other == UNMOVED:
                    by_unmoved[part] = True
                else:
                    by_moving[part] = True


@compiled
def hold_sleepers(simulator: Simulator, rules: FurnitureRules, progress: Progress) -> None:
    """Stop what rounding moves."""
    qvel = float_view(simulator.qvel, simulator.nv)
    for part in range(rules.part_dof.size):
        if progress.still[part] == _ASLEEP:
            first = rules.part_dof[part]
            qvel[first : first + 6] = 0.0


@compiled
def wake_touched(simulator: Simulator, rules: FurnitureRules, progress: Progress) -> None:
    """Wake the sleepers that are touched by what can move, and find their contacts with all else."""
    n_contacts = int_view(simulator.n_contacts, 1)[0]
    if n_contacts == 0 or not (progress.still == _ASLEEP).any():
        return
    stride = simulator.contact_stride
    geoms = int_view(simulator.contact_geoms, (n_contacts - 1) * stride + 2)
    changed = False
    for i in range(n_contacts):
        first, second = rules.geom_part[geoms[i * stride]], rules.geom_part[geoms[i * stride + 1]]
        if first == UNMOVED or second == UNMOVED:
            continue
        if first >= 0 and progress.still[first] == _ASLEEP:
            changed |= wake(simulator, rules, progress, first)
        if second >= 0 and progress.still[second] == _ASLEEP:
            changed |= wake(simulator, rules, progress, second)
    if changed:
        _mj_step1(simulator.model, simulator.data)


@compiled
def lay_to_rest(simulator: Simulator, rules: FurnitureRules, progress: Progress) -> None:
    """Let the parts fall asleep that have lain still; called once per action."""
    qvel = float_view(simulator.qvel, simulator.nv)
    n_parts = rules.part_dof.size
    by_moving, by_unmoved = np.zeros(n_parts, dtype=np.bool_), np.zeros(n_parts, dtype=np.bool_)
    _mark_touched(simulator, rules, by_moving, by_unmoved)
    for pair in range(rules.base_part.size):
        if progress.entry_rad[pair] > 0.0:
            by_moving[rules.base_part[pair]] = by_moving[rules.male_part[pair]] = True
    changed = False
    for part in range(n_parts):
        if progress.still[part] == _ASLEEP:
            continue
        first = rules.part_dof[part]
        still = (
            by_unmoved[part]
            and not by_moving[part]
            and np.abs(qvel[first : first + 3]).max() <= _STILL_M_S
            and np.abs(qvel[first + 3 : first + 6]).max() <= _STILL_RAD_S
        )
        progress.still[part] = progress.still[part] + 1.0 if still else 0.0
        if progress.still[part] == _ASLEEP:
            fit_rest(simulator, rules, progress, part)
            changed = True
    if changed:
        _mj_step1(simulator.model, simulator.data)
