"""What a GPU needs, as far as a CPU can tell.

torch's `meta` is a second device: its tensors hold no numbers, and most operations refuse to mix them with the CPU's.
"""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inril.algos.dppo import DiffusionHead
from inril.algos.ppo_gaussian import GaussianHead
from inril.config.algos import ClipSchedule, DPPOConfig, PPOConfig
from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, GaussianConfig, NetworkConfig
from inril.device import randn, resolve
from inril.errors import InputError
from inril.learning.optimizer import AdamW, load_optimizer_state, optimizer_state
from inril.policies import mlp
from inril.policies.chain_sampler import ChainSampler
from inril.policies.diffusion import DiffusionPolicy, chain_noise, sample_chain
from inril.policies.gaussian import GaussianPolicy

CPU, META = torch.device("cpu"), torch.device("meta")
TASK = TaskSpec(id="hopper", title="Toy", suite="gym", obs_dim=5, action_dim=2, max_episode_steps=9, metric="return")
NETWORK = NetworkConfig(widths=(8, 8, 8), activation="mish")
PPO = {
    "gamma": 0.9, "gae_lambda": 0.8, "actor_lr": 1e-3, "critic_lr": 1e-3, "minibatch": 30, "epochs": 2,
    "clip_coef": ClipSchedule(base=0.01, top=0.02), "vf_coef": 0.5, "target_kl": None, "critic_network": NETWORK,
}  # fmt: skip


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def diffusion_head(device: torch.device) -> DiffusionHead:
    torch.manual_seed(0)
    policy = DiffusionPolicy(DiffusionConfig(network=NETWORK, time_dim=6, denoising_steps=6), TASK, 3).to(device)
    floors = {"min_sampling_std": 0.1, "min_logprob_std": 0.1}
    return DiffusionHead(policy, DPPOConfig(ft_denoising_steps=3, gamma_denoising=0.9, **floors, **PPO))


def gaussian_head(device: torch.device) -> GaussianHead:
    policy = GaussianPolicy(GaussianConfig(network=NETWORK, std=0.1), TASK, 3).to(device)
    return GaussianHead(policy, PPOConfig(std_range=(0.05, 0.2), **PPO))


def batch(device: torch.device, n: int = 7) -> tuple[Tensor, Tensor]:
    return torch.zeros(n, 5, device=device), torch.zeros(n, 3, 2, device=device)


def test_auto_takes_what_there_is() -> None:
    assert resolve("cpu").type == "cpu"
    assert resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_named() -> None:
    message = "execution: device: expected a GPU that torch can use, got none"
    with pytest.raises(InputError, match=re.escape(message)):
        resolve("cuda")


def test_every_device_gets_the_numbers_of_the_cpu() -> None:
    assert torch.equal(randn((3, 2), generator(), CPU), torch.randn(3, 2, generator=generator()))
    drawn, rest = generator(), generator()
    assert randn((3, 2), drawn, META).is_meta
    torch.randn(3, 2, generator=rest)
    assert torch.equal(torch.randn(4, generator=drawn), torch.randn(4, generator=rest))  # both went on by as much


@pytest.mark.parametrize("make", [diffusion_head, gaussian_head])
def test_an_actor_stays_on_its_device(
    make: Callable[[torch.device], DiffusionHead | GaussianHead], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What reads numbers from tensors, which have none here.
    monkeypatch.setattr(mlp, "_rows_to_keep", lambda grad: torch.arange(len(grad), device=grad.device))
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: [1.0] * tensor.numel())
    with pytest.raises(RuntimeError, match="not on the expected device"):
        torch.zeros(3, device=META) + torch.zeros(3)
    head = make(META)
    obs, chunk = batch(META)
    sample = head.sample(obs, generator())
    k = torch.zeros(7, dtype=torch.long, device=META)
    logprob = head.logprob(obs, sample.trace, k)
    il_loss = head.il_loss(obs, chunk, generator())
    gradients = torch.autograd.grad(logprob.sum() + il_loss, list(head.il_parameters()))
    results = [*sample, logprob, il_loss, *gradients, head.act(obs, generator())]
    assert all(tensor.is_meta for tensor in results)
    head.after_step()


def test_a_sampler_is_the_chain() -> None:
    head = diffusion_head(CPU)
    policy = head.policy
    obs, noise = torch.ones(4, 5), chain_noise(policy.schedule, (4, 3, 2), generator())
    std = [0.1] * 6
    chain = ChainSampler(policy.denoisers(), policy.schedule, std)(obs, noise)
    expected = sample_chain(policy.denoisers(), policy.schedule, obs, noise, std)
    assert torch.equal(chain.x, expected.x)
    assert torch.equal(chain.mean, expected.mean)


def test_the_optimizer_resumes_where_its_parameters_are() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = AdamW([parameter], 0.1)
    parameter.grad = torch.ones(3)
    optimizer.step()
    elsewhere = torch.nn.Parameter(torch.ones(3, device=META))
    moved = torch.optim.AdamW([elsewhere])
    load_optimizer_state(moved, optimizer_state(optimizer))
    assert all(value.is_meta for value in moved.state[elsewhere].values())
    assert optimizer.state[parameter]["exp_avg"].device == CPU
