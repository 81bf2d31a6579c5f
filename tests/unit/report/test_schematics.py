from __future__ import annotations

from pathlib import Path
from typing import get_args

import matplotlib.pyplot as plt
import pytest

from inril.config.shown import Schematic
from inril.errors import InputError
from inril.report import schematics


def test_every_drawing_is_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in get_args(Schematic):
        first, second = tmp_path / f"{name}.pdf", tmp_path / f"{name} again.pdf"
        for path in (first, second):
            schematics.run(name, [path, path.with_suffix(".png")], font_size=8)
        assert first.read_bytes().startswith(b"%PDF")
        assert first.read_bytes() == second.read_bytes()
    with pytest.raises(InputError, match=r"ending in one of pdf, png, got \.svg"):
        schematics.run("overview", [tmp_path / "fig2.svg"], font_size=8)


def test_every_fifth_update_of_the_overview_is_a_joint_one() -> None:
    figure = schematics.overview()
    labels = [text.get_text() for text in figure.axes[0].texts if text.get_text() in ("RL", "RL+IL")]
    assert labels == [*(["RL"] * 4), "RL+IL"] * 3 + ["RL"] * 2
    plt.close(figure)
