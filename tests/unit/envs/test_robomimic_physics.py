"""The compiled Robomimic tasks against robosuite's own code: trajectories, resets, observations, success."""

from __future__ import annotations

import itertools
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from pairs import Pair, pair, smooth_actions

from inril.envs.robomimic import model as robomimic_model
from inril.envs.robomimic import suite as robomimic
from inril.envs.robomimic.rules import is_solved
from inril.envs.robomimic.tasks import CAN, LIFT, ROBOMIMIC_TASKS, SQUARE, TRANSPORT
from inril.types import FloatArray

N_FREE_STEPS = 100
FREE_JOINT_PAIRS = {(0, 1): (0,), (0, 2): (0, 1), (1, 3): (1, 2), (2, 4): (2, 3), (3, 5): (3, 4), (4, 6): (4, 5)}


@pytest.mark.parametrize("task_id", ROBOMIMIC_TASKS)
def test_free_motion_equals_robosuites(task_id: str) -> None:
    both = pair(task_id)
    fast, stock = both.scenes()
    fast.reset(np.random.default_rng(5))
    stock.reset(np.random.default_rng(5))
    shared = both.fast.shared
    largest_qpos = largest_obs = 0.0
    upwards = np.zeros(fast.action_dim)
    upwards[2::7] = 0.5  # away from all that could be touched
    for action in upwards + smooth_actions(N_FREE_STEPS, fast.action_dim):
        (obs, _, solved), (expected_obs, _, expected_solved) = fast.step(action), stock.step(action)
        qpos_error = (fast.state() - stock.state())[1 + shared.qpos_in_stock]
        largest_qpos = max(largest_qpos, np.abs(qpos_error).max())
        largest_obs = max(largest_obs, np.abs(obs - expected_obs).max())
        assert solved == expected_solved
    assert largest_qpos < 1e-4  # robots and objects
    assert largest_obs < 1e-4
    memory, expected_memory = both.fast.memory()["controllers"], both.stock.memory()["controllers"]
    np.testing.assert_array_equal(memory, expected_memory)
    assert np.abs(fast.state()[1:8] - memory[0, 0, :7]).max() > 0.1  # the arm has moved


@pytest.mark.parametrize("task_id", ROBOMIMIC_TASKS)
def test_resets_equal_robosuites_for_equal_generators(task_id: str) -> None:
    fast, stock = pair(task_id).scenes()
    states = []
    for seed in range(12):
        obs, expected_obs = fast.reset(np.random.default_rng(seed)), stock.reset(np.random.default_rng(seed))
        np.testing.assert_array_equal(fast.state(), stock.state())
        np.testing.assert_allclose(obs, expected_obs, rtol=0, atol=1e-6)
        states.append(fast.state())
    assert len(np.unique(np.array(states), axis=0)) == 12


def test_a_can_that_found_no_place_at_once_is_put_where_robosuite_puts_it() -> None:
    # In one of four resets some object is drawn again.
    fast, stock = pair("can").scenes()
    redrawn = 0
    for seed in range(100, 116):
        rng, fewest_draws = np.random.default_rng(seed), np.random.default_rng(seed)
        fast.reset(rng)
        stock.reset(np.random.default_rng(seed))
        np.testing.assert_array_equal(fast.state(), stock.state())
        fewest_draws.standard_normal(7)
        fewest_draws.uniform(size=4 * 3)  # x, y and angle of four objects
        redrawn += rng.bit_generator.state != fewest_draws.bit_generator.state
    assert 0 < redrawn < 16


def random_arm(rng: np.random.Generator, model: mujoco.MjModel, arm: int) -> dict[str, FloatArray]:
    names = [f"robot{arm}_joint{i + 1}" for i in range(7)]
    return {name: np.array([rng.uniform(*model.joint(name).range)]) for name in names}


def random_pose(rng: np.random.Generator, low: FloatArray, high: FloatArray) -> FloatArray:
    quat = rng.normal(size=4)
    return np.concatenate([rng.uniform(low, high), quat / np.linalg.norm(quat)])


OBJECTS = {"lift": "cube_joint0", "can": "Can_joint0", "square": "SquareNut_joint0"}


