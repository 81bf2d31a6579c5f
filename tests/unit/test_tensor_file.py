from __future__ import annotations

import errno
import json
import math
import os
import pickle
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from inril.errors import InputError
from inril.files import write_atomically
from inril.tensor_file import file_digest, pack, read_tensors, unpack, write_tensors

torch.set_num_threads(1)

UNREADABLE = "FILE: expected a whole checkpoint file of inril, got an unreadable one ("


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "float32": torch.randn(3, 2, generator=generator),
        "float64": torch.tensor([0.1, -math.inf, math.nan, 1e-310], dtype=torch.float64),
        "int64": torch.tensor([[-(2**62)], [2**62]]),
        "bool": torch.tensor([True, False, True]),
        "uint8": torch.arange(256, dtype=torch.uint8),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
    }


@pytest.fixture
def path(tmp_path: Path, tensors: dict[str, Tensor]) -> Path:
    write_tensors(tmp_path / "file.safetensors", "checkpoint", tensors, {"itr": 3, "rate": 0.1})
    return tmp_path / "file.safetensors"


def message(path: Path, kind: str = "checkpoint") -> str:
    with pytest.raises(InputError) as caught:
        read_tensors(path, kind)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text.replace(str(path), "FILE")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape
        and a[name].numpy().tobytes() == b[name].numpy().tobytes()
        for name in a
    )  # fmt: skip


def test_everything_comes_back_exactly(path: Path, tensors: dict[str, Tensor]) -> None:
    read = read_tensors(path, "checkpoint")
    assert same(read.tensors, tensors)
    assert read.meta == {"itr": 3, "rate": 0.1}


def test_values_survive_exactly(tmp_path: Path) -> None:
    meta = {
        "float": 0.1 + 0.2, "tiny": 5e-324, "infinite": -math.inf, "big": 2**80, "none": None, "flag": True,
        "text": "Ærø \"quoted\"\n", "list": [1, 2.5, "x"], "nested": {"a": {"b": []}, "empty": {}},
    }  # fmt: skip
    write_tensors(tmp_path / "f", "policy", {}, meta)
    read = read_tensors(tmp_path / "f", "policy")
    assert read.meta == meta
    assert type(read.meta["flag"]) is bool
    assert read.tensors == {}


def test_views_and_shared_memory_are_written_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    written = {"all": base, "column": base[:, 1], "transposed": base.t(), "again": base}
    write_tensors(tmp_path / "f", "policy", written, {})
    read = read_tensors(tmp_path / "f", "policy").tensors
    for name, tensor in written.items():
        assert torch.equal(read[name], tensor)


def test_parameters_are_written_without_their_graph(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 2)
    write_tensors(tmp_path / "f", "policy", dict(net.named_parameters()), {})
    read = read_tensors(tmp_path / "f", "policy").tensors
    assert torch.equal(read["weight"], net.weight)
    assert not read["weight"].requires_grad


def test_equal_contents_are_equal_files(path: Path, tensors: dict[str, Tensor]) -> None:
    other = path.with_name("other")
    write_tensors(other, "checkpoint", dict(reversed(tensors.items())), {"itr": 3, "rate": 0.1})
    assert other.read_bytes() == path.read_bytes()


def test_digest_tells_contents_apart(path: Path, tensors: dict[str, Tensor]) -> None:
    digests = {file_digest(path)}
    changed: list[tuple[dict[str, Tensor], dict[str, Any]]] = [
        (tensors, {"itr": 4, "rate": 0.1}),
        ({**tensors, "scalar": torch.tensor(3.6)}, {"itr": 3, "rate": 0.1}),
        ({**tensors, "scalar": torch.tensor([3.5])}, {"itr": 3, "rate": 0.1}),
        ({**tensors, "uint8": tensors["uint8"].view(torch.int8)}, {"itr": 3, "rate": 0.1}),
    ]
    for contents, meta in changed:
        write_tensors(path, "checkpoint", contents, meta)
        digests.add(file_digest(path))
    assert len(digests) == 5
    write_tensors(path, "checkpoint", tensors, {"itr": 3, "rate": 0.1})
    assert file_digest(path) in digests


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_refused_read_is_no_damage(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "open", refuse)
    assert message(path).startswith(f"FILE: expected a readable file, got {os.strerror(code)}. ")


def test_header_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "list", metadata={"inril": "[1]"})
    assert message(tmp_path / "list") == "FILE: kind: expected 'checkpoint', got [1]"


def test_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    assert message(tmp_path / "no") == "FILE: expected a whole checkpoint file of inril, got nothing there"
    assert message(tmp_path) == "FILE: expected a whole checkpoint file of inril, got a folder"


def test_other_kind_is_refused(path: Path) -> None:
    assert message(path, "policy") == "FILE: kind: expected 'policy', got 'checkpoint'"


