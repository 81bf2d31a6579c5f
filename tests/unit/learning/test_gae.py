from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import double_sum

from inril.learning.gae import RewardScaler, gae


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.999, 1.0), (0.9, 0.0), (1.0, 0.5)])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_gae_equals_the_brute_force_mean_of_n_step_advantages(
    rng: np.random.Generator, gamma: float, lam: float, rate: float
) -> None:
    reward, value, next_value = rng.normal(size=(3, 17, 5))
    terminated, truncated = rng.random((2, 17, 5)) < rate
    # Where the episode goes on, the successor's value is that of the next row.
    next_value[:-1] = np.where(terminated[:-1] | truncated[:-1], next_value[:-1], value[1:])
    tensors = [torch.from_numpy(x) for x in (reward, value, next_value, terminated, truncated)]
    result = gae(*tensors, gamma, lam)
    assert result.advantage.dtype == torch.float64
    expected = double_sum(reward, value, next_value, terminated, truncated, gamma, lam)
    np.testing.assert_allclose(result.advantage, expected, atol=1e-12)
    np.testing.assert_allclose(result.returns, expected + value, atol=1e-12)


def test_termination_drops_the_successor_and_truncation_keeps_it() -> None:
    one = torch.ones(1, 3, dtype=torch.float64)
    yes, no = torch.tensor([[True]]), torch.tensor([[False]])
    terminated, truncated = torch.cat([yes, no, yes], 1), torch.cat([no, yes, yes], 1)
    advantage = gae(one, one, 10 * one, terminated, truncated, 0.5, 0.9).advantage
    assert advantage.tolist() == [[0.0, 5.0, 0.0]]  # on the last step of all, a terminal state is terminal


def naive_scaling(iterations: list[tuple[np.ndarray, np.ndarray]], gamma: float = 0.99) -> list[np.ndarray]:
    """Keep every discounted return ever seen, and take their variance anew each time."""
    seen: list[float] = []
    current = np.zeros(iterations[0][0].shape[1])
    scaled = []
    for reward, done in iterations:
        for row, ended in zip(reward, done, strict=True):
            current = gamma * current + row
            seen.extend(current)
            current[ended] = 0.0
        # The prior counts as 1e-4 samples of mean 0 and variance 1.
        total = len(seen) + 1e-4
        mean = sum(seen) / total
        var = (sum((x - mean) ** 2 for x in seen) + 1e-4 * (1 + mean**2)) / total
        scaled.append(np.clip(reward / np.sqrt(var + 1e-8), -10, 10))
    return scaled


def make_iterations(rng: np.random.Generator, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(rng.normal(1.0, 3.0, (6, 4)), rng.random((6, 4)) < 0.2) for _ in range(n)]


def test_rewards_are_divided_by_the_running_deviation_of_the_discounted_return(rng: np.random.Generator) -> None:
    iterations = make_iterations(rng, 4)
    scaler = RewardScaler(4)
    for (reward, done), expected in zip(iterations, naive_scaling(iterations), strict=True):
        np.testing.assert_allclose(scaler(reward, done), expected, rtol=1e-10)


def test_scaled_rewards_are_clipped_at_ten() -> None:
    reward = np.full((1000, 1), 1e-3)
    reward[500:502, 0] = 1.0, -1.0
    scaled = RewardScaler(1)(reward, np.ones((1000, 1), dtype=bool))
    assert 1 / np.std(reward) > 20
    assert (scaled.max(), scaled.min()) == (10.0, -10.0)


def test_scaler_goes_on_where_it_was_saved(rng: np.random.Generator) -> None:
    iterations = make_iterations(rng, 4)
    whole, first, second = RewardScaler(4), RewardScaler(4), RewardScaler(4)
    expected = [whole(*iteration) for iteration in iterations]
    for iteration in iterations[:2]:
        first(*iteration)
    second.load_state_dict(first.state_dict())
    for iteration, scaled in zip(iterations[2:], expected[2:], strict=True):
        np.testing.assert_array_equal(second(*iteration), scaled)


def test_without_discount_it_is_the_deviation_of_the_rewards_and_the_bound_can_be_chosen() -> None:
    rng = np.random.default_rng(1)
    reward = rng.normal(1.0, 3.0, (500, 4))
    scaler = RewardScaler(4, gamma=0.0, clip=2.0)
    scaled = scaler(reward, rng.random((500, 4)) < 0.2)
    np.testing.assert_allclose(scaled, np.clip(reward / reward.std(), -2, 2), rtol=1e-5)
