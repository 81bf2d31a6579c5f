"""What the arms of a frontier reach and what it costs them, beside one of them: differences seed by seed.

    python -m studies.joint_steps results/workstation/figures/balance.csv --baseline dppo/surgery/10

Returns are means over the last tenth of the steps, and so are imitation losses, as changes since pre-training.
Intervals of differences hold for all arms at once (Dunnett), with the spread pooled over all of them. Only seeds on
which all arms are complete take part. The rank correlation tells how nearly the arms lie along one curve: 1 if more
return always goes with more imitation loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from inril.report.contrasts import Contrast, against_baseline
from inril.report.curves import Curve, end_change, end_level

_ARM = ["method", "separation", "m"]


def ends(table: pd.DataFrame, metric: str, measure: Callable[[Curve], float]) -> pd.DataFrame:
    """Return a number per seed (rows) and arm (columns) of a figure's table; incomplete seeds are left out."""
    measured = {}
    for (seed, *arm), run in table[table["metric"] == metric].groupby(["seed", *_ARM]):
        curve = Curve(run["env_steps"].to_numpy(float), run["value"].to_numpy(float))
        measured[seed, "/".join(map(str, arm))] = measure(curve)
    return pd.Series(measured).unstack().dropna()


def differences(measured: pd.DataFrame, baseline: str) -> dict[str, Contrast]:
    """Return how much each arm differs from one of them."""
    others = measured.drop(columns=baseline)
    contrasts = against_baseline(measured[baseline].to_numpy(), others.to_numpy())
    return dict(zip(others.columns, contrasts, strict=True))


def rank_correlation(returns: pd.DataFrame, losses: pd.DataFrame) -> float:
    """Return Spearman's correlation, over the arms, of mean return and mean imitation loss."""
    means = pd.concat([returns.mean(), losses.mean()], axis=1)
    return float(spearmanr(means).statistic)


def main() -> None:
    """Print two lines per arm."""
    parser = argparse.ArgumentParser(prog="python -m studies.joint_steps", description=__doc__)
    parser.add_argument("table", type=Path, help="CSV behind a frontier")
    parser.add_argument("--baseline", required=True, help="arm that the others are compared with: METHOD/SEPARATION/M")
    args = parser.parse_args()
    table = pd.read_csv(args.table, dtype={"m": str})
    returns = ends(table, "eval/return", end_level)
    losses = 100 * ends(table, "probe_holdout/il_loss", end_change)
    _show("return", returns, args.baseline)
    _show("imitation loss, change in percent", losses, args.baseline)
    print(f"\nrank correlation of the two over {len(returns.columns)} arms: {rank_correlation(returns, losses):.2f}")


def _show(title: str, measured: pd.DataFrame, baseline: str) -> None:
    print(f"\n{title}; seeds {', '.join(map(str, measured.index))}; difference from {baseline}")
    compared = differences(measured, baseline)
    for arm in measured.mean().sort_values(ascending=False).index:
        level = f"{arm:34} {measured[arm].mean():9.4g}  ({' / '.join(f'{value:.4g}' for value in measured[arm])})"
        if arm == baseline:
            print(level)
            continue
        mean, low, high = compared[arm].interval
        print(f"{level}  {mean:+.4g} [{low:+.4g}, {high:+.4g}]")


if __name__ == "__main__":
    main()
