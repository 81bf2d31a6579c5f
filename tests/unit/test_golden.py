"""Numbers that may change only with `inril.config.numerics.VERSIONS`, by which the pipeline knows what to run again.

Each version has a few numbers in golden.json, computed on tiny problems. The tolerance, 1e-3 relative, admits the
rounding of other CPUs and kernels, and nothing that a changed formula, default or stream of random numbers would do.

After a wanted change: raise the version in inril/config/numerics.py, say so in CHANGELOG.md, and run

    python tests/unit/test_golden.py
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from inril.algos.base import Algorithm
from inril.algos.make import make_algorithm
from inril.config.base import TaskSpec
from inril.config.numerics import VERSIONS
from inril.config.policy import DiffusionConfig, GaussianConfig, NetworkConfig
from inril.config.runs import ExpertConfig, FinetuneConfig, IlConfig, PretrainConfig
from inril.data.chunks import split_demos
from inril.data.demo_file import Demos, Episode, write_demos
from inril.data.rollouts import Demonstrator, roll_out
from inril.data.scripted.attempt import EXPERTS, Recipe, attempt
from inril.data.scripted.furniture.furniture_scene import make_furniture_scene
from inril.data.scripted.operator import Operator
from inril.data.scripted.robomimic.scene import make_scene
from inril.envs import make
from inril.evaluate import evaluate
from inril.interleave.imitation_block import ImitationBlock
from inril.interleave.separation import random_direction
from inril.learning.rewarded_demos import read_rewarded_demos
from inril.learning.update import Info
from inril.policies.acting import FunctionActor
from inril.policies.policy_file import PolicySpec, load_policy, save_policy
from inril.report.statistics import (
    hierarchical_gain,
    hierarchical_mean,
    iqm,
    newcombe,
    savgol,
    stratified_iqm,
    wilson,
)
from inril.train import expert, finetune
from inril.train.interleaving import make_joiner
from inril.train.pretrain import Cloning
from inril.types import FloatArray

GOLDEN = Path(__file__).with_name("golden.json")
RELATIVE, ABSOLUTE = 1e-3, 1e-6
Values = dict[str, float]

torch.set_num_threads(1)

TASK = TaskSpec(
    id="hopper", title="Hopper", suite="gym", obs_dim=11, action_dim=3, max_episode_steps=16, metric="return"
)
RESIDUAL = NetworkConfig(widths=(16, 16, 16), activation="relu")
MISH = NetworkConfig(widths=(16, 16, 16), activation="mish")
PLAIN = NetworkConfig(widths=(16, 16), activation="tanh", residual=False)
DIFFUSION = DiffusionConfig(network=RESIDUAL, time_dim=8, denoising_steps=5)
GAUSSIAN = GaussianConfig(network=PLAIN, std=0.1)
PPO: dict[str, Any] = {
    "gamma": 0.99, "gae_lambda": 0.95, "actor_lr": 1e-3, "critic_lr": 1e-3, "minibatch": 48, "epochs": 2,
    "clip_coef": {"base": 0.01, "top": 0.05}, "vf_coef": 0.5, "target_kl": None, "critic_network": MISH.model_dump(),
}  # fmt: skip
REPLAY: dict[str, Any] = {
    "gamma": 0.99, "actor_lr": 1e-3, "critic_lr": 1e-3, "batch_size": 16, "replay_ratio": 2, "buffer_rows": 20,
    "reward_factor": 0.1, "critic_warmup_itr": 0, "critic_network": PLAIN.model_dump(), "min_sampling_std": 0.1,
}  # fmt: skip
ALGOS: dict[str, dict[str, Any]] = {
    "dppo": {
        **PPO, "kind": "dppo", "ft_denoising_steps": 3, "gamma_denoising": 0.9, "min_sampling_std": 0.1,
        "min_logprob_std": 0.1,
    },
    "ppo_gaussian": {**PPO, "kind": "ppo", "std_range": [0.05, 0.2]},
    "idql": {
        **REPLAY, "kind": "idql", "expectile": 0.8, "n_samples": 3, "explore_weight": 0.7, "target_rate": 0.01,
        "value_network": MISH.model_dump(),
    },
    "dipo": {
        **REPLAY, "kind": "dipo", "target_rate": 0.05, "improve_steps": 3, "improve_lr": 1e-2, "improve_max_grad": 0.1,
    },
    "residual_ppo": {
        **PPO, "kind": "residual_ppo", "target_kl": 0.5, "max_grad_norm": 1.0, "lr_warmup_itr": 1,
        "clip_coef": {"base": 0.2, "top": 0.2},
        "residual": {"network": PLAIN.model_dump(), "act_steps": 2, "ddim_steps": 3},
    },
    "awr": {
        **REPLAY, "kind": "awr", "td_lambda": 0.9, "td_rate": 0.8, "advantage_factor": 2, "max_weight": 5,
        "actor_steps_per_critic_step": 2, "critic_network": MISH.model_dump(),
    },
}  # fmt: skip
POLICIES: dict[str, DiffusionConfig | GaussianConfig] = {**dict.fromkeys(ALGOS, DIFFUSION), "ppo_gaussian": GAUSSIAN}


def synthetic_demos() -> tuple[Demos, list[Episode]]:
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (8, 20, 11)).astype(np.float32)
    action = np.tanh(obs[..., :3] + obs[..., 3:6]).astype(np.float32)
    reward = np.ones(20, dtype=np.float32)
    episodes = [Episode(o, a, reward, terminated=False) for o, a in zip(obs, action, strict=True)]
    return Demos(obs.reshape(-1, 11), action.reshape(-1, 3), 20 * np.arange(1, 9)), episodes


def finetune_config(method: str, **changed: Any) -> FinetuneConfig:
    settings = {
        "task": TASK, "method": method, "separation": "none", "m": 2, "seed": 0, "policy_name": "diffusion",
        "env_steps": 300, "n_envs": 4, "n_steps": 8, "algo": ALGOS[method],
        "il": {"unit": "grad_step", "batch_size": 64, "probe_size": 32}, "eval": {"every": 2, "n_envs": 2},
        "report_episodes": 2, "checkpoint_every": 1,
    }  # fmt: skip
    return FinetuneConfig.model_validate({**settings, **changed})


def spec(method: str) -> PolicySpec:
    return PolicySpec(task=TASK, policy=POLICIES[method], horizon_steps=2)


def fresh_algorithm(method: str, **algo: Any) -> Algorithm:
    torch.manual_seed(0)
    config, policy = finetune_config(method, algo={**ALGOS[method], **algo}), spec(method).build()
    demos = split_demos(synthetic_demos()[0], policy.chunk_shape[0], config.holdout, normalizer=policy.normalizer)
    return make_algorithm(config, policy, demos)


def total(parameters: Any) -> float:
    return float(sum(p.detach().abs().double().sum() for p in parameters))


def gradient_norm(parameters: Any) -> float:
    return float(torch.stack([p.grad.double().norm() for p in parameters if p.grad is not None]).norm())


# --- one function per version


def of_algorithm(method: str) -> Values:
    algorithm: Any = fresh_algorithm(method)
    env = make("hopper", 4, algorithm.act_steps, max_episode_steps=16)
    values: Values = {f"rollout_{name}": value for name, value in algorithm.collect(env, 1).items()}
    for name in ("obs", "trace", "logprob", "advantage", "returns"):
        values[f"sum_abs_{name}"] = float(getattr(algorithm.rollout, name).abs().double().sum())
    infos: dict[str, Info] = {}
    for i, update in enumerate(algorithm.updates(1)):
        update.zero_grad()
        infos[update.name] = update.backward()
        if i < 2:
            values[f"first_{update.name}_gradient_norm"] = gradient_norm(update.parameters)
        update.apply()
    for name in ("value_loss", "surrogate", "approx_kl", "clip_fraction", "active_fraction"):
        values[f"last_{name}"] = next(info[name] for info in infos.values() if name in info)
    values["sum_abs_actor"] = total(algorithm.head.parameters())
    values["sum_abs_critic"] = total(algorithm.critic.parameters())
    split = split_demos(synthetic_demos()[0], 2, finetune_config(method).holdout)
    batch = split.train.sample(torch.Generator().manual_seed(1), 64)
    with torch.no_grad():
        values |= algorithm.probe(batch.obs, batch.action_chunk, torch.Generator().manual_seed(2))
    values["imitation_loss"] = algorithm.il_loss(batch.obs, batch.action_chunk, torch.Generator().manual_seed(3)).item()
    algorithm.start(3)
    action = algorithm.act(np.linspace(-1, 1, 33).reshape(3, 11), torch.Generator().manual_seed(4))
    values["sum_abs_evaluation_action"] = float(np.abs(action).sum())
    env.close()
    return values


def of_off_policy(method: str) -> Values:
    algorithm: Any = fresh_algorithm(method)
    env = make("hopper", 4, 2, max_episode_steps=16)
    values: Values = {f"rollout_{name}": value for name, value in algorithm.collect(env, 1).items()}
    for update in algorithm.updates(1):
        update.zero_grad()
        values |= {f"last_{name}": value for name, value in update.backward().items()}
        values.setdefault(f"first_{update.name}_gradient_norm", gradient_norm(update.parameters))
        update.apply()
    for name, network in algorithm.networks.networks.items():
        values[f"sum_abs_{name}"] = total(network.parameters())
    action = algorithm.act(np.linspace(-1, 1, 33).reshape(3, 11), torch.Generator().manual_seed(4))
    values["sum_abs_evaluation_action"] = float(np.abs(action).sum())
    env.close()
    return values


def of_rewarded_demos() -> Values:
    episodes = synthetic_demos()[1]
    shaped = [
        episode._replace(reward=np.arange(20, dtype=np.float32) + i, terminated=bool(i % 2))
        for i, episode in enumerate(episodes)
    ]
    holdout, normalizer = finetune_config("idql").holdout, spec("idql").build().normalizer
    with tempfile.TemporaryDirectory() as folder:
        write_demos(Path(folder) / "demos.hdf5", TASK, shaped, {})
        demos = read_rewarded_demos(Path(folder) / "demos.hdf5", TASK, 2, holdout, normalizer, 0.5)
    batch = demos.sample(torch.Generator().manual_seed(0), 64)
    return {f"sum_abs_{name}": total([array]) for name, array in batch._asdict().items()}


def of_scripted() -> Values:
    """One attempt; its first second alone enters, before contacts can amplify rounding."""
    recipe = Recipe("lift", level=0.7, seed=0, max_steps=400)
    result = attempt(make_scene("lift"), recipe, "okay", 0)
    assert result.episode is not None
    values: Values = {"n_steps": float(result.n_steps)}
    for name, array in (("obs", result.episode.obs), ("action", result.episode.action)):
        values[f"sum_abs_{name}"] = float(np.abs(array[:20]).sum(dtype=np.float64))
    return values


def of_furniture() -> Values:
    """A table's top taken by a scripted hand and set down; contacts amplify rounding later, in the screw."""
    scene = make_furniture_scene("one_leg_low")
    scene.reset(np.random.default_rng(0))
    values: Values = {}
    operator = Operator("better", 0.0, np.random.default_rng(1))
    for i, action in enumerate(EXPERTS["one_leg_low"].demonstrate(scene, operator)):
        scene.step(action)
        if i in (20, 60, 100):
            values |= {f"sum_abs_{name}_{i}": float(np.abs(scene.part_pos(name)).sum()) for name in ("top", "leg4")}
            values[f"sum_abs_hand_{i}"] = float(np.abs(scene.hand_pos).sum())
        if i == 100:
            break
    return values


