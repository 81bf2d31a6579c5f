from __future__ import annotations

import copy
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from inril.config.algos import DPPOConfig
from inril.config.base import TaskSpec
from inril.config.layers import Layer, merge, read_yaml, validate
from inril.config.policy import DiffusionConfig, UNetConfig
from inril.config.project import Project
from inril.config.runs import PretrainConfig
from inril.errors import InputError
from inril.learning.optimizer import AdamW
from inril.policies.diffusion import DiffusionPolicy, chain_noise, denoising_loss, evaluation_std, sample_chain
from inril.policies.unet import UNetDenoiser

CONFIG = Path(__file__).parents[3] / "config"


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config(widths: tuple[int, ...] = (8, 16, 24), **changed: Any) -> DiffusionConfig:
    return DiffusionConfig(network=UNetConfig(kind="unet", widths=widths, **changed), time_dim=6, denoising_steps=6)


@pytest.fixture
def policy(task: TaskSpec) -> DiffusionPolicy:
    torch.manual_seed(0)
    return DiffusionPolicy(config(), task, horizon_steps=8)


@pytest.fixture
def net(policy: DiffusionPolicy) -> UNetDenoiser:
    assert isinstance(policy.denoiser, UNetDenoiser)
    return policy.denoiser


def batch(n: int, horizon_steps: int = 8, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Chunks, denoising indices and observations."""
    chunk = torch.randn(n, horizon_steps, 2, generator=stream(1), dtype=dtype)
    return chunk, torch.randint(6, (n,), generator=stream(2)), torch.randn(n, 5, generator=stream(3), dtype=dtype)


def test_noise_has_the_shape_of_the_chunk_and_rows_do_not_mix(net: UNetDenoiser) -> None:
    chunk, t, obs = batch(4)
    time = net.time_table()[t]
    noise = net(chunk, time, obs)
    assert noise.shape == (4, 8, 2)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(chunk[order], time[order], obs[order]), noise[order])
    torch.testing.assert_close(net(chunk[:1], time[:1], obs[:1]), noise[:1], atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient(net: UNetDenoiser) -> None:
    chunk, t, obs = batch(4)
    (net(chunk, net.time_table()[t], obs) ** 2).sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_gradients_agree_with_finite_differences(task: TaskSpec) -> None:
    torch.manual_seed(0)
    policy = DiffusionPolicy(config((2, 4), groups=2, kernel=3), task, horizon_steps=4).double()
    chunk, t, obs = batch(3, 4, torch.float64)

    def loss(*_: Tensor) -> Tensor:
        return denoising_loss(policy.denoiser, policy.schedule, obs, chunk, t, chunk.flip(0))

    assert torch.autograd.gradcheck(loss, tuple(policy.denoiser.parameters()), fast_mode=True)


def n_parameters(widths: tuple[int, ...], obs_dim: int, action_dim: int, time_dim: int, kernel: int = 5) -> int:
    """Count layer by layer."""

    def block(n: int, m: int) -> int:
        convolutions = (n * kernel + 1) * m + (m * kernel + 1) * m
        norms = 2 * 2 * m
        film = (time_dim + obs_dim + 1) * 2 * m
        skip = (n + 1) * m if n != m else 0
        return convolutions + norms + film + skip

    time = (time_dim + 1) * 4 * time_dim + (4 * time_dim + 1) * time_dim
    down = sum(block(n, m) + block(m, m) for n, m in zip((action_dim, *widths[:-1]), widths, strict=True))
    shorten = sum((3 * n + 1) * n for n in widths[:-1])
    middle = 2 * block(widths[-1], widths[-1])
    up = sum(block(2 * m, n) + block(n, n) + (4 * n + 1) * n for n, m in pairwise(widths))
    first = widths[0]
    out = (first * kernel + 1) * first + 2 * first + (first + 1) * action_dim
    return time + down + shorten + middle + up + out


@pytest.mark.parametrize("widths", [(8, 16), (64, 128, 256), (256, 512, 1024)])
def test_number_of_parameters_is_that_of_its_layers(task: TaskSpec, widths: tuple[int, ...]) -> None:
    denoiser = UNetDenoiser(config(widths), UNetConfig(kind="unet", widths=widths), task)
    assert sum(p.numel() for p in denoiser.parameters()) == n_parameters(widths, 5, 2, 6)


def without_norms(net: UNetDenoiser) -> UNetDenoiser:
    """Group norm looks at all steps at once; without it the network is local."""
    net = copy.deepcopy(net).double()
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    return net


def test_steps_of_a_chunk_are_treated_alike_and_see_their_neighbourhood(net: UNetDenoiser) -> None:
    local = without_norms(net)
    chunk, t, obs = batch(1, 512, torch.float64)
    time = local.time_table()[t]
    noise = local(chunk, time, obs)
    shifted = local(chunk.roll(4, dims=1), time, obs)  # by as much as the coarsest level's step
    inner = slice(200, 300)
    torch.testing.assert_close(shifted.roll(-4, dims=1)[:, inner], noise[:, inner], atol=1e-12, rtol=1e-9)
    chunk.requires_grad_()
    (gradient,) = torch.autograd.grad(local(chunk, time, obs)[0, 256].sum(), chunk)
    seen = gradient[0].abs().sum(1).nonzero().flatten() - 256
    # On every level two blocks of two convolutions of 5 steps reach +-8 of its steps (1, 2 and 4): down on three, in
    # the middle, up on two. Shortening adds one step of the finer level, lengthening one of the coarser, the end +-2.
    reach = 8 * (1 + 2 + 4 + 4 + 4 + 2) + (1 + 2) + (4 + 2) + 2
    assert 64 < seen.max() <= reach
    assert 64 < -seen.min() <= reach
    assert len(seen) == seen.max() - seen.min() + 1


def test_conditioning_scales_and_shifts_between_the_convolutions(net: UNetDenoiser) -> None:
    block, time, obs = net.down[1][0], torch.randn(3, 6, generator=stream(4)), torch.randn(3, 5, generator=stream(5))
    x = torch.randn(3, 8, 4, generator=stream(6))
    scale, shift = block.film(F.mish(torch.cat([time, obs], dim=1))).chunk(2, dim=1)
    expected = block.second(block.first(x) * scale[:, :, None] + shift[:, :, None]) + block.skip(x)
    film = block.film_of_obs(F.mish(obs), 6) + block.film_of_time(F.mish(time))
    torch.testing.assert_close(block(x, film), expected, atol=1e-6, rtol=1e-5)


def test_chain_follows_the_reverse_process(policy: DiffusionPolicy) -> None:
    net, schedule = policy.denoiser, policy.schedule
    _, _, obs = batch(4)
    noise = chain_noise(schedule, (4, 8, 2), stream(3))
    chain = sample_chain(policy.denoisers(), schedule, obs, noise, evaluation_std(schedule))
    with torch.no_grad():
        for i, t in enumerate(reversed(range(6))):
            index = torch.full((4,), t)
            mean = schedule.posterior_mean(chain.x[i], net(chain.x[i], net.time_table()[index], obs), index)
            torch.testing.assert_close(chain.mean[i], mean, atol=1e-5, rtol=1e-4)


def test_cloning_learns_which_chunk_goes_with_which_observation(task: TaskSpec) -> None:
    torch.manual_seed(0)
    policy = DiffusionPolicy(config((16, 32)), task, horizon_steps=4)
    obs = torch.eye(2, 5).repeat(32, 1)
    ramp = torch.linspace(-0.6, 0.6, 4)[:, None].expand(4, 2)
    chunk = torch.stack([ramp, -ramp]).repeat(32, 1, 1)
    optimizer, generator = AdamW(policy.parameters(), 3e-3), stream(0)
    losses = []
    for _ in range(250):
        optimizer.zero_grad()
        loss = policy.bc_loss(obs, chunk, generator)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.2 * sum(losses[:5]) * 4
    acted = policy.act(obs[:2], generator)
    assert (acted - chunk[:2]).abs().max() < 0.25


def test_chunks_that_cannot_be_halved_often_enough_are_refused(tmp_path: Path) -> None:
    settings = Project(CONFIG, read_yaml(CONFIG / "config.yaml") | {"budget": "smoke"}).pretrain(
        "hopper", "diffusion", 0
    )
    plain = settings.model_dump()
    plain["policy"]["network"] = {"kind": "unet", "widths": [8, 16, 24]}
    layers = [Layer(tmp_path / "a.yaml", plain)]
    cloning = validate(PretrainConfig, layers)
    assert cloning.horizon_steps == 4
    message = r"expected horizon_steps to be a multiple of 4 for a U-Net of 3 levels"
    with pytest.raises(InputError, match=message):
        validate(PretrainConfig, [Layer(tmp_path / "a.yaml", merge(plain, {"horizon_steps": 6}))])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kernel": 4}, "an odd kernel"),
        ({"widths": (12, 20)}, "widths that are multiples of groups, 8"),
        ({"widths": (8,)}, "at least 2 items"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UNetConfig.model_validate({"kind": "unet", "widths": (8, 16)} | changed)


def test_an_encoder_is_refused() -> None:
    with pytest.raises(ValidationError, match="obs_encoder null with a U-Net"):
        DiffusionConfig(network=UNetConfig(kind="unet", widths=(8, 16)), obs_encoder=(4, 4))


def test_networks_are_told_apart_by_their_kind() -> None:
    shown = DiffusionConfig(network={"widths": [8, 8, 8], "activation": "mish"}).model_dump(mode="json")  # type: ignore[arg-type]
    assert shown["network"] == {"widths": [8, 8, 8], "activation": "mish", "residual": True}
    for settings in (config(), DiffusionConfig.model_validate(shown)):
        assert DiffusionConfig.model_validate_json(settings.model_dump_json()) == settings


def test_fine_tuning_starts_from_it(policy: DiffusionPolicy) -> None:
    from inril.algos.dppo import DiffusionHead

    shared: dict[str, Any] = {"clip_coef": {"base": 0.01, "top": 0.01}, "target_kl": None, "critic_lr": 1e-3}
    algo = DPPOConfig(
        gamma=0.9, gae_lambda=0.9, actor_lr=1e-3, minibatch=8, epochs=1, vf_coef=0.5, ft_denoising_steps=3,
        gamma_denoising=0.9, min_sampling_std=0.1, min_logprob_std=0.1,
        critic_network={"widths": [8], "activation": "mish", "residual": False}, **shared,
    )  # fmt: skip
    head = DiffusionHead(policy, algo)
    _, _, obs = batch(5)
    sample = head.sample(obs, stream(0))
    for k in range(3):
        logprob = head.logprob(obs, sample.trace, torch.full((5,), k))
        torch.testing.assert_close(logprob, sample.logprob[:, k], atol=2e-5, rtol=1e-4)
    logprob.sum().backward()
    assert all(p.grad is not None and math.isfinite(p.grad.norm()) for p in head.parameters())
