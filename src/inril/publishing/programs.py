"""Calls of the programs that publishing is done with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from inril.errors import InputError


def snakemake(budget: str, config: str, *args: str) -> str:
    """Call Snakemake under a budget and one more setting, and return what it prints.

    Raises:
        InputError: it fails.
    """
    return _call("snakemake", "--quiet", "all", "--config", f"budget={budget}", config, *args)


def dvc(*args: str) -> str:
    """Call DVC and return what it prints.

    Raises:
        InputError: it fails.
    """
    try:
        return _call("dvc", *args)
    except InputError as error:
        if "is not a git repository" not in error.got:
            raise
        raise InputError(
            Path.cwd(),
            expected="a git repository, as DVC wants it",
            got="none, as in an unpacked archive",
            hint="Have DVC do without: dvc config --local core.no_scm true",
        ) from None


def _call(program: str, *args: str) -> str:
    done = subprocess.run([sys.executable, "-m", program, *args], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise InputError(f"{program} {' '.join(args)}", expected="success", got=f"status {done.returncode}: {said}")
    return done.stdout
