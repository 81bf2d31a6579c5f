"""The limit of networks: the matrix products that they carry out, each alone at its own size."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# The two factors among the arguments of everything that multiplies matrices.
_FACTORS: dict[Any, Callable[..., tuple[Tensor, Tensor]]] = {
    torch.ops.aten.mm: lambda a, b: (a, b),
    torch.ops.aten.bmm: lambda a, b: (a, b),
    torch.ops.aten.addmm: lambda _, a, b, **__: (a, b),
    torch.ops.aten.addmm_: lambda _, a, b, **__: (a, b),
    torch.ops.aten.baddbmm: lambda _, a, b, **__: (a, b),
    torch.ops.mkldnn._linear_pointwise: lambda x, weight, *_: (x, weight.t()),
}


class Products(TorchDispatchMode):
    """Adds up what the matrix products that pass would take if nothing else had to be done.

    Attributes:
        operations: floating point operations.
        seconds: CPU-seconds of each alone, by the library that is the faster one at its size.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.seconds = 0.0
        self._seconds_of: dict[tuple[int, ...], float] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Account for an operation, then carry it out."""
        factors = _FACTORS.get(func.overloadpacket)
        if factors is not None:
            a, b = factors(*args, **(kwargs or {}))
            size = (a.shape[:-2].numel(), *a.shape[-2:], b.shape[-1])
            if size not in self._seconds_of:  # of rows without a gradient there may be none to multiply
                self._seconds_of[size] = size[0] * product_seconds(*size[1:]) if prod(size) else 0.0
            self.operations += 2 * prod(size)
            self.seconds += self._seconds_of[size]
        return func(*args, **(kwargs or {}))


def product_seconds(n: int, m: int, k: int) -> float:
    """Return the CPU-seconds of a product of (n, m) and (m, k) by BLAS or oneDNN, whichever is faster."""
    a, b, out = torch.randn(n, m), torch.randn(m, k), torch.empty(n, k)
    libraries = [
        partial(torch.mm, a, b, out=out),
        partial(torch.ops.mkldnn._linear_pointwise, a, b.t(), None, "none", [], ""),
    ]
    return min(cpu_seconds(library) for library in libraries)


def cpu_seconds(work: Callable[[], object], n_times: int = 5, at_least_s: float = 2e-4) -> float:
    """Return the CPU-seconds of one call, the best of several stretches of calls."""
    work()
    start = time.process_time()
    work()
    n_calls = 1 + int(at_least_s / (time.process_time() - start))
    stretches = []
    for _ in range(n_times):
        start = time.process_time()
        for _ in range(n_calls):
            work()
        stretches.append((time.process_time() - start) / n_calls)
    return min(stretches)