def test_safetensors_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "plain")
    assert message(tmp_path / "plain") == "FILE: kind: expected 'checkpoint', got None"
    save_file({"w": torch.zeros(2)}, tmp_path / "meta", metadata={"format": "pt"})
    assert message(tmp_path / "meta") == "FILE: kind: expected 'checkpoint', got None"


@pytest.mark.parametrize("content", [b"", b"x", b"some text that is no safetensors file" * 9, b"\xff" * 64])
def test_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert message(tmp_path / "f").startswith(UNREADABLE)


def test_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "f").write_bytes(pickle.dumps(Trap()))
    message(tmp_path / "f")
    torch.save({"w": Trap()}, tmp_path / "g")
    message(tmp_path / "g")
    assert not (tmp_path / "sprung").exists()


def test_file_cut_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, *range(150, len(whole), 61), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert message(path).startswith(UNREADABLE)


def test_file_with_something_appended_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    assert message(path).startswith(UNREADABLE)


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    tensors, meta = {"w": torch.tensor([0.5, -2.0]), "i": torch.tensor([3])}, {"itr": 3, "rate": 0.1}
    write_tensors(path, "checkpoint", tensors, meta)
    whole = path.read_bytes()
    n_harmless = 0
    for position in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[position] ^= (0x01, 0x20, 0x80)[position % 3]
        path.write_bytes(spoilt)
        try:
            read = read_tensors(path, "checkpoint")
        except InputError:
            continue
        assert same(read.tensors, tensors), f"byte {position}"
        assert read.meta == meta, f"byte {position}"
        n_harmless += 1
    assert n_harmless < 8  # white space around the header changes nothing that is read


def test_altered_numbers_are_named_as_such(path: Path) -> None:
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    assert message(path) == "FILE: sha256: expected the hash of the contents, got another one: it was altered"


def test_nested_state_is_packed_and_unpacked(tmp_path: Path) -> None:
    state = {
        "net": {"layers.0.weight": torch.ones(2, 2), "deep": {"bias": torch.zeros(2)}},
        "array": np.array([[1.5, 2.5]]), "ints": np.array([3, 4]), "flags": np.array([True, False]),
        "zero_dim": np.array(2.5), "strided": np.arange(12.0).reshape(3, 4).T,
        "step": 7, "score": -math.inf, "none": None, "nothing": {}, "inner": {"empty": {}},
    }  # fmt: skip
    tensors, values = pack(state)
    json.dumps(values)
    write_tensors(tmp_path / "f", "checkpoint", tensors, {"state": values})
    read = read_tensors(tmp_path / "f", "checkpoint")
    back = unpack(read.tensors, read.meta["state"])
    assert back.keys() == state.keys()
    assert torch.equal(back["net"]["layers.0.weight"], torch.ones(2, 2))
    assert torch.equal(back["net"]["deep"]["bias"], torch.zeros(2))
    for name in ("array", "ints", "flags", "zero_dim", "strided"):
        expected = state[name]
        assert isinstance(expected, np.ndarray)
        assert back[name].numpy().dtype == expected.dtype
        np.testing.assert_array_equal(back[name].numpy(), expected)
        assert back[name].shape == expected.shape
    assert (back["step"], back["score"], back["none"]) == (7, -math.inf, None)
    assert (back["nothing"], back["inner"]) == ({}, {"empty": {}})


# --- write_atomically


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes root and its capabilities")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_one_clear_error_and_leaves_the_old_file(full_disk: Path) -> None:
    path = full_disk / "file"
    write_atomically(path, b"old")
    with pytest.raises(InputError) as caught:
        write_atomically(path, b"x" * 200_000)
    assert str(caught.value) == (
        f"{path}: expected room on the disk, got No space left on device. "
        "Free some space and start again; finished work is kept"
    )
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in full_disk.iterdir()] == ["file"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_full_disk_keeps_the_old_tensors(full_disk: Path) -> None:
    path = full_disk / "file"
    write_tensors(path, "policy", {"w": torch.ones(3)}, {})
    with pytest.raises(InputError, match="expected room on the disk"):
        write_tensors(path, "policy", {"w": torch.ones(100_000)}, {})
    assert torch.equal(read_tensors(path, "policy").tensors["w"], torch.ones(3))


def test_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    # Needs no root: beyond a limit on the size of files a write fails with EFBIG after part of it.
    path = tmp_path / "file"
    write_atomically(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InputError) as caught:
            write_atomically(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == (
        f"{path}: expected a place that can be written, got File too large. Check the folder's permissions"
    )
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_folder_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="expected a place that can be written"):
        write_atomically(tmp_path / "file" / "inside", b"x")
    assert (tmp_path / "file").read_text() == "in the way"


def test_interruption_leaves_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    write_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"
