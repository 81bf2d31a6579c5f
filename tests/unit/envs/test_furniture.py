"""The furniture tasks: what counts as assembled, the screw on its helix, starts, observations, resuming, bad input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import inril.envs
from inril.data.scripted.furniture.furniture_scene import FurnitureScene, make_furniture_scene
from inril.envs.batched import BatchedSimulator
from inril.envs.furniture.model import FENCE_FRONT
from inril.envs.furniture.rest import wake
from inril.envs.furniture.rotations import about, aligning, quat_of, rotation_by, rotation_of
from inril.envs.furniture.rules import TAG_X_M, progress_of
from inril.envs.furniture.screws import PITCH_M, is_assembled
from inril.envs.furniture.suite import FurnitureSuite
from inril.envs.furniture.task import Seat
from inril.envs.furniture.tasks import FURNITURE_TASKS, furniture_task
from inril.errors import InputError
from inril.types import FloatArray

OBS_DIM = {"one_leg": 58, "lamp": 44, "round_table": 44, "mug_rack": 37, "peg_in_hole": 37}
HORIZON = {"one_leg": 700, "lamp": 1000, "round_table": 1000, "mug_rack": 400, "peg_in_hole": 200}
DOWN = np.diag([1.0, -1.0, -1.0])
ASIDE = np.array([0.35, 0.0, 0.45])


def hand_at(pos: FloatArray, rot: FloatArray = DOWN, grip: float = -1.0) -> FloatArray:
    """Return the action (10,) that asks for a pose of the hand."""
    return np.concatenate([pos, rot[:2].ravel(), [grip]])


def wake_all(scene: FurnitureScene) -> None:
    """Wake the parts, as whoever moves them by hand has to."""
    suite = scene.suite
    for part in range(len(suite.task.furniture.parts)):
        wake(suite.simulators[0], suite.shared.rules, progress_of(suite.progress, 0), part)


def asleep(scene: FurnitureScene) -> list[str]:
    """Return the parts that have no weight."""
    model = scene.suite.models[0]
    return [part.name for part in scene.suite.task.furniture.parts if model.body_gravcomp[model.body(part.name).id]]


def put(scene: FurnitureScene, part: str, pos: FloatArray, rot: FloatArray) -> None:
    """Put a part somewhere, at rest."""
    model, data = scene.suite.models[0], scene.suite.data[0]
    wake_all(scene)
    joint = model.joint(part)
    first, dof = joint.qposadr[0], joint.dofadr[0]
    data.qpos[first : first + 3], data.qpos[first + 3 : first + 7] = pos, quat_of(rot)
    data.qvel[dof : dof + 6] = 0.0
    mujoco.mj_forward(model, data)


def put_at_seat(
    scene: FurnitureScene, pair: int, seat: Seat, shift: FloatArray, turn: FloatArray | None = None
) -> None:
    """Put a pair's part at a seat, shifted as seen from the base and turned about its own axes."""
    wanted = scene.suite.task.furniture.pairs[pair]
    base_pos, base_rot = scene.part_pos(wanted.base), scene.part_rot(wanted.base)
    rot = np.eye(3) if seat.rot is None else seat.rot
    turn = np.eye(3) if turn is None else turn
    put(scene, wanted.part, base_pos + base_rot @ (np.array(seat.pos) + shift), base_rot @ rot @ turn)


@pytest.fixture(scope="module", params=list(FURNITURE_TASKS))
def scene(request: pytest.FixtureRequest) -> FurnitureScene:
    made = make_furniture_scene(request.param)
    made.reset(np.random.default_rng(0))
    return made


def lowest_point_m(model: mujoco.MjModel, data: mujoco.MjData, part: str) -> float:
    """Return the height of the lowest point of all that is solid of a part."""
    heights = []
    for geom in np.flatnonzero((model.geom_bodyid == model.body(part).id) & (model.geom_contype > 0)):
        up, size = data.geom_xmat[geom].reshape(3, 3)[2], model.geom_size[geom]
        reach = {
            mujoco.mjtGeom.mjGEOM_BOX: abs(up) @ size,
            mujoco.mjtGeom.mjGEOM_CYLINDER: abs(up[2]) * size[1] + np.hypot(up[0], up[1]) * size[0],
            mujoco.mjtGeom.mjGEOM_CAPSULE: abs(up[2]) * size[1] + size[0],
            mujoco.mjtGeom.mjGEOM_SPHERE: size[0],
        }[mujoco.mjtGeom(model.geom_type[geom])]
        heights.append(data.geom_xpos[geom, 2] - reach)
    return float(min(heights))


