"""Operational-space control of robot arms at 500 Hz, compiled: what robosuite computes in Python for every substep.

An arm follows a goal pose that each action sets relative to the pose reached (impedance control in task space); its
redundant joint is drawn towards the posture that the episode started in. Fingers close and open in small steps.

    tau = J^T [L_p f; L_r t] + (I - J^T L J M^-1) M a + c,   L = (J M^-1 J^T)^-1, L_p and L_r likewise from three rows
    f = kp (x_goal - x) - kd x',   t = kp e - kd w,   a = 10 (q_rest - q) - 2 sqrt(10) q'

Source: robosuite 1.5.2, controllers/parts/arm/osc.py, utils/control_utils.py and models/grippers/panda_gripper.py, with
the settings of the Robomimic data sets: fixed gains, uncoupled position and orientation, deltas in the world's frame.
Rotations are float64 here, float32 in part there.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from numba import types

from inril.envs.kernel import Simulator, float_view, mujoco_function
from inril.jit import compiled
from inril.types import FloatArray, IntArray

N_SUBSTEPS = 25
"""Physics steps per action: 20 Hz control over 500 Hz physics."""
ARM_JOINTS = 7
ARM_MEMORY = ARM_JOINTS + 1
"""Numbers per arm that a controller keeps between actions: resting posture [rad], and how far the fingers were told to
close (-1 open, 1 closed)."""
ARM_ACTION = 7

_POSITION_SCALE_M = 0.05
_ROTATION_SCALE_RAD = 0.5
_KP = 150.0
_KD = 2.0 * np.sqrt(_KP)
_REST_KP = 10.0
_REST_KD = 2.0 * np.sqrt(_REST_KP)
_FINGER_STEP = 0.2
# Below this fraction of its diagonal entry a pivot is rounding: the matrix is singular.
_SINGULAR = 1e-12

_mj_step1 = mujoco_function("mj_step1", types.uintp, types.uintp)
_mj_step2 = mujoco_function("mj_step2", types.uintp, types.uintp)
_mj_full_m = mujoco_function("mj_fullM", types.uintp, types.uintp, types.uintp)
_mj_jac_site = mujoco_function("mj_jacSite", types.uintp, types.uintp, types.uintp, types.uintp, types.int32)


class Arms(NamedTuple):
    """Where a model keeps its A arms, each of 7 consecutive joints and a gripper of two fingers.

    Attributes:
        grip_site: (A,) site between the fingers, which the controller moves.
        first_dof: (A,) address of the first joint in velocities.
        first_qpos: (A,) address of the first joint in positions.
        actuators: (A, 7) of the joints.
        finger_actuators: (A, 2) closing ones in the negative and in the positive direction.
        ctrl_low: (nu,) smallest control of each actuator.
        ctrl_high: (nu,) largest control of each actuator.
    """

    grip_site: IntArray
    first_dof: IntArray
    first_qpos: IntArray
    actuators: IntArray
    finger_actuators: IntArray
    ctrl_low: FloatArray
    ctrl_high: FloatArray


@compiled
def _factor(matrix: FloatArray, factor: FloatArray) -> bool:
    """Write the lower Cholesky factor, its diagonal as reciprocals; False if not positive definite beyond rounding."""
    for j in range(matrix.shape[0]):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= factor[j, k] * factor[j, k]
        if not pivot > _SINGULAR * matrix[j, j]:
            return False
        factor[j, j] = 1.0 / np.sqrt(pivot)
        for i in range(j + 1, matrix.shape[0]):
            entry = matrix[i, j]
            for k in range(j):
                entry -= factor[i, k] * factor[j, k]
            factor[i, j] = entry * factor[j, j]
    return True


@compiled
def _substitute(factor: FloatArray, vector: FloatArray) -> None:
    """Replace a vector b by the solution of L L^T x = b."""
    n = vector.size
    for i in range(n):
        entry = vector[i]
        for k in range(i):
            entry -= factor[i, k] * vector[k]
        vector[i] = entry * factor[i, i]
    for i in range(n - 1, -1, -1):
        entry = vector[i]
        for k in range(i + 1, n):
            entry -= factor[k, i] * vector[k]
        vector[i] = entry * factor[i, i]


@compiled
def solve(matrix: FloatArray, vector: FloatArray, factor: FloatArray) -> None:
    """Replace a vector (n,) by the inverse of a symmetric matrix (n, n) times it; by the pseudo-inverse if singular.

    An arm that is stretched out cannot move along itself: its matrix is singular there, and no force is wanted in the
    directions that it cannot move in. The factor (n, n) is room to work in.
    """
    if _factor(matrix, factor):
        _substitute(factor, vector)
    elif np.isfinite(matrix).all():
        vector[:] = np.linalg.pinv(matrix, _SINGULAR) @ vector
    else:
        vector[:] = 0.0


@compiled
def rotation_about(rotation_vector: FloatArray, rotation: FloatArray) -> None:
    """Write the matrix (3, 3) of a rotation by |v| radians about v (3,)."""
    angle = np.sqrt((rotation_vector**2).sum())
    rotation[:] = np.eye(3)
    if angle < 1e-9:
        return
    x, y, z = rotation_vector / angle
    sine, one_minus_cosine = np.sin(angle), 1.0 - np.cos(angle)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    for i in range(3):
        for j in range(3):
            square = 0.0
            for k in range(3):
                square += cross[i, k] * cross[k, j]
            rotation[i, j] += sine * cross[i, j] + one_minus_cosine * square


class Workspace(NamedTuple):
    """Arrays of `arm_torques`, allocated once per action."""

    weighted: FloatArray  # (6, 7)
    mobility: FloatArray  # (6, 6)
    factor: FloatArray  # (7, 7)
    wrench: FloatArray  # (6,)
    rest_acceleration: FloatArray  # (7,)
    projected_rest: FloatArray  # (6,)


@compiled
def workspace() -> Workspace:
    """Allocate."""
    return Workspace(np.empty((6, 7)), np.empty((6, 6)), np.empty((7, 7)), np.empty(6), np.empty(7), np.empty(6))


@compiled
def arm_torques(
    mass: FloatArray,
    jacobian: FloatArray,
    position_error: FloatArray,
    rotation_error: FloatArray,
    rest_error: FloatArray,
    velocity: FloatArray,
    work: Workspace,
    torques: FloatArray,
) -> None:
    """Write the torques that pull one arm towards its goal, without those against gravity and Coriolis forces.

    Args:
        mass: (7, 7) inertia of the joints.
        jacobian: (6, 7) of the grip site, translation first.
        position_error: (3,) goal minus reached [m].
        rotation_error: (3,) goal minus reached, as a rotation vector for small angles [rad].
        rest_error: (7,) resting minus present posture [rad].
        velocity: (7,) of the joints [rad/s].
        work: room to work in.
        torques: (7,) written [Nm].
    """
    weighted, mobility, factor = work.weighted, work.mobility, work.factor
    wrench, rest_acceleration, projected_rest = work.wrench, work.rest_acceleration, work.projected_rest
    if not _factor(mass, factor):  # only if the state has left the finite numbers
        torques[:] = 0.0
        return
    for i in range(7):
        rest_acceleration[i] = _REST_KP * rest_error[i] - _REST_KD * velocity[i]
    for r in range(6):
        weighted[r] = jacobian[r]
        _substitute(factor, weighted[r])  # a row of J M^-1
        site_velocity = projected_rest[r] = 0.0
        for i in range(7):
            site_velocity += jacobian[r, i] * velocity[i]
            projected_rest[r] += jacobian[r, i] * rest_acceleration[i]
        error = position_error[r] if r < 3 else rotation_error[r - 3]
        wrench[r] = _KP * error - _KD * site_velocity
    for r in range(6):
        for c in range(r + 1):
            entry = 0.0
            for i in range(7):
                entry += weighted[r, i] * jacobian[c, i]
            mobility[r, c] = mobility[c, r] = entry  # of J M^-1 J^T
    solve(mobility[:3, :3], wrench[:3], factor[:3, :3])
    solve(mobility[3:, 3:], wrench[3:], factor[:3, :3])
    solve(mobility, projected_rest, factor[:6, :6])
    for i in range(7):
        torque = 0.0
        for k in range(7):
            torque += mass[i, k] * rest_acceleration[k]
        for r in range(6):
            torque += jacobian[r, i] * (wrench[r] - projected_rest[r])
        torques[i] = torque


@compiled
def _set_goal(
    pose: FloatArray, position: FloatArray, action: FloatArray, goal_position: FloatArray, goal_rotation: FloatArray
) -> None:
    """Write the goal (3,) and (3, 3) that an action (7,) asks for from the rotation (9,) and position (3,) reached."""
    rotation_vector, turn = np.empty(3), np.empty((3, 3))
    for i in range(3):
        goal_position[i] = position[i] + _POSITION_SCALE_M * min(max(action[i], -1.0), 1.0)
        rotation_vector[i] = _ROTATION_SCALE_RAD * min(max(action[3 + i], -1.0), 1.0)
    rotation_about(rotation_vector, turn)
    for i in range(3):
        for j in range(3):
            goal_rotation[i, j] = 0.0
            for k in range(3):
                goal_rotation[i, j] += turn[i, k] * pose[3 * k + j]


@compiled
def _rotation_error(pose: FloatArray, goal: FloatArray, error: FloatArray) -> None:
    """Write half the sum of the cross products of reached (9,) and wanted (3, 3) axes."""
    error[:] = 0.0
    for c in range(3):
        x, y, z = pose[c], pose[3 + c], pose[6 + c]
        error[0] += 0.5 * (y * goal[2, c] - z * goal[1, c])
        error[1] += 0.5 * (z * goal[0, c] - x * goal[2, c])
        error[2] += 0.5 * (x * goal[1, c] - y * goal[0, c])


@compiled
def _move_fingers(simulator: Simulator, arms: Arms, arm: int, closing: float) -> None:
    """Set the controls of both fingers: -1 and 1 are the ends of each actuator's range."""
    ctrl = float_view(simulator.ctrl, simulator.nu)
    for finger, sign in ((0, -1.0), (1, 1.0)):
        actuator = arms.finger_actuators[arm, finger]
        low, high = arms.ctrl_low[actuator], arms.ctrl_high[actuator]
        ctrl[actuator] = 0.5 * (high + low) + 0.5 * (high - low) * sign * closing


