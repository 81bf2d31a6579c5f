"""What stops a run before a checkpoint keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inril.errors import InputError
from inril.tensor_file import pack


def check_finite(run: Path, itr: int, what: str, values: Mapping[str, float]) -> None:
    """Refuse scalars of a gradient step that are no numbers.

    Args:
        run: its folder.
        itr: iteration.
        what: the scalars are about.
        values: by name.

    Raises:
        InputError: one is not finite.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise InputError(
                run,
                field=f"{what}, {name}, iteration {itr}",
                expected="a finite number",
                got=str(value),
                hint="Lower the learning rate; the last good checkpoint is kept",
            )


def check_state(run: Path, itr: int, state: Mapping[str, Any]) -> None:
    """Refuse a state that an iteration's last steps have blown up.

    Args:
        run: its folder.
        itr: iteration.
        state: nested, of tensors, arrays and scalars.

    Raises:
        InputError: a tensor of it is not finite.
    """
    tensors, _ = pack(state)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            check_finite(run, itr, "state", {name: math.nan})


def check_divergence(run: Path, itr: int, n_diverged: int, env_steps: int, max_rate: float) -> None:
    """Refuse a simulation that diverges too often.

    Args:
        run: its folder.
        itr: iteration.
        n_diverged: episodes so far that diverged.
        env_steps: environment steps so far.
        max_rate: of the one to the other.

    Raises:
        InputError: it is above.
    """
    if n_diverged > max_rate * env_steps:
        raise InputError(
            run,
            field=f"diverged episodes, iteration {itr}",
            expected=f"at most {max_rate:g} per environment step",
            got=f"{n_diverged} in {env_steps} steps",
            hint="The simulation is unstable under this policy's actions; the last good checkpoint is kept",
        )
