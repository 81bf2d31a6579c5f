"""Every promise of the batched contract for the Robomimic tasks, fast and stock."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest
import safetensors.numpy
from gymnasium.utils.env_checker import check_env
from pairs import smooth_actions

from inril import envs
from inril.data.scripted.robomimic.scene import make_scene
from inril.envs.base import BatchedEnv
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS
from inril.errors import InputError
from inril.seeding import stream
from inril.types import ChunkStep, FloatArray

SEED = 3


def chunks(env: BatchedEnv, n_chunks: int) -> FloatArray:
    """Actions (N, E, Ta, Da), different ones for each environment."""
    actions = [smooth_actions(n_chunks * env.act_steps, env.action_dim, seed=e) for e in range(env.n_envs)]
    return np.swapaxes(np.reshape(actions, (env.n_envs, n_chunks, env.act_steps, -1)), 0, 1)


def assert_equal(ours: ChunkStep, expected: ChunkStep) -> None:
    for name, value, expected_value in zip(ChunkStep._fields, ours, expected, strict=True):
        np.testing.assert_array_equal(value, expected_value, err_msg=name)


@pytest.mark.parametrize("sim", ["fast", "stock"])
def test_episodes_end_with_the_time_limit_alone_and_within_a_chunk(sim: str) -> None:
    env = envs.make("lift", 2, 4, max_episode_steps=6, sim=sim)
    obs = env.reset(SEED)
    scenes = [make_scene("lift", sim) for _ in range(2)]
    starts = [[scene.reset(stream(SEED, "env", e, episode)) for episode in (1, 0)] for e, scene in enumerate(scenes)]
    np.testing.assert_array_equal(obs, [start[1] for start in starts])
    for i, action_chunk in enumerate(chunks(env, 2)):
        step = env.step_chunk(action_chunk)
        executed = 2 if i else 4
        final_obs = [[scene.step(action)[0] for action in actions[:executed]][-1]
                     for scene, actions in zip(scenes, action_chunk, strict=True)]  # fmt: skip
        np.testing.assert_array_equal(step.final_obs, final_obs)
        np.testing.assert_array_equal(step.obs, [start[0] for start in starts] if i else final_obs)
        assert step.n_steps.tolist() == [executed] * 2
        assert step.truncated.tolist() == [bool(i)] * 2
        assert not step.terminated.any()
    env.close()


def falling_cubes(sim: str, heights_m: list[float]) -> tuple[BatchedEnv, ChunkStep]:
    """Let Lift's cubes fall from heights during one chunk of four steps, 1.2, 4.9, 11 and 20 cm deep."""
    env = envs.make("lift", len(heights_m), 4, sim=sim)
    env.reset(0)
    state = env.get_state()
    for row, height_m in zip(state["physics"], heights_m, strict=True):
        row[1 + 9 : 1 + 16] = [0.2, 0.2, height_m, 1, 0, 0, 0]  # beside the gripper
    env.set_state(state)
    return env, env.step_chunk(np.zeros((len(heights_m), 4, 7)))


@pytest.mark.parametrize("sim", ["fast", "stock"])
def test_reward_counts_solved_steps_and_success_wants_all_of_them(sim: str) -> None:
    _, step = falling_cubes(sim, [1.2, 0.92, 0.82])
    assert step.reward.tolist() == [4, 2, 0]
    assert step.success.tolist() == [True, False, False]
    assert not step.terminated.any()


@pytest.mark.parametrize("task_id", ROBOMIMIC_TASKS)
def test_time_limits_are_the_references(task_id: str) -> None:
    limits = {"lift": 300, "can": 300, "square": 400, "transport": 800}
    assert envs.make(task_id, 1, 4).max_episode_steps == limits[task_id]


def test_number_of_threads_has_no_influence() -> None:
    one, three = (envs.make("can", 5, 4, threads, max_episode_steps=10) for threads in (1, 3))
    np.testing.assert_array_equal(one.reset(SEED), three.reset(SEED))
    for action_chunk in chunks(one, 6):
        assert_equal(one.step_chunk(action_chunk), three.step_chunk(action_chunk))
    for name, array in one.get_state().items():
        np.testing.assert_array_equal(array, three.get_state()[name])
    three.close()


@pytest.mark.parametrize(("task_id", "sim"), [("lift", "fast"), ("transport", "fast"), ("lift", "stock")])
def test_resumes_exactly(task_id: str, sim: str) -> None:
    n_envs = 1 if sim == "stock" else 2
    uninterrupted = envs.make(task_id, n_envs, 4, max_episode_steps=30, sim=sim)
    uninterrupted.reset(SEED)
    actions = chunks(uninterrupted, 12)  # 48 steps: the second half is another episode's beginning
    for action_chunk in actions[:5]:
        obs = uninterrupted.step_chunk(action_chunk).obs
    state = safetensors.numpy.load(safetensors.numpy.save(uninterrupted.get_state()))
    closing = np.abs(state["controllers"][..., 7])
    assert ((closing > 0) & (closing < 1)).any()  # fingers are on their way
    resumed = envs.make(task_id, n_envs, 4, max_episode_steps=30, sim=sim)
    np.testing.assert_array_equal(resumed.set_state(state), obs)
    for action_chunk in actions[5:]:
        assert_equal(resumed.step_chunk(action_chunk), uninterrupted.step_chunk(action_chunk))
    for name, array in uninterrupted.get_state().items():
        np.testing.assert_array_equal(resumed.get_state()[name], array)


def test_a_state_without_controllers_does_not_fit() -> None:
    env = envs.make("lift", 1, 4)
    env.reset(0)
    state = env.get_state()
    del state["controllers"]
    with pytest.raises(InputError, match=r"lift: simulator state: controllers: .*\(1, 1, 8\), got nothing"):
        env.set_state(state)


