"""How much imitation an arm adds up: the weight at which an imitation loss in every step would add as much.

    python -m studies.imitation_weight results/workstation/figures/balance.csv

Of m gradient steps of the actor the last is joint. Together they add

    (m - 1 + s w_R k_R) g_R + s w_I k_I g_I

where s is the aggregator's factor and k cuts a gradient to the other's length (`il.balance: norm`; else 1). In conflict
surgery (`inril.interleave.aggregators.upgrad`) makes w_R = 1 + |cos| |g_I| / |g_R| and w_I = 1 + |cos| |g_R| / |g_I|,
of gradients as they were cut; else both are 1. The weight is the quotient of the two factors: what it is without
projection, and the range that projection leaves, since runs log lengths and the share of steps in conflict, as means
over an iteration, but not each cosine. How steps follow one another under Adam is no part of it.

Beside it stand the arm's imitation loss and return at the end (as in `studies.joint_steps`, of the seeds that all arms
have) and the rank correlation of weight and imitation loss over the arms: -1 if more weight always keeps more. Arms
whose imitation has an optimiser of its own add up no gradients and are left out.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from scipy.stats import spearmanr

from inril.config.algos import DPPOConfig
from inril.config.layers import Layer, read_yaml, validate
from inril.config.paths import METRICS, finetune
from inril.config.runs import FinetuneConfig
from inril.report.curves import end_change, end_level
from studies.joint_steps import ends


class JointSteps(NamedTuple):
    """What a run logged of its joint steps, as means over them.

    Attributes:
        cosine: of the two gradients.
        conflicts: share of the steps in which it is negative.
        norm_rl: length of the reinforcement gradient.
        norm_il: length of the imitation gradient.
    """

    cosine: float
    conflicts: float
    norm_rl: float
    norm_il: float


class Weight(NamedTuple):
    """Of an imitation loss in every step that adds as much: least, without projection, and most."""

    low: float
    unprojected: float
    high: float


def weight_of(steps: JointSteps, m: int, scale: float, balances: bool) -> Weight:
    """Return the weight that one joint step in m amounts to.

    Args:
        steps: what was logged of them.
        m: gradient steps per joint one.
        scale: s.
        balances: the longer gradient is cut to the other's length before they are joined.
    """
    shorter = min(steps.norm_rl, steps.norm_il)
    cut_rl, cut_il = (shorter / steps.norm_rl, shorter / steps.norm_il) if balances else (1.0, 1.0)
    ratio = steps.norm_il * cut_il / (steps.norm_rl * cut_rl)
    most_rl, most_il = 1 + steps.conflicts * ratio, 1 + steps.conflicts / ratio

    def weight(w_rl: float, w_il: float) -> float:
        return scale * w_il * cut_il / (m - 1 + scale * w_rl * cut_rl)

    return Weight(weight(most_rl, 1), weight(1, 1), weight(1, most_il))


def joint_steps_of(metrics: pd.DataFrame) -> JointSteps:
    """Read a run's `metrics.csv`."""
    means = metrics[metrics["split"] == "train"].groupby("metric")["value"].mean()
    return JointSteps(*(means[name] for name in ("joint_cosine", "conflict_rate", "grad_norm_rl", "grad_norm_il")))


def described(config: FinetuneConfig, metrics: pd.DataFrame) -> dict[str, float] | None:
    """Return a run's weight and what it follows from; None if its imitation adds to no gradient."""
    if config.m == "inf":
        loss = config.algo.bc_loss if isinstance(config.algo, DPPOConfig) else None
        return Weight(*[0.0 if loss is None else loss.weight] * 3)._asdict()
    if config.separation != "surgery" or config.il.optimizer == "own":
        return None
    steps = joint_steps_of(metrics)
    weight = weight_of(steps, config.m, config.il.scale, config.il.balance == "norm")
    return weight._asdict() | {
        "cosine": steps.cosine,
        "conflicts": steps.conflicts,
        "|g_IL| / |g_RL|": steps.norm_il / steps.norm_rl,
    }


def main() -> None:
    """Print a line per arm, the one with the most imitation first."""
    parser = argparse.ArgumentParser(prog="python -m studies.imitation_weight", description=__doc__)
    parser.add_argument("table", type=Path, help="CSV behind a frontier, in results/<budget>/figures/")
    args = parser.parse_args()
    table = pd.read_csv(args.table, dtype={"m": str})
    returns = ends(table, "eval/return", end_level)
    losses = 100 * ends(table, "probe_holdout/il_loss", end_change)
    (task,) = table["task"].unique()
    rows = []
    for arm, seed in product(returns.columns, returns.index):
        method, separation, m = arm.split("/")
        folder = finetune(args.table.parts[-3], task, method, separation, "inf" if m == "inf" else int(m), seed)
        path = folder / "config.yaml"
        config = validate(FinetuneConfig, [Layer(path, read_yaml(path))])
        row = described(config, pd.read_csv(folder / METRICS, dtype={"m": str}))
        if row is not None:
            rows.append({"arm": arm, **row, "IL loss, %": losses.loc[seed, arm], "return": returns.loc[seed, arm]})
    shown = pd.DataFrame(rows).groupby("arm").mean().sort_values("unprojected", ascending=False)
    print(f"seeds {', '.join(map(str, returns.index))}\n\n{shown.to_string(float_format='{:.4g}'.format, na_rep='-')}")
    correlation = spearmanr(shown["unprojected"], shown["IL loss, %"]).statistic
    print(f"\nrank correlation of weight and imitation loss over {len(shown)} arms: {correlation:.2f}")


if __name__ == "__main__":
    main()
