"""What may change a result, and what must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor

from inril.algos.make import make_algorithm
from inril.config.algos import PPOBase
from inril.config.base import Execution
from inril.config.runs import FinetuneConfig
from inril.data import read_demos, split_demos
from inril.envs import make
from inril.evaluate import evaluate
from inril.policies.acting import PolicyActor
from inril.policies.policy_file import load_policy
from inril.seeding import subseed, torch_stream
from inril.tensor_file import read_tensors
from inril.train import finetune, pretrain

METHODS = (
    "awr",
    "dipo",
    "dppo",
    "dppo_bcloss",
    "dppo_demoloss",
    "dppo_noise",
    "idql",
    "idql_demos_actor",
    "idql_demos_both",
    "idql_noise",
    "ppo_gaussian",
    "residual_ppo",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, inputs: tiny.Inputs) -> Any:
    """Fine-tunes in a new folder, each configuration once unless told otherwise."""
    known: dict[str, Path] = {}

    def fine_tune(cfg: FinetuneConfig, again: bool = False) -> Path:
        if again or cfg.digest() not in known:
            folder = tmp_path_factory.mktemp("run")
            finetune.run(cfg, inputs.demos, policy_of(cfg, inputs), folder)
            known[cfg.digest()] = folder
        return known[cfg.digest()]

    return fine_tune


def policy_of(cfg: FinetuneConfig, inputs: tiny.Inputs) -> Path:
    return inputs.diffusion if cfg.policy_name == "diffusion" else inputs.gaussian_chunk


def plain_algorithm(cfg: FinetuneConfig, inputs: tiny.Inputs) -> dict[str, Tensor]:
    """Reinforcement learning as it would be written if there were no interleaving."""
    policy, spec = load_policy(policy_of(cfg, inputs), cfg.task)
    demos = split_demos(
        read_demos(inputs.demos, cfg.task), spec.horizon_steps, cfg.holdout, normalizer=policy.normalizer
    )
    algorithm = make_algorithm(cfg, policy, demos)
    env = make(cfg.task.id, cfg.n_envs, algorithm.act_steps, max_episode_steps=cfg.task.max_episode_steps)
    env_steps = itr = 0
    while env_steps < cfg.env_steps:
        itr += 1
        env_steps += int(algorithm.collect(env, itr)["env_steps"])
        for update in algorithm.updates(itr):
            update.zero_grad()
            update.backward()
            update.apply()
    env.close()
    return algorithm.policy_state()


@pytest.mark.parametrize("method", METHODS)
def test_without_imitation_the_run_is_the_plain_algorithm_bit_for_bit(
    run: Any, inputs: tiny.Inputs, method: str
) -> None:
    cfg = tiny.finetune_config(method, "inf")
    tuned = tiny.weights(run(cfg))
    assert tiny.same_weights(tuned, plain_algorithm(cfg, inputs))
    before = load_policy(policy_of(cfg, inputs), cfg.task)[0].state_dict()
    assert not tiny.same_weights(actor(tuned), actor(dict(before))), "the run has learnt nothing"


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_gives_the_same_bits(run: Any, method: str) -> None:
    cfg = tiny.finetune_config(method)
    first, second = run(cfg), run(cfg, again=True)
    assert first != second
    assert (first / "metrics.csv").read_bytes() == (second / "metrics.csv").read_bytes()
    assert (first / "policy.safetensors").read_bytes() == (second / "policy.safetensors").read_bytes()


@pytest.mark.parametrize(
    "il",
    [{"balance": "norm"}, {"optimizer": "own", "lr": 1e-3}, {"adaptive": {"rule": "loss_budget"}}],
    ids=["norm", "own", "adaptive"],
)
def test_other_joint_steps_learn_otherwise_and_resume(
    run: Any, inputs: tiny.Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, il: dict[str, Any]
) -> None:
    cfg = tiny.finetune_config(changed={"il": il})
    whole = run(cfg)
    assert not tiny.same_weights(tiny.weights(whole), tiny.weights(run(tiny.finetune_config())))
    interrupted_and_resumed(cfg, inputs, tmp_path, monkeypatch)
    assert (tmp_path / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert (tmp_path / "policy.safetensors").read_bytes() == (whole / "policy.safetensors").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_run_ends_like_an_uninterrupted_one(
    run: Any, inputs: tiny.Inputs, out: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    cfg = tiny.finetune_config(method)
    interrupted_and_resumed(cfg, inputs, out, monkeypatch)
    for name in ("metrics.csv", "policy.safetensors"):
        assert (out / name).read_bytes() == (run(cfg) / name).read_bytes()


def interrupted_and_resumed(
    cfg: FinetuneConfig, inputs: tiny.Inputs, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iteration = finetune.Finetuning.iteration

    def interrupt(self: finetune.Finetuning) -> Any:
        if self.itr == 1:
            raise KeyboardInterrupt
        return iteration(self)

    with monkeypatch.context() as patched:
        patched.setattr(finetune.Finetuning, "iteration", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune.run(cfg, inputs.demos, policy_of(cfg, inputs), out)
    assert not (out / "metrics.csv").exists()
    finetune.run(cfg, inputs.demos, policy_of(cfg, inputs), out)


def test_an_adaptive_m_is_logged_and_followed(run: Any) -> None:
    adaptive = {"rule": "loss_budget", "budget": 1000.0, "most": 8}  # so large a budget asks for ever less imitation
    folder = run(tiny.finetune_config(changed={"il": {"adaptive": adaptive}}))
    m = tiny.metric(folder, "train", "m").tolist()
    assert m == [min(8, 2 ** (itr + 2)) for itr in range(len(m))]
    assert tiny.metric(run(tiny.finetune_config()), "train", "m").empty
    constant = tiny.metric(run(tiny.finetune_config()), "train", "n_il_updates").tolist()
    fewer = tiny.metric(folder, "train", "n_il_updates").tolist()
    assert 0 < fewer[-1] < constant[-1]


def test_another_seed_gives_another_run(run: Any) -> None:
    folders = [run(tiny.finetune_config(seed=seed)) for seed in (0, 1)]
    assert not tiny.same_weights(*map(tiny.weights, folders))
    returns = [tiny.metric(folder, "eval", "return").tolist() for folder in folders]
    assert returns[0] != returns[1]


@pytest.mark.parametrize("method", METHODS)
def test_interleaving_changes_the_weights_and_counts_its_updates(run: Any, method: str) -> None:
    interleaved, plain = run(tiny.finetune_config(method, 2)), run(tiny.finetune_config(method, "inf"))
    assert not tiny.same_weights(tiny.weights(interleaved), tiny.weights(plain))
    cfg = tiny.finetune_config(method, 2)
    n_rl_updates = tiny.metric(interleaved, "train", "n_rl_updates")
    n_learning = np.clip(np.arange(len(n_rl_updates)) + 1 - cfg.algo.critic_warmup_itr, 0, None)
    assert n_learning[-1] > 0
    assert n_rl_updates.tolist() == (actor_steps_per_iteration(cfg) * n_learning).tolist()
    in_phases = cfg.separation == "network"
    n_il_updates = (n_learning // 2) * cfg.il.network.n_steps if in_phases else n_rl_updates // 2
    assert tiny.metric(interleaved, "train", "n_il_updates").tolist() == n_il_updates.tolist()
    assert not tiny.metric(plain, "train", "n_il_updates").any()


def actor_steps_per_iteration(cfg: FinetuneConfig) -> int:
    n_chunks = cfg.n_envs * cfg.n_steps
    if isinstance(cfg.algo, PPOBase):
        n_pairs = n_chunks * getattr(cfg.algo, "ft_denoising_steps", 1)
        return cfg.algo.epochs * (n_pairs // min(cfg.algo.minibatch, n_pairs))
    return n_chunks * cfg.algo.replay_ratio // cfg.algo.batch_size


def test_imitation_alone_takes_the_imitation_steps_and_no_others(run: Any, inputs: tiny.Inputs) -> None:
    cfg = tiny.finetune_config("dppo_il_only")
    folder = run(cfg)
    assert cfg.separation == "network"
    assert not tiny.metric(folder, "train", "n_rl_updates").any()
    n_phases = np.arange(1, n_iterations(folder) + 1) // 2
    assert tiny.metric(folder, "train", "n_il_updates").tolist() == (n_phases * cfg.il.network.n_steps).tolist()
    n_steps = int(n_phases[-1]) * cfg.il.network.n_steps
    torch.testing.assert_close(tiny.weights(folder), imitated(cfg, inputs, n_steps), rtol=1e-4, atol=1e-6)
    assert not tiny.same_weights(actor(tiny.weights(folder)), actor(imitated(cfg, inputs, 0)))


def n_iterations(folder: Path) -> int:
    return len(tiny.metric(folder, "train", "n_rl_updates"))


def imitated(cfg: FinetuneConfig, inputs: tiny.Inputs, n_steps: int) -> dict[str, Tensor]:
    """Imitation as it would be written by itself."""
    policy, spec = load_policy(inputs.diffusion, cfg.task)
    demos = split_demos(
        read_demos(inputs.demos, cfg.task), spec.horizon_steps, cfg.holdout, normalizer=policy.normalizer
    )
    algorithm = make_algorithm(cfg, policy, demos)
    phase = cfg.il.network
    parameters = list(algorithm.il_parameters())
    optimizer = torch.optim.AdamW(parameters, phase.lr, weight_decay=phase.weight_decay)
    for step in range(1, n_steps + 1):
        generator = torch_stream(cfg.seed, "il", step)
        batch = demos.train.sample(generator, phase.batch_size)
        optimizer.zero_grad()
        algorithm.il_loss(batch.obs, batch.action_chunk, generator).backward()
        optimizer.step()
    return algorithm.policy_state()


def test_a_bound_on_observations_holds_in_training_and_in_the_policys_file(run: Any) -> None:
    free, bounded = (run(tiny.finetune_config(changed={"clip": clip})) for clip in (None, 0.3))
    assert not tiny.same_weights(tiny.weights(free), tiny.weights(bounded))
    wide = run(tiny.finetune_config(changed={"clip": 1e6}))
    assert tiny.same_weights(tiny.weights(free), tiny.weights(wide))  # nothing is so far out
    clips = [load_policy(folder / "policy.safetensors")[0].normalizer.clip for folder in (free, bounded)]
    assert clips == [None, 0.3]


def test_the_policy_that_did_best_on_the_way_is_kept(run: Any) -> None:
    cfg = tiny.finetune_config(changed={"report_best": True, "eval": {"every": 1}})
    folder = run(cfg)
    returns = tiny.metric(folder, "eval", "return").to_numpy()
    best, spec = load_policy(folder / "best.safetensors", cfg.task)
    made = read_tensors(folder / "best.safetensors", "policy").meta["origin"]
    assert made["itr"] == int(returns.argmax())
    seed = subseed(cfg.seed, "report_best", n_iterations(folder))
    report = evaluate(PolicyActor(best), spec.task, cfg.report_episodes, seed)
    assert report.episode_return.tolist() == tiny.metric(folder, "report_best", "episode_return").tolist()
    assert not (run(tiny.finetune_config()) / "best.safetensors").exists()


def test_simulator_threads_change_nothing(run: Any, tmp_path: Path, inputs: tiny.Inputs) -> None:
    cfg = tiny.finetune_config()
    one, two = run(cfg), tmp_path
    finetune.run(cfg, inputs.demos, policy_of(cfg, inputs), two, execution=Execution(sim_threads=2))
    assert (one / "metrics.csv").read_bytes() == (two / "metrics.csv").read_bytes()
    assert tiny.same_weights(tiny.weights(one), tiny.weights(two))


def test_simulator_threads_change_no_pre_training(tmp_path: Path, inputs: tiny.Inputs) -> None:
    cfg = tiny.pretrain_config("gaussian_chunk")
    pretrain.run(cfg, inputs.demos, tmp_path, execution=Execution(sim_threads=2))
    assert (tmp_path / "policy.safetensors").read_bytes() == inputs.gaussian_chunk.read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"eval": {"every": 1}},
        {"eval": {"every": 1000, "n_envs": 5}},
        {"il": {"diagnose_every": 1000}},
        {"il": {"probe_size": 7}},
        {"report_episodes": 5},
        {"checkpoint_every": 1000},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_looking_at_a_run_does_not_change_it(run: Any, changed: dict[str, Any]) -> None:
    looked_at = run(tiny.finetune_config(changed=changed))
    assert tiny.same_weights(tiny.weights(looked_at), tiny.weights(run(tiny.finetune_config())))


def actor(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The trained network: the fine-tuned copy of a denoiser if there is one."""
    for prefix in ("residual.", "denoiser_ft.", "base.denoiser.", "denoiser.", "mlp."):
        found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if found:
            return found
    raise AssertionError(f"no network among {list(state)}")


