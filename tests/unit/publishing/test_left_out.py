"""What publishing leaves to be made again; the whole of it is in workflow/test_publish.py."""

from pathlib import Path

import pytest

from inril.publishing.current import used_policies
from inril.publishing.store import is_left_out


@pytest.mark.parametrize(
    ("phase", "name", "size", "used", "left_out"),
    [
        ("demos", "generated.hdf5", 12_000_000, True, False),
        ("demos", "generated.hdf5", 12_000_001, True, True),
        ("pretrain", "policy.safetensors", 12_000_001, True, False),
        ("pretrain", "policy.safetensors", 1, False, True),
        ("pretrain", "metrics.csv", 1, False, False),
        ("finetune", "metrics.csv", 1, False, False),
        ("finetune", "policy.safetensors", 1, False, True),
        ("weights", "policy.safetensors", 1, False, False),
        ("figures", "fig8.png", 1, False, True),
        ("figures", "fig8.pdf", 1, False, False),
    ],
)
def test_what_can_be_made_again_is_left_out(
    tmp_path: Path, phase: str, name: str, size: int, used: bool, left_out: bool
) -> None:
    output = tmp_path / name
    with output.open("wb") as file:
        file.truncate(size)
    assert is_left_out(phase, output, {output} if used else set()) == left_out


def test_policies_of_a_figures_own_seeds_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    hopper = {path.parent.name for path in used_policies("workstation") if "hopper/diffusion" in str(path)}
    assert hopper == {"seed0", "seed1", "seed2"}