def of_bc_loss() -> Values:
    values: Values = {}
    for teacher in ("policy", "demos"):
        algorithm: Any = fresh_algorithm("dppo", bc_loss={"teacher": teacher, "weight": 0.5})
        env = make("hopper", 4, 2, max_episode_steps=16)
        algorithm.collect(env, 1)
        for i, update in enumerate(update for update in algorithm.updates(1) if update.is_actor):
            update.zero_grad()
            values[f"{teacher}_loss_{i}"] = update.backward()["bc_loss"]
            if i == 0:
                values[f"{teacher}_first_gradient_norm"] = gradient_norm(update.parameters)
            update.apply()
        values[f"{teacher}_sum_abs_actor"] = total(algorithm.head.parameters())
        env.close()
    return values


def of_separation(separation: str) -> Values:
    """Joint gradients of fixed, conflicting pairs, over the whole network and layer by layer."""
    values: Values = {}
    for granularity in ("network", "layer"):
        generator = torch.Generator().manual_seed(0)
        shapes = [(6, 4), (6,), (3, 6), (3,)]
        parameters = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        g_rl = [parameter.grad for parameter in parameters if parameter.grad is not None]
        g_il = [0.1 * torch.randn(g.shape, generator=generator) - 0.2 * g for g in g_rl]

        def il_loss(parameters: list[Tensor] = parameters, g_il: list[Tensor] = g_il) -> Tensor:
            return torch.stack([(p * g).sum() for p, g in zip(parameters, g_il, strict=True)]).sum()

        config = IlConfig(unit="grad_step", granularity=granularity)  # type: ignore[arg-type]
        joiner = make_joiner(separation, config)  # type: ignore[arg-type]
        info = joiner.join(parameters, il_loss)
        values |= {f"{granularity}_{name}": value for name, value in info.items()}
        for i, parameter in enumerate(parameters):
            assert parameter.grad is not None
            values[f"{granularity}_norm_{i}"] = float(parameter.grad.norm())
            values[f"{granularity}_first_{i}"] = float(parameter.grad.flatten()[0])
    return values