@pytest.mark.parametrize("method", ["dppo", "idql", "awr", "residual_ppo"])
def test_diagnostics_stand_beside_the_metrics(run: Any, method: str) -> None:
    cfg = tiny.finetune_config(method)
    folder = run(cfg)
    table = pd.read_csv(folder / "diagnostics.csv")
    n_itr = n_iterations(folder)
    wanted = {"out_of_range", "largest_obs", "cells", "cell_entropy"}
    wanted |= {"explained_variance"} if method != "awr" else set()
    wanted |= {"updates_taken"} if method in ("dppo", "residual_ppo") else set()
    for metric in wanted:
        rows = table[table["metric"] == metric]
        assert rows["itr"].tolist() == list(range(1, n_itr + 1))
    assert table.loc[table["metric"] == "updates_taken", "value"].isin([0.0, 1.0]).all()  # no limit on the KL here
    norms = table.loc[table["metric"] == "grad_norm_rl_largest", "value"]
    assert (norms.to_numpy() >= table.loc[table["metric"] == "grad_norm_rl_median", "value"].to_numpy()).all()


@pytest.mark.parametrize("choices", ["report", "always"])
def test_ways_to_choose_are_evaluated_in_the_same_episodes(run: Any, choices: str) -> None:
    cfg = tiny.finetune_config("idql", changed={"eval": {"choices": choices}})
    folder = run(cfg)
    table = pd.read_csv(folder / "diagnostics.csv")
    evaluations = tiny.metric(folder, "eval", "return")
    for name in ("weighted", "actor"):
        rows = table[(table["split"] == f"eval_{name}") & (table["metric"] == "return")]
        assert len(rows) == (len(evaluations) if choices == "always" else 0)
        assert (table["split"] == f"report_{name}").any()
    assert tiny.same_weights(tiny.weights(folder), tiny.weights(run(tiny.finetune_config("idql"))))


def test_a_file_of_idql_acts_as_the_run_did(run: Any) -> None:
    cfg = tiny.finetune_config("idql")
    folder = run(cfg)
    policy, spec = load_policy(folder / "policy.safetensors", cfg.task)
    seed = subseed(cfg.seed, "report", n_iterations(folder))
    report = evaluate(PolicyActor(policy), spec.task, cfg.report_episodes, seed)
    assert report.episode_return.tolist() == pytest.approx(tiny.metric(folder, "report", "episode_return").tolist())