@pytest.mark.parametrize(("axis", "quarters"), [("x", 0), ("x", 1), ("x", 2), ("x", 3), ("y", 1), ("y", 3)])
def test_parts_lie_on_the_table_however_they_fall(scene: FurnitureScene, axis: str, quarters: int) -> None:
    model, data = scene.suite.model, mujoco.MjData(scene.suite.model)
    parts = scene.suite.task.furniture.parts
    for i, part in enumerate(parts):
        first = model.joint(part.name).qposadr[0]
        data.qpos[first : first + 3] = -1.0, i, 0.3
        data.qpos[first + 3 : first + 7] = quat_of(about(axis, quarters * np.pi / 2) @ part.rot)
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert min(lowest_point_m(model, data, part.name) for part in parts) > -0.002


@pytest.mark.parametrize("task_id", ["one_leg_low", "lamp_low", "round_table_low"])
def test_free_carriers_stay_in_a_tumbling_part(task_id: str) -> None:
    """One that slides out of it takes energy from the spin, goes on for ever, and steers the part."""
    scene = make_furniture_scene(task_id)
    scene.reset(np.random.default_rng(1))
    model, data, rules = scene.suite.models[0], scene.suite.data[0], scene.suite.shared.rules
    carriers = rules.slide_qpos[rules.stem_geom >= 0]
    for pair in scene.suite.task.furniture.pairs:
        put(scene, pair.base, np.array([1.0, 0.0, 3.0]), np.eye(3))
        dof = model.joint(pair.base).dofadr[0]
        data.qvel[dof : dof + 6] = 0.5, 0.0, 0.0, 3.0, 20.0, 4.0
        for _ in range(6):
            scene.step(hand_at(ASIDE))
        assert np.linalg.norm(data.qvel[dof + 3 : dof + 6]) > 10
        assert abs(data.qpos[carriers]).max() < 1e-3


def seats(scene: FurnitureScene) -> Iterator[tuple[int, Seat]]:
    """Yield every pair's number and seats."""
    for pair, wanted in enumerate(scene.suite.task.furniture.pairs):
        for seat in wanted.seats:
            yield pair, seat


def test_sizes_are_those_of_the_reference(scene: FurnitureScene) -> None:
    name = scene.suite.task.furniture.name
    assert scene.obs_dim == OBS_DIM[name]
    assert scene.suite.max_episode_steps == HORIZON[name]
    assert scene.action_dim == 10


def test_parts_weigh_what_they_should(scene: FurnitureScene) -> None:
    for part in scene.suite.task.furniture.parts:
        body = scene.suite.model.body(part.name)
        assert body.subtreemass[0] == pytest.approx(part.mass_kg, abs=0.0041)  # with the carriers of its screws
        assert body.mass[0] == pytest.approx(part.mass_kg, rel=1e-9)


def test_assembled_within_five_millimetres_and_twenty_degrees_exactly(scene: FurnitureScene) -> None:
    rules, simulator = scene.suite.shared.rules, scene.suite.simulators[0]
    edge_rad = np.arccos(0.94)
    for pair, seat in seats(scene):
        for axis in range(3):
            for sign in (-1, 1):
                unit = sign * np.eye(3)[axis]
                put_at_seat(scene, pair, seat, 0.00499 * unit)
                assert is_assembled(simulator, rules, pair)
                put_at_seat(scene, pair, seat, 0.00501 * unit)
                assert not is_assembled(simulator, rules, pair)
                put_at_seat(scene, pair, seat, np.zeros(3), rotation_by((edge_rad - 0.001) * unit))
                assert is_assembled(simulator, rules, pair)
                put_at_seat(scene, pair, seat, np.zeros(3), rotation_by((edge_rad + 0.001) * unit))
                assert is_assembled(simulator, rules, pair) == (seat.rot is None)


def test_starts_are_within_the_ranges_and_free(scene: FurnitureScene) -> None:
    suite, task = scene.suite, scene.suite.task
    offsets = []
    for seed in range(20):
        qpos, fence = suite._draw(np.random.default_rng(seed), suite.data[0])
        assert (np.abs(fence) <= task.randomness.fence_m).all()
        for part in task.furniture.parts:
            first = suite.model.joint(part.name).qposadr[0]
            offsets.append(np.abs(qpos[first : first + 2] - part.pos[:2]).max())
            turned = rotation_of(qpos[first + 3 : first + 7]) @ part.rot.T
            np.testing.assert_allclose(turned[2, 2], 1.0, atol=1e-12)
            assert abs(np.arctan2(turned[1, 0], turned[0, 0])) <= task.randomness.part_rad + 1e-9
    assert max(offsets) <= task.randomness.part_m
    assert max(offsets) > 0.8 * task.randomness.part_m


