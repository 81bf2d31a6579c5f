"""Demonstrations of a task, from whichever source its settings name."""

from __future__ import annotations

from pathlib import Path

from inril.config.base import SCRIPTED
from inril.config.runs import DemosConfig


def make_demos(cfg: DemosConfig, out: Path, sim_threads: int = 1) -> None:
    """Write the demonstrations of a task from the source that the configuration names.

    Args:
        cfg: resolved settings.
        out: the demonstration file.
        sim_threads: of the simulator.

    Raises:
        InputError: the source is unusable or `out` cannot be written.
    """
    # Imported here: learners, who only read, need neither downloads nor experts.
    if cfg.source == "d4rl":
        from inril.data.d4rl import download_d4rl

        download_d4rl(cfg, out)
    elif cfg.source == "robomimic":
        from inril.data.robomimic import download_robomimic

        download_robomimic(cfg, out)
    elif cfg.source == "file":
        from inril.data.own_demos import copy_demos

        copy_demos(cfg, out)
    elif cfg.task.suite in SCRIPTED:
        from inril.data.scripted.collect import generate_scripted

        generate_scripted(cfg, out, sim_threads)
    else:
        from inril.data.rollouts import generate
        from inril.train.expert import load_expert

        generate(cfg, load_expert(cfg.task), out, sim_threads)
