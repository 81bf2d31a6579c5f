"""Commands that show what came out: figures, tables, films, landscapes; and schematics."""

from __future__ import annotations

from pathlib import Path

from inril.cli.options import Count, Names, Paths, read_config
from inril.config.base import Device, Execution
from inril.config.shown import (
    ComparisonSpec,
    FigureSpec,
    FilmSpec,
    LandscapeFigureSpec,
    LandscapeSpec,
    Schematic,
    TableSpec,
)
from inril.errors import InputError


def aggregate(*, config: str, metrics: Paths, published: Path, out: Path) -> None:
    """Collect runs into the table behind a figure.

    Args:
        config: what the table holds: a YAML file, or JSON in place.
        metrics: metrics.csv of each run.
        published: folder of published tables, <budget>/<figure>.csv.
        out: CSV file to write.
    """
    spec = read_config(TableSpec, config)
    from inril.report import aggregate

    aggregate.run(spec, metrics, published, out)


def figure(*, config: str, table: Path, out: Paths) -> None:
    """Draw a figure from its table.

    Args:
        config: what the figure shows: a YAML file, or JSON in place.
        table: CSV file made by aggregate.
        out: files to draw, format by suffix (pdf, png).
    """
    spec = read_config(FigureSpec, config)
    from inril.report import figures

    figures.run(spec, table, out)


def gains(*, finetune: Paths, pretrain: Paths, rl_only: Names = (), out: Paths) -> None:
    """Compare runs with the policies that they started from.

    Args:
        finetune: metrics.csv of each run.
        pretrain: metrics.csv of the policy of each run, in the same order.
        rl_only: methods that learn from rewards alone.
        out: files to write, format by suffix (csv, html, md, tex).
    """
    from inril.report import gains

    gains.run(finetune, pretrain, rl_only, out)


def claims(*, metrics: Paths, pretrain: Paths, out: Paths) -> None:
    """Test the paper's claims on runs.

    Args:
        metrics: metrics.csv of each run.
        pretrain: metrics.csv of the policy of each run, in the same order.
        out: files to write, format by suffix (csv, html, md, tex).
    """
    from inril.report import claims

    claims.run(metrics, pretrain, out)


def compare(*, config: str, metrics: Paths, published: Path, out: Paths) -> None:
    """Compare methods or pre-trained policies task by task.

    Args:
        config: rows and columns: a YAML file, or JSON in place.
        metrics: metrics.csv of each run.
        published: folder of published tables, <budget>/<comparison>.csv.
        out: files to write, format by suffix (csv, html, md, tex).
    """
    spec = read_config(ComparisonSpec, config)
    from inril.report import comparison

    comparison.run(spec, metrics, published, out)


def film(
    *,
    config: str,
    policy: Path,
    out: Path,
    gif: Path | None = None,
    device: Device = "auto",
    sim_threads: Count = 1,
) -> None:
    """Show episodes of a policy, a success and a failure, as strips of frames.

    Args:
        config: what the film shows: a YAML file, or JSON in place.
        policy: policy.safetensors of a run.
        out: file to draw, pdf or png by suffix.
        gif: animation to write.
        device: of the networks; auto takes a GPU if there is one.
        sim_threads: threads of the simulator.
    """
    spec = read_config(FilmSpec, config)
    from inril.report import film

    film.run(spec, policy, out, gif, Execution(device=device, sim_threads=sim_threads))


def landscape(
    *, config: str, demos: Path, policies: Paths, out: Path, device: Device = "auto", sim_threads: Count = 1
) -> None:
    """Measure return and imitation loss in the plane of three policies' weights.

    Args:
        config: where to measure, and how much: a YAML file, or JSON in place.
        demos: demonstration file.
        policies: policy.safetensors of a run of RL only, then of another one from the same start.
        out: CSV file to write.
        device: of the networks; auto takes a GPU if there is one.
        sim_threads: threads of the simulator.
    """
    spec = read_config(LandscapeSpec, config)
    if len(policies) != 2:
        raise InputError("--policies", expected="two files", got=f"{len(policies)}")
    from inril.report import landscape

    execution = Execution(device=device, sim_threads=sim_threads)
    landscape.run(spec, demos, (policies[0], policies[1]), out, execution)


def landscape_figure(*, config: str, table: Path, out: Paths) -> None:
    """Draw a landscape from its table.

    Args:
        config: what the figure says: a YAML file, or JSON in place.
        table: CSV file made by landscape.
        out: files to draw, format by suffix (pdf, png).
    """
    spec = read_config(LandscapeFigureSpec, config)
    from inril.report import landscape_figure

    landscape_figure.run(spec, table, out)


def schematic(*, name: Schematic, out: Paths, font_size: float = 8.0) -> None:
    """Draw one of the paper's figures that have no data.

    Args:
        name: which.
        out: files to draw, format by suffix (pdf, png).
        font_size: in points.
    """
    from inril.report import schematics

    schematics.run(name, out, font_size)
