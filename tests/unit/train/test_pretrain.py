from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from inril.config.base import TaskSpec
from inril.config.runs import OptimConfig, PretrainConfig
from inril.data.chunks import fixed_probe, split_demos
from inril.data.demo_file import read_demos
from inril.errors import InputError
from inril.policies.ema import update_ema
from inril.policies.policy_file import load_policy
from inril.tensor_file import read_tensors
from inril.train import pretrain
from inril.train.pretrain import Cloning, learning_rate
from inril.train.run_folder import RunFolder

Make = Callable[..., PretrainConfig]
GAUSSIAN = {"kind": "gaussian", "network": {"widths": [16, 16], "activation": "tanh", "residual": False}}


def cloning(cfg: PretrainConfig, demos: Path) -> Cloning:
    return Cloning(cfg, split_demos(read_demos(demos, cfg.task), cfg.horizon_steps, cfg.holdout))


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, float_precision="round_trip")


def metric(path: Path, name: str) -> list[float]:
    rows = table(path)
    return rows[rows.metric == name]["value"].tolist()


def test_learning_rate_warms_up_from_the_lower_rate_and_falls_back_to_it() -> None:
    cfg = OptimConfig(batch_size=1, lr=1e-3, lr_min=1e-4, warmup_steps=10, max_steps=110)
    assert learning_rate(cfg, 0) == pytest.approx(1e-4)
    assert learning_rate(cfg, 5) == pytest.approx(5.5e-4)
    assert learning_rate(cfg, 10) == pytest.approx(1e-3)
    assert learning_rate(cfg, 60) == pytest.approx(5.5e-4)
    assert learning_rate(cfg, 35) == pytest.approx(1e-4 + 9e-4 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert learning_rate(cfg, 110) == pytest.approx(1e-4)
    rates = [learning_rate(cfg, step) for step in range(111)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_learning_rate_without_warm_up_or_decay() -> None:
    cfg = OptimConfig(batch_size=1, lr=1e-3, lr_min=1e-3, warmup_steps=0, max_steps=5)
    assert [learning_rate(cfg, step) for step in range(6)] == pytest.approx([1e-3] * 6)
    only_warmup = OptimConfig(batch_size=1, lr=1e-3, lr_min=1e-4, warmup_steps=5, max_steps=5)
    assert learning_rate(only_warmup, 5) == pytest.approx(1e-3)


def test_average_moves_towards_the_model_by_one_minus_decay() -> None:
    torch.manual_seed(0)
    ema, model = nn.Linear(3, 2), nn.Linear(3, 2)
    before, target = ema.weight.detach().clone(), model.weight.detach().clone()
    update_ema(ema, model, 0.9)
    torch.testing.assert_close(ema.weight, 0.9 * before + 0.1 * target)
    assert torch.equal(model.weight, target)
    update_ema(ema, model, 0.0)
    torch.testing.assert_close(ema.weight, target)
    torch.testing.assert_close(ema.bias, model.bias)


def test_average_is_reset_until_its_start_and_lags_afterwards(pretrain_config: Make, demos: Path) -> None:
    state = cloning(pretrain_config(plateau={"check_every": 10, "patience": 9}), demos)
    where = demos.parent

    def distance() -> float:
        pairs = zip(state.ema.parameters(), state.policy.parameters(), strict=True)
        return max(float((a - b).detach().abs().max()) for a, b in pairs)

    state.train_block(where)  # 10 steps; the average starts after step 10
    assert distance() < 1e-6
    state.train_block(where)
    assert distance() > 1e-4


@pytest.mark.parametrize("policy", [None, GAUSSIAN])
@pytest.mark.parametrize("use_ema", [True, False])
def test_training_lowers_both_losses(
    pretrain_config: Make, demos: Path, policy: dict[str, Any] | None, use_ema: bool
) -> None:
    optim = {"batch_size": 64, "lr": 1e-2, "lr_min": 1e-3, "warmup_steps": 5, "max_steps": 200}
    changed: dict[str, Any] = {"optim": optim, "plateau": {"check_every": 100, "patience": 3}, "use_ema": use_ema}
    if policy:
        changed |= {"policy": policy, "policy_name": "gaussian_chunk"}
    state = cloning(pretrain_config(**changed), demos)
    before = state.check()
    state.train_block(demos.parent)
    state.train_block(demos.parent)
    after = state.check()
    assert after["train_loss"] < 0.8 * before["train_loss"] or after["train_loss"] < before["train_loss"] - 1
    assert after["holdout_loss"] < before["holdout_loss"]
    assert state.finished


def test_probe_is_spread_evenly_and_always_the_same(pretrain_config: Make, demos: Path) -> None:
    state = cloning(pretrain_config(), demos)
    probe = fixed_probe(state.data.train, 10)
    assert probe.obs.shape == (10, 11)
    assert probe.action_chunk.shape == (10, 2, 3)
    first, last = torch.tensor([0]), torch.tensor([len(state.data.train) - 1])
    assert torch.equal(probe.obs[[0, -1]], torch.cat([state.data.train[first].obs, state.data.train[last].obs]))
    assert len(fixed_probe(state.data.train, 10_000).obs) == len(state.data.train)
    losses = [state.check()["holdout_loss"] for _ in range(2)]
    assert losses[0] == losses[1]


def test_run_writes_policy_metrics_and_settings(pretrain_config: Make, demos: Path, task: TaskSpec) -> None:
    out = demos.parent / "run"
    pretrain.run(pretrain_config(), demos, out)
    assert {path.name for path in out.iterdir()} <= {".holder", "config.yaml", "metrics.csv", "policy.safetensors"}
    rows = table(out / "metrics.csv")
    assert rows[rows.split == "train"].itr.unique().tolist() == [20, 40, 60]
    assert set(rows[rows.split == "train"].metric) == {"train_loss", "holdout_loss", "select_return"}
    report = rows[rows.split == "report"]
    assert report.metric.tolist() == ["episode_return"] * 3
    policy, spec = load_policy(out / "policy.safetensors", task)
    assert spec.horizon_steps == 2
    origin = read_tensors(out / "policy.safetensors", "policy").meta["origin"]
    scores = metric(out / "metrics.csv", "select_return")
    assert origin["step"] == 20 * (1 + scores.index(max(scores)))
    assert origin["mean_return"] == pytest.approx(report["value"].mean())
    assert policy.normalizer.obs_max.max() <= 1


def test_same_seed_gives_the_same_files_and_another_seed_others(pretrain_config: Make, demos: Path) -> None:
    outs = [demos.parent / name for name in ("a", "b", "c")]
    for out, seed in zip(outs, (0, 0, 1), strict=True):
        pretrain.run(pretrain_config(seed=seed), demos, out)
    contents = [(out / "metrics.csv").read_bytes() for out in outs]
    weights = [(out / "policy.safetensors").read_bytes() for out in outs]
    assert contents[0] == contents[1]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


@pytest.mark.parametrize("n_saved", [0, 1, 2])
@pytest.mark.parametrize("after_saving", [True, False])
def test_interrupted_run_ends_like_an_uninterrupted_one(
    pretrain_config: Make, demos: Path, monkeypatch: pytest.MonkeyPatch, n_saved: int, after_saving: bool
) -> None:
    whole, cut = demos.parent / "whole", demos.parent / "cut"
    pretrain.run(pretrain_config(), demos, whole)
    save, calls = RunFolder.save, []

    def interrupt(self: RunFolder, state: dict[str, Any]) -> None:
        if len(calls) == n_saved:
            if after_saving:
                save(self, state)
            raise KeyboardInterrupt
        calls.append(1)
        save(self, state)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pretrain.run(pretrain_config(), demos, cut)
    assert not (cut / "metrics.csv").exists()
    torch.manual_seed(99)  # global streams have no part in a resume
    pretrain.run(pretrain_config(), demos, cut)
    assert (cut / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert (cut / "policy.safetensors").read_bytes() == (whole / "policy.safetensors").read_bytes()


def test_plateau_stops_before_the_cap(pretrain_config: Make, demos: Path) -> None:
    optim = {"batch_size": 8, "lr": 1e-12, "lr_min": 1e-12, "warmup_steps": 0, "max_steps": 1000}
    pretrain.run(pretrain_config(optim=optim), demos, demos.parent / "run")
    rows = table(demos.parent / "run" / "metrics.csv")
    assert rows[rows.split == "train"].itr.max() == 20 * (1 + 3)  # the first check sets the mark; three without gain


def test_cap_that_is_no_multiple_of_the_checks_is_kept(pretrain_config: Make, demos: Path) -> None:
    optim = {"batch_size": 8, "lr": 1e-3, "lr_min": 1e-3, "warmup_steps": 0, "max_steps": 30}
    pretrain.run(pretrain_config(optim=optim), demos, demos.parent / "run")
    rows = table(demos.parent / "run" / "metrics.csv")
    assert rows[rows.split == "train"].itr.unique().tolist() == [20, 30]


def test_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(
    pretrain_config: Make, demos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = demos.parent / "run"
    with monkeypatch.context() as patched:
        patched.setattr(pretrain, "learning_rate", lambda _, step: 1e-3 if step < 20 else 1e30)
        with pytest.raises(InputError) as caught:
            pretrain.run(pretrain_config(), demos, out)
    text = str(caught.value)
    assert text.startswith(f"{out}: loss: expected a finite number, got ")
    assert text.endswith(". Lower the learning rate; the last good checkpoint is kept")
    state = read_tensors(out / "checkpoint" / "current.safetensors", "checkpoint")
    assert state.meta["state"]["step"] == 20
    assert all(torch.isfinite(tensor).all() for tensor in state.tensors.values())
    assert not (out / "policy.safetensors").exists()
    assert not (out / "metrics.csv").exists()
    pretrain.run(pretrain_config(), demos, out)  # and goes on from there
    assert (out / "metrics.csv").exists()


def test_checkpoint_of_other_demonstrations_is_refused(
    pretrain_config: Make, demos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = demos.parent / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Cloning, "report", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pretrain.run(pretrain_config(), demos, out)
    with pytest.raises(InputError, match="identity: expected the state of this run"):
        pretrain.run(pretrain_config(seed=5), demos, out)
    pretrain.run(pretrain_config(seed=5), demos, out, on_mismatch="restart")
    fresh = demos.parent / "fresh"
    pretrain.run(pretrain_config(seed=5), demos, fresh)
    assert (out / "metrics.csv").read_bytes() == (fresh / "metrics.csv").read_bytes()
