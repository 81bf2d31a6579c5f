"""Settings of a whole project: config/config.yaml, and what a budget computes of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt

from inril.config.base import DEFAULT_BUDGET, DemoSource, Execution, M, Model, TorchThreads
from inril.config.shown import ComparisonConfig, FigureConfig, FilmConfig, LandscapeConfig, PlotConfig, Schematic


class Axes(Model):
    """The grid of runs that a budget computes of a task."""

    seeds: tuple[NonNegativeInt, ...] = Field(min_length=1, description="each with a pre-trained policy of its own")
    m_values: tuple[M, ...] = Field(min_length=1, description="arms of the ablation; inf is RL only")


class RootConfig(Model):
    """config/config.yaml and `snakemake --config`: what to compute, not how."""

    budget: str = Field(DEFAULT_BUDGET, description="file in config/budgets, without .yaml: how much is computed")
    demo_source: DemoSource = Field(
        "generated",
        description="generated: by shipped demonstrators; d4rl, robomimic: downloads, for the tasks that they have; "
        "file: your own, of the tasks that name one",
    )
    demo_files: dict[str, Path] = Field(
        {}, description="demonstrations of your own by task, over `demos.path` of the task or budget"
    )
    seeds: tuple[NonNegativeInt, ...] | None = Field(
        None, description="each has a pre-trained policy of its own; null takes the budget's"
    )
    m_values: tuple[M, ...] | None = Field(None, description="arms; inf is RL only; null takes the budget's")
    runs: Literal["all", "complete"] = Field(
        "all", description="complete: figures and tables of the runs that are there, marked so"
    )
    torch_threads: TorchThreads = 1
    execution: Execution = Field(Execution(), description="on what jobs compute; a change runs nothing again")
    figures: dict[str, FigureConfig] = Field(description="drawn as results/<name>.pdf")
    comparisons: dict[str, ComparisonConfig] = Field({}, description="tables of several methods or policies")
    films: dict[str, FilmConfig] = Field({}, description="of single policies")
    landscapes: dict[str, LandscapeConfig] = Field({}, description="return and imitation loss around policies")
    schematics: dict[str, Schematic] = Field({}, description="drawings without data")
    plot: PlotConfig = Field(PlotConfig(), description="how figures look")
