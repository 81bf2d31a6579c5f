"""The batched Gym environments against gymnasium's own, and every promise of the batched contract."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import gymnasium
import numpy as np
import pytest
import safetensors.numpy
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from inril import envs
from inril.config.base import TaskSpec
from inril.envs.gym.rules import GYM_TASKS
from inril.envs.gym.suite import GymLocomotion
from inril.envs.gymnasium_api import control_rate_hz
from inril.errors import InputError
from inril.seeding import stream
from inril.types import ChunkStep, FloatArray

try:
    import imageio  # noqa: F401
except ImportError:
    # gymnasium's MuJoCo environments import it to write videos, which no test does.
    sys.modules["imageio"] = ModuleType("imageio")

from gymnasium.envs.mujoco.half_cheetah_v4 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v4 import HopperEnv
from gymnasium.envs.mujoco.walker2d_v4 import Walker2dEnv

REFERENCE = {"hopper": HopperEnv, "walker2d": Walker2dEnv, "halfcheetah": HalfCheetahEnv}
GYMNASIUM_IDS = ["inril/Hopper-v0", "inril/Walker2D-v0", "inril/HalfCheetah-v0"]
ACTION_DIM = {"hopper": 3, "walker2d": 6, "halfcheetah": 6}
SEED = 11


class ReferenceEnvs:
    """The batched contract spelled out with gymnasium environments, one after the other."""

    def __init__(self, task_id: str, n_envs: int, max_episode_steps: int) -> None:
        self.envs = [TimeLimit(REFERENCE[task_id](), max_episode_steps) for _ in range(n_envs)]
        self.episode_index = [0] * n_envs

    def reset_env(self, env_index: int) -> FloatArray:
        env = self.envs[env_index]
        env.unwrapped.np_random = stream(SEED, "env", env_index, self.episode_index[env_index])
        return env.reset()[0]

    def step_chunk(self, action_chunk: FloatArray) -> ChunkStep:
        rows = []
        for env_index, actions in enumerate(action_chunk):
            reward, n_steps = 0.0, 0
            for action in actions:
                final_obs, step_reward, terminated, truncated, _ = self.envs[env_index].step(action)
                reward += step_reward
                n_steps += 1
                if terminated or truncated:
                    break
            obs = final_obs
            if terminated or truncated:
                self.episode_index[env_index] += 1
                obs = self.reset_env(env_index)
            rows.append((obs, final_obs, reward, n_steps, terminated, truncated, False, False))
        return ChunkStep(*map(np.array, zip(*rows, strict=True)))


def random_chunks(task_id: str, n_chunks: int, n_envs: int, act_steps: int) -> FloatArray:
    """Actions (n_chunks, E, Ta, Da), some beyond the actuators' range."""
    return np.random.default_rng(3).uniform(-1.2, 1.2, (n_chunks, n_envs, act_steps, ACTION_DIM[task_id]))


def assert_equal(ours: ChunkStep, expected: ChunkStep) -> None:
    for name, value, expected_value in zip(ChunkStep._fields, ours, expected, strict=True):
        np.testing.assert_array_equal(value, expected_value, err_msg=name)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("max_episode_steps", [10, 1000])
@pytest.mark.parametrize("task_id", REFERENCE)
def test_equals_gymnasium_exactly(task_id: str, max_episode_steps: int, threads: int) -> None:
    n_envs, act_steps, n_chunks = 3, 4, 275
    ours = envs.make(task_id, n_envs, act_steps, threads, max_episode_steps)
    reference = ReferenceEnvs(task_id, n_envs, max_episode_steps)
    np.testing.assert_array_equal(ours.reset(SEED), [reference.reset_env(e) for e in range(n_envs)])
    steps = []
    for action_chunk in random_chunks(task_id, n_chunks, n_envs, act_steps):
        steps.append(ours.step_chunk(action_chunk))
        assert_equal(steps[-1], reference.step_chunk(action_chunk))
    ours.close()

    terminated, truncated = (np.array([getattr(s, name) for s in steps]) for name in ("terminated", "truncated"))
    n_steps = np.array([s.n_steps for s in steps])
    # The comparison counts only if what it is about has happened.
    assert (terminated.any()) == (task_id != "halfcheetah")
    assert truncated.any() == (max_episode_steps == 10 or task_id == "halfcheetah")
    assert n_steps.sum() > 1000
    if max_episode_steps == 10 or task_id != "halfcheetah":
        assert ((n_steps < act_steps) == (terminated | truncated))[n_steps < act_steps].all()
        assert (n_steps < act_steps).any()
    assert ours.n_diverged == 0


def test_no_time_limit_given_means_1000_steps() -> None:
    assert envs.make("hopper", 1, 4).max_episode_steps == 1000


