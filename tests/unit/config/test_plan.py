"""What figures, comparisons and films of a budget are made of; Snakemake's part is in workflow/test_dag.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from inril.config.layers import read_yaml
from inril.config.paths import AnyRun, Pretraining, Run, run_of
from inril.config.plan import Plan
from inril.config.project import Project
from inril.errors import InputError

CONFIG = Path(__file__).parents[3] / "config"
FILMS = {
    "a": {"title": "A", "task": "hopper", "policy": "diffusion", "seed": 3},
    "b": {"title": "B", "task": "hopper", "method": "dppo", "m": 10},
    "c": {"title": "C", "task": "hopper", "method": "dppo"},
    "d": {"title": "D", "task": "lift", "method": "dppo"},
}


def plan(budget: str = "laptop", tables: Path = Path("published", "tables"), **changed: Any) -> Plan:
    return Plan(Project(CONFIG, read_yaml(CONFIG / "config.yaml") | {"budget": budget, **changed}), tables)


@pytest.mark.parametrize(
    "run",
    [Run("hopper", "dppo", "none", "inf", 0), Run("lift", "idql", "surgery", 10, 2), Pretraining("can", "unet", 1)],
)
def test_a_run_is_told_by_the_parts_of_its_path(run: AnyRun) -> None:
    assert run_of({name: str(value) for name, value in run._asdict().items()}) == run


def test_only_what_is_computed_needs_runs() -> None:
    assert {run.task for run in plan("laptop").runs("fig8")} == {"hopper"}
    assert plan("laptop").sources("fig8") == {"workstation"}


def test_controls_need_runs_too() -> None:
    runs = plan("workstation").runs("fig8")
    assert ("transport", "idql_frozen", "none", "inf", 0) in runs
    assert ("transport", "idql_frozen", "surgery", 10, 0) not in runs


def test_controls_of_another_separation_need_theirs() -> None:
    runs = plan("laptop").runs("fig9")
    assert {(run.separation, run.m) for run in runs if isinstance(run, Run)} == {
        ("surgery", 10),
        ("none", "inf"),
        ("none", 10),
    }


def test_a_figure_may_name_its_seeds() -> None:
    panel = {"label": "a", "title": "", "task": "hopper", "method": "dppo", "separation": "surgery"}
    figure = {"panels": [panel], "metrics": ["eval/return"], "m_values": [10], "seeds": [20, 21]}
    planned = plan("laptop", figures={"fresh": figure}, seeds=[5])
    assert planned.runs("fresh") == [Run("hopper", "dppo", "surgery", 10, seed) for seed in (20, 21)]
    assert [run.seed for run in planned.figure_spec("fresh").planned] == [20, 21]


def test_a_comparison_has_runs_of_every_cell_that_is_computed() -> None:
    laptop = plan("laptop")
    runs = laptop.runs("table2")
    assert {run.task for run in runs} == {"walker2d", "hopper", "halfcheetah"}
    hopper = [run for run in runs if run.task == "hopper"]
    assert len(hopper) == len(set(hopper)) == 7 * 3  # the budget has two seeds, the table asks for three
    assert Run("hopper", "idql", "surgery", 10, 2) in hopper
    assert Run("hopper", "dppo_bcloss", "none", "inf", 0) in hopper
    assert {run.seed for run in plan("laptop", seeds=[5, 6, 7, 8]).runs("table2")} == {5, 6, 7, 8}
    assert laptop.sources("table2") == {"workstation"}


def test_pre_trained_policies_are_compared_by_their_pre_training() -> None:
    columns = [{"title": "Gaussian", "policy": "gaussian_chunk"}, {"title": "DP", "policy": "diffusion"}]
    table = {"columns": columns, "rows": [{"task": "hopper", "paper": [0.3, None]}], "min_seeds": 3}
    compared = plan("laptop", comparisons={"table1": table})
    runs = compared.runs("table1")
    assert set(runs) == {
        Pretraining("hopper", policy, seed) for policy in ("gaussian_chunk", "diffusion") for seed in (0, 1, 2)
    }
    folder = Path("results", "laptop", "pretrain", "hopper", "diffusion", "seed2")
    assert runs[-1].folder("laptop") == folder
    assert compared.all_metrics("table1")[-1] == compared.all_start_metrics("table1")[-1] == folder / "metrics.csv"


def test_complete_runs_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    complete, planned = plan("laptop", runs="complete"), plan("laptop")
    assert complete.planned("fig8") == planned.runs("fig8")
    assert complete.runs("fig8") == []
    there = planned.runs("fig8")[3]
    planned.metrics(there).parent.mkdir(parents=True)
    planned.metrics(there).write_text("")
    assert complete.runs("fig8") == [there]
    assert complete.all_metrics("fig8") == [planned.metrics(there)]
    assert complete.caption("fig8")["runs"] == f"1 of {len(planned.runs('fig8'))}"


def test_what_has_nothing_to_show_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "workstation" / "fig8.csv"
    table.parent.mkdir()
    table.write_text("a table")
    shown = plan("laptop", tables=tmp_path, runs="complete")
    assert shown.drawn == ("fig8",)
    assert list(shown.published("fig8")) == ["workstation"]
    assert shown.all_metrics("fig8") == []
    with pytest.raises(InputError, match="fig8 of budget laptop: expected a complete run, got none"):
        shown.all_start_metrics("fig8")
    with pytest.raises(InputError, match="gym of budget laptop: expected a complete run, got none"):
        shown.all_metrics("gym")


def test_line_ends_are_no_part_of_a_published_tables_hash(tmp_path: Path) -> None:
    table = tmp_path / "workstation" / "fig8.csv"
    table.parent.mkdir()
    hashes = []
    for content in (b"task,value\nhopper,1\n", b"task,value\r\nhopper,1\r\n", b"task,value\nhopper,2\n"):
        table.write_bytes(content)
        hashes.append(plan("laptop", tables=tmp_path).published("fig8")["workstation"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_demonstrations_wait_for_a_file_of_ones_own_alone() -> None:
    own = plan("laptop", demo_source="file", demo_files={"lift": "my/lift.hdf5"})
    assert own.demo_files("lift", "file") == [Path("my/lift.hdf5")]
    assert own.demo_files("lift", "generated") == own.demo_files("hopper", "d4rl") == []
    lift, hopper = (own.demos(Run(task, "dppo", "none", "inf", 0)) for task in ("lift", "hopper"))
    assert (lift.name, hopper.name) == ("file.hdf5", "generated.hdf5")


def test_runs_begin_with_the_policy_of_their_seed() -> None:
    laptop = plan("laptop")
    run = Run("hopper", "ppo_gaussian", "none", "inf", 4)
    assert str(laptop.start_policy(run)) == "results/laptop/pretrain/hopper/gaussian_chunk/seed4/policy.safetensors"
    assert str(laptop.demos(run)) == "results/laptop/demos/hopper/generated.hdf5"
    assert str(plan("laptop", demo_source="d4rl").demos(run)) == "results/laptop/demos/hopper/d4rl.hdf5"


def test_copies_at_the_top_belong_to_the_default_budget() -> None:
    assert [str(target) for target in plan("laptop").targets("table2")] == [
        f"results/table2.{suffix}" for suffix in ("md", "csv", "tex")
    ]
    assert str(plan("laptop").promoted("fig8", "png")) == "results/laptop/figures/fig8.png"
    assert [str(target) for target in plan("smoke").targets("fig8")] == [
        f"results/smoke/figures/fig8.{suffix}" for suffix in ("pdf", "csv")
    ]
    message = "results/fig8.pdf: expected budget laptop, got smoke: ask for results/smoke/figures/fig8.pdf"
    with pytest.raises(InputError, match=message):
        plan("smoke").promoted("fig8", "pdf")
    with pytest.raises(InputError, match="suffix of fig8: expected one of pdf, png, csv, got 'tex'"):
        plan("laptop").promoted("fig8", "tex")


def test_a_demonstrator_that_comes_with_the_code_has_a_hash() -> None:
    hopper = plan().demonstrator("hopper", "generated")
    assert hopper is not None
    assert len(hopper) == 64
    assert plan().demonstrator("hopper", "d4rl") is plan().demonstrator("lift", "generated") is None


def test_a_demonstrator_that_is_missing_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inril.config.plan._DEMONSTRATORS", tmp_path)
    assert plan().demonstrator("hopper", "generated") is None


def test_a_landscape_lies_between_two_runs_of_one_seed() -> None:
    shown = plan("laptop", landscapes={"a": {"title": "A", "task": "hopper", "method": "dppo", "m": 3, "seed": 1}})
    shown.project.check()
    assert str(shown.landscape_demos("a")) == "results/laptop/demos/hopper/generated.hdf5"
    assert list(map(str, shown.landscape_policies("a"))) == [
        "results/laptop/finetune/hopper/dppo/none/minf/seed1/policy.safetensors",
        "results/laptop/finetune/hopper/dppo/surgery/m3/seed1/policy.safetensors",
    ]
    assert str(shown.promoted("a", "csv")) == "results/laptop/landscapes/a.csv"
    assert shown.landscape_spec("a").arms == ("RL only", "m = 3")
    assert shown.landscape_figure_spec("a").subject == (
        "Budget: laptop, dppo, surgery, seed 1, 200,000 environment steps"
    )
    assert set(shown.landscape_versions("a")) == {"evaluate", "report"}
    unsuited = plan("laptop", landscapes={"a": {"title": "A", "task": "lift", "method": "idql"}})
    with pytest.raises(InputError, match=r"landscapes\.a\.method: expected one of .*dppo.*, got 'idql'"):
        unsuited.project.check()


def test_a_schematic_is_promoted_without_a_table() -> None:
    drawn = plan("laptop", schematics={"a": "overview"})
    assert drawn.schematic("a") == "overview"
    assert {suffix: str(file) for suffix, file in drawn.files("a").items()} == {
        "pdf": "results/laptop/schematics/a.pdf", "png": "results/laptop/schematics/a.png"
    }  # fmt: skip


def test_films_are_of_runs_of_the_configuration() -> None:
    filmed = plan("laptop", films=FILMS)
    filmed.project.check()
    assert [filmed.film_budget(name) for name in FILMS] == ["laptop"] * 3 + ["workstation"]
    assert [str(filmed.film_run(name).folder(filmed.film_budget(name))) for name in FILMS] == [
        "results/laptop/pretrain/hopper/diffusion/seed3",
        "results/laptop/finetune/hopper/dppo/surgery/m10/seed0",
        "results/laptop/finetune/hopper/dppo/none/minf/seed0",
        "results/workstation/finetune/lift/dppo/none/minf/seed0",
    ]
    assert str(filmed.promoted("d", "gif")) == "results/workstation/films/d.gif"
    assert [filmed.film_spec(name).subject for name in FILMS] == [
        "Budget: laptop, pre-trained policy diffusion, training seed 3",
        "Budget: laptop, dppo, surgery, m = 10, training seed 0",
        "Budget: laptop, dppo, RL only, training seed 0",
        "Budget: workstation, dppo, RL only, training seed 0",
    ]
    assert json.loads(filmed.film_spec("a").model_dump_json()) == {
        "title": "A", "subject": filmed.film_spec("a").subject, "seed": 3, "frames": 6, "outcomes": "both",
        "examples": 1, "episodes": 50, "max_episodes": 200,
    }  # fmt: skip