@compiled
def control_step(simulator: Simulator, arms: Arms, memory: FloatArray, action: FloatArray) -> None:
    """Advance one environment by one action.

    Positions, velocities and all that MuJoCo computes from them without forces are up to date before and after: each
    substep ends with the half step that the next one, or the next action, begins with.

    Args:
        simulator: one row of `simulator_table`, after `restart`, `refresh` or another control step.
        arms: where the arms are.
        memory: (A, 8) what the controllers remember, updated.
        action: (7 A,) per arm: translation and rotation, each relative to the largest one, and whether to close.
    """
    n_arms = arms.grip_site.size
    nv = simulator.nv
    qpos, qvel = float_view(simulator.qpos, simulator.nq), float_view(simulator.qvel, nv)
    ctrl, bias = float_view(simulator.ctrl, simulator.nu), float_view(simulator.qfrc_bias, nv)
    site_xpos = float_view(simulator.site_xpos, 3 * simulator.nsite)
    site_xmat = float_view(simulator.site_xmat, 9 * simulator.nsite)
    goal_position, goal_rotation = np.empty((n_arms, 3)), np.empty((n_arms, 3, 3))
    for arm in range(n_arms):
        site = arms.grip_site[arm]
        arm_action = action[ARM_ACTION * arm : ARM_ACTION * (arm + 1)]
        position, pose = site_xpos[3 * site : 3 * site + 3], site_xmat[9 * site : 9 * site + 9]
        _set_goal(pose, position, arm_action, goal_position[arm], goal_rotation[arm])
        closing = memory[arm, ARM_JOINTS] + _FINGER_STEP * np.sign(arm_action[6])
        memory[arm, ARM_JOINTS] = min(max(closing, -1.0), 1.0)
        _move_fingers(simulator, arms, arm, memory[arm, ARM_JOINTS])

    inertia, jacobians = np.empty((nv, nv)), np.empty((2, 3, nv))
    mass, jacobian = np.empty((7, 7)), np.empty((6, 7))
    position_error, rotation_error, rest_error, torques = np.empty(3), np.empty(3), np.empty(7), np.empty(7)
    work = workspace()
    for _ in range(N_SUBSTEPS):
        _mj_full_m(simulator.model, inertia.ctypes.data, simulator.qM)
        for arm in range(n_arms):
            site, dof, first = arms.grip_site[arm], arms.first_dof[arm], arms.first_qpos[arm]
            _mj_jac_site(
                simulator.model, simulator.data, jacobians[0].ctypes.data, jacobians[1].ctypes.data, np.int32(site)
            )
            mass[:] = inertia[dof : dof + 7, dof : dof + 7]
            jacobian[:3], jacobian[3:] = jacobians[0, :, dof : dof + 7], jacobians[1, :, dof : dof + 7]
            for i in range(3):
                position_error[i] = goal_position[arm, i] - site_xpos[3 * site + i]
            _rotation_error(site_xmat[9 * site : 9 * site + 9], goal_rotation[arm], rotation_error)
            for i in range(7):
                rest_error[i] = memory[arm, i] - qpos[first + i]
            velocity = qvel[dof : dof + 7]
            arm_torques(mass, jacobian, position_error, rotation_error, rest_error, velocity, work, torques)
            for i in range(7):
                actuator = arms.actuators[arm, i]
                torque = torques[i] + bias[dof + i]
                ctrl[actuator] = min(max(torque, arms.ctrl_low[actuator]), arms.ctrl_high[actuator])
        _mj_step2(simulator.model, simulator.data)
        _mj_step1(simulator.model, simulator.data)


