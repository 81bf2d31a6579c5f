"""Settings of what is shown: figures, comparisons, films, landscapes, schematics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from inril.config.base import COMPUTE, M, Method, Metric, MetricName, Model, PolicyName, Separation, TorchThreads, later
from inril.config.runs import HoldoutConfig


class SmoothingConfig(Model):
    """Savitzky-Golay filter."""

    window: PositiveInt = Field(11, description="points, odd")
    order: NonNegativeInt = Field(2, description="of the polynomial")

    @model_validator(mode="after")
    def _check(self) -> SmoothingConfig:
        if self.window % 2 == 0 or self.window <= self.order:
            raise ValueError("an odd window larger than the order")
        return self


def separation_of_arm(m: M | str, separation: Separation) -> Separation:
    """Return where an arm's runs live: RL only separates nothing, whichever arms it is compared with."""
    return "none" if m == "inf" else separation


class Control(Model):
    """A line beside those of a panel's method: another method or separation, to tell what theirs owe to what."""

    method: Method
    m: M = Field("inf", description="where the method interleaves")
    title: str = Field(description="name in legends")
    separation: Separation | None = later(None, description="separation if m is finite; null takes the panel's")


class PanelRuns(Model):
    """Which runs belong to a panel."""

    label: str = Field(description="letter above the panel; no two are the same")
    task: str = Field(description="file in config/tasks, without .yaml")
    method: Method
    separation: Separation = Field(description="separation of the arms with finite m")
    controls: tuple[Control, ...] = Field((), description="lines beside those of the method")
    metrics: tuple[MetricName, ...] | None = Field(
        None, description="rows of this panel, split/metric, where they differ from the figure's"
    )
    source: str = Field(COMPUTE, description="compute, or the budget whose published runs are shown")

    def arms(self, m_values: Iterable[M]) -> Iterator[tuple[Method, Separation, M]]:
        """Yield method, separation and m of every line, given the arms of the panel's method."""
        for m in m_values:
            yield self.method, separation_of_arm(m, self.separation), m
        yield from map(self.arm_of, self.controls)

    def arm_of(self, control: Control) -> tuple[Method, Separation, M]:
        """Return method, separation and m of a control's line."""
        return control.method, separation_of_arm(control.m, control.separation or self.separation), control.m

    def is_own(self, method: str, separation: str, m: M | str) -> bool:
        """Tell whether an arm is one of the panel's method, of any m, and no control."""
        return (method, separation) == (self.method, separation_of_arm(m, self.separation))

    def holds(self, task: str, method: str, separation: str, m: M | str) -> bool:
        """Tell whether a run is in the panel."""
        of_controls = {(*arm, str(m)) for *arm, m in map(self.arm_of, self.controls)}
        return task == self.task and (self.is_own(method, separation, m) or (method, separation, str(m)) in of_controls)


class PanelConfig(PanelRuns):
    """One column of a figure."""

    title: str = Field(description="above the panel")


class TableSpec(Model):
    """What the table behind a figure holds; free of looks, so that a title or a colour never rebuilds it."""

    figure: str = Field(description="name of the figure, and of the published table")
    panels: tuple[PanelRuns, ...] = Field(min_length=1, description="each with its own metrics")


class FigureConfig(Model):
    """What a figure shows."""

    panels: tuple[PanelConfig, ...] = Field(min_length=1, description="in reading order")
    metrics: tuple[MetricName, ...] = Field(min_length=1, description="from top to bottom of a panel, split/metric")
    m_values: tuple[M, ...] | None = Field(None, description="arms of this figure; null takes the chosen ones")
    columns: PositiveInt = Field(3, description="panels side by side; more go below")
    paper_m: tuple[PositiveInt, ...] = Field((), description="m of the paper's figure; panels name those they lack")
    kind: Literal["curves", "frontier"] = later(
        "curves",
        description="frontier: a point per arm at its end level, one metric against the change of the other in percent",
    )
    il_level: bool = later(False, description="whether a line marks the level of imitation alone, before fine-tuning")
    seeds: tuple[NonNegativeInt, ...] | None = later(
        None, min_length=1, description="of this figure's runs; null takes the chosen ones"
    )

    @model_validator(mode="after")
    def _check(self) -> FigureConfig:
        if len({panel.label for panel in self.panels}) < len(self.panels):
            raise ValueError("panels with different labels")
        if self.kind == "frontier" and len(self.metrics) != 2:
            raise ValueError("two metrics of a frontier")
        if any(len(self.metrics_of(panel)) != len(self.metrics) for panel in self.panels):
            raise ValueError("as many metrics of a panel as of the figure")
        return self

    def metrics_of(self, panel: PanelRuns) -> tuple[MetricName, ...]:
        """Return the metrics of a panel, from top to bottom."""
        return panel.metrics or self.metrics

    def table(self, name: str) -> TableSpec:
        """Return the part that decides about the table behind the figure of that name."""
        panels = [panel.model_copy(update={"metrics": self.metrics_of(panel)}) for panel in self.panels]
        return TableSpec(figure=name, panels=tuple(PanelRuns(**p.model_dump(exclude={"title"})) for p in panels))


