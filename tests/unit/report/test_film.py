from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from inril.config.layers import read_yaml
from inril.config.policy import DiffusionConfig, NetworkConfig
from inril.config.project import Project
from inril.config.shown import FilmSpec
from inril.errors import InputError
from inril.policies.policy_file import PolicySpec, save_policy
from inril.report import film
from inril.report.recording import RecordedEpisode

CONFIG = Path(__file__).parents[3] / "config"
SPEC = FilmSpec(title="Lift", subject="Budget: smoke, dppo", seed=0, frames=3, episodes=4, max_episodes=8)


def clip(outcome: str, n_frames: int) -> film.Clip:
    frames = [(0.1 * i, Image.new("RGB", (240, 240), (40 * i, 0, 0))) for i in range(n_frames)]
    return film.Clip(outcome, frames[:3], frames)


@pytest.fixture
def durations() -> film.Durations:
    return film.Durations([True, False, False, False, True, False], [1.5, 2.0, 2.0, 2.0, 0.7, 2.0])


def test_figure_says_what_is_shown_and_what_it_rests_on(durations: film.Durations) -> None:
    figure = film.draw(SPEC, [clip("success", 3), clip("failure", 4)], durations, "success")
    *strips, histogram = figure.axes
    assert [ax.get_title() for ax in strips] == ["0.0 s", "0.1 s", "0.2 s"] * 2
    assert [ax.get_ylabel() for ax in strips] == ["success", "", "", "failure", "", ""]
    assert histogram.get_title() == "2 of 6 episodes"
    assert histogram.get_xlabel() == "Completion time (s)"
    assert sum(bar.get_height() for bar in histogram.patches) == 2
    note = figure.get_supxlabel().replace("\n", " ")
    assert note == (
        "Budget: smoke, dppo. 6 episodes, success: 33.3 % [9.7, 70.0] (95 % Wilson interval). 4 at a time until these "
        "were seen, at most 8. Shown: the first of each outcome (success: 1, failure: 1)."
    )
    plt.close(figure)


def test_without_success_no_time_is_counted_as_one() -> None:
    figure = film.draw(SPEC, [clip("failure", 3)], film.Durations([False] * 4, [2.0] * 4), "success")
    assert figure.axes[-1].get_title() == "0 of 4 episodes"
    assert "at a time" not in figure.get_supxlabel()
    plt.close(figure)


def test_where_there_is_no_success_all_lengths_are_counted() -> None:
    figure = film.draw(SPEC, [clip("ended early", 3)], film.Durations([False, True], [0.5, 2.0]), "return")
    histogram = figure.axes[-1]
    assert (histogram.get_title(), histogram.get_xlabel()) == ("2 of 2 episodes", "Length of the episode (s)")
    assert "time limit reached: 50.0 %" in figure.get_supxlabel()
    plt.close(figure)


def test_animation_shows_all_frames_at_their_own_speed() -> None:
    animation = Image.open(io.BytesIO(film.animate([clip("success", 3), clip("failure", 5)], hz=20)))
    assert (animation.n_frames, animation.size) == (5, (480, 240))  # type: ignore[attr-defined]
    assert animation.info["duration"] == 100
    animation.seek(4)
    right, left = (animation.convert("RGB").getpixel((x, 200)) for x in (400, 100))
    assert right == (160, 0, 0)
    assert left == (80, 0, 0)  # the shorter one stands still at its end


class Played:
    """A round whose episodes end as they are told to."""

    def __init__(self, *succeeded: bool) -> None:
        self.succeeded = succeeded

    def episodes(self) -> list[RecordedEpisode]:
        return [RecordedEpisode(env_index, succeeded, n_steps=10) for env_index, succeeded in enumerate(self.succeeded)]


def chosen(outcomes: str, *rounds: Played) -> tuple[list[tuple[int, bool]], int]:
    """Return the round and the outcome of each chosen episode, two of each, and the number of evaluated ones."""
    spec = SPEC.model_copy(update={"outcomes": outcomes, "examples": 2})
    played: list[Played] = []

    def play(n_episodes: int, seed: int) -> Any:
        played.append(rounds[len(played)])
        return played[-1]

    episodes, durations = film.choose(spec, play, hz=10)
    return [(played.index(cast(Played, of)), episode.succeeded) for of, episode in episodes], len(durations.seconds)