@pytest.mark.parametrize("task_id", REFERENCE)
def test_resumes_exactly(task_id: str) -> None:
    chunks = random_chunks(task_id, 60, n_envs=4, act_steps=3)
    uninterrupted = envs.make(task_id, 4, 3, max_episode_steps=50)
    uninterrupted.reset(SEED)
    for action_chunk in chunks[:30]:
        obs = uninterrupted.step_chunk(action_chunk).obs
    state = safetensors.numpy.load(safetensors.numpy.save(uninterrupted.get_state()))
    resumed = envs.make(task_id, 4, 3, threads=2, max_episode_steps=50)
    np.testing.assert_array_equal(resumed.set_state(state), obs)
    for action_chunk in chunks[30:]:
        assert_equal(resumed.step_chunk(action_chunk), uninterrupted.step_chunk(action_chunk))
    for name, array in uninterrupted.get_state().items():
        np.testing.assert_array_equal(resumed.get_state()[name], array)
    resumed.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_environments_that_do_not_run_stay_as_they_are(threads: int) -> None:
    all_run, some_run = (envs.make("hopper", 5, 3, threads=threads, max_episode_steps=7) for _ in range(2))
    all_run.reset(SEED)
    before = some_run.reset(SEED)
    running = np.array([True, False, True, True, False])
    for action_chunk in random_chunks("hopper", 6, n_envs=5, act_steps=3):
        expected, step = all_run.step_chunk(action_chunk), some_run.step_chunk(action_chunk, running)
        for name, value, of_all in zip(ChunkStep._fields, step, expected, strict=True):
            np.testing.assert_array_equal(value[running], of_all[running], err_msg=name)
        np.testing.assert_array_equal(step.obs[~running], before[~running])
        assert not np.any([step.reward, step.n_steps, step.terminated, step.truncated], axis=0)[~running].any()
    all_run.close()
    some_run.close()


def test_state_is_a_copy() -> None:
    env = envs.make("hopper", 2, 1)
    env.reset(0)
    before = env.get_state()
    kept = {name: array.copy() for name, array in before.items()}
    env.step_chunk(np.ones((2, 1, 3)))
    for name, array in before.items():
        np.testing.assert_array_equal(array, kept[name])


def test_returned_arrays_are_never_overwritten() -> None:
    env = envs.make("hopper", 3, 4)
    first_obs = env.reset(0)
    chunks = random_chunks("hopper", 30, 3, 4)
    kept = [(first_obs, first_obs.copy())]
    for action_chunk in chunks:
        kept += [(array, array.copy()) for array in env.step_chunk(action_chunk)]
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


def rollout(seed: int, n_envs: int = 3) -> list[ChunkStep]:
    env = envs.make("hopper", n_envs, 4)
    env.reset(seed)
    chunks = np.repeat(random_chunks("hopper", 20, 1, 4), n_envs, axis=1)
    return [env.step_chunk(action_chunk) for action_chunk in chunks]