@pytest.mark.parametrize("task_id", OBJECTS)
def test_observation_and_success_of_any_state_are_robosuites(task_id: str) -> None:
    both = pair(task_id)
    for scene in both.scenes():
        scene.reset(np.random.default_rng(0))
    rules, model = both.fast.shared.rules, both.fast.model
    low, high = np.maximum(rules.goal_low_m, [-0.1, -0.1, 0.8]) - 0.02, np.minimum(rules.goal_high_m, 0.9) + 0.02
    rng = np.random.default_rng(3)
    solved = []
    for _ in range(150):
        arms = random_arm(rng, model, 0)
        obs, expected_obs = both.place({**arms, OBJECTS[task_id]: random_pose(rng, low, high)})
        solved.append(is_solved(both.fast.simulators[0], rules))
        assert solved[-1] == both.stock.envs[0]._check_success()
        np.testing.assert_allclose(np.abs(obs[:9]), np.abs(expected_obs[:9]), rtol=0, atol=1e-6)
        np.testing.assert_allclose(obs[:19], expected_obs[:19], rtol=0, atol=1e-5)
        if task_id != "lift":  # a half turn is q and -q: rounding decides on the sign of w there
            assert abs(obs[19:] @ expected_obs[19:]) == pytest.approx(1, abs=1e-6)
            assert obs[22] >= 0
    assert 10 < sum(solved) < 140


