from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from inril.config.base import TaskSpec
from inril.config.layers import read_yaml
from inril.config.policy import DiffusionConfig, NetworkConfig
from inril.config.project import Project
from inril.config.runs import HoldoutConfig
from inril.config.shown import LandscapeFigureSpec, LandscapeSpec
from inril.data.demo_file import Episode, write_demos
from inril.errors import InputError
from inril.evaluate import evaluate
from inril.policies.acting import PolicyActor
from inril.policies.policy_file import PolicySpec, load_policy, save_policy
from inril.report import landscape, landscape_figure
from inril.seeding import subseed

CONFIG = Path(__file__).parents[3] / "config"
ARMS = ("RL only", "m = 10")
SPEC = LandscapeSpec(
    arms=ARMS, seed=0, points=2, margin=0.5, episodes=3, holdout=HoldoutConfig(min_episodes=2), probe_size=8
)
DRAWN = LandscapeFigureSpec(title="Hopper", subject="Budget: smoke", metric="return", episodes=3, font_size=8)


@pytest.fixture
def task() -> TaskSpec:
    """Hopper, in episodes of eight steps."""
    task = Project(CONFIG, read_yaml(CONFIG / "config.yaml")).demos("hopper").task
    return task.model_copy(update={"max_episode_steps": 8})


@pytest.fixture
def demos(task: TaskSpec, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(6):
        obs = rng.normal(size=(8, task.obs_dim)).astype(np.float32)
        action = rng.uniform(-1, 1, (8, task.action_dim)).astype(np.float32)
        episodes.append(Episode(obs, action, np.zeros(8, np.float32), terminated=False))
    write_demos(tmp_path / "demos.hdf5", task, episodes, {"source": "generated", "seed": 0})
    return tmp_path / "demos.hdf5"


def save(path: Path, task: TaskSpec, base: int, tuned: int | None) -> Path:
    """Write a policy whose weights are drawn from one seed, those of its last step from another one."""
    network = NetworkConfig(widths=(8, 8, 8), activation="mish")
    config = DiffusionConfig(network=network, time_dim=6, denoising_steps=2)
    spec = PolicySpec(task=task, policy=config, horizon_steps=4, ft_denoising_steps=int(tuned is not None))
    torch.manual_seed(base)
    state: dict[str, Tensor] = PolicySpec(task=task, policy=config, horizon_steps=4).build().state_dict()
    if tuned is not None:
        torch.manual_seed(tuned)
        other = PolicySpec(task=task, policy=config, horizon_steps=4).build().state_dict()
        state |= {
            name.replace("denoiser", "denoiser_ft"): weight
            for name, weight in other.items()
            if name.startswith("denoiser.")
        }
    save_policy(path, spec, state, {})
    return path


def test_a_plane_through_three_points() -> None:
    start, rl_only, other = torch.zeros(3) + 1, torch.tensor([4.0, 1, 1]), torch.tensor([2.0, 3, 1])
    plane = landscape.plane_of(start, rl_only, other)
    assert plane is not None
    assert plane.corners.tolist() == [[0, 0], [3, 0], [1, 2]]
    torch.testing.assert_close(plane.axes @ plane.axes.T, torch.eye(2))
    for weights, place in zip((start, rl_only, other), plane.corners.tolist(), strict=True):
        torch.testing.assert_close(plane.at(*place), weights)
    assert landscape.plane_of(start, rl_only, start) is None
    assert landscape.plane_of(start, start, other) is None
    assert landscape.plane_of(start, rl_only, start + 0.5 * (rl_only - start)) is None


def test_ways_lead_round_and_the_map_has_room() -> None:
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 2.0]])
    points = list(landscape.places(corners, ARMS, 5, margin=0.25))
    ways = [points[i : i + 5] for i in (0, 5, 10)]
    assert [{point.part for point in way} for way in ways] == [
        {"start to RL only"}, {"RL only to m = 10"}, {"m = 10 to start"}
    ]  # fmt: skip
    assert [(way[0][1:], way[-1][1:3]) for way in ways] == [
        ((0, 0, 0), (4, 0)), ((4, 0, 0), (1, 2)), ((1, 2, 0), (0, 0))
    ]  # fmt: skip
    land = points[15:]
    assert len(land) == 25
    assert {point.part for point in land} == {landscape.MAP}
    assert (land[0].x, land[0].y, land[-1].x, land[-1].y) == (-1, -1, 5, 3)