def test_observation_is_in_the_tag_frame(scene: FurnitureScene) -> None:
    obs = scene.reset(np.random.default_rng(3))
    np.testing.assert_allclose(obs[:3], scene.hand_pos)
    np.testing.assert_allclose(obs[3:9].reshape(2, 3), scene.hand_rot[:2])
    assert obs[15] == pytest.approx(scene.suite.task.furniture.opening_m, abs=2e-3)
    tag_rot = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # columns: its axes
    blocks = obs[16:].reshape(-1, 7)
    poses = [(scene.part_pos(part.name), scene.part_rot(part.name)) for part in scene.suite.task.furniture.parts]
    fence = np.array(FENCE_FRONT) + np.array([*scene.fence, 0.0])
    for block, (pos, rot) in zip(blocks, [*poses, (fence, np.eye(3))], strict=True):
        np.testing.assert_allclose(block[:3], tag_rot.T @ (pos - np.array([TAG_X_M, 0, 0])), atol=1e-12)
        x, y, z, w = block[3:]
        np.testing.assert_allclose(rotation_of(np.array([w, x, y, z])), tag_rot.T @ rot, atol=1e-9)


@pytest.fixture
def one_leg() -> FurnitureScene:
    scene = make_furniture_scene("one_leg_low")
    scene.reset(np.random.default_rng(0))
    for _ in range(20):
        scene.step(hand_at(ASIDE))
    return scene


def push(scene: FurnitureScene, n_steps: int, torque: float = 0.0, pull: float = 0.0) -> float:
    """Turn the leg about the vertical against the top and pull it up, and return the reward."""
    data, model = scene.suite.data[0], scene.suite.models[0]
    leg, top = model.body("leg4").id, model.body("top").id
    data.xfrc_applied[leg] = [0, 0, pull, 0, 0, torque]
    data.xfrc_applied[top] = [0, 0, 0, 0, 0, -torque]
    reward = sum(scene.step(hand_at(ASIDE))[1] for _ in range(n_steps))
    data.xfrc_applied[:] = 0.0
    return reward


@pytest.mark.parametrize("seat", range(4))
def test_screw_follows_its_helix_to_success(one_leg: FurnitureScene, seat: int) -> None:
    """A leg that falls into a hole is caught by the thread, and comes down by turning alone."""
    scene = one_leg
    put_at_seat(scene, 0, scene.suite.task.furniture.pairs[0].seats[seat], np.array([0, 0.012, 0]), about("y", 4.7))
    push(scene, 3)
    assert scene.is_engaged(0)
    assert scene.suite.progress.seat[0, 0] == seat

    def above_helix() -> float:
        at = scene.screw(0, seat)
        return at.height_m - PITCH_M * at.turn_rad / (2 * np.pi)

    push(scene, 10, pull=1.0)  # four times its weight, and less than the top's
    assert scene.is_engaged(0)
    assert scene.screw(0, seat).turn_rad == pytest.approx(4.7, abs=0.1)
    assert abs(above_helix()) < 3e-4
    reward = 0.0
    for _ in range(40):
        turn_before = scene.screw(0, seat).turn_rad
        got = push(scene, 1, torque=-0.012)
        at = scene.screw(0, seat)
        assert at.lateral_m < 5e-4
        if at.turn_rad > np.pi and turn_before < 1:
            break  # at its stop, a hair beyond the seat
        assert abs(above_helix()) < 3e-4
        reward += got
        if got:  # where the criterion says: 20 degrees before the seat, long after its 5 mm
            assert at.turn_rad < np.arccos(0.94) <= turn_before + 0.35
    assert reward == 1.0
    assert scene.screw(0, seat).height_m == pytest.approx(0.0, abs=3e-4)


