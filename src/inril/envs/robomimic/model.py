"""The model of a Robomimic task, built once per process from robosuite's, and all that is looked up in it.

The simulated model is lean: it lacks what has no influence on the task, which is visual geoms with their meshes,
sensors, lights, cameras, and objects that robosuite moves out of the scene. What remains has the same masses, inertias
and places, which is checked. Where no object was left out, trajectories are equal to the last bit (tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import mujoco
import numpy as np

from inril.envs.robomimic.build import make_robosuite
from inril.envs.robomimic.osc import find_arms
from inril.envs.robomimic.placement import Placement, draw_arm, draw_objects, read_placements
from inril.envs.robomimic.rules import DIFFERENCE, RELATIVE_POSE, TRANSPORT_LIST, RobomimicRules
from inril.envs.robomimic.tasks import CAN, LIFT, SQUARE, TRANSPORT, RobomimicTask
from inril.types import FloatArray, IntArray

# Targets that robosuite shows to a user; nothing else is allowed to differ.
_MARKERS = ("left_eef_target", "right_eef_target")
# Where robosuite puts objects that take no part.
_OUT_OF_SCENE = (10.0, 10.0, 10.0, 1.0, 0.0, 0.0, 0.0)
# 1 - tanh(10 d) < 0.6 in robosuite's words.
_CLEARANCE_M = float(np.arctanh(0.4) / 10)
# Links of an arm with one or two joints between them, whose shapes do not meet at any angles of these joints (tested),
# yet are so close that MuJoCo would compute their distance in every step.
_NEVER_TOUCHING = ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6))
_OBJECTS = {
    LIFT.task_id: (("cube_main",), DIFFERENCE),
    CAN.task_id: (("Can_main",), RELATIVE_POSE),
    SQUARE.task_id: (("SquareNut_main",), RELATIVE_POSE),
    TRANSPORT.task_id: (("payload_root", "trash_main"), TRANSPORT_LIST),
}
_TRANSPORT_BASES = ("transport_target_bin_base", "transport_trash_bin_base")


@dataclass(frozen=True, eq=False)
class RobomimicModel:
    """What environments of one task share.

    Attributes:
        task: the task.
        model: MuJoCo model that is simulated.
        stock: robosuite's model, with all that is to be seen.
        rules: what compiled code needs.
        placements: where objects start.
        posture_rad: (A, 7) around which arms start.
        object_qpos: addresses of the objects' poses in positions.
        start_qpos: (nq,) positions of an episode's start apart from arms and objects: the fingers'.
        stock_qpos: (nq of the stock model,) positions there of what is not simulated.
        qpos_in_stock: (nq,) addresses of our positions in the stock model's.
        qvel_in_stock: (nv,) the same of velocities.
    """

    task: RobomimicTask
    model: mujoco.MjModel
    stock: mujoco.MjModel
    rules: RobomimicRules
    placements: tuple[Placement, ...]
    posture_rad: FloatArray
    object_qpos: dict[str, int]
    start_qpos: FloatArray
    stock_qpos: FloatArray
    qpos_in_stock: IntArray
    qvel_in_stock: IntArray

    def draw_qpos(self, rng: np.random.Generator) -> FloatArray:
        """Draw the positions (nq,) that robosuite's reset would set with the same generator."""
        qpos = self.start_qpos.copy()
        for first, posture_rad in zip(self.rules.arms.first_qpos, self.posture_rad, strict=True):
            qpos[first : first + posture_rad.size] = draw_arm(rng, posture_rad)
        for joint, pose in draw_objects(rng, self.placements).items():
            first = self.object_qpos.get(joint)
            if first is not None:
                qpos[first : first + pose.size] = pose
        return qpos

    def stock_state(self, data: mujoco.MjData) -> FloatArray:
        """Return a state as (1 + nq + nv,) time, positions and velocities of the stock model, as in data files."""
        qpos, qvel = self.stock_qpos.copy(), np.zeros(self.stock.nv)
        qpos[self.qpos_in_stock] = data.qpos
        qvel[self.qvel_in_stock] = data.qvel
        return np.concatenate([[data.time], qpos, qvel])


