"""Observation, success and chunk loop of the Robomimic tasks, compiled.

Observations have robosuite 1.4.1's order and signs, and are those of the state itself. robosuite's own lag: poses by
a substep (2 ms), relative poses of Can and Square by a whole action. The data sets', computed from states, do not.
Success is tested on the same fresh poses and contacts.

Source: robosuite 1.4.1 and 1.5.2, environments/manipulation/{lift,pick_place,nut_assembly,two_arm_transport}.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from inril.envs.kernel import Simulator, float_view, has_contact, has_diverged, mujoco_function, restart
from inril.envs.robomimic.osc import Arms, control_step, refresh, remember_posture
from inril.jit import compiled
from inril.types import BoolArray, FloatArray, IntArray

_mju_mat_to_quat = mujoco_function("mju_mat2Quat", types.uintp, types.uintp)

# What "object" holds: the difference to the gripper, the pose in the gripper's frame, or Transport's own list.
DIFFERENCE, RELATIVE_POSE, TRANSPORT_LIST = 0, 1, 2


class RobomimicRules(NamedTuple):
    """What the compiled loop needs to control, observe and judge.

    Attributes:
        arms: the arms.
        hand: (A,) body whose rotation is the gripper's.
        finger_qpos: (A, 2) addresses of both fingers in positions.
        object_kind: DIFFERENCE, RELATIVE_POSE or TRANSPORT_LIST.
        bodies: objects, in the order of the observation: one; for Transport payload and trash.
        geom_body: (ngeom,) body of each geom.
        lid_handle: geom of Transport's lid handle, else -1.
        bin_bases: (2,) geoms of the bottoms of Transport's target and trash bins, else -1.
        goal_low_m: (3,) the object's centre must be above it in x, y and z; unused for Transport.
        goal_high_m: (3,) and below it.
        clearance_m: and farther from the gripper.
    """

    arms: Arms
    hand: IntArray
    finger_qpos: IntArray
    object_kind: int
    bodies: IntArray
    geom_body: IntArray
    lid_handle: int
    bin_bases: IntArray
    goal_low_m: FloatArray
    goal_high_m: FloatArray
    clearance_m: float


@compiled
def _write_quat(quat: FloatArray, out: FloatArray) -> None:
    """Write a quaternion (w, x, y, z) as (x, y, z, w)."""
    for i in range(3):
        out[i] = quat[i + 1]
    out[3] = quat[0]


@compiled
def _write_canonical_quat(quat: FloatArray, out: FloatArray) -> None:
    """Write the one of q and -q whose w is not negative."""
    _write_quat(quat, out)
    if quat[0] < 0.0:
        for i in range(4):
            out[i] = -out[i]


@compiled
def _write_relative_pose(
    position: FloatArray, quat: FloatArray, frame_position: FloatArray, frame_quat: FloatArray, out: FloatArray
) -> None:
    """Write a pose, given in the world as quaternions (w, x, y, z), as seen from a frame: position, quaternion (7,)."""
    w, x, y, z = frame_quat[0], -frame_quat[1], -frame_quat[2], -frame_quat[3]
    dx, dy, dz = (
        position[0] - frame_position[0],
        position[1] - frame_position[1],
        position[2] - frame_position[2],
    )
    # v + 2 w (u x v) + 2 u x (u x v) with u the vector part of the inverse rotation
    cx, cy, cz = y * dz - z * dy, z * dx - x * dz, x * dy - y * dx
    out[0] = dx + 2.0 * (w * cx + y * cz - z * cy)
    out[1] = dy + 2.0 * (w * cy + z * cx - x * cz)
    out[2] = dz + 2.0 * (w * cz + x * cy - y * cx)
    qw, qx, qy, qz = quat[0], quat[1], quat[2], quat[3]
    relative = np.empty(4)
    relative[0] = w * qw - x * qx - y * qy - z * qz
    relative[1] = w * qx + x * qw + y * qz - z * qy
    relative[2] = w * qy - x * qz + y * qw + z * qx
    relative[3] = w * qz + x * qy - y * qx + z * qw
    _write_canonical_quat(relative, out[3:])


@compiled
def _transport_contacts(simulator: Simulator, rules: RobomimicRules) -> tuple[bool, bool]:
    """Tell whether the payload touches the target bin's bottom, and the trash the trash bin's."""
    payload = has_contact(simulator, rules.bin_bases[0], rules.bodies[0], rules.geom_body)
    return payload, has_contact(simulator, rules.bin_bases[1], rules.bodies[1], rules.geom_body)


@compiled
def _observe_transport(simulator: Simulator, rules: RobomimicRules, out: FloatArray) -> None:
    """Write Transport's "object" (41,)."""
    xpos, xquat = float_view(simulator.xpos, 3 * simulator.nbody), float_view(simulator.xquat, 4 * simulator.nbody)
    geom_xpos = float_view(simulator.geom_xpos, 3 * simulator.ngeom)
    geom_xmat = float_view(simulator.geom_xmat, 9 * simulator.ngeom)
    site_xpos = float_view(simulator.site_xpos, 3 * simulator.nsite)
    for i in range(2):
        body = rules.bodies[i]
        out[7 * i : 7 * i + 3] = xpos[3 * body : 3 * body + 3]
        _write_canonical_quat(xquat[4 * body : 4 * body + 4], out[7 * i + 3 : 7 * i + 7])
    handle, quat = rules.lid_handle, np.empty(4)
    out[14:17] = geom_xpos[3 * handle : 3 * handle + 3]
    _mju_mat_to_quat(quat.ctypes.data, geom_xmat[9 * handle :].ctypes.data)
    _write_canonical_quat(quat, out[17:21])
    for i in range(2):
        base = rules.bin_bases[i]
        out[21 + 3 * i : 24 + 3 * i] = geom_xpos[3 * base : 3 * base + 3]
    for arm in range(2):
        site = rules.arms.grip_site[arm]
        payload_and_other = out[27 + 6 * arm : 33 + 6 * arm]
        payload_and_other[:3] = out[:3] - site_xpos[3 * site : 3 * site + 3]
        other = out[14:17] if arm == 0 else out[7:10]
        payload_and_other[3:] = other - site_xpos[3 * site : 3 * site + 3]
    payload_in_bin, trash_in_bin = _transport_contacts(simulator, rules)
    out[39], out[40] = payload_in_bin, trash_in_bin


