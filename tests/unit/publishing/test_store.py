"""What the repository may weigh: whoever clones it waits for that."""

import subprocess
from pathlib import Path

import pytest

from inril.errors import InputError
from inril.publishing.contents import check_size
from inril.publishing.mirror import MIRROR

ROOT = Path(__file__).parents[3]
STORE_MB, HISTORY_MB = 100, 220


def test_the_store_stays_small() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "published").rglob("*") if path.is_file())
    assert size <= STORE_MB * 1e6


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git repository, such as an archive of the sources")
def test_history_stays_small() -> None:
    counted = subprocess.run(["git", "count-objects", "-v"], cwd=ROOT, capture_output=True, text=True, check=False)
    if "dubious ownership" in counted.stderr:
        pytest.skip("a checkout of somebody else, of which git tells nothing")
    assert counted.returncode == 0, counted.stderr
    sizes = dict(line.split(": ") for line in counted.stdout.splitlines())
    assert int(sizes["size-pack"]) + int(sizes["size"]) <= HISTORY_MB * 1024


def test_a_publication_that_adds_too_much_is_refused() -> None:
    new = {"a": (9_000_000, MIRROR / "laptop" / "demos" / "x"), "b": (12_000_000, MIRROR / "long" / "weights" / "y")}
    assert check_size(new, 21, "more than before") == 21
    refused = r"at most 20 MB more than before, got 21.0 MB \(long/weights 12.0 MB, laptop/demos 9.0 MB; largest: "
    with pytest.raises(InputError, match=refused):
        check_size(new, 20, "more than before")
