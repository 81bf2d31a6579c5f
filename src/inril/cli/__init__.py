"""The command line: one command per step of the pipeline, each a plain call that can be repeated by hand.

A command is a function; its signature says which options there are and what they may be, its docstring what they mean.
Modules are imported inside the commands, so that none waits for what it does not use.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import inril
from inril.cli import reporting as shown
from inril.cli import training as runs
from inril.cli import upkeep as project
from inril.errors import InputError

INTERRUPTED, MISUSED = 130, 2
# What the machine refuses and the user can put right; any other OSError is a defect and keeps its traceback.
_REFUSALS = {
    errno.ENOSPC: "Free some space and run again",
    errno.EDQUOT: "Free some space and run again",
    errno.EACCES: "Check the permissions",
    errno.EPERM: "Check the permissions",
    errno.EROFS: "Choose a folder that can be written",
    errno.ENOTDIR: "Choose another path",
    errno.EEXIST: "Choose another path",
    errno.EISDIR: "Choose another path",
}

app = App(
    name="inril",
    help="Interleaved reinforcement and imitation learning for policy fine-tuning.",
    version=inril.__version__,
    help_format="plaintext",
)
for command in (
    *(runs.demos, runs.pretrain, runs.finetune, runs.evaluate, runs.expert),
    *(shown.aggregate, shown.figure, shown.gains, shown.claims, shown.compare, shown.film),
    *(shown.landscape, shown.landscape_figure, shown.schematic),
    *(project.check, project.check_demos, project.resolve, project.status, project.ledger, project.schemas),
    *(project.pull, project.publish, project.record),
):
    app.command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0, 1 after an error that the user can act on, 2 where the command itself is wrong, 130 after an
        interruption.
    """
    os.environ["MPLBACKEND"] = "agg"  # a job draws into files, also where a notebook started it
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=_StandardError())
    logging.getLogger("inril").setLevel(logging.INFO)  # libraries have much to say below a warning
    try:
        command, given, _ = app.parse_args(argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(str(error), MISUSED)
    try:
        command(*given.args, **given.kwargs)
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = error.filename or given.arguments.get("out") or "file system"
        expected = "room to write" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "a path that can be used"
        return _fail(
            str(InputError(str(where), expected=expected, got=os.strerror(error.errno), hint=_REFUSALS[error.errno]))
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


class _StandardError:
    """Standard error of the moment a line is written: a progress bar stands in for it, to keep lines off itself."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _fail(message: str, status: int = 1) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status
