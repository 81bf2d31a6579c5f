"""What happens in one control step of a furniture task, compiled: control, screws, observation, reward.

An action is the pose that the hand should have: position (3) in the robot's frame, the first two rows of its rotation
matrix (6), and the gripper (1), which closes above 0. Ten times a second the joints' drives get new targets by
differential inverse kinematics: all of the pose's error in the least-squares sense, and a pull towards a resting
posture in what the pose leaves free.

    q_target = q + J^+ e + 0.3 (I - J^+ J) (q_rest - q)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from inril.envs.furniture.panda import ARM_JOINTS, GRIP_FORCE_N
from inril.envs.furniture.task import ACTION, POSE_OBS, ROBOT_OBS
from inril.envs.kernel import (
    Simulator,
    byte_view,
    compiled,
    float_view,
    has_diverged,
    int_view,
    mujoco_function,
    restart,
)
from inril.types import BoolArray, FloatArray, IntArray

PITCH_M = 0.0092  # of the thread, per turn
TAG_X_M = 0.3015
"""Origin of the tag's frame in front of the robot. Its x axis is the robot's y axis, its y the robot's x, its z points
down."""

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

_ASSEMBLED_M = 0.005  # per axis
_ASSEMBLED_COSINE = 0.94  # of each axis
_GRIP_DEAD_BAND = 0.019
_PSEUDO_INVERSE_CUTOFF = 1e-2  # of the largest singular value
_REST_GAIN = 0.3
_REST_RAD = np.array([0.0, 0.2, 0.0, -2.0, 0.0, 2.3, 0.785])
_SITE = 6  # mjOBJ_SITE
# IsaacGym's default. A small part that slips out of the grip can spin ten times as fast, which the integrator does not
# survive.
_MAX_SPIN_RAD_S = 64.0
# Falling or thrown by the hand, parts stay below it. Squeezed out of a deep contact they would not, and could be beyond
# the table one step later.
_MAX_SPEED_M_S = 10.0

_mj_step1 = mujoco_function("mj_step1", types.uintp, types.uintp)
_mj_step2 = mujoco_function("mj_step2", types.uintp, types.uintp)
_mj_jac_site = mujoco_function("mj_jacSite", types.uintp, types.uintp, types.uintp, types.uintp, types.int32)
_mj_object_velocity = mujoco_function(
    "mj_objectVelocity", types.uintp, types.uintp, types.int32, types.int32, types.uintp, types.int32
)
_mju_mat_to_quat = mujoco_function("mju_mat2Quat", types.uintp, types.uintp)
_mju_quat_to_velocity = mujoco_function("mju_quat2Vel", types.uintp, types.uintp, types.float64)


class FurnitureRules(NamedTuple):
    """What compiled code knows of a task with P pairs, at most N seats each; ids are -1 where nothing is screwed.

    Attributes:
        n_substeps: physics steps per action.
        grip_site: site between the pads.
        finger_qpos: (2,) addresses of the fingers' positions.
        part_body: (parts,) bodies in the order of the observation.
        part_dof: (parts,) first address of their velocities, three linear ones and three angular ones.
        base_body: (P,) body with the seats.
        male_body: (P,) body that belongs there.
        n_seats: (P,) seats of each pair.
        seat_pos: (P, N, 3) pose of the male body at its seat, as seen from the base.
        seat_rot: (P, N, 3, 3).
        any_rotation: (P,) whether any rotation will do.
        male_axis: (P, 3, 3) frame in the male body whose z axis is the screw's.
        carrier_quat: (P, N, 4) the same frame at the seat, as seen from the base.
        carrier_body: (P,) body that moves along the thread.
        stem_geom: (P,) shape that the carrier stands for when engaged.
        stem_contype: (P,) its contact bits.
        stem_conaffinity: (P,) its contact bits.
        helix: (P,) equality that couples the carrier's slide and turn.
        weld: (P,) equality that fixes the male body to the carrier.
        slide_qpos: (P,) addresses of the carrier's joints.
        turn_qpos: (P,)
        slide_dof: (P,)
        turn_dof: (P,)
        fence_front: (3,) middle of the fence's front bar before it is moved.
    """

    n_substeps: int
    grip_site: int
    finger_qpos: IntArray
    part_body: IntArray
    part_dof: IntArray
    base_body: IntArray
    male_body: IntArray
    n_seats: IntArray
    seat_pos: FloatArray
    seat_rot: FloatArray
    any_rotation: BoolArray
    male_axis: FloatArray
    carrier_quat: FloatArray
    carrier_body: IntArray
    stem_geom: IntArray
    stem_contype: npt.NDArray[np.int32]
    stem_conaffinity: npt.NDArray[np.int32]
    helix: IntArray
    weld: IntArray
    slide_qpos: IntArray
    turn_qpos: IntArray
    slide_dof: IntArray
    turn_dof: IntArray
    fence_front: FloatArray


class Progress(NamedTuple):
    """What an environment remembers beside MuJoCo's state; of E environments with an axis in front of each array.

    Attributes:
        grip: (1,) whether the gripper was told to close (1) or to open (-1).
        assembled: (P,) 1 for each pair that has been rewarded.
        seat: (P,) seat whose thread the stem is in.
        entry_rad: (P,) turn at which it entered; 0: it has not, -1: it was turned out and not lifted yet.
    """

    grip: FloatArray
    assembled: FloatArray
    seat: FloatArray
    entry_rad: FloatArray


@compiled
def _dot3(first: FloatArray, second: FloatArray) -> float:
    return float(first[0] * second[0] + first[1] * second[1] + first[2] * second[2])


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
def _enter(simulator: Simulator, rules: FurnitureRules, pair: int, progress: Progress) -> bool:
    """Let a free stem enter a thread if it is there; tells whether it has."""
    waits = progress.entry_rad[pair] == _LET_GO
    for seat in range(rules.n_seats[pair]):
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
            fit_screw(simulator, rules, pair, seat)
            progress.seat[pair], progress.entry_rad[pair] = seat, turn
            return True
    if waits:
        progress.entry_rad[pair] = _NOT_ENGAGED
    return False


@compiled
def _turn_screws(simulator: Simulator, rules: FurnitureRules, progress: Progress) -> None:
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
def _rotation_of_rows(rows: FloatArray, rotation: FloatArray) -> bool:
    """Write the rotation (3, 3) whose first two rows are nearest to rows (6,); False if they do not span a plane."""
    first, second = rows[:3], rows[3:6]
    length = np.sqrt(_dot3(first, first))
    if length < 1e-6:
        return False
    rotation[0] = first / length
    rotation[1] = second - _dot3(rotation[0], second) * rotation[0]
    length = np.sqrt(_dot3(rotation[1], rotation[1]))
    if length < 1e-6:
        return False
    rotation[1] /= length
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        rotation[2, i] = rotation[0, j] * rotation[1, k] - rotation[0, k] * rotation[1, j]
    return True


@compiled
def _drive(simulator: Simulator, rules: FurnitureRules, progress: Progress, action: FloatArray) -> None:
    """Set the drives' targets for one action (10,)."""
    nv, site = simulator.nv, rules.grip_site
    qpos, ctrl = float_view(simulator.qpos, simulator.nq), float_view(simulator.ctrl, simulator.nu)
    at = float_view(simulator.site_xpos, 3 * simulator.nsite)[3 * site : 3 * site + 3]
    pose = float_view(simulator.site_xmat, 9 * simulator.nsite)[9 * site : 9 * site + 9].copy().reshape(3, 3)
    wanted, goal = np.empty(ACTION), np.empty((3, 3))
    for i in range(ACTION):
        wanted[i] = min(max(action[i], -1.0), 1.0)
    if not _rotation_of_rows(wanted[3:9], goal):
        goal[:] = pose
    error, quat, jacobian = np.empty(6), np.empty(4), np.empty((2, 3, nv))
    error[:3] = wanted[:3] - at
    turn = goal @ pose.T
    _mju_mat_to_quat(quat.ctypes.data, turn.ctypes.data)
    _mju_quat_to_velocity(error[3:].ctypes.data, quat.ctypes.data, 1.0)
    _mj_jac_site(simulator.model, simulator.data, jacobian[0].ctypes.data, jacobian[1].ctypes.data, np.int32(site))
    jac = np.empty((6, ARM_JOINTS))
    jac[:3], jac[3:] = jacobian[0, :, :ARM_JOINTS], jacobian[1, :, :ARM_JOINTS]
    if not np.isfinite(jac).all():
        return  # the state has left the finite numbers, which is noticed after the step
    inverse = np.linalg.pinv(jac, _PSEUDO_INVERSE_CUTOFF)
    rest = _REST_GAIN * (_REST_RAD - qpos[:ARM_JOINTS])
    ctrl[:ARM_JOINTS] = qpos[:ARM_JOINTS] + inverse @ error + rest - inverse @ (jac @ rest)
    grip = wanted[ACTION - 1]
    if abs(grip) > _GRIP_DEAD_BAND:
        progress.grip[0] = np.sign(grip)
    ctrl[ARM_JOINTS : ARM_JOINTS + 2] = -GRIP_FORCE_N * progress.grip[0]


