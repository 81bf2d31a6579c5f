"""The ledger: what every run cost, on which processor and from which code it was made.

One row per complete run, fine-tuning or pre-training, from what the run's folder tells: timing.csv (CPU time over all
interruptions; of pre-training Snakemake's benchmark.tsv, which has the last start alone) and the head of config.yaml.
Rows of runs that are not in the folder, such as those made elsewhere and pulled, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from inril.config import paths
from inril.files import write_atomically
from inril.report.aggregate import read_csv, read_run
from inril.train.origin import read_origins

COLUMNS = ("run", "env_steps", "cpu_hours", "processor", "code")


def run(budget: str, results: Path, out: Path) -> None:
    """Renew the rows of a budget's runs.

    Args:
        budget: whose runs.
        results: folder that holds results/.
        out: the ledger, CSV; made if it is not there.

    Raises:
        InputError: the ledger or a run's metrics are unreadable.
    """
    known = read_csv(out, COLUMNS, ()).to_dict("records") if out.exists() else []
    rows: dict[object, Mapping[Any, object]] = {row["run"]: row for row in known}
    home = results / "results" / budget
    for metrics in sorted([*home.glob(f"finetune/**/{paths.METRICS}"), *home.glob(f"pretrain/**/{paths.METRICS}")]):
        row = _row(results, metrics)
        if row is not None:
            rows[row["run"]] = row
    table = pd.DataFrame([rows[name] for name in sorted(rows, key=str)], columns=list(COLUMNS))
    write_atomically(out, table.to_csv(index=False).encode())


def _row(results: Path, metrics: Path) -> dict[str, object] | None:
    """Describe a run; None if it was not made in this folder."""
    folder = metrics.parent
    origins = read_origins(folder / "config.yaml")
    cpu_s = _cpu_seconds(folder)
    if cpu_s is None or not origins:
        return None
    return {
        "run": str(folder.relative_to(results)),
        "env_steps": int(read_run(metrics)["env_steps"].max()),
        "cpu_hours": f"{cpu_s / 3600:.3f}",
        "processor": " + ".join(dict.fromkeys(origin.processor for origin in origins)),
        "code": " + ".join(dict.fromkeys(origin.code for origin in origins)),
    }


def _cpu_seconds(folder: Path) -> float | None:
    timing, benchmark = folder / "timing.csv", folder / "benchmark.tsv"
    if timing.exists():
        table = read_run(timing)
        return float(table.loc[table["metric"] == "cpu_seconds/all", "value"].sum())
    if benchmark.exists():
        return float(pd.read_csv(benchmark, sep="\t")["cpu_time"].sum())
    return None