def test_at_the_corners_are_the_policies_themselves(task: TaskSpec, demos: Path, tmp_path: Path) -> None:
    rl_only = save(tmp_path / "rl.safetensors", task, base=0, tuned=1)
    other = save(tmp_path / "il.safetensors", task, base=0, tuned=2)
    landscape.run(SPEC, demos, (rl_only, other), tmp_path / "fig3.csv")
    frame = pd.read_csv(tmp_path / "fig3.csv")
    assert list(frame.columns) == list(landscape.COLUMNS)
    assert len(frame) == 3 * 2 + 2 * 2
    ways = frame[frame["part"] != landscape.MAP]
    ends = ways.set_index(["part", "share"])
    for path, place in ((rl_only, ("RL only to m = 10", 0.0)), (other, ("m = 10 to start", 0.0))):
        policy, _ = load_policy(path)
        alone = evaluate(PolicyActor(policy), task, 3, subseed(0, "landscape"))  # type: ignore[arg-type]
        assert ends.loc[place, "score"] == pytest.approx(alone.episode_return.mean(), rel=1e-4)
    for (_, end), (_, begin) in zip(ways.iloc[1::2].iterrows(), ways.iloc[[2, 4, 0]].iterrows(), strict=True):
        assert end["il_loss"] == pytest.approx(begin["il_loss"], rel=1e-5)
        assert end["score_low"] <= end["score"] <= end["score_high"]
    assert ways["il_loss"].nunique() >= 3

    figure = landscape_figure.draw(DRAWN, frame)
    land, loss, along, *_ = figure.axes
    assert [text.get_text() for text in land.texts] == ["start", "RL only", "m = 10"]
    assert loss.get_title() == "(b) imitation loss, held out"
    assert [label.get_text() for label in along.get_xticklabels()] == ["start", "RL only", "m = 10", "start"]
    assert figure.get_supxlabel().startswith("Budget: smoke. 3 episodes at each point")
    plt.close(figure)
    landscape_figure.run(DRAWN, tmp_path / "fig3.csv", [tmp_path / "fig3.pdf"])
    assert (tmp_path / "fig3.pdf").read_bytes().startswith(b"%PDF")


def test_what_spans_no_plane_is_refused(task: TaskSpec, demos: Path, tmp_path: Path) -> None:
    rl_only = save(tmp_path / "rl.safetensors", task, base=0, tuned=1)
    elsewhere = save(tmp_path / "elsewhere.safetensors", task, base=3, tuned=2)
    cloned = save(tmp_path / "cloned.safetensors", task, base=0, tuned=None)
    out = tmp_path / "fig3.csv"
    with pytest.raises(InputError, match=r"elsewhere.safetensors.*started from the same weights as"):
        landscape.run(SPEC, demos, (rl_only, elsewhere), out)
    with pytest.raises(InputError, match=r"cloned.safetensors.*whose last steps were fine-tuned"):
        landscape.run(SPEC, demos, (rl_only, cloned), out)
    with pytest.raises(InputError, match=r"rl.safetensors: expected weights off the line"):
        landscape.run(SPEC, demos, (rl_only, rl_only), out)
    assert not out.exists()


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "fig3.csv"
    table.write_text(",".join(landscape.COLUMNS) + "\nmap,0,0,0,1,1,1,1\n")
    with pytest.raises(InputError, match=r"fig3.csv: part: expected a map and three ways, got map"):
        landscape_figure.run(DRAWN, table, [tmp_path / "fig3.pdf"])
