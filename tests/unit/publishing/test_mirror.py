"""What `adopt` takes from the mirror and what it leaves alone; Snakemake's part is in workflow/test_publish.py."""

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from inril.errors import InputError
from inril.publishing.mirror import adopt, is_unfinished, read_record
from inril.publishing.slim import slimmed

RUN = "results/smoke/finetune/hopper/dppo/surgery/m2/seed0"
METRICS, POLICY = f"{RUN}/metrics.csv", f"{RUN}/policy.safetensors"


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def record(made_at: float) -> dict[str, object]:
    return {"rule": "finetune", "log": [f"{RUN}/log.txt"], "endtime": made_at}


def publish(output: str, text: str | None, phase: str = "finetune", made_at: float = 1000.5) -> Path:
    copy = Path("results/published/smoke", phase, *Path(output).parts[3:])
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.with_name(f"{copy.name}.provenance.json").write_text(json.dumps({"output": output, "record": record(made_at)}))
    if text is not None:
        copy.write_text(text)
    return copy


def write(path: str | Path, text: str = "own") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def state_of(output: str, kind: str = "metadata") -> Path:
    return Path(".snakemake", kind, urlsafe_b64encode(output.encode()).decode())


def test_nothing_published_leaves_no_trace() -> None:
    assert adopt() == 0
    assert not list(Path().iterdir())


def test_outputs_come_into_place_with_record_and_time() -> None:
    publish(METRICS, "published").chmod(0o444)
    assert adopt() == 1
    assert Path(METRICS).read_text() == "published"
    assert Path(METRICS).stat().st_mtime == 1000.5
    assert os.access(METRICS, os.W_OK)
    assert read_record(Path(METRICS)) == record(1000.5)


def test_slim_policies_wait_for_what_they_started_from() -> None:
    base, tuned = save({"a": torch.ones(500), "b": torch.ones(3)}), save({"a": torch.ones(500), "c": torch.zeros(3)})
    start = "results/smoke/pretrain/hopper/diffusion/seed0/policy.safetensors"
    copy = publish(POLICY, None, phase="weights")
    copy.write_bytes(slimmed(tuned, base))
    provenance = copy.with_name(f"{copy.name}.provenance.json")
    inputs = {"input": ["results/smoke/demos/hopper/generated.hdf5", start]}
    provenance.write_text(json.dumps({"output": POLICY, "record": record(1000.5) | inputs}))
    assert adopt() == 0
    assert not Path(POLICY).exists()

    of_start = publish(start, "", phase="pretrain")
    of_start.write_bytes(base)
    log = {"log": ["results/smoke/pretrain/hopper/diffusion/seed0/log.txt"]}
    (of_start.with_name(f"{of_start.name}.provenance.json")).write_text(
        json.dumps({"output": start, "record": record(900.0) | log})
    )
    assert adopt() == 2
    assert Path(POLICY).read_bytes() == tuned
    assert adopt() == 0


def test_the_second_time_nothing_is_written() -> None:
    publish(METRICS, "published")
    adopt()
    before = {path: path.stat().st_ino for path in Path().rglob("*")}
    assert adopt() == 0
    assert {path: path.stat().st_ino for path in Path().rglob("*")} == before


def test_own_file_keeps_the_whole_job_from_being_adopted() -> None:
    publish(METRICS, "published")
    publish(POLICY, "published")
    write(METRICS)
    assert adopt() == 0
    assert Path(METRICS).read_text() == "own"
    assert not Path(POLICY).exists()
    assert not Path(".snakemake/metadata").exists()


def test_own_record_wins_though_its_file_was_deleted() -> None:
    publish(METRICS, "published")
    write(state_of(METRICS), json.dumps(record(2000)))
    assert adopt() == 0
    assert not Path(METRICS).exists()


def test_run_in_progress_is_left_alone() -> None:
    publish(METRICS, "published")
    write(state_of(METRICS, "incomplete"), "{}")
    assert is_unfinished(Path(METRICS))
    assert adopt() == 0


def test_interrupted_run_is_left_alone() -> None:
    publish(METRICS, "published")
    write(f"{RUN}/checkpoint/current.safetensors")
    assert is_unfinished(Path(METRICS))
    assert adopt() == 0


def test_deleted_output_stays_deleted() -> None:
    publish(METRICS, "published")
    adopt()
    Path(METRICS).unlink()
    assert adopt() == 0
    assert not Path(METRICS).exists()


def test_later_publication_replaces_an_adopted_output() -> None:
    publish(METRICS, "published")
    adopt()
    publish(METRICS, "published again", made_at=3000)
    assert adopt() == 1
    assert Path(METRICS).read_text() == "published again"
    assert read_record(Path(METRICS)) == record(3000)


def test_output_that_is_published_no_more_goes_with_the_next_publication() -> None:
    copy = publish(POLICY, "published")
    adopt()
    copy.unlink()
    publish(POLICY, None, made_at=3000)
    assert adopt() == 0
    assert not Path(POLICY).exists()


def test_weights_can_follow_later() -> None:
    publish(METRICS, "published")
    publish(POLICY, None)
    assert adopt() == 1
    assert read_record(Path(POLICY)) == record(1000.5)
    publish(POLICY, "weights", phase="weights")
    assert adopt() == 1
    assert Path(POLICY).read_text() == "weights"
    assert adopt() == 0


def test_of_two_pulls_the_later_publication_counts() -> None:
    publish(POLICY, None, made_at=3000)
    publish(POLICY, "old weights", phase="weights")
    assert adopt() == 0
    assert not Path(POLICY).exists()


def test_adoption_that_was_cut_short_goes_on() -> None:
    publish(METRICS, "published")
    adopt()
    known = json.loads(state_of(METRICS).read_text())
    state_of(METRICS).write_text(json.dumps(known | {"adopted": False}))
    Path(METRICS).unlink()
    assert adopt() == 1
    assert Path(METRICS).read_text() == "published"


def test_long_paths_are_recorded_where_snakemake_looks() -> None:
    from snakemake.persistence.file import FilePersistence

    output = f"results/{'long' * 30}/{'path' * 30}/metrics.csv"
    publish(output, "published")
    adopt()
    records = FilePersistence()
    assert records._io_read(records._metadata_path, output)["endtime"] == 1000.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected an output and its record, got something else"),
        (
            '{"output": "results/x", "record": {"log": 3, "endtime": 1}}',
            "expected an output and its record, got something",
        ),
        ('{"output": "results/x", "record": {"log": [], "endtime": null}}', "expected an output and its record"),
        ('{"output": "results/x", "record": {"log": [], "endtime": NaN}}', "expected an output and its record"),
        ('{"output": "", "record": {}}', "output: expected a path in results/"),
        ('{"output": "../outside", "record": {}}', "output: expected a path in results/, got ../outside"),
    ],
)
def test_damaged_provenance_is_named(text: str, message: str) -> None:
    path = write("results/published/smoke/finetune/metrics.csv.provenance.json", text)
    with pytest.raises(InputError, match=message) as error:
        adopt()
    assert error.value.where == str(path)
