from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn

from inril.config.policy import NetworkConfig
from inril.policies.critics import Critics

PLAIN = NetworkConfig(widths=(8, 8), activation="mish", residual=False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("n_critics", [2, 3, 5, 10])
def test_the_smaller_of_a_random_pair_on_average(n_critics: int) -> None:
    critics = Critics(PLAIN, 3, 2, 4, n_critics)
    obs, chunk = torch.randn(6, 3), torch.randn(6, 4, 2)
    values = critics(obs, chunk)
    assert values.shape == (n_critics, 6)
    pairs = [torch.minimum(values[i], values[j]) for i, j in combinations(range(n_critics), 2)]
    torch.testing.assert_close(critics.smaller(obs, chunk), torch.stack(pairs).mean(dim=0))


def test_every_critic_learns_the_targets() -> None:
    critics = Critics(PLAIN, 3, 2, 4, 3)
    obs, chunk, target = torch.randn(6, 3), torch.randn(6, 4, 2), torch.randn(6)
    expected = sum((value - target).square().mean() for value in critics(obs, chunk))
    torch.testing.assert_close(critics.loss(obs, chunk, target), expected)


def test_chunks_are_ranked_each_at_its_observation() -> None:
    critics = Critics(PLAIN, 3, 2, 4)
    obs, chunks = torch.randn(5, 3), torch.randn(5, 7, 4, 2)
    ranked = critics.rank(obs, chunks)
    for m in range(7):
        torch.testing.assert_close(ranked[:, m], critics.smaller(obs, chunks[:, m]))


def test_layers_are_normalised_before_their_activation() -> None:
    network = PLAIN.model_copy(update={"layer_norm": True})
    critics = Critics(network, 3, 2, 4)
    mlp = critics.networks[0]
    x = torch.randn(6, 11)
    y = x
    for layer, norm in zip(mlp.layers[:-1], mlp.norms, strict=True):  # type: ignore[union-attr,arg-type,index]
        y = nn.functional.mish(nn.functional.layer_norm(layer(y), (8,), norm.weight, norm.bias))
    torch.testing.assert_close(mlp.fast(x), mlp.layers[-1](y), rtol=1e-4, atol=1e-5)  # type: ignore[operator,index]
    assert "norms.0.weight" in mlp.state_dict()
    assert not any("norms" in name for name in Critics(PLAIN, 3, 2, 4).state_dict())
    with pytest.raises(ValueError, match="a plain network"):
        NetworkConfig(widths=(8, 8, 8), activation="mish", layer_norm=True)
