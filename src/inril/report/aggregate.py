"""Collects the metrics of a figure's runs into one tidy table: all that the figure needs, in one file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from inril.config.base import COMPUTE
from inril.config.shown import PanelRuns, TableSpec
from inril.errors import InputError
from inril.files import read_error, write_atomically

RUN = ("task", "method", "separation", "m", "seed")
RUN_COLUMNS = (*RUN, "itr", "env_steps", "split", "metric", "value")
TABLE_COLUMNS = ("panel", *RUN, "env_steps", "metric", "value")
# Printed on every figure: how much of each kind of learning an arm got.
RL_UPDATES, IL_UPDATES = "train/n_rl_updates", "train/n_il_updates"

_TEXT: dict[Hashable, type[str]] = dict.fromkeys(("task", "method", "separation", "m", "split", "metric"), str)
_NUMBERS = ("seed", "itr", "env_steps", "value")


def run(spec: TableSpec, metrics: Sequence[Path], published: Path, out: Path) -> None:
    """Write the table of a figure.

    Args:
        spec: panels and metrics.
        metrics: metrics.csv of every run; one that several panels share is given once.
        published: folder of published tables, <budget>/<figure>.csv, for the panels that are drawn from them.
        out: CSV file, replaced only if all runs are sound.

    Raises:
        InputError: a run is unreadable, lacks a column or metric, belongs to no panel or is given twice; or there is
            nothing to show.
    """
    runs = {path: read_run(path) for path in metrics}
    table = build_table(spec, runs, lambda panel: read_published(published, spec.figure, panel))
    write_atomically(out, table.to_csv(index=False).encode())


def read_published(folder: Path, figure: str, panel: PanelRuns) -> pd.DataFrame:
    """Return the rows of a panel in the published table of its source; none if there is no such table or panel."""
    path = folder / panel.source / f"{figure}.csv"
    if not path.exists():
        return pd.DataFrame(columns=list(TABLE_COLUMNS))
    table = read_csv(path, TABLE_COLUMNS, ("seed", "env_steps", "value"))
    rows = table[table["panel"] == panel.label]
    shown = rows[["task", "method", "separation", "m"]].apply(lambda run: panel.holds(*run), axis="columns")
    return rows[shown.astype(bool)]


def read_run(path: Path) -> pd.DataFrame:
    """Read and check the metrics of one run, each metric named split/metric.

    Raises:
        InputError: the file is not the metrics of exactly one run.
    """
    frame = read_csv(path, RUN_COLUMNS, _NUMBERS)
    for column in RUN:
        values = frame[column].unique()
        if len(values) > 1:
            got = ", ".join(map(str, values))
            raise InputError(path, field=column, expected="one run in one file", got=got)
    return frame.assign(metric=frame["split"] + "/" + frame["metric"])


def rows_of(path: Path, frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of one metric of a checked run that hold a number.

    Raises:
        InputError: there are none.
    """
    rows = frame[(frame["metric"] == metric) & frame["value"].notna()]
    if rows.empty:
        raise InputError(path, field="metric", expected=f"rows of {metric}", got="none")
    return rows


def build_table(
    spec: TableSpec, runs: Mapping[Path, pd.DataFrame], published: Callable[[PanelRuns], pd.DataFrame]
) -> pd.DataFrame:
    """Sort checked runs into panels; a panel none of whose runs is there has no rows.

    Args:
        spec: panels and metrics.
        runs: metrics by file.
        published: gives the rows of a panel that is not computed.

    Returns:
        `TABLE_COLUMNS`, in the order of panels, method, m (RL only last), separation, seed, metric and env steps.
    """
    parts = []
    for panel, members in into_panels(spec, runs):
        if panel.source != COMPUTE:
            parts.append(published(panel))
            continue
        for path in members:
            wanted = [*(panel.metrics or ()), RL_UPDATES, IL_UPDATES]
            parts.append(_select(path, runs[path], wanted).assign(panel=panel.label))
    shown = [part for part in parts if not part.empty]
    if not shown:
        raise InputError("--metrics", field=spec.figure, expected="a run of any panel", got="none")
    return pd.concat(shown, ignore_index=True)[list(TABLE_COLUMNS)]


