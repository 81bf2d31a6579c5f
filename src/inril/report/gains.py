"""What fine-tuning gained over the pre-trained policy, with an interval: the table behind docs/results.md.

Both sides come from `report` episodes, fresh ones that took no part in choosing a checkpoint, in the headline metric.
Where a run kept the policy that did best on the way, its level stands beside, on fresh episodes as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from inril.config.base import NOT_INTERLEAVED, RL_NAME
from inril.errors import InputError
from inril.report.aggregate import IL_UPDATES, RL_UPDATES, RUN, read_run, rows_of
from inril.report.levels import (
    NONE,
    RL_ONLY,
    best_is_reported,
    by_seed_text,
    episodes,
    gain_text,
    headline,
    level_text,
    mean_gain,
)
from inril.report.processors import processors_note
from inril.report.statistics import Array, Interval
from inril.report.tables import write_table

_IL_LOSS = "probe_holdout/il_loss"
ARM = RUN[:-1]  # all of a run but its seed
_HEADER = (
    "task",
    "method",
    "m",
    "seeds",
    "env steps",
    "RL / IL updates",
    "metric",
    "pre-trained",
    "final (per seed)",
    "gain [95 %]",
    "best checkpoint (per seed)",
    "held-out IL loss",
)


def run(finetune: Sequence[Path], pretrain: Sequence[Path], rl_only: Collection[str], out: Sequence[Path]) -> None:
    """Write the table of gains, one row per arm.

    Args:
        finetune: metrics.csv of every run.
        pretrain: metrics.csv of the policy that each run started from, in the same order.
        rl_only: methods that learn from rewards alone where nothing is interleaved.
        out: files to write, .csv, .html, .md or .tex by suffix.

    Raises:
        InputError: a file is unreadable or lacks a metric, or the two lists do not match.
    """
    if len(finetune) != len(pretrain):
        raise InputError("--pretrain", expected=f"{len(finetune)} files, one per run", got=str(len(pretrain)))
    pairs = [(path, read_run(path), before, read_run(before)) for path, before in zip(finetune, pretrain, strict=True)]
    table = pd.DataFrame([_row(arm, members) for arm, members in _by_arm(pairs)])
    note = processors_note({path: frame for path, frame, _, _ in pairs})
    write_table(table, _HEADER, list(_cells(table, rl_only)), out, note)


Pair = tuple[Path, pd.DataFrame, Path, pd.DataFrame]


def _by_arm(pairs: Sequence[Pair]) -> Iterator[tuple[tuple[str, ...], list[Pair]]]:
    arms: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs:
        first = pair[1].iloc[0]
        arms.setdefault(tuple(str(first[column]) for column in ARM), []).append(pair)
    yield from arms.items()


def _row(arm: tuple[str, ...], members: Sequence[Pair]) -> dict[str, object]:
    """Summarise one arm over its seeds."""
    frames = [frame for _, frame, _, _ in members]
    metric = headline(frames)
    before = [episodes(path, frame, metric) for _, _, path, frame in members]
    after = [episodes(path, frame, metric) for path, frame, _, _ in members]
    il_loss = [_values(path, frame, _IL_LOSS) for path, frame, _, _ in members]
    gain = mean_gain(before, after, metric)
    has_best = all(map(best_is_reported, frames))
    best = [episodes(path, frame, metric, "report_best") for path, frame, _, _ in members] if has_best else []
    return {
        **dict(zip(ARM, arm, strict=True)),
        "seeds": len(members),
        "env_steps": int(min(frame["env_steps"].max() for frame in frames)),
        "rl_updates": int(min(_values(path, frame, RL_UPDATES)[-1] for path, frame, _, _ in members)),
        "il_updates": int(min(_values(path, frame, IL_UPDATES)[-1] for path, frame, _, _ in members)),
        "episodes": "/".join(str(len(values)) for values in after),
        "metric": metric,
        "pretrained": _mean(before),
        "final": _mean(after),
        "final_by_seed": by_seed_text(after, metric),
        "gain": float(gain.estimate),
        "gain_low": float(gain.low),
        "gain_high": float(gain.high),
        "best": _mean(best) if best else np.nan,
        "best_by_seed": by_seed_text(best, metric),
        "il_loss_first": float(np.mean([values[0] for values in il_loss])),
        "il_loss_last": float(np.mean([values[-1] for values in il_loss])),
    }


def _values(path: Path, frame: pd.DataFrame, metric: str) -> Array:
    return rows_of(path, frame, metric)["value"].to_numpy(float)


def _mean(values: Sequence[Array]) -> float:
    return float(np.mean([of_seed.mean() for of_seed in values]))


def _cells(table: pd.DataFrame, rl_only: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rows for people."""
    for row in table.to_dict("records"):
        metric = row["metric"]
        plain = RL_NAME if row["method"] in rl_only else NOT_INTERLEAVED
        best = f"{level_text(row['best'], metric)} ({row['best_by_seed']})" if row["best_by_seed"] else NONE
        yield (
            row["task"],
            row["method"] if row["m"] == RL_ONLY else f"{row['method']}, {row['separation']}",
            plain if row["m"] == RL_ONLY else row["m"],
            str(row["seeds"]),
            f"{row['env_steps']:,}",
            f"{row['rl_updates']:,} / {row['il_updates']:,}",
            metric,
            level_text(row["pretrained"], metric),
            f"{level_text(row['final'], metric)} ({row['final_by_seed']})",
            gain_text(Interval(row["gain"], row["gain_low"], row["gain_high"]), metric),
            best,
            f"{row['il_loss_first']:.4f} → {row['il_loss_last']:.4f}",
        )
