"""Lines of a figure's panel, and what metrics are called on it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pandas as pd

from inril.report.statistics import Array

Dashes = tuple[float, tuple[float, ...]] | Literal["-"]

LABELS = {
    "eval/return": "Return",
    "eval/success": "Success rate",
    "train/return": "Return in training",
    "probe_train/il_loss": "IL loss",
    "probe_holdout/il_loss": "IL loss (held out)",
}


class Arm(NamedTuple):
    """One line of a panel, over its seeds: RL only, one m, or a control."""

    name: str
    color: str
    dashes: Dashes
    label: str
    runs: pd.DataFrame

    def curves(self, metric: str) -> list[tuple[Array, Array]]:
        """Return env steps (n,) and values (n,) of each seed."""
        rows = self.runs[self.runs["metric"] == metric]
        return [
            (seed["env_steps"].to_numpy(float), seed["value"].to_numpy(float))
            for _, seed in rows.groupby("seed", sort=True)
        ]
