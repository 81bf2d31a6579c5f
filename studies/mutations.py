"""Does any damaged or wrong input end in a traceback, in a lost file, or in other results without a word?

    python -m studies.mutations --cases 1000

Each case copies sound inputs, changes one of them (bits, cuts, types, ranges, swapped files) and uses it in a process
of its own. It has to be refused by one line that a user can act on, or taken; where the file has a checksum, only with
the results of the sound one. No file may vanish or change but those that the use itself writes.
"""

from __future__ import annotations

import argparse
import json
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import h5py
import numpy as np
import yaml

from inril import cli
from inril.config.base import TaskSpec
from inril.config.layers import Layer, merge, read_yaml, validate
from inril.config.project import Project
from inril.config.runs import FinetuneConfig, PretrainConfig
from inril.data.d4rl import read_d4rl
from inril.data.demo_file import Episode, read_demos, write_demos
from inril.data.download import fetch
from inril.data.robomimic import read_robomimic
from inril.errors import InputError
from inril.publishing.mirror import adopt
from inril.train import finetune, pretrain
from inril.train.demonstrate import make_demos

_ROOT = Path(__file__).parents[1]
_PATIENCE_S = 120
_LOG = "log.txt"
# The smoke budget, smaller still.
_PRETRAIN = {
    "optim": {"max_steps": 20, "batch_size": 64},
    "plateau": {"check_every": 10},
    "select_episodes": 2,
    "report_episodes": 2,
}
_FINETUNE = {
    "env_steps": 600,
    "il": {"batch_size": 64},
    "eval": {"every": 2, "n_envs": 2},
    "report_episodes": 2,
    "checkpoint_every": 1,
}
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


def _project(task: str = "hopper") -> Project:
    return Project(_ROOT / "config", read_yaml(_ROOT / "config" / "config.yaml") | {"budget": "smoke"})


def _smaller(settings: Any, changes: Mapping[str, Any]) -> Any:
    values = merge(settings.model_dump(), changes)
    return validate(type(settings), [Layer(Path("study"), values)])


def _pretrain_config() -> PretrainConfig:
    return _smaller(_project().pretrain("hopper", "gaussian_chunk", 0), _PRETRAIN)  # type: ignore[no-any-return]


def _finetune_config() -> FinetuneConfig:
    run = _project().finetune("hopper", "ppo_gaussian", "surgery", 2, 0)
    return _smaller(run, _FINETUNE)  # type: ignore[no-any-return]


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
    return lambda: [array.tobytes() for array in read_demos(Path(file), _project().demos(task).task)[:3]]


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
        lambda: len(read_d4rl(Path("recording.hdf5"), _project().demos("hopper").task)),
    ),
    Subject(
        "recording, robomimic",
        ("lift.hdf5",),
        lambda: len(read_robomimic(Path("lift.hdf5"), _project().demos("lift").task).episodes),
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


# Sound inputs


def make_inputs(folder: Path) -> None:
    """Make what is going to be changed.

    Args:
        folder: gets it; exists.
    """
    make_demos(_smaller(_project().demos("hopper"), {"n_steps": 1500, "n_envs": 8}), folder / "hopper.hdf5")
    make_demos(_smaller(_project().demos("lift"), {"n_demos": 6}), folder / "lift.hdf5")
    furniture = _project().demos("one_leg_low").task
    write_demos(folder / "one_leg_low.hdf5", furniture, list(_random_episodes(furniture)), {})
    _write_recording(folder / "recording.hdf5")
    pretrain.run(_pretrain_config(), folder / "hopper.hdf5", folder / "pretrained")
    shutil.move(folder / "pretrained" / "policy.safetensors", folder)
    shutil.move(folder / "pretrained" / "metrics.csv", folder / "pretrained.csv")
    shutil.rmtree(folder / "pretrained")
    (folder / "finetune.json").write_text(_finetune_config().model_dump_json(), encoding="utf-8")
    inputs = (_finetune_config(), folder / "hopper.hdf5", folder / "policy.safetensors")
    finetune.run(*inputs, folder / "whole")
    with patch.object(finetune.Finetuning, "_publish", side_effect=InterruptedError), suppress(InterruptedError):
        finetune.run(*inputs, folder / "run")
    shutil.move(folder / "whole" / "metrics.csv", folder)
    shutil.rmtree(folder / "whole")
    panels = [
        {"label": "a", "task": "hopper", "method": "ppo_gaussian", "separation": "surgery"},
        {"label": "b", "task": "transport", "method": "idql", "separation": "surgery", "source": "workstation"},
    ]
    (folder / "table.json").write_text(json.dumps({"figure": "fig8", "panels": panels}), encoding="utf-8")
    (folder / "published" / "workstation").mkdir(parents=True)
    shutil.copy(_ROOT / "published" / "tables" / "workstation" / "fig8.csv", folder / "published" / "workstation")
    shutil.copytree(_ROOT / "config", folder / "config")
    _write_mirror(folder / "results" / "published" / "smoke" / "finetune", folder / "metrics.csv")


def _random_episodes(task: TaskSpec) -> Iterator[Episode]:
    rng = np.random.default_rng(0)
    for n in (20, 30, 25, 20, 30, 25, 20):
        yield Episode(
            obs=rng.normal(size=(n, task.obs_dim)).astype(np.float32),
            action=rng.uniform(-1, 1, (n, task.action_dim)).astype(np.float32),
            reward=rng.uniform(size=n).astype(np.float32),
            terminated=True,
            states=rng.normal(size=(n, 9)),
        )


def _write_recording(path: Path) -> None:
    episodes = list(_random_episodes(_project().demos("hopper").task))
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([episode.obs for episode in episodes])
        file["actions"] = np.concatenate([episode.action for episode in episodes])
        file["rewards"] = np.concatenate([episode.reward for episode in episodes])
        ends = np.concatenate([np.arange(len(episode.reward)) == len(episode.reward) - 1 for episode in episodes])
        file["terminals"], file["timeouts"] = ends, np.zeros_like(ends)
    path.with_name(f"{path.name}.sha256").write_text(
        f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n", encoding="utf-8"
    )


def _write_mirror(phase: Path, metrics: Path) -> None:
    run = Path("hopper/dppo/none/minf/seed0/metrics.csv")
    copy = phase / run
    copy.parent.mkdir(parents=True)
    shutil.copy(metrics, copy)
    record = {"log": ["log.txt"], "endtime": 1.0, "input": []}
    provenance = {"output": str(Path("results/smoke/finetune", run)), "record": record}
    copy.with_name(f"{copy.name}.provenance.json").write_text(json.dumps(provenance), encoding="utf-8")


# Changes


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 8))):
        # Half of them where files say what they are: near the beginning, or where HDF5 keeps texts.
        start, length = 0, len(content)
        if chance.random() < 0.5:
            start, length = max(chance.choice((0, content.find(b"GCOL"))), 0), 2048
        place = chance.randrange(start, min(start + length, len(content)))
        content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def _empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def _page(path: Path, chance: random.Random) -> None:
    path.write_text("<!DOCTYPE html>\n<html><body>Please log in</body></html>\n", encoding="utf-8")