def test_evaluation_ends_once_what_is_asked_for_was_seen() -> None:
    mostly_failures = Played(False, True, False, False)
    successes = Played(True, True, True, True)
    assert chosen("failures", mostly_failures) == ([(0, False)] * 2, 4)
    assert chosen("successes", mostly_failures, successes) == ([(0, True), (1, True)], 8)
    assert chosen("both", mostly_failures, successes) == ([(0, True), (1, True), (0, False), (0, False)], 8)
    assert chosen("failures", successes, successes) == ([(0, True)] * 2, 8)  # what there is, if not that


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy for Hopper that has learned nothing."""
    task = Project(CONFIG, read_yaml(CONFIG / "config.yaml")).demos("hopper").task
    network = NetworkConfig(widths=(8, 8, 8), activation="mish")
    config = DiffusionConfig(network=network, time_dim=6, denoising_steps=2)
    torch.manual_seed(0)
    spec = PolicySpec(task=task.model_copy(update={"max_episode_steps": 30}), policy=config, horizon_steps=4)
    save_policy(tmp_path / "policy.safetensors", spec, spec.build().state_dict(), {})
    return tmp_path / "policy.safetensors"


def test_unknown_formats_are_refused(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a file name ending in one of pdf, png, got \.svg"):
        film.run(SPEC, policy, tmp_path / "film.svg")
    with pytest.raises(InputError, match=r"a file name ending in \.gif, got \.mp4"):
        film.run(SPEC, policy, tmp_path / "film.pdf", tmp_path / "film.mp4")


def inril(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own: MuJoCo has one OpenGL backend per process."""
    whole = [sys.executable, "-m", "inril", *command]
    return subprocess.run(whole, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("named", ["osmesa", "nonsense"])
def test_evaluation_needs_no_opengl(policy: Path, named: str) -> None:
    child = inril("evaluate", "--episodes", "2", "--policy", str(policy), MUJOCO_GL=named)
    assert child.returncode == 0, child.stderr


def test_one_line_where_nothing_can_be_rendered(policy: Path, tmp_path: Path) -> None:
    command = ["film", "--config", SPEC.model_dump_json(), "--policy", str(policy), "--out", str(tmp_path / "film.pdf")]
    child = inril(*command, MUJOCO_GL="nonsense")
    assert child.returncode == 1
    [line] = child.stderr.splitlines()
    assert "rendering: MUJOCO_GL: expected an OpenGL that works here" in line


@pytest.mark.slow
def test_command_films_a_policy(policy: Path, tmp_path: Path) -> None:
    made = []
    two_failures = SPEC.model_copy(update={"outcomes": "failures", "examples": 2})
    for name, spec in (("one", SPEC), ("two", SPEC), ("failures", two_failures)):
        files = [tmp_path / f"{name}.{suffix}" for suffix in ("pdf", "gif")]
        command = ["film", "--config", spec.model_dump_json(), "--policy", str(policy), "--out", str(files[0])]
        child = inril(*command, "--gif", str(files[1]))
        if "rendering: MUJOCO_GL: " in child.stderr:
            pytest.skip(child.stderr.strip().splitlines()[-1])
        assert child.returncode == 0, child.stderr
        made.append([file.read_bytes() for file in files])
    assert made[0] == made[1]
    assert made[0][0].startswith(b"%PDF")
    with Image.open(tmp_path / "one.gif") as animation:
        assert animation.n_frames > 1  # type: ignore[attr-defined]
        first = animation.convert("L")
    with Image.open(tmp_path / "failures.gif") as animation:
        assert animation.size == (480, 240)  # of both, or of successes where nothing failed
    low, high = first.getextrema()
    assert high - low > 100  # the robot stands before a checkered floor


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "hoper"}, "films.x.task: expected one of can, "),
        ({"policy": "unet"}, "films.x.policy: expected one of diffusion, gaussian, gaussian_chunk, got 'unet'"),
        ({"method": "dppo"}, "films.x: expected either a policy or a method"),
        ({"policy": None}, "films.x: expected either a policy or a method"),
        ({"frames": 1}, "films.x.frames: expected greater than or equal to 2, got 1"),
    ],
)
def test_bad_films_are_refused(changed: dict[str, object], message: str) -> None:
    entry = {"title": "X", "task": "hopper", "policy": "diffusion"} | changed
    with pytest.raises(InputError, match=message):
        Project(CONFIG, read_yaml(CONFIG / "config.yaml") | {"films": {"x": entry}}).check()
