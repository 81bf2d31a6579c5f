"""On which processor and with which code a run was computed: comments at the head of its config.yaml.

    # computed on AMD EPYC (family 25, model 17), AVX512; inril 0.1.0, commit 4c8eb4d

Matrix products are rounded differently from one instruction set to the next, and training amplifies that. A run that
was resumed elsewhere has a line for each.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

import inril

_MARK = "# computed on "


class Origin(NamedTuple):
    """One line."""

    processor: str
    code: str

    def __str__(self) -> str:
        return f"{self.processor}; {self.code}"


def origin_here(device: torch.device) -> Origin:
    """Describe this machine and this code.

    Args:
        device: what networks are computed on.
    """
    processor = _cpu() if device.type == "cpu" else f"{torch.cuda.get_device_name(device)}, {_cpu()}"
    return Origin(processor, _code())


def comments(origins: Sequence[Origin]) -> str:
    """Return the lines for the head of a YAML file."""
    return "".join(f"{_MARK}{origin}\n" for origin in origins)


def read_origins(config: Path) -> list[Origin]:
    """Return what a run's config.yaml tells; nothing if it is missing, or older than these lines."""
    try:
        lines = config.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = [line.removeprefix(_MARK).partition("; ") for line in lines if line.startswith(_MARK)]
    return [Origin(processor, code) for processor, _, code in found]


@cache
def _cpu() -> str:
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    except OSError:  # no Linux
        pass
    name = facts.get("model name") or platform.processor() or platform.machine()
    kind = f" (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else ""
    return f"{name}{kind}, {torch.backends.cpu.get_cpu_capability()}"


@cache
def _code() -> str:
    version = f"inril {inril.__version__}"
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:  # installed, or no git
        return version
    commit = _git("describe", "--always", "--dirty", "--exclude", "*")
    return version if commit is None else f"{version}, commit {commit}"


def _git(*args: str) -> str | None:
    """Return what git says about the folder of this file; None if it refuses or is not there."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *args]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return None if told.returncode else told.stdout.strip()
