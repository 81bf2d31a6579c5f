from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inril.config.base import TaskSpec
from inril.config.runs import PretrainConfig
from inril.data.demo_file import Episode, write_demos

torch.set_num_threads(1)


@pytest.fixture
def task() -> TaskSpec:
    return TaskSpec(
        id="hopper", title="Hopper", suite="gym", obs_dim=11, action_dim=3, max_episode_steps=6, metric="return"
    )


@pytest.fixture
def demos(tmp_path: Path, task: TaskSpec) -> Path:
    """Demonstrations in which the action is a simple function of the observation."""
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(12):
        obs = rng.uniform(-1, 1, (20, 11)).astype(np.float32)
        action = np.tanh(obs[:, :3] + obs[:, 3:6]).astype(np.float32)
        episodes.append(Episode(obs, action, np.ones(20, dtype=np.float32), terminated=False))
    write_demos(tmp_path / "demos.hdf5", task, episodes, {"source": "generated", "seed": 0})
    return tmp_path / "demos.hdf5"


@pytest.fixture
def pretrain_config(task: TaskSpec) -> Callable[..., PretrainConfig]:
    def make(**changed: Any) -> PretrainConfig:
        settings: dict[str, Any] = {
            "task": task,
            "policy_name": "diffusion",
            "policy": {
                "kind": "diffusion",
                "network": {"widths": [16, 16, 16], "activation": "relu"},
                "time_dim": 6,
                "denoising_steps": 4,
            },
            "horizon_steps": 2,
            "optim": {"batch_size": 32, "lr": 3e-3, "lr_min": 3e-4, "warmup_steps": 5, "max_steps": 60},
            "ema": {"decay": 0.9, "every": 5, "start_step": 10},
            "plateau": {"check_every": 20, "patience": 3},
            "use_ema": True,
            "select_episodes": 2,
            "report_episodes": 3,
            "seed": 0,
        }
        return PretrainConfig.model_validate({**settings, **changed})

    return make
