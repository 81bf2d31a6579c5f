"""What the mirror holds, by the hashes under which DVC stores it, and how much that is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from inril.errors import InputError
from inril.publishing.mirror import MIRROR

STORE = Path("published")
_MB = 1_000_000
_NAMED = 5  # files in a message


def mirrored() -> dict[str, tuple[int, Path]]:
    """Return size and path of what is in the mirror, by the hash that DVC gives it."""
    contents: dict[str, tuple[int, Path]] = {}
    for path in sorted(MIRROR.rglob("*")):
        if path.is_file():
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            contents.setdefault(digest, (path.stat().st_size, path))
    return contents


def new_contents() -> dict[str, tuple[int, Path]]:
    """Return what is in the mirror and not yet in the store."""
    return {digest: found for digest, found in mirrored().items() if not _object(digest).exists()}


def check_size(contents: Mapping[str, tuple[int, Path]], limit_mb: float, what: str = "") -> float:
    """Return the size of files in megabytes, equal ones counted once, as DVC stores them.

    Args:
        contents: size and path by hash.
        limit_mb: size that they may have.
        what: the files are, if not all of the store.

    Raises:
        InputError: they are larger.
    """
    total = sum(size for size, _ in contents.values()) / _MB
    if total <= limit_mb:
        return total
    phases: Counter[Path] = Counter()
    for size, path in contents.values():
        phases[Path(*path.relative_to(MIRROR).parts[:2])] += size
    parts = ", ".join(f"{phase} {size / _MB:.1f} MB" for phase, size in phases.most_common())
    large = sorted(contents.values(), reverse=True)[:_NAMED]
    largest = ", ".join(f"{path} {size / _MB:.1f} MB" for size, path in large)
    raise InputError(
        STORE,
        expected=" ".join(filter(None, (f"at most {limit_mb:g} MB", what))),
        got=f"{total:.1f} MB ({parts}; largest: {largest})",
        hint="Nothing was committed or pushed. Publish fewer figures or budgets, or take a stage out of dvc.yaml",
    )


def check_store() -> None:
    """Look for every object in the store: DVC takes the files of a folder for stored once the list of them is.

    Raises:
        InputError: one is missing.
    """
    for digest, (_, path) in mirrored().items():
        if not _object(digest).exists():
            raise InputError(
                _object(digest), expected=f"the contents of {path}", got="nothing", hint=f"git checkout {STORE}"
            )


def _object(digest: str) -> Path:
    return STORE / "files" / "md5" / digest[:2] / digest[2:]
