"""What the repository may weigh, since whoever clones it waits for that; and what a publication replaces."""

import json
import subprocess
from pathlib import Path

import pytest

from inril.errors import InputError
from inril.publishing.contents import check_size
from inril.publishing.mirror import MIRROR, PROVENANCE
from inril.publishing.store import record, shown_elsewhere

ROOT = Path(__file__).parents[3]
STORE_MB, HISTORY_MB = 100, 220


def test_the_store_stays_small() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "published").rglob("*") if path.is_file())
    assert size <= STORE_MB * 1e6


def test_only_tables_that_another_budget_shows_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shared = {table.relative_to(ROOT / "published" / "tables") for table in ROOT.glob("published/tables/*/*.csv")}
    assert shared
    assert {(table.parent.name, table.stem) for table in shared} <= shown_elsewhere()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git repository, such as an archive of the sources")
def test_history_stays_small() -> None:
    command = ["git", "rev-list", "--disk-usage", "--objects", "HEAD"]  # each object once, however often it is packed
    counted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "dubious ownership" in counted.stderr:
        pytest.skip("a checkout of somebody else, of which git tells nothing")
    assert counted.returncode == 0, counted.stderr
    assert int(counted.stdout) <= HISTORY_MB * 1e6


def test_a_publication_that_adds_too_much_is_refused() -> None:
    new = {"a": (9_000_000, MIRROR / "laptop" / "demos" / "x"), "b": (12_000_000, MIRROR / "long" / "weights" / "y")}
    assert check_size(new, 21, "more than before") == 21
    refused = r"at most 20 MB more than before, got 21.0 MB \(long/weights 12.0 MB, laptop/demos 9.0 MB; largest: "
    with pytest.raises(InputError, match=refused):
        check_size(new, 20, "more than before")


@pytest.fixture
def replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A phase of the mirror with three runs: one made anew since, an outdated one, and one of another figure."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {finetune: {foreach: [smoke]}}")
    new = Path("results", "smoke", "finetune", "a", "metrics.csv")
    new.parent.mkdir(parents=True)
    new.write_text("new")
    for run in ("a", "outdated", "other"):
        folder = tmp_path / MIRROR / "smoke" / "finetune" / run
        folder.mkdir(parents=True)
        for name in ("metrics.csv", f"metrics.csv{PROVENANCE}", "log.txt", f"log.txt{PROVENANCE}"):
            (folder / name).write_text("old")

    new.with_name("log.txt").write_text("log")
    outdated = new.parents[1] / "outdated"
    planned = {
        new: True,
        new.with_name("log.txt"): True,
        outdated / "metrics.csv": False,
        outdated / "log.txt": False,
    }
    current = [output for output, is_current in planned.items() if is_current]
    monkeypatch.setattr("inril.publishing.store.planned_outputs", lambda *args: planned)
    monkeypatch.setattr("inril.publishing.store.current_outputs", lambda *args: current)
    monkeypatch.setattr("inril.publishing.store._tasks_without_demos", lambda *args: set())
    monkeypatch.setattr("inril.publishing.store.used_policies", lambda budget: set())
    monkeypatch.setattr("inril.publishing.store.read_record", lambda output: {"input": []})
    return tmp_path / MIRROR / "smoke" / "finetune"


def test_other_figures_stay_as_published(replaced: Path) -> None:
    record("smoke", "finetune", ["fig8"], drop=False)
    assert (replaced / "a" / "metrics.csv").read_text() == "new"
    assert json.loads((replaced / "a" / f"log.txt{PROVENANCE}").read_text())["output"].endswith("a/log.txt")
    assert {path.read_text() for path in (replaced / "other").iterdir()} == {"old"}
    assert not (replaced / "outdated").exists()


def test_nothing_goes_unasked(replaced: Path) -> None:
    with pytest.raises(InputError, match=r"expected what is published to be current .*, got other/log.txt, "):
        record("smoke", "finetune", drop=False)
    assert (replaced / "a" / "metrics.csv").read_text() == "old"
    record("smoke", "finetune", ["fig8"], drop=True)
    assert [path.name for path in replaced.iterdir()] == ["a"]


def test_runs_of_a_task_without_demonstrations_stay(replaced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inril.publishing.store._tasks_without_demos", lambda *args: {"outdated"})
    with pytest.raises(InputError, match=r"expected what is published to be current .*, got outdated/log.txt, "):
        record("smoke", "finetune", ["fig8"], drop=False)
    assert (replaced / "outdated" / "metrics.csv").read_text() == "old"
