"""The two libraries that name public demonstrations, D4RL and robomimic, behind two functions.

Both are installed without their own requirements (see requirements.in), and only those parts of them are touched that
need neither mujoco_py nor torchvision. They are imported on first use: each takes up to a second.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any

from inril.errors import InputError

_D4RL_SUFFIX = "-medium-v2"


def d4rl_url(task_id: str) -> str:
    """Return the address of D4RL's medium (v2) dataset of a locomotion task.

    Args:
        task_id: hopper, walker2d, halfcheetah or another task that D4RL has such data of.

    Raises:
        InputError: D4RL has none for this task.
    """
    # d4rl imports every suite that it can and reports the others; gym announces its end. Neither concerns the user.
    os.environ.setdefault("D4RL_SUPPRESS_IMPORT_ERROR", "1")
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        from d4rl.infos import DATASET_URLS

    urls: dict[str, str] = {
        name.removesuffix(_D4RL_SUFFIX): url for name, url in DATASET_URLS.items() if name.endswith(_D4RL_SUFFIX)
    }
    if task_id not in urls:
        raise _unknown("d4rl", "task", task_id, urls)
    return urls[task_id]


def robomimic_url(task_id: str, quality: str) -> str:
    """Return the address of robomimic's low-dimensional demonstrations of a task.

    Args:
        task_id: lift, can, square, transport or tool_hang.
        quality: who demonstrated: ph (one proficient human) or mh (several humans), where robomimic has it.

    Raises:
        InputError: robomimic has no such task, or no such data of it.
    """
    from robomimic import DATASET_REGISTRY

    urls: dict[str, dict[str, str]] = {
        task: {name: files["low_dim"]["url"] for name, files in kinds.items() if "low_dim" in files}
        for task, kinds in DATASET_REGISTRY.items()
    }
    urls = {task: kinds for task, kinds in urls.items() if kinds}
    if task_id not in urls:
        raise _unknown("robomimic", "task", task_id, urls)
    if quality not in urls[task_id]:
        raise _unknown(f"robomimic: {task_id}", "quality", quality, urls[task_id])
    return urls[task_id][quality]


def _unknown(where: str, field: str, got: str, choices: Sequence[str] | dict[str, Any]) -> InputError:
    return InputError(where, field=field, expected=f"one of {', '.join(sorted(choices)) or 'none'}", got=repr(got))
