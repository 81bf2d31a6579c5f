"""Files without what another one holds already: a fine-tuned policy keeps most tensors of the one that it began as.

A slim file is a line of JSON and the bytes that are new. The line has the other file's hash, the whole file's, and its
parts in order: [length, offset in the other file], or [length] for the next of the new bytes. Parts are the tensors of
safetensors files, and what stands before them.

Only the standard library is used; see `inril.publishing.mirror`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from inril.errors import InputError

_MAGIC = b"inril slim 1\n"
_LENGTH = 8  # bytes that tell the length of a safetensors header


def slimmed(content: bytes, base: bytes) -> bytes:
    """Return a safetensors file without the tensors that another one holds."""
    known = {base[start:end]: start for start, end in _parts(base)}
    parts, new = [], []
    for start, end in _parts(content):
        part = content[start:end]
        if part in known:
            parts.append([end - start, known[part]])
        else:
            parts.append([end - start])
            new.append(part)
    head = {"base": sha256(base).hexdigest(), "whole": sha256(content).hexdigest(), "parts": parts}
    return b"".join([_MAGIC, json.dumps(head).encode(), b"\n", *new])


def base_of(content: bytes) -> str | None:
    """Return the hash of the file that a slim one needs; None for a whole one."""
    return str(_head(content)[0]["base"]) if content.startswith(_MAGIC) else None


def whole(path: Path, content: bytes, base: bytes) -> bytes:
    """Return what was made slim.

    Args:
        path: of the slim file, for errors.
        content: of it.
        base: the file that it was made slim by.

    Raises:
        InputError: they do not give what was made slim.
    """
    head, new = _head(content)
    pieces, at = [], 0
    for length, *offset in head["parts"]:
        source, start = (base, offset[0]) if offset else (new, at)
        at += 0 if offset else length
        pieces.append(source[start : start + length])
    made = b"".join(pieces)
    if sha256(made).hexdigest() != head["whole"]:
        raise InputError(path, expected=f"a file with hash {head['whole']}", got="another one", hint="dvc pull --force")
    return made


def _head(content: bytes) -> tuple[dict[str, Any], bytes]:
    line, _, new = content.removeprefix(_MAGIC).partition(b"\n")
    return json.loads(line), new


def _parts(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of a safetensors file's header and of each tensor, in the order of the file."""
    start = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = json.loads(content[_LENGTH:start])
    yield 0, start
    for begin, end in sorted(tuple(about["data_offsets"]) for name, about in header.items() if name != "__metadata__"):
        if begin < end:
            yield start + begin, start + end
