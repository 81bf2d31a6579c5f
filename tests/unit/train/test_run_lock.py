from __future__ import annotations

import json
import logging
import os
import re
import signal
import textwrap
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from other_process import running

from inril.errors import InputError
from inril.train import run_lock
from inril.train.run_lock import RunLock, holder_of, refuse_if_held

HOLDER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from inril.train import run_lock
    run_lock.BEAT_S = 0.1
    folder, machine = sys.argv[1:]
    if machine:
        run_lock._machine = lambda: machine
    lock = run_lock.RunLock(Path(folder))
    print("ready", flush=True)
    sys.stdin.read()
""")
# Tries to take every folder at an agreed time, keeps what it got and tells which.
RACER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from inril.errors import InputError
    from inril.train.run_lock import RunLock
    print("ready", flush=True)
    start, *folders = sys.stdin.readline().split()
    locks = []
    for i, folder in enumerate(folders):
        time.sleep(max(0.0, float(start) + 0.05 * i - time.time()))
        try:
            locks.append(RunLock(Path(folder)))
            print(folder, flush=True)
        except InputError:
            pass
    print("done", flush=True)
    sys.stdin.read()
""")


def killed_holder(folder: Path, machine: str = "") -> None:
    with running(HOLDER, folder, machine) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()


def who(folder: Path, number: int = 1) -> Path:
    return folder / ".holder" / str(number) / "who.json"


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        RunLock(folder)
    return str(caught.value)


def take(folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Take and release; returns what was logged."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        RunLock(folder).release()
    return [record.message for record in caplog.records]


def test_holder_is_named_to_whoever_is_refused(tmp_path: Path) -> None:
    with running(HOLDER, tmp_path, "", SLURM_JOB_ID="45") as process:
        pattern = (
            rf"{tmp_path}: expected a folder to work in alone, got one in use by process {process.pid} on \S+, "
            r"SLURM job 45, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S+\. Wait for it to end, or stop it: scancel 45"
        )
        text = refusal(tmp_path)
        assert re.fullmatch(pattern, text)
        assert f"in use by {holder_of(tmp_path)}." in text


def test_local_process_is_stopped_otherwise_than_a_job_of_slurm(tmp_path: Path) -> None:
    with running(HOLDER, tmp_path, "") as process:
        assert refusal(tmp_path).endswith(f"or stop it: kill {process.pid}")
        with pytest.raises(InputError, match=f"kill {process.pid}$"):
            refuse_if_held(tmp_path)
    refuse_if_held(tmp_path)


def test_same_process_is_refused_too(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert f"process {os.getpid()} on" in refusal(tmp_path)
    lock.release()


def test_released_folder_is_taken_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert take(tmp_path, caplog) == []
    assert take(tmp_path, caplog) == []
    assert holder_of(tmp_path) is None
    assert holder_of(tmp_path / "new") is None


def test_folder_of_a_killed_process_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed_holder(tmp_path)
    assert holder_of(tmp_path) is None
    (message,) = take(tmp_path, caplog)
    assert re.fullmatch(rf"{tmp_path}: taking over from process \d+ on \S+, since .*, which is dead", message)


def test_later_process_with_the_same_id_is_no_holder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed_holder(tmp_path)
    who(tmp_path).write_text(json.dumps(json.loads(who(tmp_path).read_text()) | {"pid": os.getpid()}))
    assert len(take(tmp_path, caplog)) == 1


def test_living_process_on_another_machine_is_respected(tmp_path: Path) -> None:
    with running(HOLDER, tmp_path, "elsewhere") as process:
        assert f"in use by process {process.pid} on" in refusal(tmp_path)
        assert f"process {process.pid} on" in str(holder_of(tmp_path))


def test_silent_process_on_another_machine_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed_holder(tmp_path, "elsewhere")
    monkeypatch.setattr(run_lock, "STALE_S", 1.5)
    start = time.monotonic()
    messages = take(tmp_path, caplog)
    assert time.monotonic() - start > 1
    assert [message.split(" from ")[0] for message in messages] == [
        f"{tmp_path}: waiting for a sign of life",
        f"{tmp_path}: taking over",
    ]


def test_process_on_another_machine_that_is_long_silent_is_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed_holder(tmp_path, "elsewhere")
    long_ago = time.time() - run_lock.STALE_S - 1
    os.utime(who(tmp_path), (long_ago, long_ago))
    assert holder_of(tmp_path) is None
    start = time.monotonic()
    assert "taking over" in take(tmp_path, caplog)[-1]
    assert time.monotonic() - start < 1


def test_exactly_one_of_many_wins_a_dead_process_folder(tmp_path: Path) -> None:
    folders = [tmp_path / str(i) for i in range(20)]
    for folder in folders:
        folder.mkdir()
    killed_holder(folders[0])
    for folder in folders[1:]:
        who(folder).parent.mkdir(parents=True)
        who(folder).write_bytes(who(folders[0]).read_bytes())
    with ExitStack() as stack:
        racers = [stack.enter_context(running(RACER)) for _ in range(4)]
        for racer in racers:
            assert racer.stdin is not None
            print(time.time() + 0.3, *folders, file=racer.stdin, flush=True)
        wins: Counter[str] = Counter()
        for racer in racers:
            assert racer.stdout is not None
            wins.update(iter(racer.stdout.readline, "done\n"))
    assert wins == {f"{folder}\n": 1 for folder in folders}


def test_process_that_lost_its_folder_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As one that was suspended for minutes, while another machine heard nothing of it.
    monkeypatch.setattr(run_lock, "BEAT_S", 0.1)
    first = RunLock(tmp_path)
    first.check()
    with monkeypatch.context() as patched:
        patched.setattr(run_lock, "_machine", lambda: "elsewhere")
        patched.setattr(run_lock, "STALE_S", 0.0)
        second = RunLock(tmp_path)
    with pytest.raises(InputError, match="expected a folder to work in alone, got one taken over by another process"):
        first.check()
    second.check()
    first.release()
    assert "in use" in refusal(tmp_path)
    second.release()