def test_seeds_and_environments_are_separate_streams() -> None:
    for step, again in zip(rollout(0), rollout(0), strict=True):
        assert_equal(step, again)
    obs = [rollout(seed)[0].obs for seed in range(3)]
    rows = np.concatenate(obs)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_an_environment_does_not_depend_on_how_many_there_are() -> None:
    for few, many in zip(rollout(0, n_envs=2), rollout(0, n_envs=5), strict=True):
        assert_equal(few, ChunkStep(*(array[:2] for array in many)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("absurd", [1e11, 1e300, np.nan])
@pytest.mark.parametrize("task_id", REFERENCE)
def test_divergence_ends_that_episode_alone(
    task_id: str, absurd: float, threads: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    env, undisturbed = envs.make(task_id, 3, 2, threads), envs.make(task_id, 3, 2)
    env.reset(SEED)
    undisturbed.reset(SEED)
    state = env.get_state()
    n_positions = (env.obs_dim + 1) // 2
    state["physics"][1, 1 + n_positions] = absurd  # time, positions, velocities: the forward one
    obs = env.set_state(state)
    first, *rest = random_chunks(task_id, 3, 3, 2)
    step, expected = env.step_chunk(first), undisturbed.step_chunk(first)

    assert step.diverged.tolist() == [False, True, False]
    assert (step.terminated[1], step.truncated[1], step.reward[1], step.n_steps[1]) == (False, True, 0, 1)
    np.testing.assert_array_equal(step.final_obs[1], obs[1])
    assert env.n_diverged == 1
    assert f"{task_id}: environment 1 diverged" in caplog.text
    assert "unstable" not in "".join(capfd.readouterr())  # MuJoCo neither prints nor writes a log file of its own

    others = [0, 2]
    assert_equal(ChunkStep(*(a[others] for a in step)), ChunkStep(*(a[others] for a in expected)))
    fresh = ReferenceEnvs(task_id, 3, 1000)
    fresh.episode_index = [0, 1, 0]
    np.testing.assert_array_equal(step.obs[1], fresh.reset_env(1))
    for action_chunk in rest:
        step = env.step_chunk(action_chunk)
        assert np.isfinite(step.obs).all()
        assert not step.diverged.any()
    assert env.get_state()["n_diverged"].tolist() == [0, 1, 0]
    env.close()


def test_divergence_within_a_chunk_keeps_the_finite_steps() -> None:
    # In free flight at 1e6 m/s, 1.5 steps before MuJoCo's largest number: the second step is beyond it.
    one_step, two_steps = envs.make("halfcheetah", 1, 1), envs.make("halfcheetah", 1, 2)
    one_step.reset(0)
    state = one_step.get_state()
    forward_m, height_m, forward_velocity_m_s = 1, 2, 10
    state["physics"][0, forward_m] = 1e10 - 1.5 * 0.05 * 1e6
    state["physics"][0, height_m] = 100
    state["physics"][0, forward_velocity_m_s] = 1e6
    one_step.set_state(state)
    two_steps.set_state(state)
    finite = one_step.step_chunk(np.zeros((1, 1, 6)))
    step = two_steps.step_chunk(np.zeros((1, 2, 6)))
    assert not finite.diverged[0]
    assert step.diverged[0]
    assert step.n_steps[0] == 2
    assert step.reward[0] == finite.reward[0]
    np.testing.assert_array_equal(step.final_obs, finite.final_obs)


def test_bad_actions_name_the_place_and_move_nothing() -> None:
    env = envs.make("hopper", 3, 2)
    env.reset(0)
    before = env.get_state()
    action_chunk = np.zeros((3, 2, 3))
    action_chunk[2, 1, 0] = np.inf
    with pytest.raises(
        InputError,
        match=r"^hopper: action of environment 2, step 1 of the chunk: expected finite numbers, got \[inf, 0.0, 0.0\]",
    ):
        env.step_chunk(action_chunk)
    with pytest.raises(
        InputError, match=r"^hopper: action chunk: expected shape \(3, 2, 3\) .*, got shape \(3, 2, 4\)"
    ):
        env.step_chunk(np.zeros((3, 2, 4)))
    for name, array in env.get_state().items():
        np.testing.assert_array_equal(array, before[name])


def test_bad_states_name_the_array() -> None:
    env = envs.make("hopper", 3, 2)
    env.reset(0)
    state = env.get_state()
    with pytest.raises(InputError, match=r"hopper: simulator state: elapsed_steps: .* got nothing"):
        env.set_state({"physics": state["physics"]})
    with pytest.raises(InputError, match=r"physics: expected an array of shape \(2, 58\), got shape \(3, 58\)"):
        envs.make("hopper", 2, 2).set_state(state)


def test_settings_with_other_dimensions_are_refused() -> None:
    hopper = TaskSpec(
        id="hopper", title="Hopper", suite="gym", obs_dim=12, action_dim=3, max_episode_steps=9, metric="return"
    )
    with pytest.raises(InputError, match="task hopper: obs_dim: expected 11, as its simulator has, got 12"):
        envs.make_env(hopper, 1, 1)


@pytest.mark.parametrize("task_id", GYM_TASKS)
def test_what_a_task_says_of_its_model_is_so(task_id: str) -> None:
    task = GYM_TASKS[task_id]
    suite = GymLocomotion(task, 1)
    assert control_rate_hz(task_id) == pytest.approx(1 / (suite.model.opt.timestep * task.rules.frame_skip))
    assert task.n_positions(suite.obs_dim) == suite.model.nq - task.rules.hidden_positions


def test_bad_constructions() -> None:
    with pytest.raises(InputError, match=r"expected one of hopper, walker2d, .*, lift, .*, got 'ant'"):
        envs.make("ant", 1, 1)
    with pytest.raises(InputError, match="act_steps: expected at least 1, got 0"):
        envs.make("hopper", 1, 0)


def test_life_cycle_errors() -> None:
    env = envs.make("hopper", 2, 1, threads=2)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step_chunk(np.zeros((2, 1, 3)))
    env.reset(0)
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.reset(0)


# gymnasium's own Gym environments are as unbounded; the checker only remarks on it.
@pytest.mark.filterwarnings("ignore:.*A Box observation space m(in|ax)imum value is:UserWarning")
@pytest.mark.parametrize("gymnasium_id", GYMNASIUM_IDS)
def test_gymnasium_registration(gymnasium_id: str) -> None:
    envs.register_gymnasium()
    env = gymnasium.make(gymnasium_id, max_episode_steps=5)
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=4)
    ends = [env.step(np.zeros(env.action_space.shape, dtype=np.float32))[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]
    env.close()


def test_gymnasium_demands_a_reset_after_the_end() -> None:
    env = gymnasium.make("inril/Hopper-v0")
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = env.step(np.ones(3, dtype=np.float32))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.ones(3, dtype=np.float32))


RENDER = """
import gymnasium, inril.envs
env = gymnasium.make("inril/Hopper-v0", render_mode="rgb_array")
env.reset(seed=0)
image = env.render()
env.close()
print(image.shape, image.dtype, image.std() > 0)
"""


def test_gymnasium_renders() -> None:
    # A process of its own: MuJoCo has one OpenGL backend per process.
    child = subprocess.run([sys.executable, "-c", RENDER], capture_output=True, text=True, check=False)
    if "rendering: MUJOCO_GL: " in child.stderr:
        pytest.skip(child.stderr.strip().splitlines()[-1])
    assert child.stdout.strip() == "(480, 480, 3) uint8 True", child.stderr
