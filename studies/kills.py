"""Does a workflow that is disturbed again and again end with the bits of an undisturbed one?

    python -m studies.kills --kills 500

Smoke workflows under Snakemake are disturbed at random moments: everything killed, as by a closed terminal or a power
cut; Snakemake or a job alone killed or asked to end; a full disk; a refused rename. After each, what is typed is what
the error says. At the end every result has to be the one of a workflow that nothing happened to.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TARGET = "results/smoke/figures/fig8.csv"
_RESULTS = ("metrics.csv", "policy.safetensors", "generated.hdf5", "fig8.csv")
_PATIENCE_S = 900
_ATTEMPTS = 20
_PER_WORKFLOW = (5, 20)
# Makes the next write of a job's file fail, once, where a file asks for it.
_FAULTS = """
import os, sys

def failing(function):
    def call(*args, **kwargs):
        asked = os.environ["INRIL_FAULT"]
        if "inril" in sys.modules and "snakemake" not in sys.modules and os.path.exists(asked):
            code = int(open(asked).read())
            os.unlink(asked)
            raise OSError(code, os.strerror(code), str(args[0]))
        return function(*args, **kwargs)
    return call

os.fsync, os.replace = failing(os.fsync), failing(os.replace)
"""
_FULL_DISK, _REFUSED = 28, 13  # ENOSPC, EACCES
DISTURBANCES = (
    "everything killed",
    "everything asked to end",
    "Snakemake killed",
    "Snakemake asked to end",
    "a job killed",
    "a job asked to end",
    "full disk",
    "refused rename",
)


class Workflow:
    """A workflow in a folder of its own.

    Args:
        folder: of its results; exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log.txt"
        self._fault = folder / "fault"
        (folder / "faults").mkdir()
        (folder / "faults" / "sitecustomize.py").write_text(_FAULTS, encoding="utf-8")

    def run(self, *args: str) -> str:
        """Call Snakemake, wait for its end and return what it said."""
        process = self._start(*args)
        process.wait(_PATIENCE_S)
        return self._log.read_text(encoding="utf-8")

    def disturb(self, how: str, after_s: float) -> bool:
        """Start, and disturb after some time; then wait until Snakemake has ended.

        Returns:
            Whether anything was disturbed: it was still at work, and a fault that was asked for came.
        """
        process = self._start(_TARGET)
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
            return False
        self._do(how, process.pid)
        process.wait(_PATIENCE_S)
        is_waiting = self._fault.exists()
        self._fault.unlink(missing_ok=True)
        return not is_waiting

    def resume(self) -> None:
        """Do what errors say until Snakemake finds nothing to be done.

        Raises:
            AssertionError: it did not get there.
        """
        for _ in range(_ATTEMPTS):
            said = self.run(_TARGET)
            if "Nothing to be done" in said:
                return
            self.obey(said)
        raise AssertionError(f"{self.folder}: not done after {_ATTEMPTS} attempts: {said}")

    def obey(self, said: str) -> None:
        """Type what an error says: remove a lock, end what still works in a folder."""
        if "--unlock" in said:
            self.run("--unlock")
        for pid in re.findall(r"stop it: kill (\d+)", said):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
            while Path("/proc", pid, "cmdline").exists() and Path("/proc", pid, "cmdline").read_bytes():
                time.sleep(0.1)

    def _start(self, *args: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(self.folder), *args]
        environment = os.environ | {"PYTHONPATH": str(self.folder / "faults"), "INRIL_FAULT": str(self._fault)}
        with self._log.open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                [*command, "--config", "budget=smoke"],
                cwd=_ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _do(self, how: str, pid: int) -> None:
        sign = signal.SIGKILL if how.endswith("killed") else signal.SIGTERM
        jobs = _jobs_of(pid)
        if how == "full disk" or how == "refused rename":
            self._fault.write_text(str(_FULL_DISK if how == "full disk" else _REFUSED), encoding="utf-8")
        elif how.startswith("everything"):
            os.killpg(pid, sign)
        elif how.startswith("Snakemake") or not jobs:
            os.kill(pid, sign)
        else:
            os.kill(jobs[0], sign)


def results(folder: Path) -> dict[str, str]:
    """Return a hash of every result of a workflow by its path."""
    files = (path for path in (folder / "results").rglob("*") if path.name in _RESULTS)
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def _jobs_of(group: int) -> list[int]:
    """Return the processes of a group that are commands of ours."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.getpgid(int(entry.name)) == group and words[1:3] == [b"-m", b"inril"]:
                found.append(int(entry.name))
    return sorted(found)


def disturbed(folder: Path, n: int, typical_s: float, chance: random.Random) -> Counter[str]:
    """Disturb a workflow, then let it end.

    Args:
        folder: of its results; exists.
        n: disturbances, unless it has ended before.
        typical_s: time that an undisturbed one takes.
        chance: that decides when and how.

    Returns:
        How often it was disturbed how.
    """
    workflow, counts = Workflow(folder), Counter[str]()
    for _ in range(n):
        how = chance.choice(DISTURBANCES)
        if not workflow.disturb(how, chance.uniform(0, typical_s / 4)):
            said = (folder / "log.txt").read_text(encoding="utf-8")
            if "Nothing to be done" in said:
                break
            workflow.obey(said)
        else:
            counts[how] += 1
    workflow.resume()
    return counts


def main() -> None:
    """Disturb workflows until there were enough disturbances, compare, and fail if a result differs."""
    parser = argparse.ArgumentParser(prog="python -m studies.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts, n_workflows, faults = Counter[str](), 0, 0
    with tempfile.TemporaryDirectory() as parent:
        reference = _made(Path(parent, "reference"))
        start = time.monotonic()
        Workflow(reference).resume()
        typical_s, expected = time.monotonic() - start, results(reference)
        while counts.total() < args.kills:
            chance = random.Random(f"{args.seed} {n_workflows}")
            folder = _made(Path(parent, "disturbed"))
            n = min(chance.randint(*_PER_WORKFLOW), args.kills - counts.total())
            counts += disturbed(folder, n, typical_s, chance)
            n_workflows += 1
            got = results(folder)
            wrong = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
            faults += bool(wrong)
            print(
                f"workflow {n_workflows}: {counts.total()} disturbances so far; {wrong or 'equal results'}", flush=True
            )
            shutil.rmtree(folder)
    print(", ".join(f"{how} {counts[how]}" for how in DISTURBANCES))
    print(f"{counts.total()} disturbances of {n_workflows} workflows, {faults} with other results")
    sys.exit(faults > 0)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
