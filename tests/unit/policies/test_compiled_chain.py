"""Chains in compiled loops are those of torch's operations, to the last bit."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, NetworkConfig, UNetConfig
from inril.learning.optimizer import AdamW
from inril.policies import compiled_chain, mlp
from inril.policies.denoiser import Denoiser, MLPDenoiser
from inril.policies.diffusion import Chain, chain_noise, make_denoiser, sample_chain, training_std
from inril.policies.ema import update_ema
from inril.policies.noise_schedule import NoiseSchedule

N_STEPS, HORIZON = 6, 3


def denoiser(task: TaskSpec, config: DiffusionConfig, seed: int = 0, **network: object) -> Denoiser:
    torch.manual_seed(seed)
    settings = {"widths": (16, 16, 16), "activation": "mish", "residual": True} | network
    return make_denoiser(config.model_copy(update={"network": NetworkConfig(**settings)}), task, HORIZON)  # type: ignore[arg-type]


def sample(nets: list[Denoiser], task: TaskSpec, n_rows: int) -> Chain:
    schedule, generator = NoiseSchedule(N_STEPS), torch.Generator().manual_seed(1)
    obs = torch.randn(n_rows, task.obs_dim, generator=generator)
    noise = chain_noise(schedule, (n_rows, HORIZON, task.action_dim), generator)
    return sample_chain(nets, schedule, obs, noise, training_std(schedule, 0.1))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of networks of each chain that was sampled in compiled loops."""
    runs: list[int] = []
    run = compiled_chain.run

    def watched(networks: list[mlp.GivenMLP], *rest: object) -> None:
        runs.append(len(set(map(id, networks))))
        run(networks, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(compiled_chain, "run", watched)
    return runs


def without_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_chain, "networks_of", lambda predictions: None)


@pytest.mark.skipif(
    not compiled_chain.can_equal_torch(), reason="this torch has no BLAS that can be called, or rounds otherwise"
)
@pytest.mark.parametrize("activation", ["mish", "relu"])
@pytest.mark.parametrize("widths", [(16,) * 3, (33,) * 5, (7,) * 7, (256,) * 3])
@pytest.mark.parametrize("n_rows", [1, 7, 40])
def test_compiled_chain_has_the_bits_of_torchs(
    activation: str,
    widths: tuple[int, ...],
    n_rows: int,
    task: TaskSpec,
    diffusion_config: DiffusionConfig,
    runs: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nets = [denoiser(task, diffusion_config, seed, widths=widths, activation=activation) for seed in (0, 1)]
    of_steps = [nets[0]] * 2 + [nets[1]] * 4
    chain = sample(of_steps, task, n_rows)
    assert runs == [2]
    without_compiled_loops(monkeypatch)
    expected = sample(of_steps, task, n_rows)
    assert len(runs) == 1
    for actual, wanted in zip(chain, expected, strict=True):
        assert torch.equal(actual, wanted)
    assert (chain.mean.abs() < 0.99).any()  # not all is clipped


@pytest.mark.skipif(
    not compiled_chain.can_equal_torch(), reason="this torch has no BLAS that can be called, or rounds otherwise"
)
def test_what_is_no_number_is_not_hidden(task: TaskSpec, diffusion_config: DiffusionConfig, runs: list[int]) -> None:
    for activation in ("mish", "relu"):
        net = denoiser(task, diffusion_config, activation=activation)
        with torch.no_grad():
            next(net.mlp.parameters())[0, 0] = math.nan  # type: ignore[union-attr]
        assert sample([net] * N_STEPS, task, 4).x[-1].isnan().all()
    assert len(runs) == 2


@pytest.mark.parametrize("network", [{"activation": "tanh"}, {"residual": False}, {"widths": (16,)}])
def test_other_networks_are_torchs(
    network: dict[str, object], task: TaskSpec, diffusion_config: DiffusionConfig, runs: list[int]
) -> None:
    net = denoiser(task, diffusion_config, **network)
    assert sample([net] * N_STEPS, task, 4).x.isfinite().all()
    assert runs == []


def test_a_u_net_is_torchs(task: TaskSpec, diffusion_config: DiffusionConfig, runs: list[int]) -> None:
    config = diffusion_config.model_copy(update={"network": UNetConfig(kind="unet", widths=(8, 16))})
    net = make_denoiser(config, task, 4)
    noise = chain_noise(NoiseSchedule(N_STEPS), (2, 4, task.action_dim), torch.Generator())
    obs = torch.zeros(2, task.obs_dim)
    assert sample_chain([net] * N_STEPS, NoiseSchedule(N_STEPS), obs, noise, [0.1] * N_STEPS).x.isfinite().all()
    assert runs == []


def test_products_that_onednn_takes_are_left_to_it(
    task: TaskSpec, diffusion_config: DiffusionConfig, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_chain, "is_onednns", lambda rows, n_multiplications: n_multiplications >= 40 * 16 * 16)
    net = denoiser(task, diffusion_config)
    for n_rows, wanted in ((40, 0), (39, 1)):
        runs.clear()
        sample([net] * N_STEPS, task, n_rows)
        assert len(runs) == (wanted if compiled_chain.can_equal_torch() else 0)


def _step(net: nn.Module) -> None:
    optimizer = AdamW(net.parameters(), 0.1)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _load(net: nn.Module) -> None:
    net.load_state_dict({name: value + 0.1 for name, value in net.state_dict().items()})


def _average(net: nn.Module) -> None:
    other = copy.deepcopy(net)
    _step(other)
    update_ema(net, other, 0.5)


def _edit(net: nn.Module) -> None:
    assert isinstance(net, MLPDenoiser)
    with torch.no_grad():
        net.time_out.bias[0] += 1


@pytest.mark.parametrize("change", [_step, _load, _average, _edit])
def test_chains_are_those_of_the_weights_of_now(
    change: Callable[[nn.Module], None], task: TaskSpec, diffusion_config: DiffusionConfig
) -> None:
    net = denoiser(task, diffusion_config)
    before = sample([net] * N_STEPS, task, 4)
    assert torch.equal(sample([net] * N_STEPS, task, 4).x, before.x)
    change(net)
    after = sample([net] * N_STEPS, task, 4)
    assert not torch.equal(after.x, before.x)
    fresh = denoiser(task, diffusion_config, seed=9)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(after.x, sample([fresh] * N_STEPS, task, 4).x)


def test_copies_work_out_their_own(task: TaskSpec, diffusion_config: DiffusionConfig) -> None:
    net = denoiser(task, diffusion_config)
    before = sample([net] * N_STEPS, task, 4)
    copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    _step(net)
    for other in copies:
        assert torch.equal(sample([other] * N_STEPS, task, 4).x, before.x)
        _step(other)
        assert torch.equal(sample([other] * N_STEPS, task, 4).x, sample([net] * N_STEPS, task, 4).x)