def of_network() -> Values:
    """Two phases of imitation, clipped."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    block = ImitationBlock(
        [parameter], lambda: None, n_steps=3, batch_size=1, lr=0.1, weight_decay=0.1, max_grad_norm=2.0
    )
    values: Values = {}
    for i in range(2):
        for update in block.updates(lambda: (parameter.square() * torch.tensor([1.0, 2.0, 0.1])).sum()):
            update.zero_grad()
            values |= {f"{name}_{i}": value for name, value in update.backward().items()}
            update.apply()
        values |= {f"parameter_{i}_{j}": value for j, value in enumerate(parameter.tolist())}
    return values


def of_noise() -> Values:
    direction = random_direction([torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])], torch.Generator().manual_seed(0))
    return {f"component_{i}": value for i, value in enumerate(torch.cat([d.flatten() for d in direction]).tolist())}


def of_expert() -> Values:
    config = ExpertConfig.model_validate(
        {
            "target_return": 20.0, "tolerance": 0.0, "env_steps": 256, "n_envs": 4, "n_steps": 32,
            "network": PLAIN.model_dump(),
            "ppo": {**ALGOS["ppo_gaussian"], "minibatch": 64, "max_grad_norm": 0.5, "std_range": [0.1, 1.0]},
            "eval": {"every": 2, "n_envs": 4},
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        expert.run(config, TASK, Path(folder) / "expert.safetensors")
        policy, _ = load_policy(Path(folder) / "expert.safetensors", TASK)
    return {
        "sum_abs_weights": total(policy.parameters()),
        "sum_obs_min": float(policy.normalizer.obs_min.sum()),
        "sum_obs_max": float(policy.normalizer.obs_max.sum()),
    }


def of_demos() -> Values:
    """Short episodes of a demonstrator that looks at nothing."""

    class Blind:
        def act(self, obs: FloatArray, rng: np.random.Generator) -> FloatArray:
            return rng.uniform(-1, 1, (len(obs), 3))

    return of_episodes(TASK, Blind())


def of_demonstrators() -> Values:
    """Short episodes of the shipped demonstrators."""
    values: Values = {}
    for task_id, obs_dim, action_dim in (("hopper", 11, 3), ("walker2d", 17, 6), ("halfcheetah", 17, 6)):
        task = TASK.model_copy(update={"id": task_id, "obs_dim": obs_dim, "action_dim": action_dim})
        of_task = of_episodes(task, expert.load_expert(task))
        values |= {f"{task_id}_{name}": value for name, value in of_task.items()}
    return values


def of_episodes(task: TaskSpec, demonstrator: Demonstrator) -> Values:
    env = make(task.id, 2, 1, max_episode_steps=12)
    episodes = roll_out(env, demonstrator, 40, seed=0)
    env.close()
    values: Values = {"n_episodes": len(episodes)}
    for name in ("obs", "action", "reward"):
        weighted = [np.abs(getattr(e, name)).sum() * (i + 1) for i, e in enumerate(episodes)]
        values[name] = float(np.sum(weighted))
    return values


def of_pretraining() -> Values:
    values: Values = {}
    for name, policy in (("diffusion", DIFFUSION), ("gaussian", GAUSSIAN)):
        config = PretrainConfig.model_validate(
            {
                "task": TASK, "policy_name": name, "policy": policy.model_dump(), "horizon_steps": 2,
                "optim": {"batch_size": 32, "lr": 3e-3, "lr_min": 3e-4, "warmup_steps": 4, "max_steps": 20},
                "ema": {"decay": 0.9, "every": 4, "start_step": 8}, "plateau": {"check_every": 10, "patience": 3},
                "use_ema": name == "diffusion", "select_episodes": 2, "report_episodes": 2, "seed": 0,
            }
        )  # fmt: skip
        state = Cloning(config, split_demos(synthetic_demos()[0], 2, config.holdout))
        for step in (10, 20):
            state.train_block(Path())
            values |= {f"{name}_{key}_{step}": value for key, value in state.check().items()}
        values[f"{name}_sum_abs_weights"] = total(state.policy.parameters())
        values[f"{name}_sum_abs_average"] = total(state.ema.parameters())
    return values


def of_evaluation() -> Values:
    weights = np.random.default_rng(0).normal(size=(11, 2, 3))

    def act(obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
        noise = torch.randn(len(obs), 2, 3, generator=generator, dtype=torch.float64).numpy()
        return np.tanh(np.einsum("eo,oka->eka", obs, weights) + 0.1 * noise)

    result = evaluate(FunctionActor(act, act_steps=2), TASK, n_episodes=5, seed=0, n_envs=2)
    values = {"n_episodes": len(result.episode_return), "length": float(result.episode_length.sum())}
    return {**values, "return": float((result.episode_return * np.arange(1, len(result.episode_return) + 1)).sum())}


def of_finetuning() -> Values:
    """A whole run of the loop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_demos(folder / "demos.hdf5", TASK, synthetic_demos()[1], {"source": "generated"})
        torch.manual_seed(0)
        save_policy(folder / "policy.safetensors", spec("dppo"), spec("dppo").build().state_dict(), {})
        config = finetune_config("dppo", separation="surgery", m=3)
        finetune.run(config, folder / "demos.hdf5", folder / "policy.safetensors", folder / "run")
        rows = pd.read_csv(folder / "run" / "metrics.csv", float_precision="round_trip")
    means = rows.groupby(["split", "metric"])["value"].mean()
    # Ratios of tiny numbers say nothing about the loop and much about the CPU.
    volatile = ("surrogate", "approx_kl", "clip_fraction", "active_fraction", "grad_signal", "grad_conflict")
    return {
        f"{split}/{metric}": float(value)
        for (split, metric), value in means.items()
        if metric not in volatile and not metric.startswith(("grad_cosine", "rho", "n_distinct"))
    }


