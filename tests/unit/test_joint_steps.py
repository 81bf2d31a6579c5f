"""What the study of joint steps tells of curves whose verdict is known."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from inril.report.curves import end_level
from studies.joint_steps import differences, ends, rank_correlation

LEVELS = {"inf": 2000.0, "30": 1900.0, "10": 1700.0}
LAST_SEED = 3


def curves(levels: Mapping[str, float], n_points: int = 40) -> pd.DataFrame:
    """Arms that rise to a level per m, one higher from seed to seed; the last seed lacks an arm."""
    rows = [
        ("dppo", "surgery", m, seed, itr * 1000, "eval/return", level + seed if itr > n_points // 2 else 0.0)
        for m, level in levels.items()
        for seed in range(LAST_SEED + 1)
        for itr in range(1, n_points + 1)
        if (m, seed) != ("10", LAST_SEED)
    ]
    return pd.DataFrame(rows, columns=["method", "separation", "m", "seed", "env_steps", "metric", "value"])


def test_only_seeds_that_all_arms_have_take_part() -> None:
    returns = ends(curves(LEVELS), "eval/return", end_level)
    assert returns.index.tolist() == [0, 1, 2]
    assert {arm: values.tolist() for arm, values in returns.items()} == {
        f"dppo/surgery/{m}": [level, level + 1, level + 2] for m, level in LEVELS.items()
    }


def test_differences_are_taken_seed_by_seed() -> None:
    compared = differences(ends(curves(LEVELS), "eval/return", end_level), "dppo/surgery/10")
    assert {arm: contrast.interval[0] for arm, contrast in compared.items()} == {
        "dppo/surgery/inf": pytest.approx(300.0),
        "dppo/surgery/30": pytest.approx(200.0),
    }


def test_arms_of_one_curve_have_rank_correlation_one() -> None:
    returns = ends(curves(LEVELS), "eval/return", end_level)
    assert rank_correlation(returns, returns**2) == pytest.approx(1.0)
    assert rank_correlation(returns, -returns) == pytest.approx(-1.0)
    losses = returns.copy()
    losses["dppo/surgery/30"] = returns["dppo/surgery/inf"] + 1  # two of three change places
    assert rank_correlation(returns, losses) == pytest.approx(0.5)