def test_turning_back_past_the_entry_lets_go_and_lifting_lets_enter_again(one_leg: FurnitureScene) -> None:
    scene = one_leg
    seat = scene.suite.task.furniture.pairs[0].seats[0]
    put_at_seat(scene, 0, seat, np.array([0, 0.012, 0]), about("y", 3.0))
    push(scene, 3)
    assert scene.is_engaged(0)
    stem = scene.suite.model.geom("leg4_stem").id
    assert scene.suite.models[0].geom_contype[stem] == 0
    for _ in range(100):
        push(scene, 1, torque=0.012)
        if not scene.is_engaged(0):
            break
    assert scene.screw(0).turn_rad > 3.0 + 0.3
    assert scene.suite.models[0].geom_contype[stem] == scene.suite.model.geom_contype[stem] != 0
    push(scene, 2)
    assert not scene.is_engaged(0), "it must be lifted first"
    put_at_seat(scene, 0, seat, np.array([0, 0.014, 0]), about("y", 3.0))
    push(scene, 5)
    assert scene.is_engaged(0)


def test_a_stem_beside_the_hole_stays_on_the_rim(one_leg: FurnitureScene) -> None:
    seat = one_leg.suite.task.furniture.pairs[0].seats[0]
    put_at_seat(one_leg, 0, seat, np.array([0.004, 0.0255, 0]), about("y", 4.0))
    one_leg.step(hand_at(ASIDE))
    assert not one_leg.is_engaged(0)
    assert one_leg.screw(0).height_m == pytest.approx(0.0249, abs=5e-4)


def test_with_little_to_turn_a_stem_enters_a_whole_turn_higher(one_leg: FurnitureScene) -> None:
    seat = one_leg.suite.task.furniture.pairs[0].seats[0]
    put_at_seat(one_leg, 0, seat, np.array([0, 0.014, 0]), about("y", 0.5))
    push(one_leg, 3)
    assert one_leg.suite.progress.entry_rad[0, 0] == pytest.approx(0.5 + 2 * np.pi, abs=0.05)
    assert one_leg.screw(0).height_m == pytest.approx(PITCH_M * (1 + 0.5 / (2 * np.pi)), abs=3e-4)


def poses(scene: FurnitureScene) -> FloatArray:
    """Return positions and rotations of all parts (parts, 12)."""
    parts = [part.name for part in scene.suite.task.furniture.parts]
    return np.array([np.concatenate([scene.part_pos(name), scene.part_rot(name).ravel()]) for name in parts])


@pytest.mark.parametrize("task_id", FURNITURE_TASKS)
def test_parts_that_lie_still_fall_asleep_where_they_are(task_id: str) -> None:
    scene = make_furniture_scene(task_id)
    scene.reset(np.random.default_rng(2))
    stay = hand_at(scene.hand_pos, scene.hand_rot)
    settled = poses(scene)
    for _ in range(4):
        scene.step(stay)
    assert asleep(scene) == [part.name for part in scene.suite.task.furniture.parts]
    assert scene.suite.data[0].ncon == 0
    fallen_asleep = poses(scene)
    np.testing.assert_allclose(fallen_asleep, settled, atol=1e-5)
    for _ in range(20):
        scene.step(stay)
    np.testing.assert_array_equal(poses(scene), fallen_asleep)


def pushed(scene: FurnitureScene, sleeping: bool) -> FloatArray:
    """Push the top of a table with the closed hand; returns the parts' poses (parts, 12) when it has stopped."""
    scene.reset(np.random.default_rng(2))
    for action in range(45):
        if not sleeping:
            wake_all(scene)
        start = scene.part_pos("top") + np.array([-0.12, 0.0, 0.02])
        height = 0.2 if action < 8 else 0.03
        along = min(max(action - 16, 0), 16) * 0.004
        if action == 0:
            before = start
        scene.step(hand_at(np.array([before[0] + along, before[1], height]), grip=1.0))
    return poses(scene)


def test_a_sleeper_is_pushed_as_if_it_had_never_slept() -> None:
    scene = make_furniture_scene("one_leg_low")
    woken, never_slept = pushed(scene, sleeping=True), pushed(scene, sleeping=False)
    names = [part.name for part in scene.suite.task.furniture.parts]
    scene.reset(np.random.default_rng(2))
    moved = np.linalg.norm((woken - poses(scene))[:, :3], axis=1)
    assert moved[names.index("top")] > 0.01
    np.testing.assert_allclose(woken, never_slept, atol=1e-3)


