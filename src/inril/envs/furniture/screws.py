"""Which pairs are assembled, and how stems enter, follow and leave their threads, compiled.

A carrier body on the socket moves along the helix. Where a stem enters, it is welded to the carrier and loses its own
contacts, until it is turned back past where it entered.
"""

from __future__ import annotations

import numpy as np
from numba import types

from inril.envs.furniture.records import FurnitureRules, Progress
from inril.envs.furniture.rest import wake
from inril.envs.kernel import Simulator, byte_view, float_view, int_view, mujoco_function
from inril.jit import compiled
from inril.types import FloatArray

PITCH_M = 0.0092  # of the thread, per turn

# A stem enters the thread when it is in line with the socket ...
_ENTRY_LATERAL_M = 0.002
_ENTRY_COSINE = 0.985
# ... and has come down to the helix, the remaining turn taken from the interval of a whole turn that begins here.
_LEAST_TURN_RAD = np.pi / 4
_ENTRY_SLACK_M = 0.0003
_LOWEST_M = -0.002
# It leaves when it is turned back past where it entered, and must be lifted before it can enter again.
_EXIT_RAD = 0.35
_LIFTED_M = 0.002
_NOT_ENGAGED, _LET_GO = 0.0, -1.0
# Farther from its seat no stem can be in the thread: the tolerance beside the axis, and the highest entry or lift.
_REACH_M = np.hypot(_ENTRY_LATERAL_M, PITCH_M * (1 + _LEAST_TURN_RAD / (2 * np.pi)) + _LIFTED_M)

_ASSEMBLED_M = 0.005  # per axis
_ASSEMBLED_COSINE = 0.94  # of each axis

_mj_step1 = mujoco_function("mj_step1", types.uintp, types.uintp)


@compiled
def _relative_pose(simulator: Simulator, base: int, part: int, position: FloatArray, rotation: FloatArray) -> None:
    """Write position (3,) and rotation (3, 3) of one body as seen from another one."""
    xpos, xmat = float_view(simulator.xpos, 3 * simulator.nbody), float_view(simulator.xmat, 9 * simulator.nbody)
    for i in range(3):
        position[i] = 0.0
        for k in range(3):
            position[i] += xmat[9 * base + 3 * k + i] * (xpos[3 * part + k] - xpos[3 * base + k])
        for j in range(3):
            rotation[i, j] = 0.0
            for k in range(3):
                rotation[i, j] += xmat[9 * base + 3 * k + i] * xmat[9 * part + 3 * k + j]


@compiled
def is_assembled(simulator: Simulator, rules: FurnitureRules, pair: int) -> bool:
    """Tell whether a pair is within FurnitureBench's tolerances: 5 mm and about 20 degrees, per axis."""
    position, rotation = np.empty(3), np.empty((3, 3))
    _relative_pose(simulator, rules.base_body[pair], rules.male_body[pair], position, rotation)
    for seat in range(rules.n_seats[pair]):
        fits = True
        for i in range(3):
            fits &= abs(position[i] - rules.seat_pos[pair, seat, i]) <= _ASSEMBLED_M
            if not rules.any_rotation[pair]:
                cosine = 0.0
                for k in range(3):
                    cosine += rotation[k, i] * rules.seat_rot[pair, seat, k, i]
                fits &= cosine >= _ASSEMBLED_COSINE
        if fits:
            return True
    return False


@compiled
def screw_pose(simulator: Simulator, rules: FurnitureRules, pair: int, seat: int) -> tuple[float, float, float, float]:
    """Describe where a stem is with respect to a socket.

    Returns:
        Distance of the axes [m], height above the assembled place [m], cosine of the angle between the axes, and the
        angle about the axis that is left to turn, in [0, 2 pi) [rad].
    """
    position, rotation = np.empty(3), np.empty((3, 3))
    _relative_pose(simulator, rules.base_body[pair], rules.male_body[pair], position, rotation)
    frame = rules.seat_rot[pair, seat] @ rules.male_axis[pair]
    offset = frame.T @ (position - rules.seat_pos[pair, seat])
    turned = frame.T @ (rotation @ rules.male_axis[pair])
    turn = np.arctan2(turned[1, 0], turned[0, 0]) % (2 * np.pi)
    return np.hypot(offset[0], offset[1]), offset[2], turned[2, 2], turn


