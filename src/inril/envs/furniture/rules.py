"""What happens in one control step of a furniture task, compiled: control, physics, observation, reward.

An action is the pose that the hand should have: position (3) in the robot's frame, the first two rows of its rotation
matrix (6), and the gripper (1), which closes above 0. Ten times a second the joints' drives get new targets by
differential inverse kinematics: all of the pose's error in the least-squares sense, and a pull towards a resting
posture in what the pose leaves free.

    q_target = q + J^+ e + 0.3 (I - J^+ J) (q_rest - q)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from inril.envs.furniture.panda import ARM_JOINTS, GRIP_FORCE_N
from inril.envs.furniture.records import FurnitureRules, Progress
from inril.envs.furniture.rest import fit_rest, hold_sleepers, lay_to_rest, wake, wake_touched
from inril.envs.furniture.screws import fit_screw, hold_free_carriers, is_assembled, turn_screws
from inril.envs.furniture.task import ACTION, POSE_OBS, ROBOT_OBS
from inril.envs.kernel import Simulator, float_view, has_diverged, mujoco_function, restart
from inril.jit import compiled
from inril.types import BoolArray, FloatArray, IntArray

TAG_X_M = 0.3015
"""Origin of the tag's frame in front of the robot. Its x axis is the robot's y axis, its y the robot's x, its z points
down."""

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


@compiled
def _dot3(first: FloatArray, second: FloatArray) -> float:
    return float(first[0] * second[0] + first[1] * second[1] + first[2] * second[2])


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
def control_step(simulator: Simulator, rules: FurnitureRules, progress: Progress, action: FloatArray) -> None:
    """Advance one environment by one action (10,).

    All that MuJoCo computes from positions and velocities is up to date before and after.
    """
    _drive(simulator, rules, progress, action)
    for _ in range(rules.n_substeps):
        _mj_step2(simulator.model, simulator.data)
        _limit_speed(simulator, rules)
        hold_free_carriers(simulator, rules, progress)
        hold_sleepers(simulator, rules, progress)
        _mj_step1(simulator.model, simulator.data)
        turn_screws(simulator, rules, progress)
        wake_touched(simulator, rules, progress)
    lay_to_rest(simulator, rules, progress)


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
def progress_of(progress: Progress, e: int) -> Progress:
    """View what one environment remembers."""
    return Progress(progress.grip[e], progress.assembled[e], progress.seat[e], progress.entry_rad[e], progress.still[e])


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
        own = progress_of(progress, e)
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
    simulator: Simulator,
    rules: FurnitureRules,
    progress: Progress,
    qpos: FloatArray,
    fence: FloatArray,
    settle_steps: int,
    obs: FloatArray,
) -> None:
    """Restart an environment, the hand open, let parts settle while the arm keeps its posture, and write obs (Do,)."""
    progress.grip[:], progress.assembled[:], progress.seat[:], progress.entry_rad[:] = -1.0, 0.0, -1.0, 0.0
    for part in range(rules.part_body.size):
        wake(simulator, rules, progress, part)
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
        own = progress_of(progress, e)
        for part in range(rules.part_body.size):
            fit_rest(simulators[e], rules, own, part)
        for pair in range(rules.stem_geom.size):
            if rules.stem_geom[pair] >= 0:
                fit_screw(simulators[e], rules, pair, int(own.seat[pair]))
        _mj_step1(simulators[e].model, simulators[e].data)
        _observe(simulators[e], rules, obs[e])