def test_what_falls_on_a_sleeper_wakes_it(one_leg: FurnitureScene) -> None:
    for _ in range(4):
        one_leg.step(hand_at(ASIDE))
    assert "top" in asleep(one_leg)
    model, data = one_leg.suite.models[0], one_leg.suite.data[0]
    first = model.joint("leg4").qposadr[0]
    progress = progress_of(one_leg.suite.progress, 0)
    wake(one_leg.suite.simulators[0], one_leg.suite.shared.rules, progress, 4)
    data.qpos[first : first + 3] = one_leg.part_pos("top") + np.array([0.0, 0.0, 0.05])
    one_leg.step(hand_at(ASIDE))
    assert asleep(one_leg) == ["leg1", "leg2", "leg3"]


def test_sleepers_survive_saving() -> None:
    suite = FurnitureSuite(furniture_task("round_table_low"), 1)
    env, scene = BatchedSimulator(suite, 1), FurnitureScene(suite)
    other = FurnitureSuite(furniture_task("round_table_low"), 1)
    again = BatchedSimulator(other, 1)
    action = hand_at(ASIDE)[None, None]
    try:
        env.reset(0)
        for _ in range(5):
            env.step_chunk(action)
        assert asleep(scene)
        again.reset(1)  # its parts are awake
        again.set_state(env.get_state())
        assert asleep(FurnitureScene(other)) == asleep(scene)
        for _ in range(5):
            np.testing.assert_array_equal(env.step_chunk(action).obs, again.step_chunk(action).obs)
    finally:
        env.close()
        again.close()


def test_hand_goes_where_an_action_says() -> None:
    scene = make_furniture_scene("mug_rack_low")
    scene.reset(np.random.default_rng(1))
    pos, rot = np.array([0.5, 0.1, 0.3]), about("z", 0.5) @ about("y", 0.3) @ DOWN
    for _ in range(40):
        scene.step(hand_at(pos, rot))
    np.testing.assert_allclose(scene.hand_pos, pos, atol=0.003)
    np.testing.assert_allclose(scene.hand_rot, rot, atol=0.02)


def test_gripper_ignores_small_commands() -> None:
    scene = make_furniture_scene("mug_rack_low")
    scene.reset(np.random.default_rng(1))
    widths = []
    for grip in (-1.0, 0.018, 0.02, -0.018, -0.02):
        for _ in range(8):
            obs, *_ = scene.step(hand_at(np.array([0.5, 0.1, 0.4]), grip=grip))
        widths.append(obs[15])
    np.testing.assert_allclose(widths, [0.07, 0.07, 0.0, 0.0, 0.07], atol=2e-3)


def test_six_numbers_that_are_no_rotation_keep_the_hand() -> None:
    scene = make_furniture_scene("peg_in_hole_low")
    scene.reset(np.random.default_rng(1))
    before = scene.hand_rot
    action = hand_at(scene.hand_pos)
    action[3:9] = 0.0
    for _ in range(10):
        scene.step(action)
    np.testing.assert_allclose(scene.hand_rot, before, atol=0.05)


def test_episodes_that_start_at_once_start_as_one_after_another() -> None:
    n_envs = 8
    one, many = (inril.envs.make("one_leg_med", n_envs, 1, threads, max_episode_steps=1) for threads in (1, n_envs))
    np.testing.assert_array_equal(one.reset(3), many.reset(3))
    rng = np.random.default_rng(3)
    for _ in range(60):
        chunk = violent(rng, (n_envs, 1))
        np.testing.assert_array_equal(one.step_chunk(chunk).obs, many.step_chunk(chunk).obs)
    many.close()