class ComparisonColumn(Model):
    """A method in a comparison: fine-tuned policies."""

    title: str = Field(description="head of the column")
    method: Method
    m: M = Field("inf", description="inf is RL only, or a method without interleaving")
    separation: Separation = Field("surgery", description="separation if m is finite")

    @property
    def separation_of_runs(self) -> Separation:
        """Of its runs, as in their paths."""
        return separation_of_arm(self.m, self.separation)

    @property
    def arm(self) -> tuple[str, str, str]:
        """Method, separation and m in the metrics of its runs."""
        return self.method, self.separation_of_runs, str(self.m)


class PolicyColumn(Model):
    """A policy in a comparison, as pre-training left it."""

    title: str = Field(description="head of the column")
    policy: PolicyName

    @property
    def arm(self) -> tuple[str, str, str]:
        """Method, separation and m in the metrics of its pre-training."""
        return self.policy, "", ""


def _column_kind(column: Any) -> str:
    named = "policy" in column if isinstance(column, dict) else isinstance(column, PolicyColumn)
    return "pre-trained" if named else "fine-tuned"


Column = Annotated[
    Annotated[ComparisonColumn, Tag("fine-tuned")] | Annotated[PolicyColumn, Tag("pre-trained")],
    Discriminator(_column_kind),
]


class ComparisonTask(Model):
    """A task in a comparison."""

    task: str = Field(description="file in config/tasks, without .yaml")
    paper: tuple[float | None, ...] = Field(
        description="the paper's numbers, column by column (success as a share); null where it has none"
    )


class ComparisonConfig(Model):
    """A table of methods or pre-trained policies (columns) and tasks (rows)."""

    columns: tuple[Column, ...] = Field(min_length=1, description="methods or policies, from left to right")
    rows: tuple[ComparisonTask, ...] = Field(min_length=1, description="tasks, from top to bottom")
    min_seeds: PositiveInt = Field(1, description="of a cell; where fewer are chosen, the first ones")
    note: str = Field("", description="what stands below the table")

    @model_validator(mode="after")
    def _check(self) -> ComparisonConfig:
        if any(len(row.paper) != len(self.columns) for row in self.rows):
            raise ValueError("a number of the paper for each column")
        return self


class ComparisonRow(ComparisonTask):
    """A row, resolved."""

    title: str = Field(description="head of the row")
    metric: Metric = Field(description="what is compared")
    source: str = Field(description="compute, or the budget whose published runs are shown")


class ComparisonSpec(Model):
    """All that writing a comparison takes, besides its runs."""

    name: str = Field(description="of the comparison, and of the published table")
    columns: tuple[Column, ...] = Field(description="methods or policies, from left to right")
    rows: tuple[ComparisonRow, ...] = Field(description="tasks, from top to bottom")
    note: str = later("", description="what stands below the table")


Outcomes = Literal["both", "successes", "failures"]


