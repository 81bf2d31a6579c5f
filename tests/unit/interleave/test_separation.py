from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inril.config.runs import IlConfig
from inril.errors import InputError
from inril.interleave.aggregators import make_aggregator, upgrad
from inril.interleave.separation import Joiner, combine, flatten, random_direction
from inril.learning.update import Info, Update
from inril.train.interleaving import make_joiner

Make = Callable[..., IlConfig]


class Problem:
    """A small network with two losses that pull apart."""

    def __init__(self, n_layers: int = 3) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(n_layers))).double()
        self.extra = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.x, self.y_rl, noise = torch.randn(3, 16, 4, dtype=torch.float64)
        self.y_il = 2 * self.net(self.x).detach() - self.y_rl + noise
        self.optimizer = torch.optim.SGD([*self.net.parameters(), self.extra], lr=0.1)

    def rl_loss(self) -> Tensor:
        return (self.net(self.x) - self.y_rl).square().mean() + self.extra.square().sum()

    def il_loss(self) -> Tensor:
        return (self.net(self.x) - self.y_il).square().mean()

    def update(self) -> Update:
        def backward() -> Info:
            loss = self.rl_loss()
            loss.backward()
            return {"loss": loss.item()}

        parameters = [*self.net.parameters(), self.extra]
        return Update("actor", backward, parameters, self.optimizer, None, is_actor=True)

    def gradients(self) -> tuple[list[Tensor], list[Tensor]]:
        shared = list(self.net.parameters())
        return list(torch.autograd.grad(self.rl_loss(), shared)), list(torch.autograd.grad(self.il_loss(), shared))

    def join(self, joiner: Joiner, noise: torch.Generator | None = None) -> tuple[Info, list[Tensor]]:
        update = self.update()
        update.zero_grad()
        update.backward()
        info = joiner.join(list(self.net.parameters()), self.il_loss, noise)
        return info, [p.grad for p in self.net.parameters() if p.grad is not None]


def test_balanced_gradients_are_joined_at_one_length(il_config: Make) -> None:
    problem = Problem()
    g_rl, g_il = problem.gradients()
    info, joint = problem.join(make_joiner("surgery", il_config(balance="norm", scale=1.0)))
    rl, il = flatten(g_rl), flatten(g_il)
    shorter = min(rl.norm().item(), il.norm().item())
    expected = upgrad(rl * (shorter / rl.norm()), il * (shorter / il.norm()), 1.0)
    torch.testing.assert_close(flatten(joint), expected)
    assert info["grad_norm_rl"] == pytest.approx(rl.norm().item())  # logged as they were computed
    assert info["grad_norm_il"] == pytest.approx(il.norm().item())


def test_surgery_projects_the_whole_network_as_one_vector(il_config: Make) -> None:
    problem = Problem()
    g_rl, g_il = problem.gradients()
    _, joint = problem.join(make_joiner("surgery", il_config()))
    expected = upgrad(flatten(g_rl), flatten(g_il), 0.5)
    assert flatten(g_rl) @ flatten(g_il) < 0
    torch.testing.assert_close(flatten(joint), expected)
    assert [g.shape for g in joint] == [p.shape for p in problem.net.parameters()]


def test_granularity_layer_projects_each_weight_with_its_bias(il_config: Make) -> None:
    problem = Problem()
    g_rl, g_il = problem.gradients()
    _, joint = problem.join(make_joiner("surgery", il_config(granularity="layer")))
    for i in (0, 2, 4):
        expected = upgrad(flatten(g_rl[i : i + 2]), flatten(g_il[i : i + 2]), 0.5)
        torch.testing.assert_close(flatten(joint[i : i + 2]), expected)
    whole = upgrad(flatten(g_rl), flatten(g_il), 0.5)
    assert not torch.allclose(flatten(joint), whole)


def test_layers_without_bias_and_a_leading_vector_form_groups_of_their_own(il_config: Make) -> None:
    shapes = [(2,), (3, 2), (3,), (3, 3), (4, 3), (4,)]
    generator = torch.Generator().manual_seed(1)
    parameters = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    g_rl = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    g_il = [torch.randn(shape, dtype=torch.float64, generator=generator) - 0.8 * g for shape, g in zip(shapes, g_rl)]  # noqa: B905
    for parameter, g in zip(parameters, g_rl, strict=True):
        parameter.grad = g.clone()
    make_joiner("surgery", il_config(granularity="layer")).join(
        parameters,
        lambda: sum((p * g).sum() for p, g in zip(parameters, g_il, strict=True)),  # type: ignore[return-value]
    )
    for group in ([0], [1, 2], [3], [4, 5]):
        expected = upgrad(flatten([g_rl[i] for i in group]), flatten([g_il[i] for i in group]), 0.5)
        torch.testing.assert_close(flatten([parameters[i].grad for i in group]), expected)  # type: ignore[misc]


@pytest.mark.parametrize("granularity", ["network", "layer"])
def test_separation_none_is_the_mean_whatever_the_aggregator(il_config: Make, granularity: str) -> None:
    problem = Problem()
    g_rl, g_il = problem.gradients()
    config = il_config(aggregator="torchjd.UPGrad", granularity=granularity)
    _, joint = problem.join(make_joiner("none", config))
    torch.testing.assert_close(flatten(joint), (flatten(g_rl) + flatten(g_il)) / 2)


