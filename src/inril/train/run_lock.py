"""Who works in a run's folder: one process at a time, also where several machines share the folder.

.holder/1/, .holder/2/, ...   one per start of the run, with who.json: who it was, emptied when it ended in order

The highest number holds the folder. Making the next one, which a file system grants to one process only, takes the
folder over from a holder that ended or died. None is deleted, so no number is granted twice. Locks of the operating
system would be shorter, but network file systems keep them unreliably, and they do not tell who holds them. A holder
shows that it lives by renewing the time of its file; on its own machine its process is looked up instead.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from inril.errors import InputError

log = logging.getLogger(__name__)
BEAT_S = 10.0
STALE_S = 120.0  # without a sign of life; network file systems may hold a new time back for 60 s
_TOLD = {"host", "machine", "pid", "start", "slurm_job", "since"}  # of a holder


class RunLock:
    """Holds a run's folder until released.

    Args:
        folder: of the run; exists.

    Raises:
        InputError: another process holds it, or who does is not to be read.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = folder / ".holder"
        self._files.mkdir(exist_ok=True)
        self._file = self._take()
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._keep_beating, daemon=True)
        self._beat.start()

    def check(self) -> None:
        """Make sure that nobody took the folder over, as from a process that was stopped for minutes.

        Raises:
            InputError: somebody did.
        """
        if _newest(self._files) != self._file.parent:
            raise InputError(
                self._folder, expected="a folder to work in alone", got="one taken over by another process"
            )

    def release(self) -> None:
        """Leave the folder to whoever comes next."""
        self._over.set()
        self._beat.join()
        os.truncate(self._file, 0)  # also on a full disk

    def _take(self) -> Path:
        """Make the next number, or refuse."""
        draft = self._files / f".{uuid.uuid4().hex}"
        draft.mkdir()
        (draft / "who.json").write_text(json.dumps(_identity()), encoding="utf-8")
        try:
            while True:
                last = _newest(self._files)
                if last:
                    self._refuse_if_alive(last / "who.json")
                number = self._files / str(int(last.name) + 1 if last else 1)
                try:
                    draft.rename(number)  # fails if there is one, since it is not empty
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                else:
                    return number / "who.json"
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _refuse_if_alive(self, file: Path) -> None:
        holder = _read(file)
        if holder is None:
            return
        alive = _lives_here(holder)
        if alive is None:
            log.info("%s: waiting for a sign of life from %s", self._folder, _name(holder))
            alive = _beats(file)
        if alive:
            raise _refusal(self._folder, holder)
        log.warning("%s: taking over from %s, which is dead", self._folder, _name(holder))

    def _keep_beating(self) -> None:
        while not self._over.wait(BEAT_S):
            with suppress(OSError):  # a network may fail for a while; what matters is written by others, who complain
                os.utime(self._file)


def holder_of(folder: Path) -> str | None:
    """Return who works in a run's folder, None if nobody does. Only reads, and does not wait."""
    holder = _living(folder)
    return _name(holder) if holder else None


def refuse_if_held(folder: Path) -> None:
    """Make sure that nobody works in a run's folder. Only reads, and does not wait.

    Raises:
        InputError: somebody does.
    """
    holder = _living(folder)
    if holder:
        raise _refusal(folder, holder)


def _living(folder: Path) -> dict[str, Any] | None:
    """Return the holder of a folder if it lives, as far as can be told without waiting."""
    files = folder / ".holder"
    last = _newest(files) if files.is_dir() else None
    holder = _read(last / "who.json") if last else None
    if last is None or holder is None:
        return None
    alive = _lives_here(holder)
    if alive is None:
        alive = time.time() - _time(last / "who.json") < STALE_S
    return holder if alive else None


def _refusal(folder: Path, holder: dict[str, Any]) -> InputError:
    return InputError(
        folder,
        expected="a folder to work in alone",
        got=f"one in use by {_name(holder)}",
        hint=f"Wait for it to end, or stop it: {_stop(holder)}",
    )


def _stop(holder: dict[str, Any]) -> str:
    """Return the command that ends a holder."""
    if holder["slurm_job"]:
        return f"scancel {holder['slurm_job']}"
    here = holder["machine"] == _machine()
    return f"kill {holder['pid']}" if here else f"kill {holder['pid']}, on {holder['host']}"


def _newest(files: Path) -> Path | None:
    return max((path for path in files.iterdir() if path.name.isdigit()), key=lambda path: int(path.name), default=None)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        text = file.read_text(encoding="utf-8")
        holder = json.loads(text) if text else None
    except (FileNotFoundError, ValueError):
        holder = {}
    if holder is None or (isinstance(holder, dict) and holder.keys() >= _TOLD):
        return holder
    hint = f"Delete {file.parent} once you are sure that nobody works in the run's folder"
    raise InputError(file, expected="who works in this folder", got="a damaged file", hint=hint)


def _name(holder: dict[str, Any]) -> str:
    job = f", SLURM job {holder['slurm_job']}" if holder["slurm_job"] else ""
    return f"process {holder['pid']} on {holder['host']}{job}, since {holder['since']}"


def _identity() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "start": _start_of(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
    }


def _machine() -> str:
    """Return where process ids mean the same: one boot of one machine, and one container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux: processes cannot be looked up, so each counts as elsewhere
        return f"{socket.gethostname()} {os.getpid()}"


def _lives_here(holder: dict[str, Any]) -> bool | None:
    """Return whether a holder on this machine is alive; None if it is elsewhere."""
    return _start_of(holder["pid"]) == holder["start"] if holder["machine"] == _machine() else None


def _start_of(pid: int) -> str | None:
    """Return when a process started, which tells it from a later one of the same id; None if it is dead."""
    try:
        # The name, in brackets, may hold anything; state and start time are fields 3 and 22.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _beats(file: Path) -> bool:
    """Return whether a holder elsewhere gives a sign of life; waits for one unless the last is too old already."""
    last = _time(file)
    with tempfile.TemporaryFile(dir=file.parents[1]) as probe:  # dated by the clock that dated the other
        age = os.fstat(probe.fileno()).st_mtime - last
    deadline = time.monotonic() + STALE_S - max(age, 0.0)
    while time.monotonic() < deadline:
        time.sleep(BEAT_S / 10)
        if _time(file) != last:
            return True
    return False


def _time(file: Path) -> float:
    with file.open("rb") as opened:  # opening asks the server, where a mere stat may answer from memory
        return os.fstat(opened.fileno()).st_mtime