def violent(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Return random actions (*shape, 10) all over the robot's reach and beyond."""
    return rng.uniform(-1, 1, (*shape, 10))


@pytest.mark.parametrize("task_id", ["one_leg_med", "lamp_low", "peg_in_hole_low"])
def test_violent_actions_stay_finite_and_resume_to_the_last_bit(task_id: str) -> None:
    rng = np.random.default_rng(5)
    env = inril.envs.make(task_id, 3, 4, threads=2, max_episode_steps=60)
    again = inril.envs.make(task_id, 3, 4, threads=1, max_episode_steps=60)
    try:
        env.reset(7)
        for _ in range(10):
            env.step_chunk(violent(rng, (3, 4)))
        state = env.get_state()
        obs = again.set_state(state)
        chunks = [violent(rng, (3, 4)) for _ in range(10)]
        for chunk in chunks:
            one, other = env.step_chunk(chunk), again.step_chunk(chunk)
            for first, second in zip(one, other, strict=True):
                np.testing.assert_array_equal(first, second)
        assert np.isfinite(obs).all()
        assert np.isfinite(one.obs).all()
        assert env.n_diverged == 0
    finally:
        env.close()
        again.close()


def test_an_engaged_screw_survives_saving() -> None:
    suite = FurnitureSuite(furniture_task("one_leg_low"), 1)
    env, scene = BatchedSimulator(suite, 1), FurnitureScene(suite)
    again = inril.envs.make("one_leg_low", 1, 1)
    action = hand_at(ASIDE)[None, None]
    try:
        env.reset(0)
        put_at_seat(scene, 0, suite.task.furniture.pairs[0].seats[2], np.array([0, 0.012, 0]), about("y", 4.0))
        for _ in range(5):
            env.step_chunk(action)
        assert scene.is_engaged(0)
        again.set_state(env.get_state())
        for _ in range(10):
            np.testing.assert_array_equal(env.step_chunk(action).obs, again.step_chunk(action).obs)
    finally:
        env.close()
        again.close()


def test_a_diverging_simulation_ends_its_own_episode_alone() -> None:
    env = inril.envs.make("peg_in_hole_low", 3, 2)
    assert isinstance(env, BatchedSimulator)
    try:
        obs = env.reset(0)
        env.suite.data[1].qvel[:] = 1e12
        step = env.step_chunk(np.repeat(np.concatenate([obs[:, :9], -np.ones((3, 1))], axis=1)[:, None], 2, axis=1))
        assert step.diverged.tolist() == [False, True, False]
        assert step.truncated.tolist() == [False, True, False]
        assert np.isfinite(step.obs).all()
        assert env.n_diverged == 1
    finally:
        env.close()


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"task: expected one of one_leg_low, .*, got 'sofa_low'"):
        make_furniture_scene("sofa_low")
    env = inril.envs.make("lamp_low", 2, 3)
    try:
        env.reset(0)
        with pytest.raises(InputError, match=r"lamp_low: action chunk: expected shape \(2, 3, 10\)"):
            env.step_chunk(np.zeros((2, 3, 7)))
        chunk = np.zeros((2, 3, 10))
        chunk[1, 2, 4] = np.nan
        with pytest.raises(InputError, match="lamp_low: action of environment 1, step 2 of the chunk"):
            env.step_chunk(chunk)
    finally:
        env.close()


def test_smallest_rotation_aligns_two_directions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        one, other = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        np.testing.assert_allclose(aligning(one, other) @ one, other, atol=1e-12)


GYMNASIUM_IDS = {
    "one_leg_low": "OneLegLow",
    "one_leg_med": "OneLegMed",
    "lamp_low": "LampLow",
    "lamp_med": "LampMed",
    "round_table_low": "RoundTableLow",
    "round_table_med": "RoundTableMed",
    "mug_rack_low": "MugRackLow",
    "peg_in_hole_low": "PegInHoleLow",
}


# As unbounded as those of the other suites; the checker only remarks on it.
@pytest.mark.filterwarnings("ignore:.*A Box observation space m(in|ax)imum value is:UserWarning")
@pytest.mark.parametrize("task_id", list(FURNITURE_TASKS))
def test_gymnasium_env_passes_the_checker(task_id: str) -> None:
    env = gymnasium.make(f"inril/{GYMNASIUM_IDS[task_id]}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    assert env.spec is not None
    assert env.spec.max_episode_steps == furniture_task(task_id).max_episode_steps
    env.close()


# In a process of its own: MuJoCo has one OpenGL backend per process.
RENDERING = """
import sys, numpy as np
from inril.data.scripted.furniture.furniture_scene import make_furniture_scene
scene = make_furniture_scene(sys.argv[1])
scene.reset(np.random.default_rng(0))
image = scene.suite.image(0)
assert image.shape == (480, 480, 3) and image.dtype == np.uint8
before = image.astype(int)
scene.step(np.array([0.5, 0.2, 0.3, 1, 0, 0, 0, -1, 0, -1.0]))
assert np.abs(scene.suite.image(0).astype(int) - before).max() > 50, "the hand has moved"
assert len(np.unique(image.reshape(-1, 3), axis=0)) > 500, "a scene has many colours"
"""


@pytest.mark.parametrize("task_id", ["one_leg_low", "mug_rack_low"])
def test_images_show_the_scene(task_id: str) -> None:
    child = subprocess.run([sys.executable, "-c", RENDERING, task_id], capture_output=True, text=True, check=False)
    if "rendering: MUJOCO_GL: " in child.stderr:
        pytest.skip(child.stderr.strip().splitlines()[-1])
    assert child.returncode == 0, child.stderr
