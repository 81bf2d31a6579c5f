from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import pytest

N_STEPS = 4  # of an item, padded at an episode's end


def read_with_robomimic(path: Path, filter_key: str | None = None) -> Any:
    """Open demonstrations with robomimic's own reader, a SequenceDataset: the proof that a file fits its layout."""
    reason = "robomimic is not installed"
    library = pytest.importorskip("robomimic.utils.dataset", reason=reason, exc_type=ImportError)
    from robomimic.utils import obs_utils

    with h5py.File(path) as file:
        obs_keys = sorted(file["data/demo_0/obs"])
    with redirect_stdout(io.StringIO()):  # it prints its global table of observations, which this replaces
        obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": obs_keys}})
    return library.SequenceDataset(
        hdf5_path=str(path),
        obs_keys=obs_keys,
        dataset_keys=("actions", "rewards", "dones"),
        seq_length=N_STEPS,
        filter_by_attribute=filter_key,
        load_next_obs=False,
        hdf5_use_swmr=False,  # with it, no ordinary reader of this process could open the file beside it
    )
