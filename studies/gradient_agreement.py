"""In how many iterations two halves of a rollout agree on where reinforcement should go: chance is half of them.

    python -m studies.gradient_agreement results/workstation/finetune/*/residual_ppo/none/minf/seed*/metrics.csv

A run measures both gradients on independent halves (`inril.interleave.diagnostics`) and logs the root of their inner
product, or 0 where it is negative.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from inril.report.statistics import wilson
from inril.types import BoolArray


def agreement(metrics: Path) -> BoolArray:
    """Return for each measured iteration of a run whether the halves agreed."""
    rows = pd.read_csv(metrics)
    rows = rows[(rows["split"] == "train") & (rows["metric"] == "grad_norm_rl_corrected")]
    return np.asarray(rows["value"] > 0)


def main() -> None:
    """Pool the runs that are named."""
    parser = argparse.ArgumentParser(prog="python -m studies.gradient_agreement", description=__doc__)
    parser.add_argument("metrics", nargs="+", type=Path, help="metrics.csv of each run")
    agreed = np.concatenate([agreement(path) for path in parser.parse_args().metrics])
    share, low, high = wilson(agreed.astype(float))
    print(f"{agreed.sum()} of {len(agreed)} iterations, {100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]")


if __name__ == "__main__":
    main()
