"""The MuJoCo model of a furniture task, and all that compiled code has to know of it.

A screw is a carrier: a body without shapes in the female part, which can only move along the thread's helix. When a
stem has entered its socket, a weld fixes it to the carrier, which from then on holds it in place of contacts: turning
lowers the part by the pitch, and nothing else moves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from inril.envs.furniture.panda import FINGERS, GRIP_SITE, add_panda
from inril.envs.furniture.records import MOVED, UNMOVED, FurnitureRules
from inril.envs.furniture.rotations import quat_of
from inril.envs.furniture.screws import PITCH_M
from inril.envs.furniture.shapes import Shape, Touch
from inril.envs.furniture.task import FurnitureTask, Pair, Part, Seat
from inril.types import FloatArray, IntArray

TIMESTEP_S = 0.004
CONTROL_DT_S = 0.1
FENCE = "fence"
FENCE_FRONT = (0.6815, 0.0, 0.015)
FENCE_HALF_WIDTH, FENCE_BAR = 0.175, 0.01  # of the opening's middle line, and half the thickness of a bar
FENCE_FRONT_INSIDE, FENCE_SIDE_INSIDE = FENCE_FRONT[0] - FENCE_BAR, FENCE_HALF_WIDTH - FENCE_BAR
CAMERA = "front"

# Two steps: faster contacts are unstable.
_SOLREF = (2 * TIMESTEP_S, 1.0)
_FIRM = [0.95, 0.99, 0.001, 0.5, 2]
_TABLE_FRICTION = [0.10, 0.002, 0.0001]
_ROLLING_FRICTION = [0.005, 0.0003]
_TORSION_FRICTION = [0.002, 0.0001]


@dataclass(frozen=True, eq=False)
class FurnitureModel:
    """What environments of one task share. Each has a model of its own, since an engaged screw changes it.

    Attributes:
        task: the task.
        spec: the scene, from which models are compiled.
        rules: what compiled code needs.
    """

    task: FurnitureTask
    spec: mujoco.MjSpec
    rules: FurnitureRules

    @cached_property
    def model(self) -> mujoco.MjModel:
        """A model without engaged screws."""
        return self.compile()

    def compile(self) -> mujoco.MjModel:
        """Return a model of one environment."""
        return self.spec.compile()


def furniture_model(task: FurnitureTask) -> FurnitureModel:
    """Build the scene of a task."""
    furniture = task.furniture
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    spec.option.iterations = 30
    _add_surroundings(spec)
    add_panda(spec, furniture.opening_m, _SOLREF)
    bodies = {part.name: _add_part(spec, part, furniture.friction) for part in furniture.parts}
    parts = {part.name: part for part in furniture.parts}
    for pair in furniture.pairs:
        if pair.stem:
            _add_screw(spec, bodies[pair.base], parts[pair.part], pair)
    model = spec.compile()
    return FurnitureModel(task, spec, _rules(task, model))


def carrier(pair: Pair) -> str:
    """Return the name of a pair's carrier, of its weld and, with a suffix, of its joints."""
    return f"{pair.part}_in_{pair.base}"


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    """Add table, fence, light and camera."""
    world = spec.worldbody
    world.add_light(pos=[0.3, -0.4, 1.5], dir=[0.1, 0.3, -1])
    world.add_light(pos=[1.2, 0.8, 1.2], dir=[-0.6, -0.6, -1], diffuse=[0.4, 0.4, 0.4])
    world.add_camera(name=CAMERA, pos=[1.15, -0.5, 0.6], xyaxes=[0.62, 0.78, 0, -0.42, 0.33, 0.85])
    # A plane, so that nothing can fall through or over an edge.
    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1], contype=int(Touch.TABLE), conaffinity=0,
        friction=_TABLE_FRICTION, solref=_SOLREF, rgba=[0.75, 0.72, 0.68, 1],
    )  # fmt: skip
    fence = world.add_body(name=FENCE, mocap=True)
    x, y, half_height = FENCE_FRONT
    side_half = 0.085
    bars = [
        ((FENCE_BAR, FENCE_HALF_WIDTH, half_height), (x, y)),
        ((side_half, FENCE_BAR, half_height), (x + FENCE_BAR - side_half, -FENCE_HALF_WIDTH)),
        ((side_half, FENCE_BAR, half_height), (x + FENCE_BAR - side_half, FENCE_HALF_WIDTH)),
    ]
    for half, (center_x, center_y) in bars:
        fence.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=half, pos=[center_x, center_y, half_height],
            contype=int(Touch.FENCE), conaffinity=int(Touch.HAND), friction=[0.15, *_TORSION_FRICTION],
            solref=_SOLREF, rgba=[0.35, 0.36, 0.4, 1],
        )  # fmt: skip


