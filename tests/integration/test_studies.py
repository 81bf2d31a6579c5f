"""A part of what `make mutations` and `make kills` do in full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("study", "part"), [("mutations", "--minutes=2"), ("kills", "--kills=3")])
def test_no_disturbance_is_seen_in_results(study: str, part: str) -> None:
    command = [sys.executable, "-m", f"studies.{study}", part]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
