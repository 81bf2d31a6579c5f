"""Tables for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

from inril.errors import InputError
from inril.files import write_atomically

_STYLE = (
    "body {font: 13px sans-serif; margin: 1em} table {border-collapse: collapse} "
    "th, td {padding: 0.4em 0.6em; text-align: left; white-space: nowrap} "
    "th {border-bottom: 2px solid} td {border-bottom: 1px solid #ccc; font-variant-numeric: tabular-nums}"
)

_LATEX = {letter: f"\\{letter}" for letter in "%&_#"} | {"–": "--", "→": r"$\to$", "×": r"$\times$"}

Row = Sequence[str]


def write_table(table: pd.DataFrame, header: Row, rows: Sequence[Row], out: Sequence[Path], note: str = "") -> None:
    """Write a table in several formats.

    Args:
        table: all values, for .csv.
        header: titles of the columns that people see.
        rows: their cells, one per title.
        out: files to write, .csv, .html, .md or .tex by suffix.
        note: text for people below the table.

    Raises:
        InputError: another suffix; nothing was written to that file.
    """
    for path in out:
        if path.suffix == ".csv":
            text = table.to_csv(index=False)
        elif path.suffix == ".md":
            text = _markdown(header, rows, note)
        elif path.suffix == ".html":
            text = _html(header, rows, note)
        elif path.suffix == ".tex":
            text = _latex(header, rows, note)
        else:
            raise InputError(path, expected="a file name ending in .csv, .html, .md or .tex", got=path.suffix)
        write_atomically(path, text.encode())


def _markdown(header: Row, rows: Sequence[Row], note: str) -> str:
    lines = "".join(f"| {' | '.join(row)} |\n" for row in (header, ("---",) * len(header), *rows))
    return lines + (f"\n{note}\n" if note else "")


def _html(header: Row, rows: Sequence[Row], note: str) -> str:
    """Return a page that needs nothing else."""
    body = "".join(_html_row("td", row) for row in rows)
    return (
        f'<!DOCTYPE html>\n<meta charset="utf-8">\n<style>{_STYLE}</style>\n'
        f"<table>\n<thead>\n{_html_row('th', header)}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"
    ) + (f"<p>{escape(note)}</p>\n" if note else "")


def _latex(header: Row, rows: Sequence[Row], note: str) -> str:
    """Return a tabular for the booktabs package."""
    lines = (" & ".join(map(_latex_text, row)) + r" \\" for row in rows)
    titles = " & ".join(map(_latex_text, header)) + r" \\"
    below = [rf"\par\smallskip {_latex_text(note)}"] if note else []
    begin = rf"\begin{{tabular}}{{{'l' * len(header)}}}"
    return "\n".join((begin, r"\toprule", titles, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", *below, ""))


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _html_row(tag: str, cells: Row) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"
