"""Tensors and settings in one safetensors file: written whole, verified when read, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from inril.errors import InputError, WrongContent
from inril.files import read_error, write_atomically

_HEADER = "inril"


class TensorFile(NamedTuple):
    """Contents of a file: tensors by name, and whatever else, as JSON values."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def write_tensors(path: Path, kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write atomically.

    Args:
        path: file to write.
        kind: what the file is ("policy", "checkpoint"); readers insist on it.
        tensors: by name.
        meta: JSON values; floats survive exactly.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"kind": kind, "meta": meta, "sha256": _digest(whole, meta)}
    # One key: the library writes several in random order, and equal contents should be equal files.
    write_atomically(path, save(whole, metadata={_HEADER: json.dumps(header)}))


def read_tensors(path: Path, kind: str) -> TensorFile:
    """Read and verify.

    Raises:
        InputError: the file is missing, or the system refuses to read it.
        WrongContent: it is cut short, not of this kind or altered.
    """
    expected = f"a whole {kind} file of inril"
    try:
        path.open("rb").close()  # safetensors would call every refusal a missing file
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (FileNotFoundError, IsADirectoryError) as error:
        got = "nothing there" if isinstance(error, FileNotFoundError) else "a folder"
        raise InputError(path, expected=expected, got=got) from None
    except OSError as error:
        raise read_error(path, error) from None
    except (SafetensorError, ValueError) as error:
        raise WrongContent(path, expected=expected, got=f"an unreadable one ({error})") from None
    if not isinstance(header, dict) or header.get("kind") != kind:
        got = repr(header.get("kind") if isinstance(header, dict) else header)
        raise WrongContent(path, field="kind", expected=repr(kind), got=got)
    if header.get("sha256") != _digest(tensors, header.get("meta", {})):
        raise WrongContent(path, field="sha256", expected="the hash of the contents", got="another one: it was altered")
    return TensorFile(tensors, header["meta"])


def file_digest(path: Path) -> str:
    """Return the hash of the contents that a file written by `write_tensors` records."""
    with safe_open(path, framework="pt") as file:
        return str(json.loads(file.metadata()[_HEADER])["sha256"])


def pack(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split nested dicts into tensors (arrays included) by path "a/b/c" and other values, empty dicts too, by path."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, Mapping) and value:
            inner_tensors, inner_values = pack(value)
            tensors |= {f"{key}/{name}": inner for name, inner in inner_tensors.items()}
            values |= {f"{key}/{name}": inner for name, inner in inner_values.items()}
        elif isinstance(value, Tensor):
            tensors[key] = value
        elif isinstance(value, np.ndarray):
            tensors[key] = torch.from_numpy(np.asarray(value, order="C"))
        else:
            values[key] = value
    return tensors, values


def unpack(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> dict[str, Any]:
    """Reverse `pack`; arrays come back as tensors."""
    state: dict[str, Any] = {}
    for path, value in [*tensors.items(), *values.items()]:
        *folders, name = path.split("/")
        inner = state
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = value
    return state


def _digest(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(meta).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
