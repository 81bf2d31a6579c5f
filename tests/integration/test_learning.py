"""Learning on Hopper, in seconds; the margins are wide."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from inril.config.layers import Layer, validate
from inril.config.runs import ExpertConfig
from inril.data.chunks import split_demos
from inril.data.demo_file import demo_returns, read_demos
from inril.evaluate import evaluate
from inril.policies.acting import PolicyActor
from inril.policies.policy_file import Policy, load_policy
from inril.train import expert, pretrain


@pytest.mark.parametrize("name", ["diffusion", "gaussian_chunk"])
def test_cloning_lowers_the_held_out_loss_and_beats_a_fresh_policy(
    tmp_path: Path, inputs: tiny.Inputs, name: str
) -> None:
    changed = {
        "optim": {"max_steps": 600, "batch_size": 128},
        "plateau": {"check_every": 150, "patience": 50},
        "ema": {"start_step": 100},
        "report_episodes": 12,
    }
    cfg = tiny.pretrain_config(name, changed)
    pretrain.run(cfg, inputs.demos, tmp_path)
    demos = split_demos(read_demos(inputs.demos, cfg.task), cfg.horizon_steps, cfg.holdout)
    fresh = pretrain.Cloning(cfg, demos).check()
    loss = tiny.metric(tmp_path, "train", "holdout_loss")
    assert loss.is_monotonic_decreasing
    assert loss.iloc[-1] < 0.8 * fresh["holdout_loss"]
    cloned = tiny.metric(tmp_path, "report", "episode_return").mean()
    assert cloned > 3 * fresh["select_return"]
    if name == "gaussian_chunk":  # the tiny denoiser needs longer
        assert cloned > 0.6 * demo_returns(inputs.demos).returns.mean()


def test_gaussian_ppo_learns_from_scratch(tmp_path: Path) -> None:
    path = tmp_path / "expert.safetensors"
    changed = {
        "env_steps": 16000,
        "n_envs": 16,
        "target_return": 1e6,  # out of reach: the best of the whole budget
        "eval": {"every": 2, "n_envs": 10},
        "ppo": {"minibatch": 256, "epochs": 5},
    }
    settings = tiny.project().expert("hopper").model_dump()
    layers = [Layer(Path("test"), settings), Layer(Path("test"), changed)]
    expert.run(validate(ExpertConfig, layers), tiny.hopper(), path)
    policy, spec = load_policy(path, tiny.hopper())
    torch.manual_seed(0)
    assert mean_return(policy) > 2 * mean_return(spec.build())
    assert mean_return(policy) > 150  # about 200; an idle policy falls over at some 20 to 90


def mean_return(policy: Policy) -> float:
    return float(evaluate(PolicyActor(policy), tiny.hopper(), n_episodes=20, seed=5).episode_return.mean())
