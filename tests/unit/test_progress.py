"""Progress: a bar in a terminal that leaves log lines alone, nothing in a log file."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from inril.progress import progress

# A command that works for a while and logs on the way.
CODE = """
import logging, sys, time
from inril import cli
from inril.publishing import store as publish
from inril.progress import progress

def work(targets):
    with progress("work", 3) as advance:
        for i in range(3):
            time.sleep(0.2)  # the bar is drawn again meanwhile
            advance(1)
            logging.getLogger("inril").info("step %d is done", i)

publish.pull = work
sys.exit(cli.main(["pull"]))
"""


def test_a_log_file_has_log_lines_alone() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)

    assert [re.sub(r"^[\d:]{8} ", "", line) for line in done.stderr.splitlines()] == [
        f"step {i} is done" for i in range(3)
    ]
    assert done.stdout == ""


def test_log_lines_stand_above_the_bar_of_a_terminal() -> None:
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-c", CODE], stderr=terminal, env=environment) as process:
        os.close(terminal)
        seen = b"".join(iter(lambda: read(master), b"")).decode()
        assert process.wait() == 0
    os.close(master)

    lines = [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", line).split("\r")[-1] for line in seen.split("\r\n")]
    assert [line[9:] for line in lines if "done" in line] == [f"step {i} is done" for i in range(3)]
    assert any(re.match(r"work .*3/3", line) for line in lines)


def read(terminal: int) -> bytes:
    """What a terminal has to say; nothing once nobody writes to it any more."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("total", [3, None])
def test_steps_are_counted_on_top_of_earlier_ones(
    total: int | None, in_bytes: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, as far as the bar knows
    with progress("work", total, done=1, in_bytes=in_bytes) as advance:
        advance(2)

    assert ("3/3" if total else "3") in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capsys.readouterr().err)