def into_panels(spec: TableSpec, runs: Mapping[Path, pd.DataFrame]) -> list[tuple[PanelRuns, list[Path]]]:
    """Return each panel with its runs in order; those that are not computed have none.

    Raises:
        InputError: a run belongs to no panel or is given twice.
    """
    refuse_twins(runs)
    computed = [panel for panel in spec.panels if panel.source == COMPUTE]
    for path, frame in runs.items():
        if not any(belongs(frame, panel) for panel in computed):
            expected = "; or ".join(map(_describe, computed))
            raise InputError(path, expected=f"a run of a panel: {expected}", got=_identity(frame))
    in_order = sorted(runs, key=lambda path: run_order(runs[path]))
    return [
        (panel, [path for path in in_order if panel.source == COMPUTE and belongs(runs[path], panel)])
        for panel in spec.panels
    ]


def belongs(frame: pd.DataFrame, panel: PanelRuns) -> bool:
    """Tell whether a run is in a panel."""
    first = frame.iloc[0]
    return panel.holds(first["task"], first["method"], first["separation"], first["m"])


def run_order(frame: pd.DataFrame) -> tuple[str, float, str, int]:
    """Sort key of a run inside a panel: method, m as a number, separation, seed."""
    first = frame.iloc[0]
    return str(first["method"]), float(first["m"]), str(first["separation"]), int(first["seed"])


def read_csv(
    path: Path, columns: Sequence[str], numbers: Sequence[str], optional: Sequence[str] = ("value",)
) -> pd.DataFrame:
    """Read a CSV file whose text stays text ("inf" is an m, not a number).

    Args:
        path: file.
        columns: what it must have.
        numbers: columns of numbers.
        optional: those of them in which a number may be missing.

    Raises:
        InputError: the file is missing, empty or no CSV, lacks a column, or holds something else where numbers belong.
    """
    try:
        frame = pd.read_csv(
            path, dtype=_TEXT, keep_default_na=False, na_values={name: ["", "nan"] for name in optional}
        )
    except FileNotFoundError:
        raise InputError(path, expected="a CSV file", got="nothing there") from None
    except OSError as error:
        raise read_error(path, error) from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(path, expected="a CSV file", got=" ".join(str(error).split())) from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        got = ", ".join(map(str, frame.columns))
        raise InputError(path, field="columns", expected=", ".join(missing), got=got, hint="Run the job again")
    if frame.empty:
        raise InputError(path, expected="at least one row", got="only a header", hint="Run the job again")
    for column in numbers:
        parsed = pd.to_numeric(frame[column], errors="coerce")
        wrong = frame.loc[parsed.isna() & frame[column].notna(), column]
        if not wrong.empty:
            where = f"{column}, line {wrong.index[0] + 2}"
            raise InputError(path, field=where, expected="a number", got=repr(wrong.iloc[0]))
    return frame


def _select(path: Path, frame: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    known = frame[frame["value"].notna()]
    rank = {metric: number for number, metric in enumerate(wanted)}
    missing = [metric for metric in wanted if metric not in set(known["metric"])]
    if missing:
        got = ", ".join(known["metric"].unique())
        raise InputError(path, field="metric", expected=", ".join(missing), got=got)
    chosen = known[known["metric"].isin(wanted)]
    return chosen.assign(rank=chosen["metric"].map(rank)).sort_values(["rank", "env_steps"], kind="stable")


def refuse_twins(runs: Mapping[Path, pd.DataFrame]) -> None:
    """Refuse a run that is given twice.

    Raises:
        InputError: naming both files.
    """
    seen: dict[str, Path] = {}
    for path, frame in runs.items():
        identity = _identity(frame)
        if identity in seen:
            raise InputError(path, expected="each run once", got=f"the run of {seen[identity]} ({identity})")
        seen[identity] = path


def _identity(frame: pd.DataFrame) -> str:
    return ", ".join(f"{column} {frame[column].iloc[0]}" for column in RUN)


def _describe(panel: PanelRuns) -> str:
    methods = " or ".join(dict.fromkeys((panel.method, *(control.method for control in panel.controls))))
    others = (control.separation or panel.separation for control in panel.controls)
    separations = " or ".join(dict.fromkeys((panel.separation, *others)))
    return f"task {panel.task}, method {methods}, separation {separations} (or none for m inf)"
