"""Threads that environments are spread over."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


class Threads:
    """A pool of threads, started when it is first used and anew in every copy and process: none has another's.

    Args:
        n_threads: number of threads; one is the caller's own.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._started: tuple[int, ThreadPoolExecutor] | None = None  # by which process

    def call(self, function: Callable[[slice], None], parts: Sequence[slice]) -> None:
        """Call a function with each part, one per thread at a time; raises the first error."""
        if self._n_threads == 1:
            for part in parts:
                function(part)
        else:
            pool = self._pool()
            for future in [pool.submit(function, part) for part in parts]:
                future.result()

    def end(self) -> None:
        """Let the threads end; ending twice is harmless."""
        if self._started is not None and self._started[0] == os.getpid():
            self._started[1].shutdown()
        self._started = None

    def _pool(self) -> ThreadPoolExecutor:
        if self._started is None or self._started[0] != os.getpid():
            self._started = os.getpid(), ThreadPoolExecutor(self._n_threads)
        return self._started[1]

    def __reduce__(self) -> tuple[type[Threads], tuple[int]]:
        """Return what copy and pickle make others of."""
        return Threads, (self._n_threads,)
