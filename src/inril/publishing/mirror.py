"""Published results: a mirror of results/ that DVC tracks, and how its files come into place.

    results/published/<budget>/<phase>/<name>                   copy of an output; of a fine-tuned policy a slim one
    results/published/<budget>/<phase>/<name>.provenance.json   where it belongs, and Snakemake's record of it

Runs never write into the mirror, and DVC never into the folders of runs: so a pull collides with nobody's work. The
Snakefile calls `adopt`, which puts published outputs where runs would have put them, with Snakemake's records of them:
a changed setting, rule or numerics version is noticed as if they had been made here.

Only the standard library is used, since every start of Snakemake waits for this.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from inril.errors import InputError
from inril.files import write_atomically
from inril.publishing.slim import base_of, whole

Record = dict[str, Any]

MIRROR = Path("results", "published")
PROVENANCE = ".provenance.json"

_CHECKPOINT = "checkpoint"  # of an unfinished run, in its folder
_RECORDS = Path(".snakemake", "metadata")
_INCOMPLETE = Path(".snakemake", "incomplete")
# In a local record: adopted and not made here; true once its file was put in place. Snakemake drops it when it makes
# the output itself.
_ADOPTED = "adopted"
_PULL = "Fetch it again: dvc pull --force"
_NAME_MAX = 254  # characters of a record's file name, one less than file systems allow


class Published(NamedTuple):
    """One output of the mirror."""

    output: Path
    copy: Path
    record: Record


def adopt() -> int:
    """Put published outputs into place, relative to the working directory.

    A job is taken or left as a whole: an own output, record or unfinished run of it stays as it is. An adopted output
    is replaced when another one is published; one that was deleted stays deleted, so that Snakemake makes it again.

    Returns:
        Number of files put into place.
    """
    newest: dict[Path, Published] = {}
    for item in mirror():
        newest[item.output] = max(newest.get(item.output, item), item, key=_rank)
    jobs: dict[tuple[str, ...], list[Published]] = defaultdict(list)
    for item in newest.values():
        jobs[tuple(item.record["log"])].append(item)  # each job has a log of its own
    if jobs:
        _INCOMPLETE.mkdir(parents=True, exist_ok=True)  # without it Snakemake takes its records for those of an old one
    chosen = (item for items in jobs.values() if not any(map(_is_own, items)) for item in items)
    return sum(_adopt(item, newest) for item in chosen)


def mirror() -> Iterator[Published]:
    """Read the mirror.

    Raises:
        InputError: a provenance file is damaged or names a place outside results/.
    """
    for path in sorted(MIRROR.rglob(f"*{PROVENANCE}")):
        try:
            provenance = json.loads(path.read_text(encoding="utf-8"))
            output, record = Path(provenance["output"]), provenance["record"]
            belongs_here = output.parts[:1] == ("results",) and ".." not in output.parts
            if belongs_here:
                _check(record)
        except (OSError, OverflowError, ValueError, KeyError, TypeError):
            raise InputError(path, expected="an output and its record", got="something else", hint=_PULL) from None
        if not belongs_here:
            raise InputError(path, field="output", expected="a path in results/", got=str(output), hint=_PULL)
        yield Published(output, path.with_name(path.name.removesuffix(PROVENANCE)), record)


def _check(record: Record) -> None:
    """Fail unless a record has what `adopt` reads of it."""
    time.gmtime(float(record["endtime"]))
    for files in (record["log"], record.get("input", ())):
        for name in files:
            Path(name)


def read_record(output: Path) -> Record | None:
    """Return Snakemake's record of an output, without what `adopt` adds, if there is one."""
    record = _read(output)
    return record and {key: value for key, value in record.items() if key != _ADOPTED}


def is_unfinished(output: Path) -> bool:
    """Tell whether a job is making an output, or was interrupted while it did."""
    return _record_path(_INCOMPLETE, output).exists() or (output.parent / _CHECKPOINT).exists()


def _rank(item: Published) -> tuple[float, bool]:
    # Several phases know of weights; they may have been pulled at different times.
    return item.record["endtime"], item.copy.is_file()


def _is_own(item: Published) -> bool:
    record = _read(item.output)
    made_here = item.output.exists() if record is None else _ADOPTED not in record
    return made_here or is_unfinished(item.output)


def _adopt(item: Published, others: Mapping[Path, Published]) -> bool:
    known = _read(item.output)
    if known is not None:
        in_place = known.pop(_ADOPTED)
        if known == item.record and (in_place or not item.copy.is_file()):
            return False
        if known != item.record:
            item.output.unlink(missing_ok=True)  # of an earlier publication
    # The record comes first, so that an adoption that is cut short is told from an own file, and goes on.
    _write(item.output, item.record | {_ADOPTED: False})
    content = _content(item, others) if item.copy.is_file() else None
    if content is None:
        return False
    write_atomically(item.output, content, mtime=item.record["endtime"])
    _write(item.output, item.record | {_ADOPTED: True})
    return True


def _content(item: Published, others: Mapping[Path, Published]) -> bytes | None:
    """Return a whole output; None of a slim copy as long as what it needs of the job's inputs was not pulled too."""
    content = item.copy.read_bytes()
    needed = base_of(content)
    if needed is None:
        return content
    copies = (others[Path(name)].copy for name in item.record["input"] if Path(name) in others)
    bases = (copy.read_bytes() for copy in copies if copy.is_file())
    found = (base for base in bases if sha256(base).hexdigest() == needed)
    return next((whole(item.copy, content, base) for base in found), None)


def _read(output: Path) -> Record | None:
    try:
        record = json.loads(_record_path(_RECORDS, output).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}  # being written by another Snakemake: its own
    return dict(record)


def _write(output: Path, record: Record) -> None:
    write_atomically(_record_path(_RECORDS, output), json.dumps(record).encode())


def _record_path(folder: Path, output: Path) -> Path:
    """Return where Snakemake keeps what it knows of an output: long names are cut into folders."""
    name = urlsafe_b64encode(str(output).encode()).decode()
    parts = [name[start : start + _NAME_MAX] for start in range(0, len(name), _NAME_MAX)]
    return folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
