"""Two gradients in, one update direction out."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from inril.config.base import AggregatorName
from inril.errors import InputError

Aggregator = Callable[[Tensor, Tensor], Tensor]

# What constructors of TorchJD's aggregators need. Those that keep a state between calls are not offered: a resumed run
# would differ.
_TORCHJD_ARGUMENTS: dict[str, dict[str, float]] = {"CAGrad": {"c": 0.5}}


def dot(a: Tensor, b: Tensor) -> float:
    """Return the inner product of two vectors (P,), summed in float64."""
    return float(torch.dot(a.double(), b.double()))


def upgrad(g_rl: Tensor, g_il: Tensor, scale: float) -> Tensor:
    """Project each gradient on the dual cone of both and add them up.

    For two objectives that is: where they conflict (g_rl . g_il < 0), take from each its component along the other
    as it was; otherwise leave both alone. A zero gradient conflicts with nothing.

    Args:
        g_rl: (P,) gradient of the reinforcement loss.
        g_il: (P,) gradient of the imitation loss.
        scale: s; 1/2 gives UPGrad, 1 gives PCGrad.

    Returns:
        (P,) s (pi(g_rl) + pi(g_il)); its inner product with either gradient is not negative.

    Source: Quinton & Rey 2024, "Jacobian Descent", eq. for A_UPGrad; Yu et al. 2020, algorithm 1, for PCGrad.
    """
    inner = dot(g_rl, g_il)
    if not inner < 0:  # also where a gradient is not finite: the sum is not either, and says so
        return scale * (g_rl + g_il)
    # (g_rl - <rl,il>/|il|^2 g_il) + (g_il - <rl,il>/|rl|^2 g_rl)
    weight_rl = 1 - inner / dot(g_rl, g_rl)
    weight_il = 1 - inner / dot(g_il, g_il)
    return scale * (weight_rl * g_rl + weight_il * g_il)


def mean(g_rl: Tensor, g_il: Tensor, scale: float) -> Tensor:
    """Add the gradients up without any projection: surgery's naive twin, s (g_rl + g_il)."""
    return scale * (g_rl + g_il)


def make_aggregator(name: str, scale: float) -> Aggregator:
    """Return an aggregator by its config name.

    Args:
        name: "upgrad", "mean", or "torchjd.<Class>" for an aggregator of TorchJD with its default settings.
        scale: s of the closed forms. TorchJD's results are multiplied by 2 s, so that at s = 1/2 they are what the
            library gives, and "torchjd.UPGrad" is "upgrad" at any s.

    Raises:
        InputError: there is no such aggregator, or it needs a package that is not installed.
    """
    if name in ("upgrad", "mean"):
        closed_form = upgrad if name == "upgrad" else mean
        return lambda g_rl, g_il: closed_form(g_rl, g_il, scale)
    aggregator = _torchjd(name)

    def aggregate(g_rl: Tensor, g_il: Tensor) -> Tensor:
        # TorchJD's absolute tolerances distort pairs of small norm, so the pair is brought to norm 1 first.
        size = torch.stack([g_rl.norm(), g_il.norm()]).max()
        if not 0 < size < torch.inf:
            return g_rl + g_il  # zero, or not finite, which the caller reports
        return 2 * scale * size * aggregator(torch.stack([g_rl, g_il]) / size)

    return aggregate


def _torchjd(name: str) -> Callable[[Tensor], Tensor]:
    choices = get_args(AggregatorName)
    if name not in choices:
        raise InputError("il", field="aggregator", expected=f"one of {', '.join(choices)}", got=repr(name))
    import torchjd.aggregation as library

    class_name = name.removeprefix("torchjd.")
    try:
        return getattr(library, class_name)(**_TORCHJD_ARGUMENTS.get(class_name, {}))  # type: ignore[no-any-return]
    except ImportError as error:
        raise InputError(
            "il",
            field="aggregator",
            expected=f"all packages that {name} needs",
            got=str(error),
            hint="Or choose another aggregator",
        ) from None