def _folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _absent(path: Path, chance: random.Random) -> None:
    path.unlink()


def _swap(path: Path, chance: random.Random) -> None:
    others = [
        other for other in sorted(Path().rglob("*")) if other.is_file() and other.read_bytes() != path.read_bytes()
    ]
    shutil.copyfile(chance.choice(others), path)


def _retype(path: Path, chance: random.Random) -> None:
    """Change the type, the shape, the values or the presence of a part of an HDF5 file."""
    names: list[str] = []
    with h5py.File(path, "a") as file:
        file.visit(names.append)
        name = chance.choice(names)
        part = np.asarray(file[name][()]) if isinstance(file[name], h5py.Dataset) else np.empty(())
        del file[name]
        if chance.random() < 0.8 and part.ndim:
            wrong: list[Any] = [b"text", 3, part.astype("S8"), np.full(part.shape, np.nan), part != part[0], part[::2]]
            file[name] = chance.choice(wrong)


def _reset(path: Path, chance: random.Random) -> None:
    """Give a value of a YAML or JSON file another type or range, or take it away."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    holders = list(_holders(values))
    holder, key = chance.choice(holders)
    wrong: tuple[Any, ...] = (None, "text", -1, 0, 1e30, float("nan"), True, [], {}, [1, 2], {"a": 1}, "2024-01-01")
    if chance.random() < 0.15:
        del holder[key]
    else:
        holder[key] = chance.choice(wrong)
    path.write_text(json.dumps(values) if path.suffix == ".json" else yaml.safe_dump(values), encoding="utf-8")


def _holders(values: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of nested values as what holds it and its key."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in list(pairs):
        yield values, key
        yield from _holders(value)


def _recell(path: Path, chance: random.Random) -> None:
    """Change a cell, a column or a row of a CSV file."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    row, column = chance.randrange(len(rows)), chance.randrange(len(rows[0]))
    how = chance.randrange(4)
    if how == 0:
        rows[row][column] = chance.choice(("", "text", "nan", "inf", "-1", "1e400", '"', "é"))
    elif how == 1:
        rows = [[*cells[:column], *cells[column + 1 :]] for cells in rows]
    elif how == 2:
        rows.insert(row, rows[row])
    else:
        rows[row] = rows[row][:column]
    path.write_text("".join(f"{','.join(cells)}\n" for cells in rows), encoding="utf-8")


_ANY = (_flip, _flip, _flip, _cut, _cut, _empty, _page, _folder, _absent, _swap)
_TYPED = {".hdf5": _retype, ".yaml": _reset, ".json": _reset, ".csv": _recell}


def change(path: Path, chance: random.Random) -> str:
    """Change a file in one of the ways that its kind has.

    Returns:
        Name of the way.
    """
    typed = _TYPED.get(path.suffix)
    way = typed if typed is not None and chance.random() < 0.5 else chance.choice(_ANY)
    if path.stat().st_size == 0:
        way = _page
    way(path, chance)
    return way.__name__.strip("_")


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