def of_report() -> Values:
    """Statistics of fixed scores, those that resample included."""
    rng = np.random.default_rng(0)
    scores = rng.normal(100, 20, (6, 2, 4))
    values = {"iqm": float(iqm(scores).sum()), "savgol": float(np.abs(savgol(scores[:, 0, 0], 5, 2)).sum())}
    intervals = {
        "stratified": stratified_iqm(scores, np.random.default_rng(1)),
        "gain": hierarchical_gain(list(scores[:, 0]), list(scores[:, 1]), np.random.default_rng(2)),
        "mean": hierarchical_mean(list(scores[:, 0]), np.random.default_rng(3)),
        "wilson": wilson(scores[:, 0, 0] > 100),
        "newcombe": newcombe(scores[:, 0, 0] > 100, scores[:, 1, 0] > 100),
    }
    for name, interval in intervals.items():
        values |= {f"{name}_{part}": float(np.sum(value)) for part, value in interval._asdict().items()}
    return values


COMPUTE: dict[str, Callable[[], Values]] = {
    "expert": of_expert,
    "demos": of_demos,
    "demonstrator": of_demonstrators,
    "pretrain": of_pretraining,
    "evaluate": of_evaluation,
    "finetune": of_finetuning,
    "dppo": lambda: of_algorithm("dppo"),
    "bc_loss": of_bc_loss,
    "idql": lambda: of_off_policy("idql"),
    "rewarded_demos": of_rewarded_demos,
    "dipo": lambda: of_off_policy("dipo"),
    "awr": lambda: of_off_policy("awr"),
    "scripted": of_scripted,
    "furniture": of_furniture,
    "ppo_gaussian": lambda: of_algorithm("ppo_gaussian"),
    "residual_ppo": lambda: of_algorithm("residual_ppo"),
    "noise": of_noise,
    "none": lambda: of_separation("none"),
    "surgery": lambda: of_separation("surgery"),
    "network": of_network,
    "report": of_report,
}