@compiled
def fit_screw(simulator: Simulator, rules: FurnitureRules, pair: int, seat: int) -> None:
    """Make a stem part of the thread at a seat, or free for a seat of -1; the carrier's joints stay where they are."""
    engaged = seat >= 0
    active = byte_view(simulator.eq_active, simulator.neq)
    active[rules.helix[pair]] = active[rules.weld[pair]] = engaged
    stem = rules.stem_geom[pair]
    contype = int_view(simulator.geom_contype, simulator.ngeom)
    conaffinity = int_view(simulator.geom_conaffinity, simulator.ngeom)
    contype[stem] = 0 if engaged else rules.stem_contype[pair]
    conaffinity[stem] = 0 if engaged else rules.stem_conaffinity[pair]
    if engaged:
        body = rules.carrier_body[pair]
        float_view(simulator.body_pos, 3 * simulator.nbody)[3 * body : 3 * body + 3] = rules.seat_pos[pair, seat]
        float_view(simulator.body_quat, 4 * simulator.nbody)[4 * body : 4 * body + 4] = rules.carrier_quat[pair, seat]


@compiled
def _is_far(simulator: Simulator, rules: FurnitureRules, pair: int, seat: int) -> bool:
    """Tell whether a stem cannot be in a thread, at a fraction of what its pose costs."""
    base, part = rules.base_body[pair], rules.male_body[pair]
    xpos, xmat = float_view(simulator.xpos, 3 * simulator.nbody), float_view(simulator.xmat, 9 * simulator.nbody)
    squared = 0.0
    for i in range(3):
        offset = -rules.seat_pos[pair, seat, i]
        for k in range(3):
            offset += xmat[9 * base + 3 * k + i] * (xpos[3 * part + k] - xpos[3 * base + k])
        squared += offset**2
    return bool(squared > _REACH_M**2)


@compiled
def _enter(simulator: Simulator, rules: FurnitureRules, pair: int, progress: Progress) -> bool:
    """Let a free stem enter a thread if it is there; tells whether it has."""
    waits = progress.entry_rad[pair] == _LET_GO
    for seat in range(rules.n_seats[pair]):
        if _is_far(simulator, rules, pair, seat):
            continue
        lateral, height, cosine, turn = screw_pose(simulator, rules, pair, seat)
        if lateral > _ENTRY_LATERAL_M or cosine < _ENTRY_COSINE or height < _LOWEST_M:
            continue
        if turn <= _LEAST_TURN_RAD:
            turn += 2 * np.pi
        above = height - PITCH_M * turn / (2 * np.pi)
        if waits:
            if above < _LIFTED_M:
                return False
        elif above <= _ENTRY_SLACK_M:
            qpos, qvel = float_view(simulator.qpos, simulator.nq), float_view(simulator.qvel, simulator.nv)
            qpos[rules.slide_qpos[pair]] = PITCH_M * turn / (2 * np.pi)
            qpos[rules.turn_qpos[pair]] = turn
            qvel[rules.slide_dof[pair]] = qvel[rules.turn_dof[pair]] = 0.0
            wake(simulator, rules, progress, rules.base_part[pair])
            wake(simulator, rules, progress, rules.male_part[pair])
            fit_screw(simulator, rules, pair, seat)
            progress.seat[pair], progress.entry_rad[pair] = seat, turn
            return True
    if waits:
        progress.entry_rad[pair] = _NOT_ENGAGED
    return False


@compiled
def turn_screws(simulator: Simulator, rules: FurnitureRules, progress: Progress) -> None:
    """Let stems enter and leave their threads."""
    changed = False
    for pair in range(rules.stem_geom.size):
        if rules.stem_geom[pair] < 0:
            continue
        if progress.entry_rad[pair] <= 0.0:
            changed |= _enter(simulator, rules, pair, progress)
        elif float_view(simulator.qpos, simulator.nq)[rules.turn_qpos[pair]] > progress.entry_rad[pair] + _EXIT_RAD:
            fit_screw(simulator, rules, pair, -1)
            progress.seat[pair], progress.entry_rad[pair] = -1.0, _LET_GO
            changed = True
    if changed:
        _mj_step1(simulator.model, simulator.data)


@compiled
def hold_free_carriers(simulator: Simulator, rules: FurnitureRules, progress: Progress) -> None:
    """Hold carriers that no stem is in; else they would slide out of a tumbling part, for ever, and steer it."""
    qpos, qvel = float_view(simulator.qpos, simulator.nq), float_view(simulator.qvel, simulator.nv)
    for pair in range(rules.stem_geom.size):
        if rules.stem_geom[pair] >= 0 and progress.entry_rad[pair] <= 0.0:
            qpos[rules.slide_qpos[pair]] = qpos[rules.turn_qpos[pair]] = 0.0
            qvel[rules.slide_dof[pair]] = qvel[rules.turn_dof[pair]] = 0.0
