"""Does any damaged or wrong input end in a traceback, in a lost file, or in other results without a word?

    python -m studies.mutations --cases 1000

Each case copies sound inputs, changes one of them (bits, cuts, types, ranges, swapped files) and uses it in a process
of its own. It has to be refused by one line that a user can act on, or taken; where the file has a checksum, only with
the results of the sound one. No file may vanish or change but those that the use itself writes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import chdir, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from inril import cli
from inril.data.d4rl import read_d4rl
from inril.data.demo_file import read_demos
from inril.data.download import fetch
from inril.data.robomimic import read_robomimic
from inril.errors import InputError
from inril.publishing.mirror import adopt
from studies.damage import change
from studies.sound_inputs import make_inputs, smoke_project

_PATIENCE_S = 120
_LOG = "log.txt"
_NO_SERVER = "http://127.0.0.1:9/recording.hdf5"


class Subject(NamedTuple):
    """A way in which inputs are used.

    Attributes:
        name: of the kind of input.
        files: patterns of those that are changed, in the folder of the inputs.
        use: uses them in the working directory and returns what came out.
        has_checksum: whether other contents must not be taken.
        writes: pattern of the files that the use may write or replace.
    """

    name: str
    files: tuple[str, ...]
    use: Callable[[], object]
    has_checksum: bool = False
    writes: str = r"(out|\.snakemake)/.*"


class Outcome(NamedTuple):
    """How a use ended: refused, taken, or in a traceback; with what it said or what came out."""

    kind: str
    text: str


# Uses


def _command(*args: str, results: str = "") -> Callable[[], object]:
    """Return a use by the command line, whose results are files."""

    def use() -> object:
        with open(_LOG, "w", encoding="utf-8") as log, patch("sys.stderr", log):
            status = cli.main(args)
        said = Path(_LOG).read_text(encoding="utf-8")
        if status:
            lines = [line for line in said.splitlines() if line.startswith("error: ")]
            if len(lines) != 1:
                raise AssertionError(f"status {status}, and not one error in one line: {said}")
            raise InputError(lines[0].removeprefix("error: "), expected="", got="")
        return {str(path): path.read_bytes() for path in sorted(Path().glob(results))} if results else None

    return use


def _read(file: str, task: str) -> Callable[[], object]:
    return lambda: [array.tobytes() for array in read_demos(Path(file), smoke_project().demos(task).task)[:3]]


def _fetched() -> object:
    fetch(_NO_SERVER, Path("recording.hdf5"), retries=0, backoff_s=0.0)
    return Path("recording.hdf5").read_bytes()


_RESUMED = ("finetune", "--config", "finetune.json", "--demos", "hopper.hdf5", "--policy", "policy.safetensors")
_TABLE = ("--config", "table.json", "--metrics", "metrics.csv", "--published", "published", "--out", "out/table.csv")
SUBJECTS = (
    Subject("demonstrations, generated", ("hopper.hdf5",), _read("hopper.hdf5", "hopper"), True),
    Subject("demonstrations, robomimic", ("lift.hdf5",), _read("lift.hdf5", "lift"), True),
    Subject("demonstrations, furniture", ("one_leg_low.hdf5",), _read("one_leg_low.hdf5", "one_leg_low"), True),
    Subject(
        "recording, D4RL",
        ("recording.hdf5",),
        lambda: len(read_d4rl(Path("recording.hdf5"), smoke_project().demos("hopper").task)),
    ),
    Subject(
        "recording, robomimic",
        ("lift.hdf5",),
        lambda: len(read_robomimic(Path("lift.hdf5"), smoke_project().demos("lift").task).episodes),
    ),
    # What was downloaded and does not have its checksum any more is removed, to be fetched anew.
    Subject("download", ("recording.hdf5*",), _fetched, True, r"recording\.hdf5.*"),
    Subject(
        "policy",
        ("policy.safetensors",),
        _command("evaluate", "--policy", "policy.safetensors", "--episodes", "1"),
        True,
    ),
    Subject(
        "checkpoint",
        ("run/checkpoint/*", "run/.holder/*/*"),
        _command(*_RESUMED, "--out", "run", results="run/metrics.csv"),
        True,
        r"(out|run)/.*",
    ),
    Subject(
        "unfinished metrics",
        ("run/progress.csv", "run/diagnostics.csv"),
        _command(*_RESUMED, "--out", "run", results="run/[md]*.csv"),
        True,
        r"(out|run)/.*",
    ),
    Subject("metrics", ("metrics.csv",), _command("aggregate", *_TABLE)),
    Subject("published table", ("published/workstation/fig8.csv",), _command("aggregate", *_TABLE)),
    Subject("adopted result", ("results/published/**/*",), adopt, writes=r"(out|\.snakemake|results/smoke)/.*"),
    Subject("configuration", ("config/**/*.yaml",), _command("check", "--config-dir", "config")),
    Subject(
        "settings",
        ("finetune.json",),
        _command("finetune", "--config", "finetune.json", "--demos", "no", "--policy", "no", "--out", "out"),
    ),
)


# Cases


def used(subject: Subject, folder: Path) -> Outcome:
    """Use inputs in a process of their own, which may die of it.

    Args:
        subject: how.
        folder: that holds them.
    """
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_use, args=(subject, folder, send))
    process.start()
    send.close()
    outcome = Outcome("traceback", "hung" if not receive.poll(_PATIENCE_S) else "died")
    with suppress(EOFError):
        outcome = receive.recv() if receive.poll() else outcome
    process.kill()
    process.join()
    return outcome


def _use(subject: Subject, folder: Path, send: Any) -> None:
    with open(os.devnull, "w", encoding="utf-8") as nowhere, chdir(folder):
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
        try:
            came_out = sha256(repr(subject.use()).encode()).hexdigest()
        except InputError as error:
            send.send(Outcome("refused", str(error)))
        except BaseException:
            send.send(Outcome("traceback", traceback.format_exc()))
        else:
            send.send(Outcome("taken", came_out))


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of every file of a folder by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def fault_of(subject: Subject, sound: Path, expected: str, chance: random.Random) -> tuple[str, str]:
    """Run one case.

    Args:
        subject: what is used.
        sound: folder of the sound inputs.
        expected: what comes out of these.
        chance: that decides about the change.

    Returns:
        What was done, and what was wrong about the outcome, empty if nothing.
    """
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "case")
        shutil.copytree(sound, folder)
        with chdir(folder):
            files = sorted({path for pattern in subject.files for path in Path().glob(pattern) if path.is_file()})
            chosen = chance.choice(files)
            way = change(chosen, chance)
        before = contents(folder)
        outcome = used(subject, folder)
        after = contents(folder)
    done = f"{subject.name}: {way} of {chosen}"
    if outcome.kind == "traceback":
        return done, outcome.text
    if subject.has_checksum and outcome.kind == "taken" and outcome.text != expected:
        return done, "taken, with other results"
    writes = re.compile(subject.writes)
    lost = [file for file, digest in before.items() if after.get(file) != digest and not writes.fullmatch(file)]
    return done, f"lost or changed: {', '.join(lost)} ({outcome.text})" if lost else ""


def main() -> None:
    """Run the cases, print what went wrong, and fail if anything did."""
    parser = argparse.ArgumentParser(prog="python -m studies.mutations", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    args = parser.parse_args()
    end, faults, counts = time.monotonic() + 60 * args.minutes, 0, Counter[str]()
    with tempfile.TemporaryDirectory() as parent:
        sound = Path(parent)
        make_inputs(sound)
        expected = {}
        for subject in SUBJECTS:
            with tempfile.TemporaryDirectory() as copy:
                outcome = used(subject, shutil.copytree(sound, Path(copy, "case")))
            assert outcome.kind == "taken" or subject.name == "settings", f"{subject.name}, unchanged: {outcome}"
            expected[subject.name] = outcome.text
        for case in range(args.cases):
            if time.monotonic() > end:
                break
            subject = SUBJECTS[case % len(SUBJECTS)]
            done, fault = fault_of(subject, sound, expected[subject.name], random.Random(f"{args.seed} {case}"))
            counts[subject.name] += 1
            if fault:
                faults += 1
                print(f"case {case}, {done}: {fault}", flush=True)
    for name, n in counts.items():
        print(f"{name}: {n} cases")
    print(f"{counts.total()} cases, {faults} faults")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
