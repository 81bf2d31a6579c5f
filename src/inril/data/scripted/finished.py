"""Finished attempts beside the output that they will become part of, so that a killed run does not repeat them."""

from __future__ import annotations

import io
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inril.config.numerics import VERSIONS
from inril.data.demo_file import Episode
from inril.data.scripted.attempt import Attempt, Recipe
from inril.data.scripted.operator import Group
from inril.files import write_atomically

_ARRAYS = ("obs", "action", "reward", "terminated")


class Job(NamedTuple):
    """One attempt: of which group, and its number there."""

    group: Group
    number: int


class AttemptStore:
    """A hidden folder beside the output, one small file per attempt; made with other settings, it counts as empty.

    Args:
        out: the demonstration file that is being made.
        recipe: what the attempts depend on.
    """

    def __init__(self, out: Path, recipe: Recipe) -> None:
        key = sha256(repr((*recipe, VERSIONS["scripted"])).encode()).hexdigest()[:12]
        prefix = f".{out.name}.attempts-"
        self._folder = out.with_name(prefix + key)
        for other in out.parent.glob(f"{prefix}*"):
            if other != self._folder:
                shutil.rmtree(other)

    def load(self, job: Job) -> Attempt | None:
        """Return a stored attempt, None if it is not there or damaged."""
        try:
            content = io.BytesIO(self._path(job).read_bytes())
            with np.load(content) as arrays:
                if "action" not in arrays:
                    return Attempt(int(arrays["n_steps"]), None)
                obs, action, reward, terminated = (arrays[name] for name in _ARRAYS)
                states = arrays.get("states")
                return Attempt(int(arrays["n_steps"]), Episode(obs, action, reward, bool(terminated), states))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, job: Job, attempt: Attempt) -> None:
        """Store an attempt.

        Raises:
            InputError: the folder cannot be written or the disk is full.
        """
        arrays = {"n_steps": np.array(attempt.n_steps)}
        if attempt.episode is not None:
            arrays |= {name: np.asarray(getattr(attempt.episode, name)) for name in _ARRAYS}
            if attempt.episode.states is not None:
                arrays["states"] = attempt.episode.states
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomically(self._path(job), buffer.getbuffer())

    def remove(self) -> None:
        """Remove all that was stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.group}_{job.number}.npz"
