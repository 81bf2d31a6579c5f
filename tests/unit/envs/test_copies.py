"""Copies and pickles of environments are independent environments in the same state."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import gymnasium
import numpy as np
import pytest

import inril.envs
from inril.data.scripted.furniture.furniture_scene import make_furniture_scene
from inril.data.scripted.robomimic.scene import make_scene
from inril.envs.base import BatchedEnv
from inril.envs.batched import BatchedSimulator
from inril.envs.camera import Camera
from inril.envs.furniture.tasks import FURNITURE_TASKS
from inril.envs.gym.rules import GYM_TASKS
from inril.envs.robomimic.tasks import ROBOMIMIC_TASKS
from inril.envs.threads import Threads
from inril.errors import InputError
from inril.types import FloatArray


def through_pickle(env: Any) -> Any:
    return pickle.loads(pickle.dumps(env))


COPYING = {"deepcopy": copy.deepcopy, "pickle": through_pickle}
copying = pytest.mark.parametrize("duplicate", COPYING.values(), ids=COPYING.keys())


def random_chunk(env: BatchedEnv, rng: np.random.Generator) -> FloatArray:
    return rng.uniform(-1, 1, (env.n_envs, env.act_steps, env.action_dim))


@copying
@pytest.mark.parametrize(
    ("task_id", "sim"), [("hopper", "fast"), ("lift", "fast"), ("lift", "stock"), ("peg_in_hole_low", "fast")]
)
def test_copy_goes_on_by_itself(task_id: str, sim: Literal["fast", "stock"], duplicate: Callable[[Any], Any]) -> None:
    env = inril.envs.make(task_id, 2, 2, threads=2, max_episode_steps=8, sim=sim)
    env.reset(0)
    rng = np.random.default_rng(0)
    for _ in range(2):
        env.step_chunk(random_chunk(env, rng))
    chunks = [random_chunk(env, rng) for _ in range(4)]  # over the end of an episode

    other = duplicate(env)
    of_copy = [other.step_chunk(chunk) for chunk in chunks]
    of_env = [env.step_chunk(chunk) for chunk in chunks]
    env.close()
    assert np.isfinite(other.step_chunk(chunks[0]).obs).all()
    other.close()
    for step, copied in zip(of_env, of_copy, strict=True):
        for array, same in zip(step, copied, strict=True):
            np.testing.assert_array_equal(array, same)
    assert of_env[1].truncated.all()


@copying
def test_copy_of_a_gymnasium_environment(duplicate: Callable[[Any], Any]) -> None:
    still = np.zeros(3, dtype=np.float32)
    env, undisturbed = (gymnasium.make("inril/Hopper-v0") for _ in range(2))
    for one in (env, undisturbed):
        one.reset(seed=0)
        for _ in range(3):
            one.step(still)
    other = duplicate(env)
    for _ in range(5):
        other.step(still)
    expected = undisturbed.step(still)[0]
    np.testing.assert_array_equal(env.step(still)[0], expected)
    np.testing.assert_allclose(expected[0], 1.2471, atol=5e-5)
    del env
    other.step(still)
    np.testing.assert_array_equal(other.reset()[0], undisturbed.reset()[0])  # also the next episode


def test_copy_before_the_first_episode() -> None:
    env = inril.envs.make("hopper", 2, 1)
    other = copy.deepcopy(env)
    with pytest.raises(RuntimeError, match="call reset"):
        other.get_state()
    np.testing.assert_array_equal(other.reset(0), env.reset(0))


def test_pickle_is_loaded_in_another_process() -> None:
    env = inril.envs.make("hopper", 2, 1, threads=2)
    env.reset(0)
    chunk = np.full((2, 1, 3), 0.3)
    script = """
import pickle, sys, numpy as np
env = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(env.step_chunk(np.full((2, 1, 3), 0.3)).obs))
"""
    child = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(env), capture_output=True, check=True)
    np.testing.assert_array_equal(pickle.loads(child.stdout), env.step_chunk(chunk).obs)


@copying
def test_closed_environments_are_not_copied(duplicate: Callable[[Any], Any]) -> None:
    env = inril.envs.make("hopper", 1, 1)
    env.close()
    with pytest.raises(InputError, match=r"environments of hopper: expected open ones.*, got closed ones"):
        duplicate(env)


@copying
def test_cameras_are_not_copied(duplicate: Callable[[Any], Any]) -> None:
    camera = Camera.__new__(Camera)  # whatever renders on this machine
    with pytest.raises(InputError, match=r"camera: expected a copy or pickle of the environment"):
        duplicate(camera)


def test_copy_of_environments_that_have_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    env = inril.envs.make("hopper", 1, 1)
    env.reset(0)
    assert isinstance(env, BatchedSimulator)
    monkeypatch.setattr(env.suite, "_camera", Camera.__new__(Camera))
    np.testing.assert_array_equal(copy.deepcopy(env).get_state()["physics"], env.get_state()["physics"])


@pytest.mark.parametrize("make_one", [lambda: make_furniture_scene("peg_in_hole_low"), lambda: make_scene("lift")])
def test_copy_of_a_scene(make_one: Callable[[], Any]) -> None:
    scene = make_one()
    obs = scene.reset(np.random.default_rng(0))
    other = copy.deepcopy(scene)
    action = np.full(scene.action_dim, 0.2)
    moved = [scene.step(action)[0] for _ in range(2)]
    assert not np.array_equal(moved[-1], obs)
    for expected in moved:
        np.testing.assert_array_equal(other.step(action)[0], expected)


@copying
@pytest.mark.parametrize("tasks", [GYM_TASKS, ROBOMIMIC_TASKS, FURNITURE_TASKS])
def test_listed_tasks_stay_themselves(tasks: dict[str, Any], duplicate: Callable[[Any], Any]) -> None:
    for task in tasks.values():
        assert duplicate(task) is task


@copying
def test_a_task_of_ones_own_is_copied(duplicate: Callable[[Any], Any]) -> None:
    own = dataclasses.replace(ROBOMIMIC_TASKS["lift"])
    other = duplicate(own)
    assert other is not own
    assert vars(other) == vars(own)


def test_threads_of_a_forked_process() -> None:
    script = """
import os, numpy as np, inril.envs
env = inril.envs.make("hopper", 4, 1, threads=2)
env.reset(0)
chunk = np.zeros((4, 1, 3))
env.step_chunk(chunk)
child = os.fork()
obs = env.step_chunk(chunk).obs
print(obs.sum(), flush=True)
os._exit(0) if child == 0 else os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    first, second = done.stdout.splitlines()
    assert first == second


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_raise_the_first_error(n_threads: int) -> None:
    def fail(part: slice) -> None:
        raise ValueError(str(part.start))

    threads = Threads(n_threads)
    with pytest.raises(ValueError, match=r"^0$"):
        threads.call(fail, [slice(0, 1), slice(1, 2)])
    threads.end()
    threads.end()
