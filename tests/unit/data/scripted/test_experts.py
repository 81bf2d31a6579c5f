from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from inril.data.scripted.attempt import EXPERTS, HOLD_STEPS, Recipe, attempt, reset_rng
from inril.data.scripted.operator import GROUPS, Operator
from inril.data.scripted.robomimic.scene import DivergedError, Scene, make_scene
from inril.envs.furniture.tasks import FURNITURE_TASKS
from inril.types import FloatArray

CAPS = {"lift": 400, "can": 500, "square": 500, "transport": 1100}


@pytest.fixture(scope="module", params=list(CAPS))
def scene(request: pytest.FixtureRequest) -> tuple[str, Scene]:
    return request.param, make_scene(request.param)


def test_machines_succeed_always_and_humans_mostly(scene: tuple[str, Scene]) -> None:
    task_id, sim = scene
    recipes = [Recipe(task_id, level, 0, CAPS[task_id]) for level in (0.0, 0.5)]
    machine = attempt(sim, recipes[0], "better", 0)
    humans = [attempt(sim, recipes[1], group, 1) for group in GROUPS]
    assert machine.episode is not None
    assert sum(human.episode is not None for human in humans) >= 2
    for tried in (machine, *humans):
        if tried.episode is None:
            continue
        obs, action, reward, terminated, states, _ = tried.episode
        assert len(obs) == len(action) == len(reward) == len(states) == tried.n_steps <= CAPS[task_id]
        assert obs.shape[1] == sim.obs_dim
        assert action.shape[1] == sim.action_dim
        assert np.abs(action).max() <= 1
        assert set(np.unique(action[:, 6::7])) == {-1, 1}
        assert not terminated
        # Success has held since, and an episode goes no further than that.
        np.testing.assert_array_equal(reward[-HOLD_STEPS - 2 :], [0] + [1] * (HOLD_STEPS + 1))


# Without noise; `python -m benchmarks.furniture experts` counts successes over many resets.
@pytest.mark.parametrize(
    ("task_id", "n_pairs"),
    [("peg_in_hole_low", 1), ("mug_rack_low", 1), ("one_leg_med", 1), ("lamp_low", 2), ("round_table_low", 2)],
)
def test_furniture_is_assembled_and_that_ends_the_episode(task_id: str, n_pairs: int) -> None:
    expert = EXPERTS[task_id]
    scene = expert.make_scene()
    tried = attempt(scene, Recipe(task_id, 0.0, 0, FURNITURE_TASKS[task_id].max_episode_steps), "better", 0)
    assert tried.episode is not None
    obs, action, reward, terminated, states, _ = tried.episode
    assert len(obs) == len(action) == tried.n_steps
    assert obs.shape[1] == FURNITURE_TASKS[task_id].obs_dim
    assert terminated
    assert states is None
    assert reward[-1] == 1
    assert reward.sum() == n_pairs
    assert np.abs(action[:, 3:]).max() <= 1 + 1e-6
    assert action[:, 2].min() > 0
    assert set(np.unique(action[:, 9])) == {-1, 1}


def test_operators_of_furniture_are_shaky_and_slow() -> None:
    recipe = Recipe("mug_rack_low", 1.0, 0, 400)
    scene = EXPERTS["mug_rack_low"].make_scene()
    human = attempt(scene, recipe, "okay", 0)
    machine = attempt(scene, recipe._replace(level=0.0), "okay", 0)
    assert human.n_steps > machine.n_steps
    again = attempt(scene, recipe, "okay", 0)
    assert human.episode is not None
    assert again.episode is not None
    np.testing.assert_array_equal(human.episode.obs, again.episode.obs)


@pytest.fixture(scope="module")
def lift() -> Scene:
    return make_scene("lift")


def test_an_attempt_depends_on_nothing_but_its_recipe_group_and_number(lift: Scene) -> None:
    recipe = Recipe("lift", 1.0, 0, 400)
    first = attempt(lift, recipe, "okay", 3).episode
    others = [
        attempt(lift, recipe, "okay", 4).episode,
        attempt(lift, recipe, "better", 3).episode,
        attempt(lift, recipe._replace(seed=1), "okay", 3).episode,
        attempt(lift, recipe._replace(level=0.9), "okay", 3).episode,
    ]
    again = attempt(lift, recipe, "okay", 3).episode
    assert first is not None
    assert again is not None
    for one, other in zip(first[:5], again[:5], strict=True):
        np.testing.assert_array_equal(one, other)
    for episode in others:
        assert episode is not None
        assert not np.array_equal(first.action[:10], episode.action[:10])


def test_recorded_actions_replay_the_episode(lift: Scene) -> None:
    recipe = Recipe("lift", 1.0, 5, 400)
    episode = attempt(lift, recipe, "worse", 0).episode
    assert episode is not None
    assert episode.states is not None
    obs = lift.reset(reset_rng(recipe, "worse", 0))
    for i, action in enumerate(episode.action):
        np.testing.assert_array_equal(lift.state(), episode.states[i])
        np.testing.assert_array_equal(obs.astype(np.float32), episode.obs[i])
        obs, reward, success = lift.step(action)
        assert success == reward == episode.reward[i]


@pytest.mark.parametrize("n_steps", [20, 40])
def test_too_slow_is_a_failure(lift: Scene, n_steps: int) -> None:
    assert attempt(lift, Recipe("lift", 0.0, 0, n_steps), "better", 0) == (n_steps, None)


class Shaky:
    """Solved at the given steps; diverges at the last."""

    action_dim, n_arms = 7, 1

    def __init__(self, solved: list[bool], diverges: bool = False) -> None:
        self.solved = solved
        self.diverges = diverges

    def reset(self, rng: np.random.Generator) -> FloatArray:
        self.n = 0
        return np.zeros(3)

    def state(self) -> FloatArray:
        return np.array([self.n])

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool]:
        self.n += 1
        if self.diverges and self.n == len(self.solved):
            raise DivergedError
        return np.full(3, self.n), float(self.solved[self.n - 1]), self.solved[self.n - 1]


def shaky_attempt(monkeypatch: pytest.MonkeyPatch, n_actions: int, scene: Any, max_steps: int = 1000) -> Any:
    def expert(scene: Scene, operator: Operator) -> Iterator[FloatArray]:
        for _ in range(n_actions):
            yield np.zeros(7)

    monkeypatch.setitem(EXPERTS, "lift", EXPERTS["lift"]._replace(demonstrate=expert))
    return attempt(scene, Recipe("lift", 0.0, 0, max_steps), "better", 0)


def test_success_has_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    solved = [False] * 2 + [True] * HOLD_STEPS + [False] + [True] * 50
    n_steps, episode = shaky_attempt(monkeypatch, 60, Shaky(solved))
    assert n_steps == 2 + HOLD_STEPS + 1 + HOLD_STEPS + 1
    assert episode.reward.sum() == 2 * HOLD_STEPS + 1
    np.testing.assert_array_equal(episode.obs[:, 0], np.arange(n_steps))
    np.testing.assert_array_equal(episode.states[:, 0], np.arange(n_steps))


def test_an_expert_may_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shaky_attempt(monkeypatch, 7, Shaky([False] * 9)) == (7, None)


def test_success_at_the_time_limit_has_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shaky_attempt(monkeypatch, 60, Shaky([False] * 5 + [True] * 60), max_steps=10) == (10, None)


def test_a_diverged_simulation_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shaky_attempt(monkeypatch, 60, Shaky([False] * 9, diverges=True)) == (9, None)
