"""Which episodes are learnt from and which are held out."""

from __future__ import annotations

from inril.config.runs import HoldoutConfig
from inril.errors import InputError
from inril.seeding import stream
from inril.types import IntArray


def split_episodes(n_episodes: int, holdout: HoldoutConfig, seed: int = 0) -> tuple[IntArray, IntArray]:
    """Split episodes at random, always the same way for the same arguments.

    Pre-training and fine-tuning must use the same seed, or fine-tuning would hold out what was learnt before.

    Args:
        n_episodes: number of episodes.
        holdout: how many to hold out.
        seed: seed of the split; 0 is the split that `mask/` of a demonstration file names.

    Returns:
        train_ids, holdout_ids: indices of episodes, each ascending.

    Raises:
        InputError: nothing would be left to learn from.
    """
    n_holdout = holdout_size(n_episodes, holdout)
    if n_episodes <= n_holdout:
        raise InputError(
            "demonstrations",
            field="episodes",
            expected=f"more than the {n_holdout} that are held out",
            got=str(n_episodes),
            hint="Make more demonstrations, or lower holdout.fraction or holdout.min_episodes",
        )
    order = stream(seed, "holdout").permutation(n_episodes)
    holdout_ids, train_ids = order[:n_holdout], order[n_holdout:]
    train_ids.sort()
    holdout_ids.sort()
    return train_ids, holdout_ids


def holdout_size(n_episodes: int, holdout: HoldoutConfig) -> int:
    """Return how many of `n_episodes` are held out."""
    return max(round(holdout.fraction * n_episodes), holdout.min_episodes)
