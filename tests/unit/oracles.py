"""Slow, plain recomputations."""

from __future__ import annotations

import numpy as np


def double_sum(
    reward: np.ndarray, value: np.ndarray, next_value: np.ndarray, terminated: np.ndarray, truncated: np.ndarray,
    gamma: float, lam: float,
) -> np.ndarray:  # fmt: skip
    """A_t as the lambda-weighted mean of all n-step advantages of the rest of its episode (Schulman et al., eq. 15-16).

    The longest n-step return of a piece of trajectory takes all the weight that is left.
    """
    advantage = np.zeros_like(reward)
    n_rows, n_envs = reward.shape
    for e in range(n_envs):
        for t in range(n_rows):
            ends = [s for s in range(t, n_rows) if terminated[s, e] or truncated[s, e]]
            last = ends[0] if ends else n_rows - 1
            for n in range(1, last - t + 2):
                bootstrap = 0.0 if terminated[t + n - 1, e] else next_value[t + n - 1, e]
                n_step = sum(gamma**i * reward[t + i, e] for i in range(n)) + gamma**n * bootstrap
                weight = lam ** (n - 1) * (1 - lam) if t + n - 1 < last else lam ** (n - 1)
                advantage[t, e] += weight * (n_step - value[t, e])
    return advantage
