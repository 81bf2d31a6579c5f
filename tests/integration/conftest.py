from pathlib import Path

import pytest
import tiny

from inril.train import pretrain
from inril.train.demonstrate import make_demos


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tiny.Inputs:
    """Demonstrations of Hopper and a barely trained policy of each kind."""
    folder = tmp_path_factory.mktemp("inputs")
    demos = folder / "demos.hdf5"
    make_demos(tiny.demos_config(), demos)
    for policy in ("diffusion", "gaussian_chunk"):
        pretrain.run(tiny.pretrain_config(policy), demos, folder / policy)
    return tiny.Inputs(demos, *(folder / policy / "policy.safetensors" for policy in ("diffusion", "gaussian_chunk")))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Folder of a run, not there yet."""
    return tmp_path / "run"
