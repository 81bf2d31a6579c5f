"""What a fine-tuning run writes down on the way: metrics, diagnostics, and where the time went."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from inril.config.runs import FinetuneConfig
from inril.learning.update import Info
from inril.metrics import MetricsLog
from inril.train.run_folder import RunFolder


class RunLog:
    """The tables beside a run's checkpoint, as long as they were when it was saved.

    Args:
        cfg: settings of the run.
        folder: where it lives, and what is saved there.

    Attributes:
        metrics: what a policy reaches.
        diagnostics: why it does not (docs/diagnosing.md).
        seconds: by part of the run, since the last call of `flush_timing`.
    """

    def __init__(self, cfg: FinetuneConfig, folder: RunFolder) -> None:
        state = folder.state or {}
        run = {column: getattr(cfg, column) for column in ("method", "separation", "m", "seed")}
        run["task"] = cfg.task.id
        timing = folder.path / "timing.csv"
        kept = timing.stat().st_size if state and timing.exists() else 0
        self.metrics = resumed_log(folder.progress, run, state, "metrics")
        self.diagnostics = resumed_log(folder.path / "diagnostics.csv", run, state, "diagnostics")
        self._timing = MetricsLog(timing, run, kept)
        self.seconds: dict[str, float] = defaultdict(float)
        self._cpu_start_s = time.process_time()

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        """Count the time that the context takes for a part of the run."""
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start

    def flush(self) -> dict[str, int | str]:
        """Write metrics and diagnostics through to the disk; returns what a checkpoint keeps of them."""
        return {**flushed(self.metrics, "metrics"), **flushed(self.diagnostics, "diagnostics")}

    def flush_timing(self, itr: int, env_steps: int) -> None:
        """Write down the time since the last call; it depends on the machine, so no checkpoint holds it."""
        self._timing.add(itr, env_steps, "seconds", self.seconds)
        now_s = time.process_time()
        self._timing.add(itr, env_steps, "cpu_seconds", {"all": now_s - self._cpu_start_s})
        self._cpu_start_s = now_s
        self._timing.flush()
        self.seconds.clear()


def flushed(log: MetricsLog, name: str) -> dict[str, int | str]:
    """Write a log through to the disk and return what a checkpoint keeps of it, under the log's name."""
    return {f"{name}_length": log.flush(), f"{name}_sha256": log.sha256}


def resumed_log(path: Path, run: Mapping[str, object], state: Mapping[str, Any], name: str) -> MetricsLog:
    """Return a log as it was when a checkpoint was saved, or a new one if there is none.

    Args:
        path: of the log.
        run: values of its first five columns.
        state: of the checkpoint; those of earlier versions hold no sha256.
        name: of the log, as `flushed` had it.

    Raises:
        InputError: the file is not what the checkpoint says, or cannot be written.
    """
    return MetricsLog(path, run, int(state.get(f"{name}_length", 0)), state.get(f"{name}_sha256", ""))


def diagnosed(cfg: FinetuneConfig, told: Info, info: Info, sums: Mapping[str, Sequence[float]]) -> Info:
    """Return what tells whether an iteration taught anything (docs/diagnosing.md).

    Args:
        cfg: settings of the run.
        told: by the algorithm itself.
        info: scalars of the rollout and of the gradients' angle.
        sums: scalars of the gradient steps, one entry per step.
    """
    told = dict(told)
    for name in ("grad_norm_rl", "grad_norm_il"):
        if name in sums:
            told |= {f"{name}_median": float(np.median(sums[name])), f"{name}_largest": max(sums[name])}
    if "grad_norm_rl_corrected" in info:  # 0 where two halves of the rollout do not agree on a direction
        told["halves_agree"] = float(info["grad_norm_rl_corrected"] > 0)
    if cfg.task.metric == "success":
        told["successes_per_env"] = info.get("success", 0.0) * info["n_episodes"] / cfg.n_envs
    return told
