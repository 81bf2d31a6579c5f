"""The robot: a Franka Panda with its hand, without mesh files.

Joints, limits and inertias are the published ones; links are drawn as capsules that touch nothing. Only hand and
fingers can be in contact, as boxes. Gravity is compensated, as by the real controller.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mujoco
import numpy as np

from inril.envs.furniture.rotations import about, quat_of
from inril.envs.furniture.shapes import Point, Touch

ARM_JOINTS = 7
JOINTS = tuple(f"joint{i + 1}" for i in range(ARM_JOINTS))
FINGERS = ("left_finger", "right_finger")
GRIP_SITE = "grip"
"""Between the pads; its z axis points away from the hand, the fingers move along its y axis."""
START_RAD = np.array([-0.02630888, 0.3758795, 0.12485036, -2.1383357, -0.09431414, 2.49649072, 0.01921718])
"""The arm at an episode's start, before randomisation."""

_STIFFNESS, _DAMPING = 1000.0, 200.0  # of the joints' drives [Nm/rad], [Nms/rad]
GRIP_FORCE_N = 13.0
_HAND_COLOUR = (0.25, 0.25, 0.28, 1.0)
_LINK_COLOUR = (0.9, 0.9, 0.9, 1.0)


class _Link(NamedTuple):
    """One link and the joint before it, which turns about its z axis.

    Attributes:
        pos: of its frame, as seen from the link before [m].
        turn: quarter turns of its frame about x.
        range_rad: of the joint.
        max_torque: of the drive [Nm].
        mass_kg: its mass.
        com: centre of mass [m].
        inertia: xx, yy, zz, xy, xz, yz about the centre of mass [kg m^2].
        drawn_to: end of the capsule that shows it [m].
    """

    pos: Point
    turn: int
    range_rad: tuple[float, float]
    max_torque: float
    mass_kg: float
    com: Point
    inertia: tuple[float, float, float, float, float, float]
    drawn_to: Point


_LINKS = (
    _Link(
        (0, 0, 0.333), 0, (-2.8973, 2.8973), 87, 4.970684, (0.003875, 0.002081, -0.04762),
        (0.70337, 0.70661, 0.0091170, -0.000139, 0.006772, 0.019169), (0, 0, -0.28),
    ),
    _Link(
        (0, 0, 0), -1, (-1.7628, 1.7628), 87, 0.646926, (-0.003141, -0.02872, 0.003495),
        (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704), (0, -0.2, 0),
    ),
    _Link(
        (0, -0.316, 0), 1, (-2.8973, 2.8973), 87, 3.228604, (0.027518, 0.039252, -0.066502),
        (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805), (0.0825, 0, 0),
    ),
    _Link(
        (0.0825, 0, 0), 1, (-3.0718, -0.0698), 87, 3.587895, (-0.05317, 0.104419, 0.027454),
        (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641), (-0.0825, 0.12, 0),
    ),
    _Link(
        (-0.0825, 0.384, 0), -1, (-2.8973, 2.8973), 12, 1.225946, (-0.011953, 0.041065, -0.038437),
        (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229), (0, 0, -0.24),
    ),
    _Link(
        (0, 0, 0), 1, (-0.0175, 3.7525), 12, 1.666555, (0.060149, -0.014117, -0.010517),
        (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341), (0.088, 0, 0),
    ),
    _Link(
        (0.088, 0, 0), 1, (-2.8973, 2.8973), 12, 0.735522, (0.010517, -0.004252, 0.061597),
        (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741), (0, 0, 0.1),
    ),
)  # fmt: skip