@cache
def robomimic_model(task: RobomimicTask) -> RobomimicModel:
    """Build the model of a task; takes seconds the first time, and then returns the same one."""
    env = make_robosuite(task)
    env.reset()  # puts what is only shown in its place
    stock: mujoco.MjModel = env.sim.model._model
    model = _simulated_model(task, env)
    joints = _joint_names(model)
    addresses = [_joint_addresses(stock, name) for name in joints]
    placements = read_placements(task, env)
    fingers = [[f"gripper{arm}_right_finger_joint{i}" for i in (1, 2)] for arm in range(task.n_arms)]
    finger_qpos = np.array([[model.joint(name).qposadr[0] for name in names] for names in fingers], dtype=np.int64)
    start_qpos = np.zeros(model.nq)
    start_qpos[finger_qpos] = [robot.gripper["right"].init_qpos for robot in env.robots]
    stock_qpos = np.zeros(stock.nq)
    for body in task.unused_bodies:
        first = stock.joint(stock.body(body).jntadr[0]).qposadr[0]
        stock_qpos[first : first + 7] = _OUT_OF_SCENE
    return RobomimicModel(
        task=task,
        model=model,
        stock=stock,
        rules=_rules(task, model, finger_qpos, env),
        placements=placements,
        posture_rad=np.array([robot.init_qpos for robot in env.robots]),
        object_qpos={p.joint: int(model.joint(p.joint).qposadr[0]) for p in placements if p.joint in joints},
        start_qpos=start_qpos,
        stock_qpos=stock_qpos,
        qpos_in_stock=np.concatenate([qpos for qpos, _ in addresses]),
        qvel_in_stock=np.concatenate([dofs for _, dofs in addresses]),
    )


def _joint_names(model: mujoco.MjModel) -> list[str]:
    return [model.joint(i).name for i in range(model.njnt)]


def _joint_addresses(model: mujoco.MjModel, name: str) -> tuple[IntArray, IntArray]:
    """Addresses of a joint's positions and velocities."""
    joint = model.joint(name)
    return joint.qposadr[0] + np.arange(joint.qpos0.size), joint.dofadr[0] + np.arange(joint.damping.size)


def _simulated_model(task: RobomimicTask, env: Any) -> mujoco.MjModel:
    # The text that robosuite compiled; what MuJoCo writes of a model is rounded.
    spec = mujoco.MjSpec.from_string(env.edit_model_xml(env.model.get_xml()))
    for arm in range(task.n_arms):
        for first, second in _NEVER_TOUCHING:
            spec.add_exclude(bodyname1=f"robot{arm}_link{first}", bodyname2=f"robot{arm}_link{second}")
    _drop_the_unneeded(spec, task.unused_bodies)
    model = spec.compile()
    _require_same_bodies(model, env.sim.model._model)
    return model


def _drop_the_unneeded(spec: mujoco.MjSpec, unused_bodies: tuple[str, ...]) -> None:
    for body in list(spec.bodies):
        if body.name in unused_bodies or body.name.startswith("Visual"):
            spec.delete(body)
    for geom in list(spec.geoms):
        if geom.contype == 0 and geom.conaffinity == 0 and geom.group == 1:
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    unused_meshes = [mesh for mesh in spec.meshes if mesh.name not in used]
    for element in [*spec.sensors, *spec.lights, *spec.cameras, *unused_meshes]:
        spec.delete(element)


def _require_same_bodies(model: mujoco.MjModel, stock: mujoco.MjModel) -> None:
    """Check that every body that is left weighs the same, in the same places."""
    for i in range(model.nbody):
        body, original = model.body(i), stock.body(model.body(i).name)
        if body.name in _MARKERS:
            continue
        for name in ("mass", "inertia", "ipos", "iquat", "pos", "quat"):
            if not np.allclose(getattr(body, name), getattr(original, name), rtol=0, atol=1e-12):
                raise RuntimeError(f"lean model: {name} of {body.name} has changed")


def _rules(task: RobomimicTask, model: mujoco.MjModel, finger_qpos: IntArray, env: Any) -> RobomimicRules:
    low, high, clearance_m = np.full(3, -np.inf), np.full(3, np.inf), -1.0
    bodies, kind = _OBJECTS[task.task_id]
    handle, bases = -1, [-1, -1]
    if task is LIFT:
        low[2] = env.model.mujoco_arena.table_offset[2] + 0.04
    elif task is CAN:
        corner = env.bin2_pos  # the can's quarter of the bin begins in its middle
        low[:], high[:] = corner, corner + np.array([*(env.bin_size[:2] / 2), 0.1])
        clearance_m = _CLEARANCE_M
    elif task is SQUARE:
        peg = env.sim.data.body_xpos[env.peg1_body_id]
        low[:2], high[:2] = peg[:2] - 0.03, peg[:2] + 0.03
        high[2] = env.table_offset[2] + 0.05
        clearance_m = _CLEARANCE_M
    else:
        handle = model.geom(env.transport.lid.handle_geoms[0]).id
        bases = [model.geom(name).id for name in _TRANSPORT_BASES]
    return RobomimicRules(
        arms=find_arms(model, task.n_arms),
        hand=np.array([model.body(f"robot{arm}_right_hand").id for arm in range(task.n_arms)], dtype=np.int64),
        finger_qpos=finger_qpos,
        object_kind=kind,
        bodies=np.array([model.body(name).id for name in bodies], dtype=np.int64),
        geom_body=model.geom_bodyid.astype(np.int64),
        lid_handle=handle,
        bin_bases=np.array(bases, dtype=np.int64),
        goal_low_m=low,
        goal_high_m=high,
        clearance_m=clearance_m,
    )
