"""What every drawing starts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from inril.errors import InputError
from inril.files import write_atomically

FORMATS = ("pdf", "png")
_DPI = 200  # of images
# No dates and versions in the files: the same figure is the same bytes.
_METADATA: dict[str, dict[Any, None]] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever a user's files, a notebook or other code have set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        yield


@contextmanager
def figure_style(font_size: float) -> Iterator[None]:
    """Draw as all figures with axes are drawn.

    Args:
        font_size: in points.
    """
    with sns.axes_style("ticks"):
        base = dict(sns.axes_style())
    own = {
        "font.size": font_size,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "axes.titlesize": font_size,
        "axes.labelsize": font_size,
        "xtick.labelsize": "small",
        "ytick.labelsize": "small",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.grid": True,
        "grid.color": "0.92",
        "grid.linewidth": 0.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "legend.frameon": False,
        "pdf.fonttype": 42,
    }
    with default_style(), mpl.rc_context(base | own):
        yield


def require_formats(out: Sequence[Path]) -> None:
    """Check that files can be drawn.

    Raises:
        InputError: one of them has an unknown format.
    """
    for path in out:
        if path.suffix[1:] not in FORMATS:
            raise InputError(path, expected=f"a file name ending in one of {', '.join(FORMATS)}", got=path.suffix)


def write_figure(figure: Figure, out: Sequence[Path]) -> None:
    """Write a figure into one file per format, and close it."""
    for path in out:
        buffer = BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], metadata=_METADATA[path.suffix[1:]], dpi=_DPI)
        write_atomically(path, buffer.getvalue())
    plt.close(figure)
