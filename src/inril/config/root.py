"""Settings of a whole project: config/config.yaml, and what a budget computes of a task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt

from inril.config.base import DEFAULT_BUDGET, DemoSource, Execution, M, Model, TorchThreads
from inril.config.shown import ComparisonConfig, FigureConfig, FilmConfig, PlotConfig


class Axes(Model):
    """The grid of runs that a budget computes of a task."""

    seeds: tuple[NonNegativeInt, ...] = Field(min_length=1)
    m_values: tuple[M, ...] = Field(min_length=1, description="arms of the ablation; inf is RL only")


class RootConfig(Model):
    """config/config.yaml and `snakemake --config`: what to compute, not how."""

    budget: str = DEFAULT_BUDGET
    demo_source: DemoSource = "generated"
    seeds: tuple[NonNegativeInt, ...] | None = Field(None, description="null takes the budget's")
    m_values: tuple[M, ...] | None = Field(None, description="null takes the budget's")
    runs: Literal["all", "complete"] = Field("all", description="complete: figures of the runs that are there")
    torch_threads: TorchThreads = 1
    execution: Execution = Execution()
    figures: dict[str, FigureConfig]
    comparisons: dict[str, ComparisonConfig] = Field({}, description="tables of several methods or policies")
    films: dict[str, FilmConfig] = Field({}, description="of single policies")
    plot: PlotConfig = PlotConfig()
