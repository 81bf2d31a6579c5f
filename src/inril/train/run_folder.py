"""The folder of one run: one process at a time, resumable at any instant, results only when complete.

config.yaml         resolved settings, and on what they were computed (see origin); written first
checkpoint/         current and previous state of an unfinished run
progress.csv        metrics of an unfinished run
diagnostics.csv     what tells whether a run learns, see docs/diagnosing.md
timing.csv          seconds by part; depends on the machine, unlike everything else
.holder/            see run_lock
policy.safetensors, metrics.csv     results, written last
best.safetensors    beside them, of a run that keeps the policy that did best on the way
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from inril.config.base import Model, OnMismatch
from inril.errors import InputError, WrongContent
from inril.files import write_atomically, write_error
from inril.tensor_file import pack, read_tensors, unpack, write_tensors
from inril.train.origin import Origin, comments
from inril.train.run_lock import RunLock

log = logging.getLogger(__name__)


@contextmanager
def open_run(
    path: Path, config: Model, inputs: Mapping[str, object], on_mismatch: OnMismatch, origin: Origin
) -> Iterator[RunFolder]:
    """Lock a run's folder.

    Args:
        path: the folder, made if missing.
        config: resolved settings.
        inputs: whatever else the results depend on (hashes of input files, numerics versions), by name.
        on_mismatch: what to do if the folder holds another run: refuse, or start afresh.
        origin: on what it is computed now.

    Raises:
        InputError: another process works there, the folder cannot be written, or it holds another run's state.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path)
    except OSError as error:
        raise write_error(path, error) from None
    try:
        yield RunFolder(path, config, inputs, on_mismatch, origin, lock)
    finally:
        lock.release()


class RunFolder:
    """See the module; made by `open_run`."""

    def __init__(
        self,
        path: Path,
        config: Model,
        inputs: Mapping[str, object],
        on_mismatch: OnMismatch,
        origin: Origin,
        lock: RunLock,
    ) -> None:
        self.path = path
        self._lock = lock
        identity = "\n".join([config.digest(), *(f"{name}={value}" for name, value in sorted(inputs.items()))])
        self.identity = hashlib.sha256(identity.encode()).hexdigest()
        self._on_mismatch = on_mismatch
        self._current = path / "checkpoint" / "current.safetensors"
        self._previous = path / "checkpoint" / "previous.safetensors"
        self._refuse_finished()
        self._origins: list[Origin] = []  # of a resumed run, until here
        self.state = self._load()
        if origin not in self._origins:
            self._origins.append(origin)
        settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        self._config = f"{comments(self._origins)}{settings}".encode()
        write_atomically(path / "config.yaml", self._config)

    @property
    def progress(self) -> Path:
        """Metrics of the unfinished run."""
        return self.path / "progress.csv"

    def check(self) -> None:
        """Make sure that no other process took the folder over; before anything is written to it.

        Raises:
            InputError: one did.
        """
        self._lock.check()

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state that a restart resumes from; the one before stays until the next call."""
        tensors, values = pack(state)
        if self._current.exists():
            os.replace(self._current, self._previous)
        meta = {"identity": self.identity, "origins": self._origins, "state": values}
        write_tensors(self._current, "checkpoint", tensors, meta)

    def finish(self) -> None:
        """Publish the metrics, as the last of the results, and drop what only an unfinished run needs."""
        # Again, since whoever tries to start the same job meanwhile is refused, but Snakemake first clears its outputs.
        write_atomically(self.path / "config.yaml", self._config)
        write_atomically(self.path / "metrics.csv", self.progress.read_bytes())
        shutil.rmtree(self.path / "checkpoint", ignore_errors=True)
        self.progress.unlink(missing_ok=True)

    def _refuse_finished(self) -> None:
        results = [self.path / name for name in ("metrics.csv", "policy.safetensors", "best.safetensors")]
        if not results[0].exists():
            return
        if self._on_mismatch == "error":
            hint = "Give another folder, or delete this one"
            raise InputError(self.path, expected="a new or an unfinished run", got="a finished one", hint=hint)
        for result in results:
            result.unlink(missing_ok=True)

    def _load(self) -> dict[str, Any] | None:
        """Return the newest whole state, None for a new run."""
        failures: list[WrongContent] = []
        for path in (self._current, self._previous):
            if not path.exists():
                continue
            try:
                file = read_tensors(path, "checkpoint")
            except WrongContent as error:  # a refused read stops the run: the file may be whole
                log.warning("%s; trying the one before it", error)
                failures.append(error)
                continue
            if file.meta["identity"] == self.identity:
                if failures:  # only the newest, and `save` would put it in the place of this whole one
                    self._current.unlink()
                self._origins = [Origin(*origin) for origin in file.meta.get("origins", [])]
                return unpack(file.tensors, file.meta["state"])
            if self._on_mismatch == "restart":
                log.warning("%s belongs to other settings or inputs; starting afresh", path)
                self._discard()
                return None
            raise InputError(
                path,
                field="identity",
                expected="the state of this run",
                got="that of a run with other settings or inputs",
                hint="Give another folder, delete this one, or pass --on-mismatch restart",
            )
        if failures:
            hint = "Delete the run's checkpoint folder to start it again"
            raise InputError(failures[0].where, expected="a whole checkpoint", got=failures[0].got, hint=hint)
        return None

    def _discard(self) -> None:
        shutil.rmtree(self.path / "checkpoint", ignore_errors=True)
        self.progress.unlink(missing_ok=True)
