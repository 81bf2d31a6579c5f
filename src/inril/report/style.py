"""What every drawing starts from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever a user's files, a notebook or other code have set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        yield
