"""Reads the configuration folder and resolves it into one model per job.

Layers, later ones win: `methods/<method>.yaml` or `policies/<policy>.yaml`, `suites/<suite>.yaml`, `tasks/<task>.yaml`,
`budgets/<budget>.yaml`; there what stands for all tasks, under `suites.<suite>`, under `tasks.<task>`. In each of them
what stands under `any` is for all methods or policies; what is for one of them lies above. A method or policy may name
another one as its `base` and takes over whatever is set for that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

from inril.config.base import COMPUTE, NOT_INTERLEAVED, RL_NAME, SOURCES, DemoSource, M, Separation, Suite
from inril.config.config_files import ANY, FOLDERS, SETTINGS, ConfigFiles, require
from inril.config.layers import Layer, origin, validate
from inril.config.policy import DiffusionConfig
from inril.config.root import Axes, RootConfig
from inril.config.runs import DemosConfig, ExpertConfig, FinetuneConfig, PretrainConfig, separations
from inril.config.shown import (
    ComparisonColumn,
    ComparisonRow,
    ComparisonSpec,
    FigureConfig,
    PanelRuns,
    PolicyColumn,
)
from inril.errors import InputError


class Project:
    """The configuration folder under one choice of budget, seeds and m.

    Args:
        config_dir: folder with tasks/, methods/ and budgets/.
        root: contents of config.yaml.
        changes: what others said of these, such as the command line; later ones win.
    """

    def __init__(self, config_dir: Path, root: Mapping[str, Any], *changes: Layer) -> None:
        self.config_dir = config_dir
        self._said = [Layer(config_dir / "config.yaml", root), *changes]
        self.root = validate(RootConfig, self._said)
        self._files = ConfigFiles(config_dir)
        require("budget", self.root.budget, self.budgets, self._where("budget"))
        self.budget = self._files.read("budgets", self.root.budget)
        self._axes([self.budget])

    def under(self, budget: str) -> Project:
        """Return the same choices under another budget."""
        (_, root, _), *changes = self._said
        return Project(self.config_dir, root, *changes, Layer(self.config_dir, {"budget": budget}))

    @property
    def budget_name(self) -> str:
        """Name of the chosen budget, as in paths."""
        return self.root.budget

    @cached_property
    def budgets(self) -> tuple[str, ...]:
        """Names of all budgets."""
        return self._files.names("budgets")

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Ids of all tasks."""
        return self._files.names("tasks")

    @cached_property
    def all_methods(self) -> tuple[str, ...]:
        """Names of all methods."""
        return self._files.names("methods")

    @cached_property
    def all_policies(self) -> tuple[str, ...]:
        """Names of all pre-trained policies."""
        return self._files.names("policies")

    @property
    def rl_only_methods(self) -> tuple[str, ...]:
        """Methods that, without interleaving, learn from rewards alone."""
        return tuple(method for method in self.all_methods if self._files.read("methods", method).values.get("rl_only"))

    def arm_name(self, method: str, m: M | str) -> str:
        """Return what an arm is called: its m; RL only, or else not interleaved."""
        plain = RL_NAME if method in self.rl_only_methods else NOT_INTERLEAVED
        return plain if m == "inf" else str(m)

    @property
    def demonstrated(self) -> tuple[str, ...]:
        """Tasks whose demonstrator is a trained policy."""
        return tuple(task for task in self.tasks if any("expert" in layer.values for layer in self._files_of(task)))

    def policies(self, task: str) -> tuple[str, ...]:
        """Policies that a task can pre-train: those that its file or its suite's names."""
        named = {name for layer in self._files_of(task) for name in layer.part("pretrain").values}
        return tuple(name for name in self.all_policies if name in named)

    def methods(self, task: str) -> tuple[str, ...]:
        """Methods that can fine-tune one of a task's policies."""
        policies = self.policies(task)
        return tuple(method for method in self.all_methods if self._policy_name(task, method) in policies)

    def axes(self, task: str) -> Axes:
        """Return seeds and arms of a task: the chosen ones, else the budget's for this task, else for all."""
        return self._axes(self._budget_of(task))

    def figure(self, name: str) -> FigureConfig:
        """Return what a figure shows, the source of each panel filled in.

        Raises:
            InputError: there is no such figure.
        """
        require("figure", name, tuple(self.root.figures))
        shown = self.root.figures[name]
        panels = tuple(panel.model_copy(update={"source": self._source(panel)}) for panel in shown.panels)
        return shown.model_copy(update={"panels": panels})

    def comparison(self, name: str) -> ComparisonSpec:
        """Return the columns and rows of a comparison, the source of each row filled in.

        Raises:
            InputError: there is no such comparison.
        """
        require("comparison", name, tuple(self.root.comparisons))
        shown = self.root.comparisons[name]
        tasks = {row.task: self.demos(row.task).task for row in shown.rows}
        rows = (
            ComparisonRow(
                **row.model_dump(),
                title=tasks[row.task].title,
                metric=tasks[row.task].metric,
                source=self.source(row.task),
            )
            for row in shown.rows
        )
        return ComparisonSpec(name=name, columns=shown.columns, rows=tuple(rows), note=shown.note)

    def source(self, task: str) -> str:
        """Return where a task's numbers come from under this budget: computed, or another's published runs."""
        said = [layer.values["published"] for layer in self._budget_of(task) if "published" in layer.values]
        return str(said[-1]) if said else COMPUTE

    def suite(self, task: str) -> Suite:
        """Return the suite that a task's file names."""
        path, values, _ = self._files.read("tasks", task)
        about = values.get("task")
        suite = about.get("suite") if isinstance(about, Mapping) else None
        if suite not in self._files.names("suites"):
            expected = f"one of {', '.join(self._files.names('suites'))}"
            raise InputError(path, field="task.suite", expected=expected, got=repr(suite))
        return cast(Suite, suite)

    def expert(self, task: str) -> ExpertConfig:
        """Resolve the training of a task's demonstrator."""
        home = self._files.read("tasks", task).part("expert")
        return validate(ExpertConfig, self._layers(task, "expert"), home=home)

    def demo_source(self, task: str) -> DemoSource:
        """Return where a task's demonstrations come from: the chosen source if it has such tasks, else generated."""
        return self.root.demo_source if self.root.demo_source in self._sources(task) else "generated"

    def demos(self, task: str, source: DemoSource | None = None) -> DemosConfig:
        """Resolve a task's demonstrations, by default those of its source."""
        source = source or self.demo_source(task)
        require(f"demonstrations of {task}", source, self._sources(task))
        chosen = Layer(self.config_dir / "config.yaml", {"source": source, **self._threads})
        of_demos = self._demo_layers(task)
        if source != "file":  # what others make does not depend on whether a file of one's own is named
            of_demos = [layer.without("path") for layer in of_demos]
        layers = [*self._about(task, "task"), *of_demos, chosen]
        return validate(DemosConfig, layers, home=self._files.read("tasks", task))

    def pretrain(self, task: str, policy: str, seed: int) -> PretrainConfig:
        """Resolve the pre-training of one policy."""
        return validate(PretrainConfig, self.pretrain_layers(task, policy, seed))

    def pretrain_layers(self, task: str, policy: str, seed: int) -> list[Layer]:
        """Return the layers that `pretrain` merges."""
        require(f"policy of {task}", policy, self.policies(task))
        run = Layer(Path(task, policy, f"seed{seed}"), {"policy_name": policy, "seed": seed, **self._threads})
        return [*self._about(task, "task"), *self._members(task, "pretrain", policy), run]

    def finetune(self, task: str, method: str, separation: str, m: M, seed: int) -> FinetuneConfig:
        """Resolve one fine-tuning run."""
        layers = self.finetune_layers(task, method, separation, m, seed)
        of_method = self._files.read("methods", self._files.lineage("methods", method)[0])
        config = validate(FinetuneConfig, layers, lacking={"env_steps": self.budget}, home=of_method)
        self._check_policy(config)
        return config

    def finetune_layers(self, task: str, method: str, separation: str, m: M, seed: int) -> list[Layer]:
        """Return the layers that `finetune` merges."""
        require("method", method, self.all_methods)
        require("separation", separation, get_args(Separation))
        axes = {"method": method, "separation": separation, "m": m, "seed": seed, **self._threads}
        run = Layer(Path(task, method, separation, f"m{m}", f"seed{seed}"), axes)
        return [*self._about(task, "task", "clip"), *self._members(task, "finetune", method), run]

    def check(self) -> None:
        """Resolve everything once.

        Raises:
            InputError: a file holds an unknown key or a value out of range.
        """
        for task in self.demonstrated:
            self.expert(task)
        for task in self.tasks:
            self.demos(task)
            for policy in self.policies(task):
                self.pretrain(task, policy, seed=0)
            for method in self.methods(task):
                rl_only = self.finetune(task, method, "none", "inf", seed=0)
                self.finetune(task, method, separations(rl_only.algo, rl_only.il)[-1], 2, seed=0)
            self.axes(task)
        self._check_demo_files()
        self._check_figures()
        self._check_comparisons()
        self._check_films()
        self._check_landscapes()

    def _policy_name(self, task: str, method: str) -> str:
        """Return what a method starts from on a task."""
        root = self._files.lineage("methods", method)[0]
        layers = [self._files.read("methods", root), *(file.part("finetune", root) for file in self._files_of(task))]
        names = [layer.values["policy_name"] for layer in layers if "policy_name" in layer.values]
        if not names:
            expected = "the policy that the method starts from, or a base that has one"
            raise InputError(layers[0].path, field="policy_name", expected=expected, got="nothing")
        return str(names[-1])

    def _check_demo_files(self) -> None:
        for task in self.root.demo_files:
            require("demo_files", task, self.tasks)
        if self.root.demo_source == "file" and all("file" not in self._sources(task) for task in self.tasks):
            expected = "a file: demo_files, or demos.path of a task or budget"
            raise InputError(self.config_dir / "config.yaml", field="demo_source", expected=expected, got="none")

    def _check_figures(self) -> None:
        for name, figure in self.root.figures.items():
            where = self._where("figures", name)
            for panel in figure.panels:
                require(f"figures.{name}.panels.task", panel.task, self.tasks, where)
            for panel in self.figure(name).panels:
                for method in (panel.method, *(control.method for control in panel.controls)):
                    require(f"figures.{name}, panel {panel.label}: method", method, self.methods(panel.task), where)
                require(f"source of figure {name}, panel {panel.label}", panel.source, (COMPUTE, *self.budgets), where)

    def _check_comparisons(self) -> None:
        for name, comparison in self.root.comparisons.items():
            where = self._where("comparisons", name)
            for row in comparison.rows:
                require(f"comparisons.{name}.rows.task", row.task, self.tasks, where)
            compared = self.comparison(name)
            policies = [column.policy for column in compared.columns if isinstance(column, PolicyColumn)]
            methods = [column.method for column in compared.columns if isinstance(column, ComparisonColumn)]
            for shown in compared.rows:
                require(f"source of comparison {name}, {shown.task}", shown.source, (COMPUTE, *self.budgets), where)
                for policy in policies:
                    require(f"policy of {shown.task} in comparison {name}", policy, self.policies(shown.task), where)
                for method in methods:
                    require(f"method of {shown.task} in comparison {name}", method, self.methods(shown.task), where)

    def _check_films(self) -> None:
        for name, film in self.root.films.items():
            where = self._where("films", name)
            require(f"films.{name}.task", film.task, self.tasks, where)
            if film.policy is not None:
                require(f"films.{name}.policy", film.policy, self.policies(film.task), where)
            if film.method is not None:
                require(f"films.{name}.method", film.method, self.methods(film.task), where)

    def _check_landscapes(self) -> None:
        for name, landscape in self.root.landscapes.items():
            where = self._where("landscapes", name)
            require(f"landscapes.{name}.task", landscape.task, self.tasks, where)
            able = [
                method
                for method in self.methods(landscape.task)
                if self.finetune(landscape.task, method, "none", "inf", seed=0).algo.kind == "dppo"
            ]
            require(f"landscapes.{name}.method", landscape.method, able, where)

    def _check_policy(self, config: FinetuneConfig) -> None:
        """Check what a method asks of the policy that it starts from."""
        start = self.pretrain(config.task.id, config.policy_name, config.seed)
        if not isinstance(start.policy, DiffusionConfig):
            return
        limit = config.algo.exceeded(start.policy.denoising_steps, start.horizon_steps)
        if limit is not None:
            field = f"finetune.{config.method}.algo.{limit.field}"
            raise InputError(self.budget.path, field=field, expected=limit.expected, got=str(limit.value))

    def _axes(self, parts: Sequence[Layer]) -> Axes:
        chosen = {name: value for name in Axes.model_fields if (value := getattr(self.root, name)) is not None}
        layers = [part.only(*Axes.model_fields) for part in parts]
        return validate(Axes, [*layers, *(Layer(self._where(name), {name: value}) for name, value in chosen.items())])

    def _where(self, *keys: str) -> Path:
        """Return the file, or the option, that said a part of config.yaml's contents last."""
        return (origin(self._said, keys) or self._said[0]).path

    def _source(self, panel: PanelRuns) -> str:
        """Return where a panel's numbers come from: what it says itself, else what the budget says of its task."""
        return self.source(panel.task) if panel.source == COMPUTE else panel.source

    @property
    def _threads(self) -> dict[str, int]:
        return {"torch_threads": self.root.torch_threads}

    def _sources(self, task: str) -> tuple[DemoSource, ...]:
        named = any(layer.values.get("path") for layer in self._demo_layers(task))
        return (*SOURCES.get(self.suite(task), get_args(DemoSource)), *(("file",) if named else ()))

    def _demo_layers(self, task: str) -> list[Layer]:
        """Return the layers of a task's demonstrations, and over them the file of one's own that config.yaml names."""
        files = self.root.demo_files
        chosen = {"path": files[task]} if task in files else {}
        return [*self._layers(task, "demos"), Layer(self.config_dir / "config.yaml", chosen)]

    def _files_of(self, task: str) -> list[Layer]:
        """Return the files of a task's suite and of the task."""
        return [self._files.read("suites", self.suite(task)), self._files.read("tasks", task)]

    def _budget_of(self, task: str) -> list[Layer]:
        """Return what the budget says of all tasks, of those of the task's suite, and of the task."""
        of_suite = self.budget.part("suites", self.suite(task))
        return [self.budget, of_suite, self.budget.part("tasks", task)]

    def _about(self, task: str, *keys: str) -> list[Layer]:
        """Return what a task's files say of the task itself."""
        return [layer.only(*keys) for layer in self._files_of(task)]

    def _layers(self, task: str, phase: str) -> list[Layer]:
        """Return the layers of a phase's settings."""
        return [layer.part(phase) for layer in (*self._files_of(task), *self._budget_of(task))]

    def _members(self, task: str, phase: str, member: str) -> list[Layer]:
        """Return the layers of the settings of a method or policy in its phase."""
        kind = FOLDERS[phase]
        lineage = self._files.lineage(kind, member)
        own = [self._files.read(kind, name).only(*SETTINGS[phase]) for name in lineage]
        return [*own, *(layer.part(name) for layer in self._layers(task, phase) for name in (ANY, *lineage))]