@compiled
def _shorten(vector: FloatArray, bound: float) -> None:
    """Shorten a vector (3,) in place to a length, direction kept."""
    length = np.sqrt(_dot3(vector, vector))
    if length > bound:
        vector *= bound / length


@compiled
def _limit_speed(simulator: Simulator, rules: FurnitureRules) -> None:
    """Slow down parts that fly or spin faster than they may."""
    qvel = float_view(simulator.qvel, simulator.nv)
    for first in rules.part_dof:
        _shorten(qvel[first : first + 3], _MAX_SPEED_M_S)
        _shorten(qvel[first + 3 : first + 6], _MAX_SPIN_RAD_S)


@compiled
def _hold_free_carriers(simulator: Simulator, rules: FurnitureRules, progress: Progress) -> None:
    """Hold carriers that no stem is in; else they would slide out of a tumbling part, for ever, and steer it."""
    qpos, qvel = float_view(simulator.qpos, simulator.nq), float_view(simulator.qvel, simulator.nv)
    for pair in range(rules.stem_geom.size):
        if rules.stem_geom[pair] >= 0 and progress.entry_rad[pair] <= 0.0:
            qpos[rules.slide_qpos[pair]] = qpos[rules.turn_qpos[pair]] = 0.0
            qvel[rules.slide_dof[pair]] = qvel[rules.turn_dof[pair]] = 0.0


