from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from inril.config.runs import IlConfig

torch.set_num_threads(1)


@pytest.fixture
def il_config() -> Callable[..., IlConfig]:
    def make(**changed: object) -> IlConfig:
        return IlConfig.model_validate({"unit": "grad_step", **changed})

    return make
