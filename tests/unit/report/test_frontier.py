from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from inril.config.shown import FigureConfig, FigureSpec
from inril.report import figures, frontier
from inril.report.aggregate import IL_UPDATES, RL_UPDATES, TABLE_COLUMNS

RETURN, LOSS = "eval/return", "probe_holdout/il_loss"
# Method, separation, m: end level of return, of imitation loss.
ARMS = {
    ("dppo", "none", "inf"): (2000, 0.45),
    ("dppo", "surgery", "3"): (1500, 0.40),
    ("dppo", "surgery", "10"): (1700, 0.41),
    ("dppo_norm", "surgery", "3"): (1800, 0.42),
    ("dppo_norm", "surgery", "10"): (1900, 0.43),
    ("dppo_demoloss", "none", "inf"): (1600, 0.42),
}


@pytest.fixture
def spec() -> FigureSpec:
    figure = FigureConfig.model_validate(
        {
            "kind": "frontier",
            "metrics": [RETURN, LOSS],
            "panels": [
                {
                    "label": "a", "title": "Hopper", "task": "hopper", "method": "dppo", "separation": "surgery",
                    "controls": [
                        {"method": "dppo_norm", "m": 3, "title": "norm, m = 3"},
                        {"method": "dppo_norm", "m": 10, "title": "norm, m = 10"},
                        {"method": "dppo_demoloss", "title": "weight, 0.05"},
                    ],
                }
            ],
        }
    )  # fmt: skip
    return FigureSpec(budget="workstation", figure=figure)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two seeds, one above and one below; only the last tenth of the steps is at the end level."""
    rows = []
    for (method, separation, m), (level, loss) in ARMS.items():
        for seed, sign in ((0, -1), (1, 1)):
            run = {"panel": "a", "task": "hopper", "method": method, "separation": separation, "m": m, "seed": seed}
            for step in range(0, 1001, 50):
                late = step > 900
                facts = {RETURN: level + 10 * sign if late else 0, LOSS: loss if late else 1.0}
                facts |= {RL_UPDATES: step, IL_UPDATES: step / 10}
                rows += [run | {"env_steps": step, "metric": name, "value": value} for name, value in facts.items()]
    path = tmp_path / "balance.csv"
    pd.DataFrame(rows, columns=list(TABLE_COLUMNS)).to_csv(path, index=False)
    return path


def test_every_arm_is_a_point_at_its_end_levels(spec: FigureSpec, table: Path) -> None:
    frame = figures.read_csv(table, figures.TABLE_COLUMNS, ("value",))
    figure = figures.draw(spec, [figures.panel_arms(spec, spec.figure.panels[0], frame, table)])
    (ax,) = figure.axes
    assert "crosses: each seed, markers: their mean" in " ".join(figure.get_supxlabel().split())
    joined = [line for line in ax.lines if line.get_linewidth() > 0]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    families = {name: line.get_xydata() for name, line in zip(names, joined, strict=True)}
    assert {name: len(points) for name, points in families.items()} == {
        "RL only": 1, "surgery": 2, "norm": 2, "weight": 1,
    }  # fmt: skip
    np.testing.assert_allclose(families["surgery"], [(-60, 1500), (-59, 1700)])
    np.testing.assert_allclose(families["norm"], [(-58, 1800), (-57, 1900)])
    seeds = [line for line in ax.lines if line.get_linewidth() == 0]
    assert sorted(seeds[0].get_ydata()) == [1990, 2010]
    written = {text.get_text() for text in ax.texts}
    assert {"m = 3", "m = 10", "0.05"} <= written
    plt.close("all")


def test_files(spec: FigureSpec, table: Path, tmp_path: Path) -> None:
    figures.run(spec, table, [tmp_path / "balance.pdf", tmp_path / "balance.png"])
    assert (tmp_path / "balance.pdf").read_bytes().startswith(b"%PDF")


def test_a_frontier_has_two_metrics(spec: FigureSpec) -> None:
    with pytest.raises(ValueError, match="two metrics of a frontier"):
        FigureConfig.model_validate(spec.figure.model_dump() | {"metrics": [RETURN]})


def test_labels_of_points_that_lie_close_do_not_cover_each_other() -> None:
    _, ax = plt.subplots(figsize=(4, 4), layout="constrained")
    points = [(0.0, 0.0), (1.0, 1.0), (0.95, 0.96), (0.9, 1.02), (0.92, 0.94)]
    ax.plot(*zip(*points, strict=True))
    frontier._place(ax, [(f"m = {i}", np.array(point), "k") for i, point in enumerate(points)])
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == [f"m = {i}" for i in range(5)]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    plt.close("all")
