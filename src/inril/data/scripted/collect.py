"""Demonstrations by scripted experts: many attempts by operators of three skills, of which the successes are kept.

Attempts run in processes of their own, which changes nothing about the result: each is a pure function of its number,
and the first successes of each group, in order of their numbers, are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inril.config.numerics import VERSIONS
from inril.config.runs import DemosConfig
from inril.data.demo_file import Episode, mean_return, write_demos
from inril.data.scripted.attempt import Attempt, Recipe
from inril.data.scripted.finished import AttemptStore, Job
from inril.data.scripted.operator import GROUPS, Group
from inril.data.scripted.workers import Runner, runner
from inril.errors import InputError
from inril.progress import Advance, progress

log = logging.getLogger(__name__)
_MIN_SUCCESS = 0.05  # below this rate an expert is broken, or the level absurd

Attempts = dict[Group, list[Attempt]]


def generate_scripted(cfg: DemosConfig, out: Path, sim_threads: int = 1) -> None:
    """Make the demonstrations of a Robomimic or furniture task.

    The file holds the three operator groups in turns, a filter key for each, and how often each succeeded. Finished
    attempts are stored beside it until it is complete, so that a killed run goes on where it was.

    Args:
        cfg: task, number of demonstrations, level, time limit and seed.
        out: the demonstration file.
        sim_threads: processes.

    Raises:
        InputError: operators hardly ever succeed, or `out` cannot be written.
    """
    assert cfg.n_demos is not None
    assert cfg.level is not None
    assert cfg.max_demo_steps is not None
    recipe = Recipe(cfg.task.id, cfg.level, cfg.seed, cfg.max_demo_steps)
    members = {group: range(i, cfg.n_demos, len(GROUPS)) for i, group in enumerate(GROUPS)}
    store = AttemptStore(out, recipe)
    with progress("demonstrations", cfg.n_demos) as advance, runner(recipe, sim_threads) as run:
        attempts = collect({group: len(ids) for group, ids in members.items()}, store, run, advance)
    kept = {group: iter(successes(tried)) for group, tried in attempts.items()}
    episodes = [next(kept[GROUPS[i % len(GROUPS)]]) for i in range(cfg.n_demos)]
    made_with = {"level": cfg.level, "seed": cfg.seed, "max_demo_steps": cfg.max_demo_steps}
    provenance = {
        "source": "generated",
        "scripted_version": VERSIONS["scripted"],
        **made_with,
        **statistics(attempts),
        "mean_return": mean_return(episodes),
    }
    write_demos(out, cfg.task, episodes, provenance, {group: list(ids) for group, ids in members.items()})
    store.remove()
    for group, tried in attempts.items():
        log.info("%s: %d of %d attempts succeeded", group, len(successes(tried)), len(tried))


def collect(n_wanted: dict[Group, int], store: AttemptStore, run: Runner, advance: Advance) -> Attempts:
    """Let each group try, in order of the attempts' numbers, until it has succeeded often enough.

    Each round makes the attempts that are needed if all of them succeed; so none is in vain, and which are made does
    not depend on which finishes first.

    Args:
        n_wanted: successes of each group.
        store: attempts that need no repetition; new ones are added.
        run: what runs the others.
        advance: is told of every success.

    Returns:
        All attempts of each group by number; the last round ends with the last success.

    Raises:
        InputError: a group hardly ever succeeds.
    """
    attempts: Attempts = {group: [] for group in n_wanted}
    while jobs := _next_round(n_wanted, attempts):
        results = {job: stored for job in jobs if (stored := store.load(job)) is not None}
        advance(len(successes(list(results.values()))))
        for job, result in run([job for job in jobs if job not in results]):
            store.save(job, result)
            results[job] = result
            advance(len(successes([result])))
        for job in jobs:
            attempts[job.group].append(results[job])
    return attempts


def successes(attempts: Sequence[Attempt]) -> list[Episode]:
    """Return what successful attempts recorded."""
    return [attempt.episode for attempt in attempts if attempt.episode is not None]


def statistics(attempts: Attempts) -> dict[str, int | float]:
    """Return how many attempts each group made, how many succeeded, and the mean length of these."""
    values: dict[str, int | float] = {}
    for group, tried in attempts.items():
        lengths = [len(episode.action) for episode in successes(tried)]
        if lengths:
            values |= {f"{group}_attempts": len(tried), f"{group}_successes": len(lengths)}
            values[f"{group}_mean_steps"] = float(np.mean(lengths))
    return values


def _next_round(n_wanted: dict[Group, int], attempts: Attempts) -> list[Job]:
    jobs = []
    for group, wanted in n_wanted.items():
        tried = attempts[group]
        n_missing = wanted - len(successes(tried))
        if n_missing and len(tried) >= wanted / _MIN_SUCCESS:
            got = f"{wanted - n_missing} in {len(tried)}"
            expected = f"a success in {1 / _MIN_SUCCESS:.0f} attempts or fewer"
            hint = "Lower demos.level or raise demos.max_demo_steps"
            raise InputError("demonstrations", field=f"operators: {group}", expected=expected, got=got, hint=hint)
        jobs += [Job(group, len(tried) + k) for k in range(n_missing)]
    return jobs