def add_panda(spec: mujoco.MjSpec, opening_m: float, solref: tuple[float, float]) -> None:
    """Add the robot at the origin of a scene: bodies, drives, and what couples the fingers.

    Args:
        spec: of the scene.
        opening_m: largest distance of the pads.
        solref: of contacts and of the coupling.
    """
    link = spec.worldbody
    foot = {"type": mujoco.mjtGeom.mjGEOM_CAPSULE, "size": [0.07, 0, 0], "fromto": [-0.04, 0, 0.06, 0, 0, 0.1]}
    link.add_geom(**foot, **_drawn_only())
    for name, of in zip(JOINTS, _LINKS, strict=True):
        link = _add_link(spec, link, name, of)
    hand = link.add_body(name="hand", pos=[0, 0, 0.107], quat=quat_of(about("z", -np.pi / 4)), gravcomp=1)
    _set_inertia(hand, 0.73, (-0.01, 0, 0.03), inertia=(0.001, 0.0025, 0.0017))
    contact = {"contype": int(Touch.HAND), "conaffinity": int(Touch.TABLE), "mass": 0, "solref": list(solref)}
    hand.add_geom(**_box((0.03, 0.1, 0.033), (0, 0, 0.025)), **contact, friction=_BODY_FRICTION, rgba=_HAND_COLOUR)
    hand.add_site(name=GRIP_SITE, pos=[0, 0, 0.103399])
    for name, side in zip(FINGERS, (1, -1), strict=True):
        _add_finger(hand, name, side, opening_m / 2, contact)
        _add_drive(spec, name, GRIP_FORCE_N)
    coupling = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT)
    coupling.name1, coupling.name2 = FINGERS
    coupling.data[:5] = [0, 1, 0, 0, 0]
    coupling.solref = list(solref)


_BODY_FRICTION = [0.5, 0.005, 0.0001]
_PAD_FRICTION = [1.0, 0.02, 0.0001]


def _add_link(spec: mujoco.MjSpec, parent: mujoco.MjsBody, joint: str, of: _Link) -> mujoco.MjsBody:
    body = parent.add_body(
        name=joint.replace("joint", "link"), pos=of.pos, quat=quat_of(about("x", of.turn * np.pi / 2)), gravcomp=1
    )
    _set_inertia(body, of.mass_kg, of.com, full=of.inertia)
    body.add_joint(
        name=joint, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], range=of.range_rad, limited=True,
        armature=0.1, damping=1,
    )  # fmt: skip
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=[0.05, 0, 0], fromto=[0, 0, 0, *of.drawn_to], **_drawn_only()
    )
    drive = _add_drive(spec, joint, of.max_torque)
    drive.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    drive.gainprm[0] = _STIFFNESS
    drive.biasprm[:3] = [0, -_STIFFNESS, -_DAMPING]
    return body


def _add_finger(hand: mujoco.MjsBody, name: str, side: int, reach_m: float, contact: dict[str, Any]) -> None:
    """Add a finger: mount, oblique middle, and the pad that holds things by friction."""
    finger = hand.add_body(name=name, pos=[0, 0, 0.0584], gravcomp=1)
    _set_inertia(finger, 0.015, (0, 0, 0.02), inertia=(3e-6, 3e-6, 1e-6))
    finger.add_joint(
        name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, side, 0], range=[0, reach_m], limited=True,
        solref_limit=contact["solref"], armature=0.1, damping=10,
    )  # fmt: skip
    middle_quat = quat_of(about("x", side * np.pi / 6))
    solid = {**contact, "friction": _BODY_FRICTION, "rgba": _HAND_COLOUR}
    finger.add_geom(**_box((0.011, 0.0075, 0.01), (0, side * 0.0185, 0.011)), **solid)
    finger.add_geom(**_box((0.00875, 0.0035, 0.01175), (0, side * 0.0159, 0.02835)), **solid, quat=middle_quat)
    finger.add_geom(
        **_box((0.00875, 0.0076, 0.00925), (0, side * 0.00758, 0.04525)), **contact,
        friction=_PAD_FRICTION, priority=1, condim=4, solimp=[0.95, 0.99, 0.001, 0.5, 2], rgba=[0.1, 0.1, 0.1, 1],
    )  # fmt: skip


def _add_drive(spec: mujoco.MjSpec, joint: str, limit: float) -> mujoco.MjsActuator:
    """Add an actuator that exerts its control as a force or torque, up to a limit."""
    drive = spec.add_actuator(name=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT, target=joint)
    drive.forcelimited = True
    drive.forcerange = [-limit, limit]
    return drive


def _set_inertia(
    body: mujoco.MjsBody,
    mass_kg: float,
    com: Point,
    inertia: Point = (0.0, 0.0, 0.0),
    full: tuple[float, ...] | None = None,
) -> None:
    body.explicitinertial = True
    body.mass, body.ipos, body.inertia = mass_kg, com, inertia
    if full is not None:
        body.fullinertia = full


def _box(half: Point, pos: Point) -> dict[str, Any]:
    return {"type": mujoco.mjtGeom.mjGEOM_BOX, "size": half, "pos": pos}


def _drawn_only() -> dict[str, Any]:
    return {"contype": 0, "conaffinity": 0, "mass": 0, "rgba": _LINK_COLOUR}
