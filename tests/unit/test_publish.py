"""What publishing leaves to be made again; the whole of it is in workflow/test_publish.py."""

from pathlib import Path

import pytest

from inril.publish import is_left_out


@pytest.mark.parametrize(
    ("phase", "name", "size", "left_out"),
    [
        ("demos", "generated.hdf5", 12_000_000, False),
        ("demos", "generated.hdf5", 12_000_001, True),
        ("pretrain", "policy.safetensors", 12_000_001, False),
        ("finetune", "metrics.csv", 1, False),
        ("finetune", "policy.safetensors", 1, True),
        ("weights", "policy.safetensors", 1, False),
    ],
)
def test_large_demos_and_fine_tuned_policies_are_left_out(
    tmp_path: Path, phase: str, name: str, size: int, left_out: bool
) -> None:
    output = tmp_path / name
    with output.open("wb") as file:
        file.truncate(size)
    assert is_left_out(phase, output) == left_out
