"""The same runs on a GPU; without one every test here is skipped."""

from pathlib import Path

import pytest
import tiny
import torch

from inril.config.base import Execution
from inril.device import resolve
from inril.policies.chain_sampler import ChainSampler
from inril.policies.diffusion import DiffusionPolicy, chain_noise, sample_chain
from inril.policies.policy_file import load_policy
from inril.train import finetune, pretrain

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
GPU, CPU = Execution(device="cuda"), Execution(device="cpu")
METHODS = ("dppo", "ppo_gaussian", "residual_ppo")


def policy_of(method: str, inputs: tiny.Inputs) -> Path:
    return inputs.gaussian_chunk if method == "ppo_gaussian" else inputs.diffusion


@pytest.mark.parametrize("method", METHODS)
def test_a_run_starts_as_on_a_cpu_and_repeats_itself(method: str, inputs: tiny.Inputs, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("cpu", "gpu", "again")}
    for name, folder in folders.items():
        execution = CPU if name == "cpu" else GPU
        finetune.run(tiny.finetune_config(method), inputs.demos, policy_of(method, inputs), folder, execution=execution)
    assert (folders["gpu"] / "metrics.csv").read_bytes() == (folders["again"] / "metrics.csv").read_bytes()
    assert tiny.same_weights(tiny.weights(folders["gpu"]), tiny.weights(folders["again"]))
    for split, name in (("eval", "return"), ("probe_holdout", "il_loss")):
        first_gpu, first_cpu = (tiny.metric(folders[where], split, name)[0] for where in ("gpu", "cpu"))
        assert first_gpu == pytest.approx(first_cpu, rel=1e-3)


def test_pre_training_repeats_itself(inputs: tiny.Inputs, tmp_path: Path) -> None:
    for name in ("one", "two"):
        pretrain.run(tiny.pretrain_config(), inputs.demos, tmp_path / name, execution=GPU)
    assert (tmp_path / "one/metrics.csv").read_bytes() == (tmp_path / "two/metrics.csv").read_bytes()


def test_a_recorded_chain_follows_the_weights(inputs: tiny.Inputs) -> None:
    policy, _ = load_policy(inputs.diffusion)
    assert isinstance(policy, DiffusionPolicy)
    device = resolve("cuda")
    policy.to(device)
    std = [0.1] * policy.schedule.denoising_steps
    sampler = ChainSampler(policy.denoisers(), policy.schedule, std)
    generator = torch.Generator().manual_seed(0)
    for n_envs in (4, 9, 4):
        obs = torch.randn(n_envs, 11, generator=generator).to(device)
        noise = chain_noise(policy.schedule, (n_envs, *policy.chunk_shape), generator)
        expected = sample_chain(policy.denoisers(), policy.schedule, obs, noise, std)
        torch.testing.assert_close(sampler(obs, noise).x, expected.x)
        with torch.no_grad():
            for parameter in policy.denoiser.parameters():
                parameter.mul_(1.1)