class FilmConfig(Model):
    """Which policy a film shows: as pre-training left it, or as a fine-tuning run ended."""

    title: str = Field(description="above the film")
    task: str = Field(description="file in config/tasks, without .yaml")
    policy: PolicyName | None = Field(None, description="pre-trained; in place of method, separation and m")
    method: Method | None = Field(None, description="fine-tuned")
    m: M = Field("inf", description="of the run")
    separation: Separation = Field("surgery", description="of the run if m is finite")
    seed: NonNegativeInt = Field(0, description="of the run")
    frames: Annotated[int, Field(ge=2)] = Field(6, description="images of a strip, evenly spaced over the episode")
    outcomes: Outcomes = Field("both", description="that are shown")
    examples: PositiveInt = Field(1, description="of each outcome")
    episodes: PositiveInt = Field(50, description="that are evaluated; then as many again while examples are missing")
    max_episodes: PositiveInt = Field(200, description="at which missing examples are given up")

    @model_validator(mode="after")
    def _check(self) -> FilmConfig:
        if (self.policy is None) == (self.method is None):
            raise ValueError("either a policy or a method")
        return self


class FilmSpec(Model):
    """All that making a film takes, besides the policy."""

    title: str = Field(description="above the film")
    subject: str = Field(description="whose episodes these are: budget and run, for people")
    seed: NonNegativeInt = Field(description="of environments and noise")
    frames: Annotated[int, Field(ge=2)] = Field(description="images of a strip, evenly spaced over the episode")
    outcomes: Outcomes = Field("both", description="that are shown")
    examples: PositiveInt = Field(1, description="of each outcome")
    episodes: PositiveInt = Field(description="that are evaluated; then as many again while examples are missing")
    max_episodes: PositiveInt = Field(description="at which missing examples are given up")


class LandscapeGrid(Model):
    """Where and how well a landscape is measured."""

    seed: NonNegativeInt = Field(0, description="of both runs; also of environments and noise")
    points: Annotated[int, Field(ge=2)] = Field(9, description="along either side of the map, and along each way")
    margin: NonNegativeFloat = Field(0.25, description="around the three policies, as a share of their extent")
    episodes: PositiveInt = Field(40, description="at each point, the same ones everywhere")


class LandscapeConfig(LandscapeGrid):
    """Where a landscape lies: in the plane of the weights that two runs of one seed began with and ended at."""

    title: str = Field(description="above the landscape")
    task: str = Field(description="file in config/tasks, without .yaml")
    method: Method = Field(description="that fine-tunes a diffusion policy's last steps; one run is of RL only")
    m: PositiveInt = Field(10, description="of the other run")
    separation: Separation = Field("surgery", description="of the other run")


class LandscapeSpec(LandscapeGrid):
    """All that measuring a landscape takes, besides policies and demonstrations."""

    arms: tuple[str, str] = Field(description="names of the two runs")
    holdout: HoldoutConfig = Field(description="episodes on which the imitation loss is measured")
    probe_size: PositiveInt = Field(description="their chunks on which it is")
    torch_threads: TorchThreads = 1


class LandscapeFigureSpec(Model):
    """All that drawing a landscape takes, besides its table."""

    title: str = Field(description="above the landscape")
    subject: str = Field(description="what was measured, for people")
    metric: Metric = Field(description="that the height of the land is")
    episodes: PositiveInt = Field(description="at each point")
    font_size: PositiveFloat = Field(description="in points")


Schematic = Literal["overview", "separation"]


class PlotConfig(Model):
    """How figures look; never a reason to run anything again but the figure."""

    smoothing: SmoothingConfig | None = Field(None, description="of curves, the raw ones stay, faint; null for none")
    palette: str = Field("viridis", description="a seaborn palette for the arms with finite m")
    rl_color: str = Field("black", description="colour of RL only")
    control_palette: str = Field("Set1", description="a seaborn palette for controls")
    font_size: PositiveFloat = Field(8.0, description="in points")


class PlannedRun(Model):
    """A run that a figure shows when it is complete."""

    task: str = Field(description="id of the task")
    method: Method
    separation: Separation = Field(description="none where m is inf")
    m: M = Field(description="arm; inf is RL only")
    seed: NonNegativeInt = Field(description="of the run")


class FigureSpec(Model):
    """All that drawing a figure takes, besides its table."""

    budget: str = Field(description="whose runs are shown, for people")
    figure: FigureConfig = Field(description="what it shows")
    plot: PlotConfig = Field(PlotConfig(), description="how it looks")
    planned: tuple[PlannedRun, ...] = Field((), description="what it shows when complete; the table may hold less")