def test_scale_is_that_of_the_config(il_config: Make) -> None:
    half, one = (Problem().join(make_joiner("surgery", il_config(scale=s)))[1] for s in (0.5, 1.0))
    torch.testing.assert_close(flatten(one), 2 * flatten(half))


def test_parameters_that_imitation_may_not_touch_keep_their_gradient(il_config: Make) -> None:
    problem = Problem()
    problem.join(make_joiner("surgery", il_config()))
    assert torch.equal(problem.extra.grad, 2 * problem.extra.detach())  # type: ignore[arg-type]
    first, *rest = problem.net
    before = problem.gradients()[0][0]
    update = problem.update()
    update.zero_grad()
    update.backward()
    allowed = [p for layer in rest for p in layer.parameters()]
    make_joiner("surgery", il_config()).join(allowed, problem.il_loss)
    torch.testing.assert_close(first.weight.grad, before)


def test_missing_reinforcement_gradient_counts_as_zero(il_config: Make) -> None:
    problem = Problem()
    _, g_il = problem.gradients()
    update = problem.update()
    update.zero_grad()
    info = make_joiner("surgery", il_config()).join(list(problem.net.parameters()), problem.il_loss)
    torch.testing.assert_close(flatten([p.grad for p in problem.net.parameters()]), flatten(g_il) / 2)  # type: ignore[misc]
    assert info["grad_norm_rl"] == info["joint_cosine"] == info["conflict_rate"] == 0


def test_what_is_logged_describes_the_two_gradients_before_joining(il_config: Make) -> None:
    problem = Problem()
    g_rl, g_il = (flatten(g) for g in problem.gradients())
    loss = problem.il_loss().item()
    for granularity in ("network", "layer"):
        info, _ = problem.join(make_joiner("surgery", il_config(granularity=granularity)))
        assert info["il_loss"] == pytest.approx(loss)
        assert info["grad_norm_rl"] == pytest.approx(g_rl.norm().item())
        assert info["grad_norm_il"] == pytest.approx(g_il.norm().item())
        assert info["joint_cosine"] == pytest.approx(torch.cosine_similarity(g_rl, g_il, dim=0).item())
        assert info["conflict_rate"] == 1


def test_joint_step_moves_the_parameters_against_the_joint_direction(il_config: Make) -> None:
    problem = Problem()
    before = flatten([p.detach().clone() for p in problem.net.parameters()])
    update = problem.update()
    update.zero_grad()
    update.backward()
    make_joiner("surgery", il_config()).join(list(problem.net.parameters()), problem.il_loss)
    joint = flatten([p.grad.clone() for p in problem.net.parameters() if p.grad is not None])
    update.apply()
    torch.testing.assert_close(flatten([p.detach() for p in problem.net.parameters()]), before - 0.1 * joint)


@pytest.mark.parametrize("separation", ["surgery", "none"])
def test_noise_takes_the_place_of_the_imitation_gradient_at_its_norm(il_config: Make, separation: Any) -> None:
    problem = Problem()
    g_rl, g_il = (flatten(g) for g in problem.gradients())
    joiner = make_joiner(separation, il_config())
    for seed in range(4):  # some of the directions conflict with g_rl, some do not
        info, joint = problem.join(joiner, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(seed)
        noise = flatten([torch.randn(p.shape, generator=generator).double() for p in problem.net.parameters()])
        noise *= g_il.norm() / noise.norm()
        torch.testing.assert_close(flatten(joint), joiner.aggregator(g_rl, noise))
        assert info["grad_norm_il"] == pytest.approx(g_il.norm().item())
        assert info["il_loss"] == pytest.approx(problem.il_loss().item())
        assert info["joint_cosine"] == pytest.approx(torch.cosine_similarity(g_rl, noise, dim=0).item())
        assert info["conflict_rate"] == (g_rl @ noise < 0)


def test_random_directions_favour_none() -> None:
    g = [torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([4.0])]
    generator = torch.Generator().manual_seed(0)
    drawn = [random_direction(g, generator) for _ in range(4000)]
    assert [part.shape for part in drawn[0]] == [(2, 2), (1,)]
    noise = torch.stack([flatten(parts) for parts in drawn])
    torch.testing.assert_close(noise.norm(dim=1), torch.full((4000,), 5.0))
    # Mean 0 and covariance |g|^2 / P, with standard errors of 0.035 and 0.09 at most.
    assert noise.mean(dim=0).abs().max() < 0.15
    torch.testing.assert_close(noise.T @ noise / 4000, 5.0 * torch.eye(5), atol=0.4, rtol=0)


def test_combining_keeps_shapes() -> None:
    generator = torch.Generator().manual_seed(0)
    g_rl, g_il = ([torch.randn(s, generator=generator) for s in ((2, 3), (4,), ())] for _ in range(2))
    joint = combine(make_aggregator("mean", 0.5), g_rl, g_il)
    for a, b, c in zip(joint, g_rl, g_il, strict=True):
        torch.testing.assert_close(a, (b + c) / 2)


def test_unknown_aggregator_is_refused_before_anything_runs(il_config: Make) -> None:
    with pytest.raises(InputError, match=r"^il: aggregator: expected one of upgrad, .*, got 'sum'$"):
        make_joiner("surgery", il_config().model_copy(update={"aggregator": "sum"}))
