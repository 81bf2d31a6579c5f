from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from inril.config.shown import FigureConfig, PanelConfig
from inril.report.aggregate import RUN_COLUMNS

WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Writes the metrics of a small run: returns rise by 10 with every iteration and by `offset` with the seed."""

    def write(m: str = "2", seed: int = 0, separation: str = "surgery", offset: float = 1.0, **changed: object) -> Path:
        run = {"task": "hopper", "method": "dppo", "separation": "none" if m == "inf" else separation}
        run |= {"m": m, "seed": seed} | changed
        rows = []
        for itr in range(6):
            facts = {
                "eval/return": 1000 + 10 * itr + offset * seed,
                "probe_holdout/il_loss": 0.1 + 0.01 * itr,
                "train/n_rl_updates": 20 * itr,
                "train/n_il_updates": 0 if m == "inf" else 20 * itr // int(m),
                "train/approx_kl": float("nan"),
            }
            for name, value in facts.items():
                split, metric = name.split("/")
                rows.append(
                    run | {"itr": itr, "env_steps": 800 * itr, "split": split, "metric": metric, "value": value}
                )
        path = tmp_path / f"{run['task']}-{run['method']}-{run['separation']}-m{m}-seed{seed}.csv"
        pd.DataFrame(rows, columns=list(RUN_COLUMNS)).to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def figure_config() -> FigureConfig:
    panel = PanelConfig(label="a", title="Hopper, DPPO", task="hopper", method="dppo", separation="surgery")
    return FigureConfig(panels=(panel,), metrics=("eval/return", "probe_holdout/il_loss"))