@compiled
def control_step(simulator: Simulator, rules: FurnitureRules, progress: Progress, action: FloatArray) -> None:
    """Advance one environment by one action (10,).

    All that MuJoCo computes from positions and velocities is up to date before and after.
    """
    _drive(simulator, rules, progress, action)
    for _ in range(rules.n_substeps):
        _mj_step2(simulator.model, simulator.data)
        _limit_speed(simulator, rules)
        _hold_free_carriers(simulator, rules, progress)
        _mj_step1(simulator.model, simulator.data)
        _turn_screws(simulator, rules, progress)


@compiled
def _observe(simulator: Simulator, rules: FurnitureRules, obs: FloatArray) -> None:
    """Write obs (Do,): hand, its velocity and the gripper's width in the robot's frame; parts, fence in the tag's."""
    site = rules.grip_site
    obs[:3] = float_view(simulator.site_xpos, 3 * simulator.nsite)[3 * site : 3 * site + 3]
    obs[3:9] = float_view(simulator.site_xmat, 9 * simulator.nsite)[9 * site : 9 * site + 6]
    velocity = np.empty(6)
    _mj_object_velocity(
        simulator.model, simulator.data, np.int32(_SITE), np.int32(site), velocity.ctypes.data, np.int32(0)
    )
    obs[9:12], obs[12:15] = velocity[3:], velocity[:3]
    qpos = float_view(simulator.qpos, simulator.nq)
    obs[15] = qpos[rules.finger_qpos[0]] + qpos[rules.finger_qpos[1]]
    xpos, xquat = float_view(simulator.xpos, 3 * simulator.nbody), float_view(simulator.xquat, 4 * simulator.nbody)
    n_parts = rules.part_body.size
    for i in range(n_parts):
        body = rules.part_body[i]
        _write_in_tag_frame(
            xpos[3 * body : 3 * body + 3], xquat[4 * body : 4 * body + 4], obs[ROBOT_OBS + POSE_OBS * i :]
        )
    fence = rules.fence_front + float_view(simulator.mocap_pos, 3)
    _write_in_tag_frame(fence, np.array([1.0, 0.0, 0.0, 0.0]), obs[ROBOT_OBS + POSE_OBS * n_parts :])


