from pathlib import Path

import pytest
import torch

import inril
from inril.train import origin
from inril.train.origin import comments, origin_here, read_origins


def test_names_processor_instruction_set_and_code() -> None:
    origin = origin_here(torch.device("cpu"))
    assert torch.backends.cpu.get_cpu_capability() in origin.processor
    assert origin.code.startswith("inril ")
    assert ";" not in origin.processor


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    here = origin_here(torch.device("cpu"))
    path = tmp_path / "config.yaml"
    path.write_text(
        comments([here, here._replace(processor="Other, AVX2")]) + "task: hopper  # computed on: no comment\n"
    )
    assert read_origins(path) == [here, here._replace(processor="Other, AVX2")]


def test_older_runs_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert read_origins(path) == []
    path.write_text("task: hopper\n")
    assert read_origins(path) == []


def test_a_copy_that_git_does_not_know_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "origin.py"
    copy.write_text(Path(origin.__file__).read_text())
    monkeypatch.setattr(origin, "__file__", str(copy))
    origin._code.cache_clear()
    assert origin._code() == f"inril {inril.__version__}"
    monkeypatch.undo()
    origin._code.cache_clear()
