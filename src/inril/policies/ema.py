"""Moving averages of weights: of a policy in pre-training, of targets in fine-tuning."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the average towards the model: ema = decay ema + (1 - decay) model."""
    for average, value in zip(ema.parameters(), model.parameters(), strict=True):
        average.lerp_(value, 1 - decay)