@compiled
def _write_in_tag_frame(position: FloatArray, quat: FloatArray, out: FloatArray) -> None:
    """Write position and quaternion (x, y, z, w), given in the robot's frame, as seen from the tag."""
    out[0], out[1], out[2] = position[1], position[0] - TAG_X_M, -position[2]
    # The tag's frame is half a turn about (1, 1, 0): its quaternion's inverse times the given one.
    s = np.sqrt(0.5)
    w, x, y, z = quat[0], quat[1], quat[2], quat[3]
    out[3], out[4], out[5], out[6] = -s * (w + z), -s * (w - z), -s * (y - x), s * (x + y)


@compiled
def step_chunk(
    simulators: npt.NDArray[np.void],
    rules: FurnitureRules,
    progress: Progress,
    max_episode_steps: int,
    action_chunk: FloatArray,
    elapsed_steps: IntArray,
    obs: FloatArray,
    reward: FloatArray,
    n_steps: IntArray,
    terminated: BoolArray,
    truncated: BoolArray,
    success: BoolArray,
    diverged: BoolArray,
) -> None:
    """Execute one chunk in each environment of a slice.

    Reads action_chunk (E, Ta, 10); updates progress and elapsed_steps (E,); writes obs (E, Do), which holds the
    previous observation before, and reward (1 for each pair assembled for the first time), n_steps, terminated and
    success (all pairs have been), truncated and diverged (E,), all zero before.
    """
    for e in range(simulators.size):
        simulator = simulators[e]
        own = Progress(progress.grip[e], progress.assembled[e], progress.seat[e], progress.entry_rad[e])
        for t in range(action_chunk.shape[1]):
            control_step(simulator, rules, own, action_chunk[e, t])
            n_steps[e] += 1
            elapsed_steps[e] += 1
            if has_diverged(simulator):
                diverged[e] = truncated[e] = True
                break
            for pair in range(own.assembled.size):
                if own.assembled[pair] == 0.0 and is_assembled(simulator, rules, pair):
                    own.assembled[pair] = 1.0
                    reward[e] += 1.0
            _observe(simulator, rules, obs[e])
            terminated[e] = success[e] = own.assembled.all()
            truncated[e] = elapsed_steps[e] >= max_episode_steps
            if terminated[e] or truncated[e]:
                break


@compiled
def restart_episode(
    simulator: Simulator, rules: FurnitureRules, qpos: FloatArray, fence: FloatArray, settle_steps: int, obs: FloatArray
) -> None:
    """Restart an environment, the hand open, let parts settle while the arm keeps its posture, and write obs (Do,)."""
    for pair in range(rules.stem_geom.size):
        if rules.stem_geom[pair] >= 0:
            fit_screw(simulator, rules, pair, -1)
    restart(simulator, qpos, np.zeros(simulator.nv))
    float_view(simulator.mocap_pos, 3)[:2] = fence
    ctrl = float_view(simulator.ctrl, simulator.nu)
    ctrl[:ARM_JOINTS] = qpos[:ARM_JOINTS]
    ctrl[ARM_JOINTS : ARM_JOINTS + 2] = GRIP_FORCE_N
    _mj_step1(simulator.model, simulator.data)
    for _ in range(settle_steps):
        _mj_step2(simulator.model, simulator.data)
        _mj_step1(simulator.model, simulator.data)
    _observe(simulator, rules, obs)


@compiled
def observe_all(simulators: npt.NDArray[np.void], rules: FurnitureRules, progress: Progress, obs: FloatArray) -> None:
    """Fit every environment's screws as remembered, compute what follows from the state, and write obs (E, Do)."""
    for e in range(simulators.size):
        for pair in range(rules.stem_geom.size):
            if rules.stem_geom[pair] >= 0:
                fit_screw(simulators[e], rules, pair, int(progress.seat[e, pair]))
        _mj_step1(simulators[e].model, simulators[e].data)
        _observe(simulators[e], rules, obs[e])
