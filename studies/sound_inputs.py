"""One sound file of every kind that this project reads, as small as they come."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np

from inril.config.base import TaskSpec
from inril.config.layers import Layer, merge, read_yaml, validate
from inril.config.project import Project
from inril.config.runs import FinetuneConfig, PretrainConfig
from inril.data.demo_file import Episode, write_demos
from inril.train import finetune, pretrain
from inril.train.demonstrate import make_demos

_ROOT = Path(__file__).parents[1]
# The smoke budget, smaller still.
_PRETRAIN = {
    "optim": {"max_steps": 20, "batch_size": 64},
    "plateau": {"check_every": 10},
    "select_episodes": 2,
    "report_episodes": 2,
}
_FINETUNE = {
    "env_steps": 600,
    "il": {"batch_size": 64},
    "eval": {"every": 2, "n_envs": 2},
    "report_episodes": 2,
    "checkpoint_every": 1,
}


def smoke_project() -> Project:
    """Return the settings of the smoke budget."""
    return Project(_ROOT / "config", read_yaml(_ROOT / "config" / "config.yaml") | {"budget": "smoke"})


def _smaller(settings: Any, changes: Mapping[str, Any]) -> Any:
    values = merge(settings.model_dump(), changes)
    return validate(type(settings), [Layer(Path("study"), values)])


def _pretrain_config() -> PretrainConfig:
    return _smaller(smoke_project().pretrain("hopper", "gaussian_chunk", 0), _PRETRAIN)  # type: ignore[no-any-return]


def _finetune_config() -> FinetuneConfig:
    run = smoke_project().finetune("hopper", "ppo_gaussian", "surgery", 2, 0)
    return _smaller(run, _FINETUNE)  # type: ignore[no-any-return]


def make_inputs(folder: Path) -> None:
    """Make what is going to be changed.

    Args:
        folder: gets it; exists.
    """
    make_demos(_smaller(smoke_project().demos("hopper"), {"n_steps": 1500, "n_envs": 8}), folder / "hopper.hdf5")
    make_demos(_smaller(smoke_project().demos("lift"), {"n_demos": 6}), folder / "lift.hdf5")
    furniture = smoke_project().demos("one_leg_low").task
    write_demos(folder / "one_leg_low.hdf5", furniture, list(_random_episodes(furniture)), {})
    _write_recording(folder / "recording.hdf5")
    pretrain.run(_pretrain_config(), folder / "hopper.hdf5", folder / "pretrained")
    shutil.move(folder / "pretrained" / "policy.safetensors", folder)
    shutil.move(folder / "pretrained" / "metrics.csv", folder / "pretrained.csv")
    shutil.rmtree(folder / "pretrained")
    (folder / "finetune.json").write_text(_finetune_config().model_dump_json(), encoding="utf-8")
    inputs = (_finetune_config(), folder / "hopper.hdf5", folder / "policy.safetensors")
    finetune.run(*inputs, folder / "whole")
    with patch.object(finetune.Finetuning, "_publish", side_effect=InterruptedError), suppress(InterruptedError):
        finetune.run(*inputs, folder / "run")
    shutil.move(folder / "whole" / "metrics.csv", folder)
    shutil.rmtree(folder / "whole")
    panels = [
        {"label": "a", "task": "hopper", "method": "ppo_gaussian", "separation": "surgery"},
        {"label": "b", "task": "transport", "method": "idql", "separation": "surgery", "source": "workstation"},
    ]
    (folder / "table.json").write_text(json.dumps({"figure": "fig8", "panels": panels}), encoding="utf-8")
    (folder / "published" / "workstation").mkdir(parents=True)
    shutil.copy(_ROOT / "published" / "tables" / "workstation" / "fig8.csv", folder / "published" / "workstation")
    shutil.copytree(_ROOT / "config", folder / "config")
    _write_mirror(folder / "results" / "published" / "smoke" / "finetune", folder / "metrics.csv")


def _random_episodes(task: TaskSpec) -> Iterator[Episode]:
    rng = np.random.default_rng(0)
    for n in (20, 30, 25, 20, 30, 25, 20):
        yield Episode(
            obs=rng.normal(size=(n, task.obs_dim)).astype(np.float32),
            action=rng.uniform(-1, 1, (n, task.action_dim)).astype(np.float32),
            reward=rng.uniform(size=n).astype(np.float32),
            terminated=True,
            states=rng.normal(size=(n, 9)),
        )


def _write_recording(path: Path) -> None:
    episodes = list(_random_episodes(smoke_project().demos("hopper").task))
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([episode.obs for episode in episodes])
        file["actions"] = np.concatenate([episode.action for episode in episodes])
        file["rewards"] = np.concatenate([episode.reward for episode in episodes])
        ends = np.concatenate([np.arange(len(episode.reward)) == len(episode.reward) - 1 for episode in episodes])
        file["terminals"], file["timeouts"] = ends, np.zeros_like(ends)
    path.with_name(f"{path.name}.sha256").write_text(
        f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n", encoding="utf-8"
    )


def _write_mirror(phase: Path, metrics: Path) -> None:
    run = Path("hopper/dppo/none/minf/seed0/metrics.csv")
    copy = phase / run
    copy.parent.mkdir(parents=True)
    shutil.copy(metrics, copy)
    record = {"log": ["log.txt"], "endtime": 1.0, "input": []}
    provenance = {"output": str(Path("results/smoke/finetune", run)), "record": record}
    copy.with_name(f"{copy.name}.provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
