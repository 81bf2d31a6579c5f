"""What figures, comparisons, films and landscapes of a budget are made of: runs, settings, and the files of results/.

The rules ask it about single jobs, publishing about all that there is to publish; neither knows of the other. Paths are
relative to the working directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from hashlib import sha256
from itertools import product
from pathlib import Path

from inril.config import numerics, paths
from inril.config.base import COMPUTE, DEFAULT_BUDGET, DemoSource
from inril.config.config_files import require
from inril.config.paths import AnyRun, Pretraining, Run
from inril.config.project import Project
from inril.config.runs import DemosConfig, ExpertJob, FinetuneConfig, PretrainConfig
from inril.config.shown import (
    ComparisonSpec,
    FigureConfig,
    FigureSpec,
    FilmSpec,
    LandscapeFigureSpec,
    LandscapeGrid,
    LandscapeSpec,
    PanelRuns,
    PlannedRun,
    PolicyColumn,
    TableSpec,
    separation_of_arm,
)
from inril.errors import InputError

TABLES = Path("published", "tables")  # in the repository: of budgets whose runs others' figures show
_DEMONSTRATORS = Path(__file__).parents[1] / "data" / "experts"
# Suffixes of their files; the first stands for all.
_FIGURE, _COMPARISON, _FILM, _SCHEMATIC = ("pdf", "png", "csv"), ("md", "csv", "tex"), ("pdf", "gif"), ("pdf", "png")


class Plan:
    """The runs and files of one budget.

    Args:
        project: the settings under the budget.
        tables: folder of published tables, <budget>/<figure>.csv.
        placed: tells where a file of results/ lies, where that is not in the working directory.
    """

    def __init__(self, project: Project, tables: Path = TABLES, placed: Callable[[Path], str | Path] = Path) -> None:
        self.project = project
        self.budget = project.budget_name
        self.tables = tables
        self._placed = placed
        self._others: dict[str, Plan] = {}

    # Figures, comparisons, films, landscapes and schematics

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of all figures and comparisons."""
        return (*self.project.root.figures, *self.project.root.comparisons)

    @cached_property
    def drawn(self) -> tuple[str, ...]:
        """Those that have something to show: a run, or a published table of another budget."""
        return tuple(name for name in self.shown if self.runs(name) or self.published(name))

    def planned(self, name: str) -> list[AnyRun]:
        """Return the runs that a figure or comparison is computed from, shared ones once.

        Raises:
            InputError: there is no such figure.
        """
        compared = name in self.project.root.comparisons
        return list(dict.fromkeys(self._compared(name) if compared else self._drawn(name)))

    def runs(self, name: str) -> list[AnyRun]:
        """Return those of the planned runs that are chosen: all, or the complete ones."""
        planned = self.planned(name)
        if self.project.root.runs == "all":
            return planned
        return [run for run in planned if Path(self._placed(self.metrics(run))).exists()]

    def panel_runs(self, panel: PanelRuns, figure: FigureConfig) -> list[Run]:
        """Return the runs of a panel under this budget: with the figure's m and seeds, else with those of its task."""
        axes = self.project.axes(panel.task)
        arms = panel.arms(figure.m_values or axes.m_values)
        return [Run(panel.task, *arm, seed) for arm, seed in product(arms, figure.seeds or axes.seeds)]

    def sources(self, name: str) -> set[str]:
        """Return the budgets whose published runs a figure or comparison shows."""
        compared = name in self.project.root.comparisons
        parts = self.project.comparison(name).rows if compared else self.project.figure(name).panels
        return {part.source for part in parts} - {COMPUTE}

    def published(self, name: str) -> dict[str, str]:
        """Return the hash of each published table that a figure or comparison shows parts of, by budget."""
        tables = {source: self.tables / source / f"{name}.csv" for source in sorted(self.sources(name))}
        return {source: _digest(_with_plain_ends(table)) for source, table in tables.items() if table.exists()}

    def files(self, name: str) -> dict[str, Path]:
        """Return the files of a figure (renderings, table behind it) or of whatever else is shown by suffix.

        A film of a published run lies with the run's budget.
        """
        root = self.project.root
        if name in root.films:
            return {suffix: paths.film(self.film_budget(name), name, suffix) for suffix in _FILM}
        if name in root.landscapes:
            return {suffix: paths.landscape(self.budget, name, suffix) for suffix in _FIGURE}
        if name in root.schematics:
            return {suffix: paths.schematic(self.budget, name, suffix) for suffix in _SCHEMATIC}
        if name in root.comparisons:
            return {suffix: paths.table(self.budget, name, suffix) for suffix in _COMPARISON}
        require("figure", name, tuple(root.figures))
        return {suffix: paths.figure(self.budget, name, suffix) for suffix in _FIGURE}

    def promoted(self, name: str, suffix: str) -> Path:
        """Return the file that results/<name>.<suffix> is a copy of.

        Raises:
            InputError: this is not the default budget, to which those belong, or there is no such file.
        """
        files = self.files(name)
        require(f"suffix of {name}", suffix, tuple(files))
        if self.budget != DEFAULT_BUDGET:
            raise InputError(
                f"results/{name}.{suffix}",
                expected=f"budget {DEFAULT_BUDGET}",
                got=f"{self.budget}: ask for {files[suffix]}",
            )
        return files[suffix]

    def targets(self, name: str) -> list[Path]:
        """Return what is made of a figure or comparison unasked: copies in results/ for the default budget.

        Images are not: they show what the PDF shows.
        """
        files = {suffix: file for suffix, file in self.files(name).items() if suffix != "png"}
        if self.budget != DEFAULT_BUDGET:
            return list(files.values())
        return [Path("results", f"{name}.{suffix}") for suffix in files]

    def table_spec(self, name: str) -> TableSpec:
        """Return what the table behind a figure is made with."""
        return self.project.figure(name).table(name)

    def figure_spec(self, name: str) -> FigureSpec:
        """Return what a figure is drawn with."""
        figure = self.project.figure(name)
        planned = [run for panel in figure.panels for run in self._under(panel.source).panel_runs(panel, figure)]
        return FigureSpec(
            budget=self.budget,
            figure=figure,
            plot=self.project.root.plot,
            planned=tuple(PlannedRun(**run._asdict()) for run in dict.fromkeys(planned)),
        )

    def comparison_spec(self, name: str) -> ComparisonSpec:
        """Return what a comparison is made with."""
        return self.project.comparison(name)

    def caption(self, name: str) -> dict[str, object]:
        """Return what a figure shows, for the report."""
        figure, runs = self.project.figure(name), [run for run in self.runs(name) if isinstance(run, Run)]
        return {
            "runs": f"{len(runs)} of {len(self.planned(name))}",
            "m_values": list(dict.fromkeys(str(run.m) for run in runs)),
            "seeds": sorted({run.seed for run in runs}),
            "env_steps": sorted({self.project.finetune(*run).env_steps for run in runs}),
            "columns": [f"({panel.label}) {panel.title}" for panel in figure.panels],
            "rows": list(figure.metrics),
        }

    def film_run(self, name: str) -> AnyRun:
        """Return the run whose policy a film shows.

        Raises:
            InputError: there is no such film.
        """
        require("film", name, tuple(self.project.root.films))
        shown = self.project.root.films[name]
        if shown.policy is not None:
            return Pretraining(shown.task, shown.policy, shown.seed)
        assert shown.method is not None
        return Run(shown.task, shown.method, separation_of_arm(shown.m, shown.separation), shown.m, shown.seed)

    def film_budget(self, name: str) -> str:
        """Return the budget of the run that a film shows: this one, or that whose published runs stand for its task."""
        return self._under(self.project.source(self.film_run(name).task)).budget

    def film_policy(self, name: str) -> Path:
        """Return the policy that a film shows."""
        return self.film_run(name).folder(self.budget) / paths.POLICY

    def film_spec(self, name: str) -> FilmSpec:
        """Return what a film takes besides its policy."""
        run, shown = self.film_run(name), self.project.root.films[name]
        about = [f"Budget: {self.film_budget(name)}"]
        if isinstance(run, Pretraining):
            about.append(f"pre-trained policy {run.policy}")
        else:
            arm = self.project.arm_name(run.method, run.m)
            about.append(f"{run.method}, {arm}" if run.m == "inf" else f"{run.method}, {run.separation}, m = {arm}")
        return FilmSpec(
            subject=", ".join([*about, f"training seed {run.seed}"]),
            **shown.model_dump(include={"title", "seed", "frames", "outcomes", "examples", "episodes", "max_episodes"}),
        )

    def film_versions(self, name: str) -> dict[str, int]:
        """Return the versions of what a film's episodes are computed with."""
        return numerics.evaluation_versions(self.project.suite(self.film_run(name).task))

    def landscape_runs(self, name: str) -> tuple[Run, Run]:
        """Return the runs that a landscape lies between: RL only, and the other one.

        Raises:
            InputError: there is no such landscape.
        """
        require("landscape", name, tuple(self.project.root.landscapes))
        shown = self.project.root.landscapes[name]
        return (
            Run(shown.task, shown.method, "none", "inf", shown.seed),
            Run(shown.task, shown.method, shown.separation, shown.m, shown.seed),
        )

    def landscape_demos(self, name: str) -> Path:
        """Return the demonstrations on which a landscape's imitation loss is measured."""
        return self.demos(self.landscape_runs(name)[0])

    def landscape_policies(self, name: str) -> list[Path]:
        """Return the two policies that a landscape lies between."""
        return [self.policy(run) for run in self.landscape_runs(name)]

    def landscape_spec(self, name: str) -> LandscapeSpec:
        """Return what measuring a landscape takes besides its inputs."""
        shown, (rl_only, other) = self.project.root.landscapes[name], self.landscape_runs(name)
        config = self.project.finetune(*other)
        arms = (self.project.arm_name(run.method, run.m) for run in (rl_only, other))
        return LandscapeSpec(
            arms=(next(arms), f"m = {next(arms)}"),
            holdout=config.holdout,
            probe_size=config.il.probe_size,
            torch_threads=config.torch_threads,
            **shown.model_dump(include=set(LandscapeGrid.model_fields)),
        )

    def landscape_figure_spec(self, name: str) -> LandscapeFigureSpec:
        """Return what drawing a landscape takes besides its table."""
        shown, other = self.project.root.landscapes[name], self.landscape_runs(name)[1]
        config = self.project.finetune(*other)
        steps = f"{config.env_steps:,} environment steps"
        return LandscapeFigureSpec(
            title=shown.title,
            subject=f"Budget: {self.budget}, {other.method}, {other.separation}, seed {other.seed}, {steps}",
            metric=config.task.metric,
            episodes=shown.episodes,
            font_size=self.project.root.plot.font_size,
        )

    def landscape_versions(self, name: str) -> dict[str, int]:
        """Return the versions of what a landscape's episodes and their intervals are computed with."""
        suite = self.project.suite(self.landscape_runs(name)[0].task)
        return numerics.evaluation_versions(suite) | numerics.versions("report")

    def schematic(self, name: str) -> str:
        """Return which drawing is meant.

        Raises:
            InputError: there is no such schematic.
        """
        require("schematic", name, tuple(self.project.root.schematics))
        return self.project.root.schematics[name]

    # What jobs take

    def config(self, run: AnyRun) -> FinetuneConfig | PretrainConfig:
        """Return all settings of a run."""
        return self.project.finetune(*run) if isinstance(run, Run) else self.project.pretrain(*run)

    def versions(self, run: AnyRun) -> dict[str, int]:
        """Return the versions of what a run computes with."""
        config = self.config(run)
        if isinstance(config, FinetuneConfig):
            return numerics.finetune_versions(config)
        return numerics.pretrain_versions(self.project.suite(run.task))

    def start(self, run: AnyRun) -> Pretraining:
        """Return the pre-training that a run begins with; each seed has its own, so that all that is random differs."""
        return Pretraining(run.task, self.config(run).policy_name, run.seed)

    def demos(self, run: AnyRun) -> Path:
        """Return a run's demonstrations, from the chosen source."""
        return paths.demos(self.budget, run.task, self.project.demo_source(run.task))

    def policy(self, run: AnyRun) -> Path:
        """Return the policy that a run ends with."""
        return run.folder(self.budget) / paths.POLICY

    def metrics(self, run: AnyRun) -> Path:
        """Return the metrics of a run."""
        return run.folder(self.budget) / paths.METRICS

    def start_policy(self, run: AnyRun) -> Path:
        """Return the policy that a run begins with."""
        return self.policy(self.start(run))

    def all_metrics(self, name: str) -> list[Path]:
        """Return the metrics of all runs that a figure or comparison is computed from.

        Raises:
            InputError: it has nothing to show.
        """
        return [self.metrics(run) for run in self._some(name, name in self.drawn)]

    def all_start_metrics(self, name: str) -> list[Path]:
        """Return, for each of these runs, the metrics of the policy that it begins with.

        Raises:
            InputError: there is no run.
        """
        return [self.metrics(self.start(run)) for run in self._some(name, bool(self.runs(name)))]

    def needed(self, file_of: Callable[[AnyRun], Path]) -> list[Path]:
        """Return the files of one kind that the figures and comparisons need, each once."""
        return sorted({file_of(run) for name in self.drawn for run in self.runs(name)})

    def demos_config(self, task: str, source: DemoSource) -> DemosConfig:
        """Return all settings of demonstrations."""
        return self.project.demos(task, source)

    def demos_versions(self, task: str, source: str) -> dict[str, int]:
        """Return the versions of what demonstrations are made with."""
        return numerics.demos_versions(self.project.suite(task), source)

    def demo_files(self, task: str, source: DemoSource) -> list[Path]:
        """Return the files that demonstrations are copied from: one's own, or none."""
        path = self.project.demos(task, source).path
        return [] if path is None else [path]

    def demonstrator(self, task: str, source: str) -> str | None:
        """Return the hash of a demonstrator that comes with the code; scripted ones and downloads have none.

        Nor has one that is still missing: the job that needs it says how to train it.
        """
        path = _DEMONSTRATORS / f"{task}.safetensors"
        if (self.project.suite(task), source) != ("gym", "generated") or not path.exists():
            return None
        return _digest(path.read_bytes())

    def expert(self, task: str) -> ExpertJob:
        """Return the training of a demonstrator."""
        return ExpertJob(task=self.project.demos(task).task, expert=self.project.expert(task))

    def _some(self, name: str, has_some: bool) -> list[AnyRun]:
        if not has_some:
            raise InputError(f"{name} of budget {self.budget}", expected="a complete run", got="none")
        return self.runs(name)

    def _under(self, source: str) -> Plan:
        """Return the plan that has a source's runs: this one for what is computed."""
        if source in (COMPUTE, self.budget):
            return self
        if source not in self._others:
            self._others[source] = Plan(self.project.under(source), self.tables, self._placed)
        return self._others[source]

    def _drawn(self, name: str) -> Iterator[Run]:
        shown = self.project.figure(name)
        for panel in shown.panels:
            if panel.source == COMPUTE:
                yield from self.panel_runs(panel, shown)

    def _compared(self, name: str) -> Iterator[AnyRun]:
        shown, least = self.project.comparison(name), self.project.root.comparisons[name].min_seeds
        for row, column in product(shown.rows, shown.columns):
            if row.source == COMPUTE:
                chosen = self.project.axes(row.task).seeds
                for seed in chosen if len(chosen) >= least else range(least):
                    if isinstance(column, PolicyColumn):
                        yield Pretraining(row.task, column.policy, seed)
                    else:
                        yield Run(row.task, column.method, column.separation_of_runs, column.m, seed)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _with_plain_ends(text: Path) -> bytes:
    """Return a text file's content with the line ends that it was published with, whatever a checkout made of them."""
    return text.read_bytes().replace(b"\r\n", b"\n")
