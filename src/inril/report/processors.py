"""Says when runs that are compared were not computed alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from inril.train.origin import read_origins

_UNKNOWN = "a processor that was not recorded"


def processors_note(runs: Mapping[Path, pd.DataFrame]) -> str:
    """Return a sentence for each task whose runs were computed on different processors; empty if there is none.

    Args:
        runs: metrics by file, beside which config.yaml tells on what they were computed.
    """
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for path, frame in runs.items():
        processors = dict.fromkeys(origin.processor for origin in read_origins(path.with_name("config.yaml")))
        used[str(frame["task"].iloc[0])][" and ".join(processors) or _UNKNOWN] += 1
    mixed = {task: counts for task, counts in used.items() if len(counts) > 1}
    return " ".join(
        f"{task}: runs were computed on different processors, which round differently, so that those of one seed are "
        f"not paired exactly ({'; '.join(f'{n} on {name}' for name, n in counts.most_common())})."
        for task, counts in mixed.items()
    )
