"""The angle between the two gradients, corrected for the noise of what they were measured on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inril.interleave.aggregators import dot
from inril.interleave.separation import flatten
from inril.learning.update import Info


def gradient_angle(rl_loss: Callable[[], Tensor], il_loss: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Info:
    """Measure how imitation and reinforcement agree; changes no gradient and takes no step.

    Each loss is called twice and must use an independent batch each time. Inner products between independent
    gradients are unbiased, so |g|^2 is estimated by the product of the two halves and not by a half's own norm, which
    noise inflates.

    Args:
        rl_loss: actor loss on a new batch; from other episodes each time, or the noise of the rollout stays in.
        il_loss: imitation loss on a new batch.
        parameters: what both share.

    Returns:
        grad_cosine: corrected, 0 where the signal drowns in the noise (grad_signal = 0); rho: its negative
        (paper, assumption 1); grad_cosine_raw: of the averaged halves, uncorrected; grad_conflict: 1 if they oppose.
    """
    rl_a, rl_b, il_a, il_b = (_gradient(loss(), parameters) for loss in (rl_loss, rl_loss, il_loss, il_loss))
    rl, il = (rl_a + rl_b) / 2, (il_a + il_b) / 2
    inner = dot(rl, il)
    rl_power, il_power = dot(rl_a, rl_b), dot(il_a, il_b)
    signal = rl_power > 0 and il_power > 0
    cosine = max(-1.0, min(1.0, inner / math.sqrt(rl_power * il_power))) if signal else 0.0
    raw_norm = math.sqrt(dot(rl, rl) * dot(il, il))
    return {
        "grad_cosine": cosine,
        "rho": -cosine,
        "grad_signal": float(signal),
        "grad_cosine_raw": inner / raw_norm if raw_norm > 0 else 0.0,
        "grad_conflict": float(inner < 0),
        "grad_norm_rl_corrected": math.sqrt(max(rl_power, 0.0)),
        "grad_norm_il_corrected": math.sqrt(max(il_power, 0.0)),
    }


def _gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    return flatten(torch.autograd.grad(loss, list(parameters)))