def _add_part(spec: mujoco.MjSpec, part: Part, friction: float) -> mujoco.MjsBody:
    body = spec.worldbody.add_body(name=part.name, pos=part.pos, quat=quat_of(part.rot))
    body.add_freejoint(name=part.name)
    density = part.mass_kg / sum(shape.volume for shape in part.shapes)
    for shape in part.shapes:
        _add_shape(body, part, shape, density * shape.volume, friction)
    return body


def _add_shape(body: mujoco.MjsBody, part: Part, shape: Shape, mass_kg: float, friction: float) -> None:
    body.add_geom(
        name=f"{part.name}_{shape.name}" if shape.name else "", type=shape.geom, size=shape.size,
        pos=part.axis @ shape.pos, quat=quat_of(part.axis @ shape.rot), mass=mass_kg,
        contype=int(shape.touches & Touch.PARTS), conaffinity=int(shape.touches),
        friction=[friction, *(_ROLLING_FRICTION if shape.rolls else _TORSION_FRICTION)],
        condim=_contact_dim(shape), solimp=_FIRM, solref=_SOLREF, rgba=[*part.colour, 1],
    )  # fmt: skip


def _contact_dim(shape: Shape) -> int:
    """Return the number of dimensions in which contacts resist: flat faces meet in several, which need no torsion."""
    return 6 if shape.rolls else 3


def _add_screw(spec: mujoco.MjSpec, base: mujoco.MjsBody, male: Part, pair: Pair) -> None:
    """Add a carrier at the first seat; it is moved when a stem enters another one."""
    name = carrier(pair)
    pos, quat = seat_frame(pair.seats[0], male)
    body = base.add_body(name=name, pos=pos, quat=quat, gravcomp=1)
    body.explicitinertial = True
    body.mass, body.inertia = 0.002, [1e-6, 1e-6, 1e-6]
    body.add_joint(name=f"{name}_slide", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1], damping=0.1, armature=0.05)
    # Its inertia is that of a heavy drum: the coupling is as soft as the lighter of its two joints.
    body.add_joint(
        name=f"{name}_turn", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], range=[0, 20], limited=True,
        damping=0.001, armature=1e-3, frictionloss=0.003, solref_limit=_SOLREF,
    )  # fmt: skip
    helix = spec.add_equality(name=f"{name}_helix", type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT)
    helix.name1, helix.name2 = f"{name}_slide", f"{name}_turn"
    helix.data[:5] = [0, PITCH_M / (2 * np.pi), 0, 0, 0]
    helix.solref, helix.solimp = _SOLREF, [0.9999, 0.9999, 0.001, 0.5, 2]
    weld = spec.add_equality(name=f"{name}_weld", type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_BODY)
    weld.name1, weld.name2 = name, male.name
    weld.data[:] = [0, 0, 0, 0, 0, 0, *quat_of(male.axis.T), 1]
    weld.solref, weld.solimp = _SOLREF, [0.99, 0.999, 0.001, 0.5, 2]
    helix.active = weld.active = False


def seat_frame(seat: Seat, male: Part) -> tuple[FloatArray, FloatArray]:
    """Return position (3,) and quaternion (4,) of a carrier in the female part: its z axis is the screw's."""
    assert seat.rot is not None
    return np.array(seat.pos, dtype=np.float64), quat_of(seat.rot @ male.axis)


