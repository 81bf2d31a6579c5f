"""Runs that are killed at any instant end as if nothing had happened."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tiny

from inril.tensor_file import read_tensors
from inril.train import finetune, pretrain

STARTUP_S = 1.5  # imports, roughly
PATIENCE_S = 60.0


class Victim:
    """A run of the command line that does not live long.

    Args:
        args: of the command line.
        out: folder of the run.
        log: gets what the processes print.
    """

    def __init__(self, args: Sequence[str], out: Path, log: Path) -> None:
        self.args, self.out, self.log = args, out, log
        self.n_kills = 0

    @property
    def finished(self) -> bool:
        return (self.out / "metrics.csv").exists()

    def live_until(self, moment: Callable[[], bool], then_s: float = 0.0) -> None:
        """Start, and kill at a moment, or some time after it, unless the run has ended by then."""
        with self.log.open("a") as log:
            process = subprocess.Popen([*tiny.PROGRAM, *self.args], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while process.poll() is None and not moment():
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.001)
            time.sleep(then_s)
            self.n_kills += process.poll() is None
        finally:
            process.kill()
            process.wait()
        assert process.returncode in (0, -9), self.log.read_text()
        self.check()

    def live(self) -> None:
        """Start and let it end by itself."""
        self.live_until(lambda: False)

    def new_checkpoints(self, n: int) -> Callable[[], bool]:
        """A moment: n checkpoints have been written since."""
        seen = {_identity(self._current)}
        return lambda: seen.add(_identity(self._current)) or len(seen - {0}) > n  # type: ignore[func-returns-value]

    def writing(self, n: int, name: str) -> Callable[[], bool]:
        """A moment: after n checkpoints, something is being written under a temporary name."""
        due = self.new_checkpoints(n)
        return lambda: due() and any(self.out.glob(name))

    def check(self) -> None:
        """What has its final name is whole, and there are no metrics without the policy that they belong to."""
        for path in (self.out / "checkpoint").glob("[!.]*"):
            read_tensors(path, "checkpoint")
        policy = self.out / "policy.safetensors"
        assert policy.exists() or not self.finished
        if policy.exists():
            read_tensors(policy, "policy")

    @property
    def _current(self) -> Path:
        return self.out / "checkpoint" / "current.safetensors"


def _identity(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def assert_same_results(out: Path, reference: Path) -> None:
    diagnosed = [path.name for path in reference.glob("diagnostics.csv")]  # fine-tuning has them
    for name in ("metrics.csv", "policy.safetensors", "config.yaml", *diagnosed):
        assert (out / name).read_bytes() == (reference / name).read_bytes(), name
    assert tiny.same_weights(tiny.weights(out), tiny.weights(reference))
    visible = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert visible - {"timing.csv"} == {"config.yaml", "metrics.csv", "policy.safetensors", *diagnosed}


@pytest.mark.slow
def test_fine_tuning_killed_twenty_times_ends_bit_for_bit_as_without(
    tmp_path: Path, out: Path, inputs: tiny.Inputs
) -> None:
    changed = {"env_steps": 40000, "n_steps": 5, "checkpoint_every": 1, "eval": {"every": 40}}  # some 260 iterations
    cfg = tiny.finetune_config(changed=changed)
    finetune.run(cfg, inputs.demos, inputs.diffusion, tmp_path / "reference")
    files = ["--demos", str(inputs.demos), "--policy", str(inputs.diffusion), "--out", str(out)]
    victim = Victim(["finetune", "--config", cfg.model_dump_json(), *files], out, tmp_path / "log.txt")
    chance = random.Random(0)
    for kill in range(20):
        if kill % 5 in (0, 3):  # also before there is a checkpoint, and while one is read
            victim.live_until(lambda: True, then_s=chance.uniform(0, STARTUP_S))
        elif kill % 5 == 1:
            victim.live_until(victim.writing(chance.randint(1, 3), "checkpoint/.*.tmp"))
            (out / "checkpoint" / ".current.safetensors.stray.tmp").write_bytes(b"half a checkpoint")
        else:
            victim.live_until(victim.new_checkpoints(chance.randint(1, 3)), then_s=chance.uniform(0, 0.06))
        assert not victim.finished
    assert victim.n_kills == 20
    victim.live_until(lambda: any(out.glob(".policy*")) or (out / "policy.safetensors").exists())  # publishing
    while not victim.finished:
        victim.live()
    assert_same_results(out, tmp_path / "reference")
    assert "resuming at iteration" in victim.log.read_text()


@pytest.mark.slow
def test_pre_training_killed_again_and_again_ends_bit_for_bit_as_without(
    tmp_path: Path, out: Path, inputs: tiny.Inputs
) -> None:
    changed = {"optim": {"max_steps": 600}, "plateau": {"check_every": 10, "patience": 1000}}
    cfg = tiny.pretrain_config(changed=changed)
    pretrain.run(cfg, inputs.demos, tmp_path / "reference")
    args = ["pretrain", "--config", cfg.model_dump_json(), "--demos", str(inputs.demos), "--out", str(out)]
    victim = Victim(args, out, tmp_path / "log.txt")
    chance = random.Random(1)
    victim.live_until(victim.writing(1, "checkpoint/.*.tmp"))
    victim.live_until(victim.new_checkpoints(chance.randint(1, 4)), then_s=chance.uniform(0, 0.1))
    assert not victim.finished
    assert victim.n_kills == 2
    while not victim.finished:
        victim.live()
    assert_same_results(out, tmp_path / "reference")
    assert "resuming at gradient step" in victim.log.read_text()
