"""Files without what another one holds."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from inril.errors import InputError
from inril.publishing.slim import base_of, slimmed, whole

BASE = {"denoiser.weight": torch.randn(200, 50), "denoiser.bias": torch.randn(50), "empty": torch.zeros(0)}
TUNED = {**BASE, "denoiser_ft.weight": torch.randn(200, 50), "denoiser_ft.bias": BASE["denoiser.bias"].clone()}


def test_what_both_hold_is_stored_once() -> None:
    base, content = save(BASE), save(TUNED, {"made": "here"})
    slim = slimmed(content, base)
    assert len(slim) < len(content) / 2 + 1000
    assert whole(Path("x"), slim, base) == content


def test_nothing_in_common_costs_a_line() -> None:
    base, content = save({"a": torch.randn(100)}), save({"b": torch.randn(1000)})
    slim = slimmed(content, base)
    assert len(slim) < len(content) + 400
    assert whole(Path("x"), slim, base) == content


def test_a_slim_file_tells_whose_tensors_it_lacks() -> None:
    base, other = save(BASE), save({"a": torch.randn(3)})
    assert base_of(slimmed(save(TUNED), base)) != base_of(slimmed(save(TUNED), other))
    assert base_of(save(TUNED)) is None


def test_another_base_or_a_cut_file_is_refused() -> None:
    base, content = save(BASE), save(TUNED)
    slim = slimmed(content, base)
    for damaged in (slim[:-1], slim.replace(b'"parts": [[', b'"parts": [[1], [', 1)):
        with pytest.raises(InputError, match="x: expected a file with hash"):
            whole(Path("x"), damaged, base)
    with pytest.raises(InputError, match="x: expected a file with hash"):
        whole(Path("x"), slim, save({**BASE, "denoiser.bias": torch.randn(50)}))