def reach(both: Pair, target: FloatArray, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Find joint angles that bring the gripper to a place, within a few millimetres."""
    model, data = both.fast.model, both.fast.data[0]
    angles = both.fast.shared.posture_rad[0].copy()
    best, width = np.inf, 0.5
    for _ in range(600):
        tried = np.clip(angles + rng.normal(size=7) * width, *model.jnt_range[:7].T)
        data.qpos[:7] = tried
        mujoco.mj_kinematics(model, data)
        distance = np.linalg.norm(both.scenes()[0].grip_pos(0) - target)
        if distance < best:
            angles, best = tried, distance
        width = max(0.002, 0.99 * width)
    return {f"robot0_joint{i + 1}": angles[i : i + 1] for i in range(7)}


@pytest.mark.parametrize("task_id", ["can", "square"])
def test_what_is_still_held_is_not_solved(task_id: str) -> None:
    both = pair(task_id)
    for scene in both.scenes():
        scene.reset(np.random.default_rng(0))
    rules = both.fast.shared.rules
    middle = (np.maximum(rules.goal_low_m, 0.84 * np.eye(3)[2] - np.eye(3)[0]) + rules.goal_high_m) / 2
    rng = np.random.default_rng(0)
    arms = reach(both, middle, rng)
    both.place(arms)
    grip = both.scenes()[0].grip_pos(0)
    solved = []
    for distance in (0.0, 0.02, 0.0423, 0.0424, 0.05, 0.07):
        both.place({OBJECTS[task_id]: np.array([*grip[:2], grip[2] - distance, 1, 0, 0, 0])})
        solved.append(is_solved(both.fast.simulators[0], rules))
        assert solved[-1] == both.stock.envs[0]._check_success()
    assert solved[:4] == [False, False, False, True]


def test_transport_is_solved_by_both_contacts() -> None:
    both = pair("transport")
    fast, stock = both.scenes()
    fast.reset(np.random.default_rng(0))
    stock.reset(np.random.default_rng(0))
    bins = {name: fast.body_pos(f"transport_{name}_root") for name in ("start_bin", "target_bin", "trash_bin")}
    seen = set()
    for payload_bin, trash_bin in itertools.product(("start_bin", "target_bin"), ("target_bin", "trash_bin")):
        # 1 mm into the bottom; the hammer across a corner of the bin, away from the trash.
        payload = bins[payload_bin] + [0.03, 0.03, -0.075 + 0.01 + 0.014]
        trash = bins[trash_bin] + [-0.09, -0.09, -0.075 + 0.01 + 0.019]
        obs, expected_obs = both.place({
            "payload_joint0": np.array([*payload, 0.5, -0.5, 0.5, -0.5]),
            "trash_joint0": np.array([*trash, 1, 0, 0, 0]),
        })  # fmt: skip
        np.testing.assert_allclose(obs, expected_obs, rtol=0, atol=1e-6)
        solved = is_solved(both.fast.simulators[0], both.fast.shared.rules)
        assert solved == both.stock.envs[0]._check_success()
        assert obs[-2:].tolist() == [payload_bin == "target_bin", trash_bin == "trash_bin"]
        assert solved == obs[-2:].all()
        seen.add(tuple(obs[-2:]))
    assert len(seen) == 4


def full_model_twin(task_id: str, monkeypatch: pytest.MonkeyPatch) -> robomimic.FastRobomimic:
    """Make the compiled simulator run on robosuite's model as it is."""
    task = ROBOMIMIC_TASKS[task_id]
    monkeypatch.setattr(robomimic_model, "_simulated_model", lambda task, env: env.sim.model._model)
    shared = robomimic_model.robomimic_model.__wrapped__(task)
    monkeypatch.setattr(robomimic, "robomimic_model", lambda task: shared)
    assert shared.model is shared.stock
    return robomimic.FastRobomimic(task, 1)


@pytest.mark.parametrize("task_id", ["lift", "transport"])
def test_leaving_out_what_has_no_influence_changes_no_bit(task_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lean = pair(task_id).scenes()[0]
    both = Pair(full_model_twin(task_id, monkeypatch), pair(task_id).stock)
    full = both.scenes()[0]
    assert pair(task_id).fast.model.ngeom < both.fast.model.ngeom
    np.testing.assert_array_equal(lean.reset(np.random.default_rng(2)), full.reset(np.random.default_rng(2)))
    for action in smooth_actions(N_FREE_STEPS, full.action_dim):
        np.testing.assert_array_equal(lean.step(action)[0], full.step(action)[0])
    np.testing.assert_array_equal(lean.state(), full.state())


def test_links_said_never_to_touch_do_not_at_any_angle() -> None:
    assert set(FREE_JOINT_PAIRS) == set(robomimic_model._NEVER_TOUCHING)
    pair("lift").scenes()[1].reset(np.random.default_rng(0))
    model = robomimic_model.robomimic_model(LIFT).stock
    data = mujoco.MjData(model)
    data.qpos[:] = pair("lift").stock.data[0].qpos
    start = data.qpos.copy()
    limits = model.jnt_range[:7] + np.array([-0.1, 0.1])  # soft: they give a little
    for links, joints in FREE_JOINT_PAIRS.items():
        bodies = {model.body(f"robot0_link{link}").id for link in links}
        data.qpos[:] = start
        for angles in itertools.product(*(np.linspace(*limits[joint], 50) for joint in joints)):
            data.qpos[list(joints)] = angles
            mujoco.mj_kinematics(model, data)
            mujoco.mj_collision(model, data)
            touching = [set(pair_of_bodies) for pair_of_bodies in model.geom_bodyid[data.contact.geom].tolist()]
            assert bodies not in touching


def test_what_is_left_of_a_model_is_checked() -> None:
    shared = robomimic_model.robomimic_model(LIFT)
    spec = mujoco.MjSpec.from_string(
        "<mujoco><worldbody><body name='cube_main'><geom size='0.1'/></body></worldbody></mujoco>"
    )
    with pytest.raises(RuntimeError, match="lean model: mass of cube_main has changed"):
        robomimic_model._require_same_bodies(spec.compile(), shared.stock)


def test_cube_has_the_same_size_everywhere() -> None:
    sizes = [robomimic_model.robomimic_model.__wrapped__(LIFT).model.geom("cube_g0").size for _ in range(2)]
    np.testing.assert_array_equal(sizes[0], sizes[1])
    assert (sizes[0] >= 0.020).all()
    assert (sizes[0] <= 0.022).all()


def test_layouts_are_those_of_the_reference() -> None:
    arms = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
    assert LIFT.obs_layout == {**arms, "object": 10}
    assert CAN.obs_layout == SQUARE.obs_layout == {**arms, "object": 14}
    second = {"robot1_eef_pos": 3, "robot1_eef_quat": 4, "robot1_gripper_qpos": 2}
    assert TRANSPORT.obs_layout == {**arms, **second, "object": 41}
    assert [task.obs_dim for task in ROBOMIMIC_TASKS.values()] == [19, 23, 23, 59]
    assert [task.action_dim for task in ROBOMIMIC_TASKS.values()] == [7, 7, 7, 14]


QUIET = """
import os, sys
import inril.envs
assert "robosuite" not in sys.modules
before = dict(os.environ)
inril.envs.make("lift", 1, 1).reset(0)
assert "robosuite" in sys.modules and dict(os.environ) == before
"""


def test_robosuite_is_imported_when_it_is_needed_and_keeps_quiet() -> None:
    child = subprocess.run([sys.executable, "-W", "default", "-c", QUIET], capture_output=True, text=True)
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
