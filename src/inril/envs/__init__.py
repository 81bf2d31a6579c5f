"""Batched simulators, a package per suite; importing this one registers each task with gymnasium."""

from __future__ import annotations

import inril.envs.rendering  # noqa: F401 (imports MuJoCo, which must not happen elsewhere before)
from inril.envs.base import BatchedEnv
from inril.envs.gymnasium_api import register_gymnasium
from inril.envs.registry import TASKS, make, make_env

__all__ = ["TASKS", "BatchedEnv", "make", "make_env", "register_gymnasium"]


register_gymnasium()
