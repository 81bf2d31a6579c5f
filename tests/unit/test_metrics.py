from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path

import pandas as pd
import pytest

from inril.errors import InputError
from inril.metrics import COLUMNS, MetricsLog

RUN = {"task": "hopper", "method": "dppo", "separation": "surgery", "m": 2, "seed": 0}
HEADER = "task,method,separation,m,seed,itr,env_steps,split,metric,value\n"


def open_log(path: Path, length: int = 0, sha256: str = "") -> MetricsLog:
    return MetricsLog(path, RUN, length, sha256)


def test_rows_are_one_fact_each(tmp_path: Path) -> None:
    log = open_log(tmp_path / "m.csv")
    log.add(1, 800, "train", {"return": 12.5, "n": 3})
    log.add(2, 1600, "eval", {"return": -1.0})
    log.flush()
    assert (tmp_path / "m.csv").read_text() == (
        HEADER
        + "hopper,dppo,surgery,2,0,1,800,train,return,12.5\n"
        + "hopper,dppo,surgery,2,0,1,800,train,n,3.0\n"
        + "hopper,dppo,surgery,2,0,2,1600,eval,return,-1.0\n"
    )
    assert tuple(HEADER.strip().split(",")) == COLUMNS


def test_values_read_back_exactly(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.pi * 1e-7]
    log = open_log(tmp_path / "m.csv")
    log.add(1, 1, "train", {str(i): value for i, value in enumerate(values)})
    log.add(1, 1, "train", {"nan": math.nan, "inf": -math.inf})
    log.flush()
    with (tmp_path / "m.csv").open() as file:
        read = [float(row["value"]) for row in csv.DictReader(file)]
    assert [value.hex() for value in read[:-2]] == [value.hex() for value in values]
    assert math.isnan(read[-2])
    assert read[-1] == -math.inf
    table = pd.read_csv(tmp_path / "m.csv", float_precision="round_trip")
    assert table["value"][:6].tolist() == values


def test_nothing_is_written_before_a_flush(tmp_path: Path) -> None:
    log = open_log(tmp_path / "m.csv")
    log.add(1, 1, "train", {"a": 1.0})
    assert (tmp_path / "m.csv").read_text() == HEADER
    length = log.flush()
    assert length == (tmp_path / "m.csv").stat().st_size > len(HEADER)
    assert log.flush() == length


def test_log_cut_back_and_continued_equals_one_that_was_never_interrupted(tmp_path: Path) -> None:
    whole, cut = open_log(tmp_path / "whole.csv"), open_log(tmp_path / "cut.csv")
    for log in (whole, cut):
        log.add(1, 1, "train", {"ä": 1.0})  # bytes and characters differ
    whole.flush()
    length = cut.flush()
    cut.add(2, 2, "train", {"lost": 2.0})
    cut.flush()
    cut.add(3, 3, "train", {"never written": 2.0})
    resumed = open_log(tmp_path / "cut.csv", length)
    for log in (whole, resumed):
        log.add(2, 2, "train", {"a": 3.0})
        log.flush()
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_row_torn_by_a_kill_is_dropped(tmp_path: Path) -> None:
    log = open_log(tmp_path / "m.csv")
    log.add(1, 1, "train", {"a": 1.0})
    length = log.flush()
    before = (tmp_path / "m.csv").read_bytes()
    with (tmp_path / "m.csv").open("ab") as file:
        file.write(b"hopper,dppo,sur")
    open_log(tmp_path / "m.csv", length)
    assert (tmp_path / "m.csv").read_bytes() == before


def test_new_log_forgets_an_older_file(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("left over\n" * 100)
    open_log(tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text() == HEADER


def test_file_shorter_than_its_checkpoint_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER)
    with pytest.raises(InputError) as caught:
        open_log(path, 500)
    assert str(caught.value) == (
        f"{path}: expected 500 bytes of metrics, got {len(HEADER)}. "
        "Put the file back as it was, or delete the run's folder to start it again"
    )
    assert path.read_text() == HEADER
    with pytest.raises(InputError, match=r"expected 500 bytes of metrics, got 0"):
        open_log(tmp_path / "missing.csv", 500)
    assert not (tmp_path / "missing.csv").exists()


def test_file_other_than_its_checkpoint_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    log = open_log(path)
    log.add(1, 1, "train", {"ä": 1.0})
    length, sha256 = log.flush(), log.sha256
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    resumed = open_log(path, length, sha256)
    resumed.add(2, 2, "train", {"b": 2.0})
    resumed.flush()
    assert resumed.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    changed = path.read_bytes().replace(b"1.0", b"7.0")
    path.write_bytes(changed)
    with pytest.raises(InputError) as caught:
        open_log(path, length, sha256)
    assert str(caught.value) == (
        f"{path}: expected the {length} bytes that the checkpoint knows, of sha256 {sha256}, "
        f"got others, of {hashlib.sha256(changed[:length]).hexdigest()}. "
        "Put the file back as it was, or delete the run's folder to start it again"
    )
    assert path.read_bytes() == changed
    open_log(path, length)  # of a checkpoint that knows the length alone


def test_unwritable_place_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a place that can be written, got Is a directory"):
        open_log(tmp_path)


def test_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    log = open_log(tmp_path / "m.csv")
    log.add(1, 1, "train", {"a": 1.0})
    (tmp_path / "m.csv").unlink()
    (tmp_path / "m.csv").symlink_to("/dev/full")
    with pytest.raises(InputError) as caught:
        log.flush()
    assert str(caught.value) == (
        f"{tmp_path}/m.csv: expected room on the disk, got No space left on device. "
        "Free some space and start again; finished work is kept"
    )
