"""Attempts side by side, each process with a scene of its own."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager

from inril.data.scripted.attempt import EXPERTS, Attempt, Recipe, Workplace, attempt
from inril.data.scripted.finished import Job

Runner = Callable[[Sequence[Job]], Iterator[tuple[Job, Attempt]]]

_scene: Workplace  # of this process, if it is a worker


@contextmanager
def runner(recipe: Recipe, n_processes: int) -> Iterator[Runner]:
    """Return what runs attempts and hands them out as they finish, in any order.

    Args:
        recipe: what the attempts depend on besides group and number.
        n_processes: with 1, they run in this process.
    """
    if n_processes == 1:
        scene = EXPERTS[recipe.task_id].make_scene()
        yield lambda jobs: ((job, attempt(scene, recipe, *job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, context, _start, (recipe.task_id,)) as pool:

        def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, Attempt]]:
            futures = {pool.submit(_run, recipe, job): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()

        try:
            yield run
        finally:
            pool.shutdown(cancel_futures=True)


def _start(task_id: str) -> None:
    global _scene
    _scene = EXPERTS[task_id].make_scene()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: one that was killed cannot stop its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(recipe: Recipe, job: Job) -> Attempt:
    return attempt(_scene, recipe, *job)