@compiled
def _observe(simulator: Simulator, rules: RobomimicRules, obs: FloatArray) -> None:
    """Write obs (Do,): position, rotation and fingers of each arm, then "object"."""
    xpos, xquat = float_view(simulator.xpos, 3 * simulator.nbody), float_view(simulator.xquat, 4 * simulator.nbody)
    site_xpos, qpos = float_view(simulator.site_xpos, 3 * simulator.nsite), float_view(simulator.qpos, simulator.nq)
    n_arms = rules.hand.size
    for arm in range(n_arms):
        site, hand, own = rules.arms.grip_site[arm], rules.hand[arm], obs[9 * arm : 9 * arm + 9]
        own[:3] = site_xpos[3 * site : 3 * site + 3]
        _write_quat(xquat[4 * hand : 4 * hand + 4], own[3:7])
        for finger in range(2):
            own[7 + finger] = qpos[rules.finger_qpos[arm, finger]]
    out = obs[9 * n_arms :]
    if rules.object_kind == TRANSPORT_LIST:
        _observe_transport(simulator, rules, out)
        return
    body, site, hand = rules.bodies[0], rules.arms.grip_site[0], rules.hand[0]
    position, quat = xpos[3 * body : 3 * body + 3], xquat[4 * body : 4 * body + 4]
    grip_position = site_xpos[3 * site : 3 * site + 3]
    out[:3] = position
    _write_quat(quat, out[3:7])
    if rules.object_kind == DIFFERENCE:
        out[7:10] = grip_position - position
    else:
        _write_relative_pose(position, quat, grip_position, xquat[4 * hand : 4 * hand + 4], out[7:14])


@compiled
def is_solved(simulator: Simulator, rules: RobomimicRules) -> bool:
    """Tell whether the task is solved in the present state."""
    if rules.object_kind == TRANSPORT_LIST:
        payload_in_bin, trash_in_bin = _transport_contacts(simulator, rules)
        return payload_in_bin and trash_in_bin
    xpos = float_view(simulator.xpos, 3 * simulator.nbody)
    site_xpos = float_view(simulator.site_xpos, 3 * simulator.nsite)
    body, site = rules.bodies[0], rules.arms.grip_site[0]
    squared_distance = 0.0
    for i in range(3):
        coordinate = xpos[3 * body + i]
        if not rules.goal_low_m[i] < coordinate < rules.goal_high_m[i]:
            return False
        squared_distance += (coordinate - site_xpos[3 * site + i]) ** 2
    return bool(np.sqrt(squared_distance) > rules.clearance_m)


@compiled
def step_chunk(
    simulators: npt.NDArray[np.void],
    rules: RobomimicRules,
    memory: FloatArray,
    max_episode_steps: int,
    action_chunk: FloatArray,
    elapsed_steps: IntArray,
    obs: FloatArray,
    reward: FloatArray,
    n_steps: IntArray,
    truncated: BoolArray,
    success: BoolArray,
    diverged: BoolArray,
) -> None:
    """Execute one chunk in each environment of a slice; an episode ends with its time limit alone.

    Reads action_chunk (E, Ta, Da); updates memory (E, A, 8) and elapsed_steps (E,); writes obs (E, Do), which holds the
    previous observation before, and reward (steps on which the task is solved), n_steps, truncated, success (solved on
    every executed step) and diverged (E,), all zero before.
    """
    for e in range(simulators.size):
        simulator = simulators[e]
        success[e] = True
        for t in range(action_chunk.shape[1]):
            control_step(simulator, rules.arms, memory[e], action_chunk[e, t])
            n_steps[e] += 1
            elapsed_steps[e] += 1
            if has_diverged(simulator):
                diverged[e] = truncated[e] = True
                success[e] = False
                break
            solved = is_solved(simulator, rules)
            reward[e] += solved
            success[e] &= solved
            _observe(simulator, rules, obs[e])
            truncated[e] = elapsed_steps[e] >= max_episode_steps
            if truncated[e]:
                break


@compiled
def restart_episodes(
    simulators: npt.NDArray[np.void],
    rules: RobomimicRules,
    memory: FloatArray,
    env_indices: IntArray,
    qpos: FloatArray,
    qvel: FloatArray,
    obs: FloatArray,
) -> None:
    """Restart env_indices (N,) at qpos (N, nq), qvel (N, nv); write their rows of memory (E, A, 8) and obs (E, Do)."""
    for i in range(env_indices.size):
        e = env_indices[i]
        restart(simulators[e], qpos[i], qvel[i])
        remember_posture(simulators[e], rules.arms, memory[e])
        _observe(simulators[e], rules, obs[e])


@compiled
def observe_all(simulators: npt.NDArray[np.void], rules: RobomimicRules, obs: FloatArray) -> None:
    """Compute what follows from every environment's state and write its observation into obs (E, Do)."""
    for e in range(simulators.size):
        refresh(simulators[e])
        _observe(simulators[e], rules, obs[e])