@compiled
def refresh(simulator: Simulator) -> None:
    """Compute what `control_step` takes for granted, after the state has been set."""
    _mj_step1(simulator.model, simulator.data)


@compiled
def remember_posture(simulator: Simulator, arms: Arms, memory: FloatArray) -> None:
    """Make the present posture the resting one and forget what the fingers were told, as at an episode's start."""
    qpos = float_view(simulator.qpos, simulator.nq)
    for arm in range(arms.first_qpos.size):
        first = arms.first_qpos[arm]
        memory[arm, :ARM_JOINTS] = qpos[first : first + ARM_JOINTS]
        memory[arm, ARM_JOINTS] = 0.0


def find_arms(model: mujoco.MjModel, n_arms: int) -> Arms:
    """Look the arms up by robosuite's names (`robot0_joint1`, `gripper0_right_finger_joint1`, ...)."""
    joints = [[f"robot{arm}_joint{i + 1}" for i in range(ARM_JOINTS)] for arm in range(n_arms)]
    fingers = [[f"gripper{arm}_right_finger_joint{i}" for i in (1, 2)] for arm in range(n_arms)]
    sites = [f"gripper{arm}_right_grip_site" for arm in range(n_arms)]
    dofs = np.array([[model.joint(name).dofadr[0] for name in names] for names in joints])
    if not (np.diff(dofs, axis=1) == 1).all():
        raise RuntimeError(f"the joints of an arm are not consecutive: {dofs.tolist()}")
    driven_by = {int(joint): actuator for actuator, joint in enumerate(model.actuator_trnid[:, 0])}

    def actuators(names: list[str]) -> list[int]:
        return [driven_by[model.joint(name).id] for name in names]

    return Arms(
        grip_site=np.array([model.site(name).id for name in sites], dtype=np.int64),
        first_dof=dofs[:, 0].astype(np.int64),
        first_qpos=np.array([model.joint(names[0]).qposadr[0] for names in joints], dtype=np.int64),
        actuators=np.array([actuators(names) for names in joints], dtype=np.int64),
        finger_actuators=np.array([actuators(names) for names in fingers], dtype=np.int64),
        ctrl_low=np.ascontiguousarray(model.actuator_ctrlrange[:, 0]),
        ctrl_high=np.ascontiguousarray(model.actuator_ctrlrange[:, 1]),
    )