def test_every_version_has_golden_numbers() -> None:
    assert COMPUTE.keys() == VERSIONS.keys() == json.loads(GOLDEN.read_text()).keys()


@pytest.mark.parametrize("part", COMPUTE)
def test_results_change_only_with_their_version(part: str) -> None:
    golden = json.loads(GOLDEN.read_text())[part]
    renew = "run `python tests/unit/test_golden.py`"
    if golden["version"] != VERSIONS[part]:
        pytest.fail(
            f"golden.json is of version {golden['version']} of {part!r}, "
            f"inril.config.numerics.VERSIONS says {VERSIONS[part]}: {renew} to renew it"
        )
    values = COMPUTE[part]()
    changed = [
        f"  {name}: {wanted} -> {values.get(name, 'nothing')}"
        for name, wanted in golden["values"].items()
        if values.get(name, float("nan")) != pytest.approx(wanted, rel=RELATIVE, abs=ABSOLUTE)
    ]
    if changed:
        lines = "\n".join(changed)
        pytest.fail(
            f"results of {part!r} changed:\n{lines}\nIf that is wanted, raise inril.config.numerics.VERSIONS[{part!r}] "
            f"(so that the pipeline runs it again), say so in CHANGELOG.md and {renew}; else find the reason"
        )


if __name__ == "__main__":
    contents = {part: {"version": VERSIONS[part], "values": compute()} for part, compute in COMPUTE.items()}
    GOLDEN.write_text(json.dumps(contents, indent=1) + "\n")