def _rules(task: FurnitureTask, model: mujoco.MjModel) -> FurnitureRules:
    furniture = task.furniture
    parts = {part.name: part for part in furniture.parts}
    pairs = furniture.pairs
    n_seats = max(len(pair.seats) for pair in pairs)
    seat_pos, seat_rot = np.zeros((len(pairs), n_seats, 3)), np.zeros((len(pairs), n_seats, 3, 3))
    frame_quat = np.zeros((len(pairs), n_seats, 4))
    any_rotation = np.zeros(len(pairs), dtype=np.bool_)
    screw = {
        name: np.full(len(pairs), -1, dtype=np.int64) for name in ("body", "stem", "helix", "weld", "slide", "turn")
    }
    dof = {name: np.full(len(pairs), -1, dtype=np.int64) for name in ("slide", "turn")}
    for i, pair in enumerate(pairs):
        for k, seat in enumerate(pair.seats):
            seat_pos[i, k] = seat.pos
            if seat.rot is None:
                any_rotation[i] = True
            else:
                seat_rot[i, k] = seat.rot
                _, frame_quat[i, k] = seat_frame(seat, parts[pair.part])
        if pair.stem:
            name = carrier(pair)
            slide, turn = model.joint(f"{name}_slide"), model.joint(f"{name}_turn")
            screw["body"][i] = model.body(name).id
            screw["stem"][i] = model.geom(f"{pair.part}_{pair.stem}").id
            screw["helix"][i] = model.equality(f"{name}_helix").id
            screw["weld"][i] = model.equality(f"{name}_weld").id
            screw["slide"][i], screw["turn"][i] = slide.qposadr[0], turn.qposadr[0]
            dof["slide"][i], dof["turn"][i] = slide.dofadr[0], turn.dofadr[0]
    stems = screw["stem"]
    return FurnitureRules(
        n_substeps=round(CONTROL_DT_S / TIMESTEP_S),
        grip_site=model.site(GRIP_SITE).id,
        finger_qpos=np.array([model.joint(name).qposadr[0] for name in FINGERS], dtype=np.int64),
        part_body=np.array([model.body(name).id for name in parts], dtype=np.int64),
        part_dof=np.array([model.joint(name).dofadr[0] for name in parts], dtype=np.int64),
        geom_part=_geom_parts(model, list(parts)),
        geom_conaffinity=np.array(model.geom_conaffinity),
        base_part=np.array([list(parts).index(pair.base) for pair in pairs], dtype=np.int64),
        male_part=np.array([list(parts).index(pair.part) for pair in pairs], dtype=np.int64),
        base_body=np.array([model.body(pair.base).id for pair in pairs], dtype=np.int64),
        male_body=np.array([model.body(pair.part).id for pair in pairs], dtype=np.int64),
        n_seats=np.array([len(pair.seats) for pair in pairs], dtype=np.int64),
        seat_pos=seat_pos,
        seat_rot=seat_rot,
        any_rotation=any_rotation,
        male_axis=np.array([parts[pair.part].axis for pair in pairs]),
        carrier_quat=frame_quat,
        carrier_body=screw["body"],
        stem_geom=stems,
        stem_contype=np.where(stems >= 0, model.geom_contype[stems], 0).astype(np.int32),
        stem_conaffinity=np.where(stems >= 0, model.geom_conaffinity[stems], 0).astype(np.int32),
        helix=screw["helix"],
        weld=screw["weld"],
        slide_qpos=screw["slide"],
        turn_qpos=screw["turn"],
        slide_dof=dof["slide"],
        turn_dof=dof["turn"],
        fence_front=np.array(FENCE_FRONT),
    )


def _geom_parts(model: mujoco.MjModel, parts: list[str]) -> IntArray:
    """Return the part (geoms,) that each shape belongs to."""
    of_body = np.full(model.nbody, MOVED, dtype=np.int64)
    of_body[[0, model.body(FENCE).id]] = UNMOVED
    of_body[[model.body(name).id for name in parts]] = np.arange(len(parts))
    of_geom: IntArray = of_body[model.geom_bodyid]
    return of_geom
