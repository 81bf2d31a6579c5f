"""Which setting of IDQL's critics makes the greedy choice worse than no choice? One factor at a time.

    snakemake --cores 2 results/workstation/demos/lift/generated.hdf5 --config budget=workstation
    python -m studies.idql_critics --task lift                 # what facts about Lift changed at once
    python -m studies.idql_critics --task can --rows ranking   # what may rank better where that does not suffice
    python -m studies.idql_critics --task can --rows horizon   # how far these should look ahead
    python -m studies.idql_critics --task can --rows proposals # how many chunks they should choose among

The pre-trained policy of seed 0 at the `workstation` budget fills a replay buffer with its own chunks and never learns.
Fresh critics then learn from that buffer, each row with one setting changed from those that all rows share; the last
rows change several. Printed: how often the targets have moved (rate times updates), the critics' mean value and
explained variance, and the success in equal episodes of the greedy choice and of that by the weights of training, after
that of the policy alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from inril.algos.idql import IDQL, make_idql
from inril.config import paths
from inril.config.algos import IDQLConfig
from inril.config.layers import read_yaml
from inril.config.project import Project
from inril.config.runs import FinetuneConfig
from inril.data.chunks import SplitDemos, split_demos
from inril.data.demo_file import read_demos
from inril.envs import make_env
from inril.evaluate import evaluate
from inril.policies.acting import Actor
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.policy_file import load_policy

_CONFIG = Path(__file__).parents[1] / "config"
_BUDGET = "workstation"
_EPISODES_SEED = 7
Row = dict[str, Any]
_FIRST: Row = {"gamma": 0.999, "target_rate": 0.001, "batch_size": 1000, "updates": 2400, "expectile": 0.8}
_LEARNS: Row = {"gamma": 0.99, "target_rate": 0.005, "batch_size": 250, "updates": 9600, "expectile": 0.8}
_RANKS: Row = {**_LEARNS, "expectile": 0.95, "layer_norm": True}
# By name: what all rows of a table share, and what each changes.
_ROWS: dict[str, tuple[Row, tuple[Row, ...]]] = {
    "learning": (
        _FIRST,
        (
            {},
            {"gamma": 0.99},
            {"target_rate": 0.005},
            {"batch_size": 250},
            {"updates": 9600},
            {"updates": 9600, "batch_size": 250},
            {"gamma": 0.99, "target_rate": 0.005},
            {"gamma": 0.99, "updates": 9600},
            {"gamma": 0.99, "target_rate": 0.005, "updates": 9600},
            _LEARNS,
        ),
    ),
    "ranking": (
        _LEARNS,
        (
            {},
            {"updates": 38400},
            {"layer_norm": True},
            {"n_critics": 5},
            {"expectile": 0.6},
            {"expectile": 0.95},
            {"expectile": 0.95, "layer_norm": True},
            {"expectile": 0.99, "layer_norm": True},
            {"expectile": 0.95, "layer_norm": True, "updates": 38400},
        ),
    ),
    "horizon": (
        _RANKS,
        (
            {},
            {"gamma": 0.97},
            {"gamma": 0.97, "expectile": 0.8},
            {"gamma": 0.95},
        ),
    ),
    "proposals": (
        _RANKS,
        (
            {"n_samples": 4},
            {"n_samples": 2},
            {"gamma": 0.95, "n_samples": 4},
            {"gamma": 0.95, "n_samples": 2},
        ),
    ),
}


def build(config: FinetuneConfig, demos: SplitDemos, policy: DiffusionPolicy, settings: Row) -> IDQL:
    """Return IDQL with a frozen actor and the critics' settings of a row."""
    assert isinstance(config.algo, IDQLConfig)
    changed = {name: value for name, value in settings.items() if name in IDQLConfig.model_fields}
    network = config.algo.critic_network.model_copy(update={"layer_norm": settings.get("layer_norm", False)})
    fixed = {"critic_network": network, "train_actor": False, "buffer_rows": 5000, "actor_updates": None}
    algo = config.algo.model_copy(update={"n_samples": 10, **changed, **fixed})
    idql = make_idql(config.model_copy(update={"algo": algo}), policy, demos)
    idql.n_updates = settings["updates"]
    return idql


def learn(idql: IDQL) -> None:
    """Take the critics' steps."""
    for update in idql.updates(1):
        update.zero_grad()
        update.backward()
        update.apply()


def main() -> None:
    """Print a line per row."""
    parser = argparse.ArgumentParser(prog="python -m studies.idql_critics", description=__doc__)
    parser.add_argument("--task", default="lift")
    parser.add_argument("--rows", choices=_ROWS, default="learning")
    parser.add_argument("--env-steps", type=int, default=300_000)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    project = Project(_CONFIG, read_yaml(_CONFIG / "config.yaml") | {"budget": _BUDGET})
    config = project.finetune(args.task, "idql", "none", "inf", 0)
    policy, spec = load_policy(paths.pretrain(_BUDGET, args.task, "diffusion", 0) / paths.POLICY, config.task)
    assert isinstance(policy, DiffusionPolicy)
    policy.normalizer.clip = config.clip
    demos = split_demos(
        read_demos(paths.demos(_BUDGET, args.task, "generated"), config.task),
        spec.horizon_steps,
        config.holdout,
        normalizer=policy.normalizer,
    )
    recorder = build(config, demos, policy, _LEARNS)
    env = make_env(config.task, config.n_envs, recorder.act_steps)
    n_steps = itr = 0
    while n_steps < args.env_steps:
        itr += 1
        info = recorder.experience.collect(
            env, itr, lambda obs, generator: recorder.draw(recorder.training_chain, obs, generator)
        )
        n_steps += int(info["env_steps"])
    env.close()
    recorded = recorder.experience.state_dict()

    def success(idql: IDQL, name: str) -> str:
        actor: Actor = idql if name == "greedy" else idql.choices[name]
        result = evaluate(actor, config.task, args.episodes, _EPISODES_SEED)
        return f"{result.success.mean():.0%}"

    print(f"{args.task}: {n_steps:,} steps recorded; the policy alone: {success(recorder, 'actor')} of {args.episodes}")
    columns = (*_FIRST, "else", "moved", "mean value", "explained variance", "greedy", "weighted")
    print(f"| {' | '.join(columns)} |")
    print(f"|{' --- |' * len(columns)}")
    shared, rows = _ROWS[args.rows]
    for row in rows:
        settings = shared | row
        idql = build(config, demos, policy, settings)
        idql.experience.load_state_dict(recorded)
        learn(idql)
        batch = idql.experience.replay.sample(idql.stream("diagnose", 0), 4096)
        with torch.no_grad():
            value = idql.value(batch.obs).mean().item()
        cells = [str(settings[name]) for name in _FIRST]
        cells.append(", ".join(f"{name} {value}" for name, value in row.items() if name not in _FIRST))
        moved = settings["target_rate"] * settings["updates"]
        numbers = f"{moved:.3g} | {value:.3g} | {idql.explained_variance():.2f}"
        chosen = " | ".join(success(idql, name) for name in ("greedy", "weighted"))
        print(f"| {' | '.join(cells)} | {numbers} | {chosen} |", flush=True)


if __name__ == "__main__":
    main()