@pytest.mark.parametrize("absurd", [1e11, np.nan])
def test_divergence_ends_that_episode_alone(absurd: float, caplog: pytest.LogCaptureFixture) -> None:
    env, undisturbed = envs.make("lift", 3, 4), envs.make("lift", 3, 4)
    env.reset(SEED)
    undisturbed.reset(SEED)
    state = env.get_state()
    state["physics"][1, 1 + 16 + 3] = absurd  # time, 16 positions, fourth velocity
    before = undisturbed.get_state()
    obs = undisturbed.set_state(before)
    env.set_state(state)
    first, second = chunks(env, 2)
    step, expected = env.step_chunk(first), undisturbed.step_chunk(first)
    assert step.diverged.tolist() == step.truncated.tolist() == [False, True, False]
    assert (step.n_steps[1], step.reward[1], step.success[1]) == (1, 0, False)
    assert "lift: environment 1 diverged" in caplog.text
    assert env.n_diverged == 1
    others = [0, 2]
    assert_equal(ChunkStep(*(a[others] for a in step)), ChunkStep(*(a[others] for a in expected)))
    np.testing.assert_array_equal(obs[others], undisturbed.set_state(before)[others])
    np.testing.assert_array_equal(step.obs[1], make_scene("lift").reset(stream(SEED, "env", 1, 1)))
    again = env.step_chunk(second)
    assert np.isfinite(again.obs).all()
    assert not again.diverged.any()


def test_a_diverged_scene_raises() -> None:
    scene = make_scene("lift")
    scene.reset(np.random.default_rng(0))
    scene._data.qvel[3] = 1e11
    with pytest.raises(RuntimeError, match="lift: the simulation diverged"):
        scene.step(np.zeros(7))


@pytest.mark.parametrize("sim", ["fast", "stock"])
def test_a_non_finite_action_names_environment_and_step(sim: str) -> None:
    env = envs.make("lift", 2, 4, sim=sim)
    env.reset(0)
    before = env.get_state()
    action_chunk = np.zeros((2, 4, 7))
    action_chunk[1, 2, 6] = np.nan
    with pytest.raises(InputError, match="lift: action of environment 1, step 2 of the chunk: expected finite numbers"):
        env.step_chunk(action_chunk)
    for name, array in env.get_state().items():
        np.testing.assert_array_equal(array, before[name])


def test_only_suites_with_another_simulator_can_choose_it() -> None:
    with pytest.raises(InputError, match="hopper: sim: expected fast, got 'stock'"):
        envs.make("hopper", 1, 1, sim="stock")
    with pytest.raises(InputError, match="scene: task: expected one of lift, can, square, transport, got 'hopper'"):
        make_scene("hopper")


@pytest.mark.parametrize("sim", ["fast", "stock"])
def test_scene_shows_fresh_poses_that_are_copies(sim: str) -> None:
    scene = make_scene("transport", sim)
    scene.reset(np.random.default_rng(0))
    for _ in range(3):
        scene.step(smooth_actions(1, 14)[0] + 0.3)
    data = scene._data
    seen = {
        "body": (scene.body_pos("trash_main"), scene.body_rot("payload_root")),
        "site": (scene.site_pos("gripper1_right_grip_site"), scene.site_rot("gripper1_right_grip_site")),
        "grip": (scene.grip_pos(1), scene.grip_rot(1)),
    }
    mujoco.mj_forward(scene._suite.model, data)  # poses of the present state
    site = data.site("gripper1_right_grip_site")
    for name in ("site", "grip"):
        np.testing.assert_array_equal(seen[name][0], site.xpos)
        np.testing.assert_array_equal(seen[name][1].ravel(), site.xmat)
    np.testing.assert_array_equal(seen["body"][0], data.body("trash_main").xpos)
    np.testing.assert_array_equal(seen["body"][1].ravel(), data.body("payload_root").xmat)
    kept = [array.copy() for arrays in seen.values() for array in arrays]
    scene.step(np.full(14, 0.5))
    for array, copy in zip([array for arrays in seen.values() for array in arrays], kept, strict=True):
        np.testing.assert_array_equal(array, copy)


# As unbounded as robosuite's own; the checker only remarks on it.
@pytest.mark.filterwarnings("ignore:.*A Box observation space m(in|ax)imum value is:UserWarning")
@pytest.mark.parametrize("task_id", ROBOMIMIC_TASKS)
def test_gymnasium_registration(task_id: str) -> None:
    env = gymnasium.make(f"inril/{task_id.capitalize()}-v0")
    assert env.spec is not None
    assert env.spec.max_episode_steps == ROBOMIMIC_TASKS[task_id].max_episode_steps
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=4)
    info = env.step(np.zeros(env.action_space.shape, dtype=np.float32))[4]
    assert info == {"success": False, "diverged": False}
    env.close()


RENDER = """
import numpy as np, inril.envs
images = []
for sim in ("fast", "stock"):
    env = inril.envs.make("can", 1, 1, sim=sim)
    env.reset(0)
    images.append(env.render())
    env.step_chunk(np.full((1, 1, 7), 0.9))
    images.append(env.render())
    env.close()
print(images[0].shape, images[0].dtype, (images[0] == images[2]).all(), (images[0] == images[1]).all())
"""


def test_both_simulators_render_the_same_full_scene() -> None:
    # A process of its own: MuJoCo has one OpenGL backend per process.
    child = subprocess.run([sys.executable, "-c", RENDER], capture_output=True, text=True, check=False)
    if "rendering: MUJOCO_GL: " in child.stderr:
        pytest.skip(child.stderr.strip().splitlines()[-1])
    assert child.stdout.strip() == "(480, 480, 3) uint8 True False", child.stderr
