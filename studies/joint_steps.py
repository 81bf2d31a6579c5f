"""What the arms of a frontier reach and what it costs them, beside one of them: differences seed by seed.

    python -m studies.joint_steps results/workstation/figures/balance.csv --baseline dppo/surgery/10

End levels are means over the last tenth of the steps; intervals of differences hold for all arms at once (Dunnett),
with the spread pooled over all of them. Only seeds on which all arms are complete take part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from inril.report.contrasts import Contrast, against_baseline
from inril.report.curves import Curve, end_level

_ARM = ["method", "separation", "m"]


def end_levels(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the end level of each seed (rows) and arm (columns) of a figure's table; incomplete seeds are left out."""
    ends = {}
    for (seed, *arm), run in table[table["metric"] == metric].groupby(["seed", *_ARM]):
        curve = Curve(run["env_steps"].to_numpy(float), run["value"].to_numpy(float))
        ends[seed, "/".join(map(str, arm))] = end_level(curve)
    return pd.Series(ends).unstack().dropna()


def differences(ends: pd.DataFrame, baseline: str) -> dict[str, Contrast]:
    """Return how much each arm's end level differs from that of one of them."""
    others = ends.drop(columns=baseline)
    contrasts = against_baseline(ends[baseline].to_numpy(), others.to_numpy())
    return dict(zip(others.columns, contrasts, strict=True))


def main() -> None:
    """Print a line per arm."""
    parser = argparse.ArgumentParser(prog="python -m studies.joint_steps", description=__doc__)
    parser.add_argument("table", type=Path, help="CSV behind a frontier")
    parser.add_argument("--baseline", required=True, help="arm that the others are compared with: METHOD/SEPARATION/M")
    parser.add_argument("--metrics", nargs="+", default=["eval/return", "probe_holdout/il_loss"])
    args = parser.parse_args()
    table = pd.read_csv(args.table, dtype={"m": str})
    for metric in args.metrics:
        ends = end_levels(table, metric)
        print(f"\n{metric}, seeds {', '.join(map(str, ends.index))}; difference from {args.baseline}")
        compared = differences(ends, args.baseline)
        for arm in ends.mean().sort_values(ascending=False).index:
            level = f"{arm:34} {ends[arm].mean():10.4g}  ({' / '.join(f'{value:.4g}' for value in ends[arm])})"
            if arm == args.baseline:
                print(level)
                continue
            mean, low, high = compared[arm].interval
            print(f"{level}  {mean:+.4g} [{low:+.4g}, {high:+.4g}]")


if __name__ == "__main__":
    main()
