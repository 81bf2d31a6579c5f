"""Generated demonstrations are the same on processors that round matrix products differently."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from inril.config.runs import DemosConfig
from inril.data import read_provenance

# Libraries that choose their kernels by the processor are told that it has less than it has. What is said to a library
# that is not in use does nothing.
ANOTHER_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    "NUMBA_CPU_NAME": "haswell",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Haswell",
}
PRODUCT = """
import torch
torch.manual_seed(0)
print(torch.nn.functional.linear(torch.randn(32, 64), torch.randn(64, 64)).sum(1).double().sum().item())
"""

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="libraries can be told on x86 alone")


def run(*command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(config: DemosConfig, out: Path, environment: dict[str, str]) -> object:
    run(*tiny.PROGRAM, "demos", "--config", config.model_dump_json(), "--out", str(out), environment=environment)
    return read_provenance(out)["content_sha256"]


def test_the_two_processors_round_differently() -> None:
    here, there = (run(sys.executable, "-c", PRODUCT, environment=chosen) for chosen in ({}, ANOTHER_PROCESSOR))
    assert here != there


@pytest.mark.parametrize(
    ("task", "amount"),
    [
        ("hopper", {"n_steps": 20_000}),
        ("walker2d", {"n_steps": 20_000}),
        ("halfcheetah", {"n_steps": 20_000}),
        ("lift", {"n_demos": 6}),
    ],
)
def test_demonstrations_are_the_same_on_both(task: str, amount: dict[str, int], tmp_path: Path) -> None:
    config = tiny.project().demos(task).model_copy(update=amount)
    here, there = (
        content(config, tmp_path / name, environment)
        for name, environment in (("here.hdf5", {}), ("there.hdf5", ANOTHER_PROCESSOR))
    )
    assert here == there
