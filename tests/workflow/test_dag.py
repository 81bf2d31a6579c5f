"""What runs, and what runs again: asked of Snakemake itself, on the records of a real run at the smoke budget."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import h5py
import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Snakemake = Callable[..., CompletedProcess[str]]
Plan = Callable[..., set[str]]


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1, f"{pattern} is not in {path}"
    path.write_text(text)


def test_smoke_runs_all_phases(smoke: Path) -> None:
    folder = smoke / "results" / "smoke"
    assert (folder / "figures" / "fig8.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "figures" / "fig8.png").stat().st_size > 10_000
    table = pd.read_csv(folder / "figures" / "fig8.csv", dtype={"m": str})
    assert set(table.loc[table["panel"] == "a", "m"]) == {"2", "inf"}  # others are drawn from published runs
    assert not list(smoke.glob("results/fig8.*"))
    run = folder / "finetune" / "hopper" / "dppo" / "surgery" / "m2" / "seed0"
    assert {"config.yaml", "metrics.csv", "policy.safetensors", "log.txt"} <= {path.name for path in run.iterdir()}


def test_gains_of_all_arms_are_tabulated(smoke: Path, snakemake: Snakemake) -> None:
    assert snakemake(smoke, "results/smoke/tables/gains_fig8.md").returncode == 0
    table = pd.read_csv(smoke / "results" / "smoke" / "tables" / "gains_fig8.csv", dtype={"m": str})
    assert set(table["m"]) == {"2", "inf"}
    assert (table["gain_low"] <= table["gain"]).all()
    assert (table["gain"] <= table["gain_high"]).all()
    assert (table["gain"] - (table["final"] - table["pretrained"])).abs().max() < 1e-9


def test_methods_are_compared_on_the_runs_that_are_there(smoke: Path, snakemake: Snakemake) -> None:
    done = snakemake(smoke, "results/smoke/tables/table2.tex", runs="complete")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(smoke / "results" / "smoke" / "tables" / "table2.csv", dtype={"m": str})
    run = table[table["source"] == "compute"]
    assert run[["task", "column", "seeds", "episodes"]].values.tolist() == [["hopper", "DPPO", 1, 4]]
    assert set(table["source"]) == {"compute", "workstation", "not run"}
    assert len(table) == 7 * 7


def test_trials_of_settings_start_from_what_the_workflow_made(smoke: Path, tmp_path: Path) -> None:
    plan = tmp_path / "faster.yaml"
    plan.write_text(
        "{task: hopper, method: dppo, budget: smoke, seed: 0, separation: surgery, m_values: [inf, 2],"
        " trials: {as it is: {}, faster: {algo: {actor_lr: 1.0e-3}}}}"
    )
    study = [sys.executable, "-m", "studies.trials", str(plan)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    done, again = (subprocess.run(study, cwd=smoke, env=environment, capture_output=True, text=True) for _ in range(2))
    assert done.returncode == 0, done.stderr
    rows = [row.split(" | ") for row in done.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["| as it is", "inf"],
        ["| as it is", "2"],
        ["| faster", "inf"],
        ["| faster", "2"],
    ]
    assert len({row[2] for row in rows}) == 1  # where all begin
    runs = list(smoke.glob("results/trials/faster/*/*/metrics.csv"))
    assert len({run.read_bytes() for run in runs}) == len(runs) == 4
    assert again.stdout == done.stdout
    plan.write_text(plan.read_text().replace("1.0e-3", "1.0e-2"))
    other = subprocess.run(study, cwd=smoke, env=environment, capture_output=True, text=True)
    assert other.returncode
    assert "faster" in other.stderr.splitlines()[-1]


def test_pre_trained_policies_are_compared(smoke: Path, snakemake: Snakemake, plan: Plan) -> None:
    column, row = "{title: DP, policy: diffusion}", "{task: hopper, paper: [0.3]}"
    table1 = f"{{table1: {{columns: [{column}], rows: [{row}], note: Fresh episodes.}}}}"
    target = "results/smoke/tables/table1.md"
    assert plan(smoke, target, comparisons=table1) == {"comparison"}
    done = snakemake(smoke, target, comparisons=table1)
    assert done.returncode == 0, done.stderr
    lines = (smoke / target).read_text().splitlines()
    assert lines[3] == "|  | obtained | 1 × 8 episodes |"
    assert lines[-1] == "Fresh episodes."


def test_other_tasks_and_the_gaussian_policy_run(smoke: Path, snakemake: Snakemake) -> None:
    done = snakemake(smoke, "results/smoke/figures/gym.pdf", m_values="[2]")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(smoke / "results" / "smoke" / "figures" / "gym.csv", dtype={"m": str})
    assert set(zip(table["task"], table["method"], strict=True)) == {
        ("walker2d", "dppo"),
        ("halfcheetah", "dppo"),
        ("hopper", "ppo_gaussian"),
    }


def test_robomimic_goes_the_same_way(smoke: Path, snakemake: Snakemake) -> None:
    run = Path("results", "smoke", "finetune", "lift", "idql", "surgery", "m2", "seed0", "metrics.csv")
    done = snakemake(smoke, str(run))
    assert done.returncode == 0, done.stderr
    metrics = pd.read_csv(smoke / run)
    assert {"success", "return"} <= set(metrics.loc[metrics["split"] == "eval", "metric"])
    for split in ("report", "report_best"):
        episodes = metrics[(metrics["split"] == split) & (metrics["metric"] == "episode_success")]
        assert len(episodes) == 4
        assert set(episodes["value"]) <= {0.0, 1.0}
    assert metrics.loc[metrics["metric"] == "n_il_updates", "value"].max() > 0


def test_number_of_cores_changes_no_result(smoke: Path, snakemake: Snakemake, tmp_path: Path) -> None:
    shutil.copytree(smoke / "results" / "smoke" / "demos", tmp_path / "results" / "smoke" / "demos")
    done = snakemake(tmp_path, cores=1)
    assert done.returncode == 0, done.stderr
    results = sorted(path.relative_to(smoke) for path in smoke.rglob("m*/seed0/metrics.csv") if "dppo" in path.parts)
    results += [path.with_name("policy.safetensors") for path in results]
    hopper = [path for path in results if "hopper" in path.parts]
    assert len(hopper) == 4
    assert all((tmp_path / path).read_bytes() == (smoke / path).read_bytes() for path in hopper)


def test_finished_work_is_not_repeated(smoke: Path, snakemake: Snakemake) -> None:
    assert "Nothing to be done" in snakemake(smoke).stderr


def test_films_are_made_of_policies_that_are_there(smoke: Path, plan: Plan) -> None:
    cloned, tuned = (
        f"{{jump: {{title: Hopper, task: hopper, {whose}}}}}" for whose in ("policy: diffusion", "method: dppo")
    )
    target = "results/smoke/films/jump.gif"
    assert plan(smoke, target, films=cloned) == plan(smoke, target, films=tuned) == {"film"}
    missing = tuned.replace("dppo", "dppo, m: 3")
    assert plan(smoke, target, films=missing) == {"finetune m3 seed0", "film"}


def test_landscapes_lie_between_policies_that_are_there(smoke: Path, plan: Plan) -> None:
    there = "{land: {title: Hopper, task: hopper, method: dppo, m: 2}}"
    target = "results/smoke/landscapes/land.pdf"
    assert plan(smoke, target, landscapes=there) == {"landscape", "landscape_figure"}
    missing = there.replace("m: 2", "m: 3")
    assert plan(smoke, target, landscapes=missing) == {"finetune m3 seed0", "landscape", "landscape_figure"}


def test_schematics_need_nothing(smoke: Path, plan: Plan) -> None:
    assert plan(smoke, "results/smoke/schematics/fig2.pdf") == {"schematic"}


def test_new_colour_redraws_only_the_figure(smoke: Path, plan: Plan) -> None:
    assert plan(smoke, plot="{rl_color: red}") == {"figure"}


def test_new_title_redraws_only_the_figure(smoke: Path, source: Path, plan: Plan) -> None:
    edit(source / "config" / "config.yaml", "Hopper, DPPO", "Hopper")
    assert plan(smoke, root=source) == {"figure"}


def test_added_seed_runs_only_that_seed(smoke: Path, plan: Plan) -> None:
    new = {"pretrain seed1", "finetune m2 seed1", "finetune minf seed1"}
    assert plan(smoke, seeds="[0,1]") == new | {"table", "figure"}


def test_added_arm_runs_only_that_arm(smoke: Path, plan: Plan) -> None:
    assert plan(smoke, m_values="[2,5,inf]") == {"finetune m5 seed0", "table", "figure"}


def test_bumped_surgery_reruns_only_surgery(smoke: Path, source: Path, plan: Plan) -> None:
    edit(source / "src" / "inril" / "config" / "numerics.py", r'"surgery": \d+', '"surgery": 1000')
    assert plan(smoke, root=source) == {"finetune m2 seed0", "table", "figure"}


def test_bumped_pretraining_reruns_all_that_follows(smoke: Path, source: Path, plan: Plan) -> None:
    edit(source / "src" / "inril" / "config" / "numerics.py", r'"pretrain": \d+', '"pretrain": 1000')
    runs = {"pretrain seed0", "finetune m2 seed0", "finetune minf seed0"}
    assert plan(smoke, root=source) == runs | {"table", "figure"}


def test_changed_setting_reruns_what_uses_it(smoke: Path, source: Path, plan: Plan) -> None:
    edit(source / "config" / "budgets" / "smoke.yaml", "env_steps: 2000", "env_steps: 2500")
    assert plan(smoke, root=source) == {"finetune m2 seed0", "finetune minf seed0", "table", "figure"}


def test_docstring_reruns_nothing(smoke: Path, source: Path, plan: Plan) -> None:
    for module in ("train/finetune.py", "config/numerics.py", "config/base.py"):
        edit(source / "src" / "inril" / module, r'^"""', '"""Said better. ')
    assert plan(smoke, root=source) == set()


def test_touched_files_rerun_nothing(smoke: Path, plan: Plan) -> None:
    for path in (smoke / "results").rglob("*.hdf5"):
        os.utime(path)
    for path in (smoke / "results").rglob("policy.safetensors"):
        os.utime(path)
    assert plan(smoke) == set()


@pytest.mark.parametrize(("budget", "n_runs", "n_pretrain"), [("laptop", 16, 2), ("paper", 40, 5), ("reference", 6, 3)])
def test_every_budget_has_a_plan(tmp_path: Path, plan: Plan, budget: str, n_runs: int, n_pretrain: int) -> None:
    jobs = plan(tmp_path, budget=budget)
    assert sum(job.startswith("finetune") for job in jobs) == n_runs
    assert sum(job.startswith("pretrain") for job in jobs) == n_pretrain
    assert ("promote" in jobs) == (budget == "laptop")


def test_named_targets_have_plans(tmp_path: Path, plan: Plan) -> None:
    assert plan(tmp_path, "all_demos", "all_experts") == {"demos", "expert"}


def test_a_source_makes_the_demonstrations_of_the_tasks_that_it_has(tmp_path: Path, snakemake: Snakemake) -> None:
    policies = [f"results/smoke/pretrain/{task}/diffusion/seed0/policy.safetensors" for task in ("hopper", "lift")]
    done = snakemake(tmp_path, "--dry-run", *policies, demo_source="robomimic")
    made = re.findall(r"output: results/smoke/demos/(\S+)", done.stdout)
    assert sorted(made) == ["hopper/generated.hdf5", "lift/robomimic.hdf5"]
    done = snakemake(tmp_path, "--dry-run", "results/smoke/demos/hopper/robomimic.hdf5")
    assert done.returncode == 1
    expected = "error: configuration: demonstrations of hopper: expected one of generated, d4rl, got 'robomimic'"
    assert done.stderr.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("finetune/hopper/dppo/surgery/minf/seed0/metrics.csv", "hopper/dppo/surgery/minf/seed0: expected m = inf"),
        ("finetune/hopper/dppo/network/m5/seed0/metrics.csv", "hopper/dppo/network/m5/seed0: expected separation none"),
        ("pretrain/hopper/unet/seed0/metrics.csv", "policy of hopper: expected one of "),
        ("experts/lift.safetensors", "tasks/lift.yaml: expert.target_return: expected a value, got nothing"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(
    tmp_path: Path, snakemake: Snakemake, path: str, message: str
) -> None:
    done = snakemake(tmp_path, "--dry-run", f"results/smoke/{path}")
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_file_of_ones_own_is_copied_and_followed(tmp_path: Path, snakemake: Snakemake, plan: Plan) -> None:
    def write(n_steps: int) -> None:
        with h5py.File(tmp_path / "mine.hdf5", "w") as file:
            for i in range(7):
                shapes = {
                    "obs/flat": (n_steps, 11),
                    "actions": (n_steps, 3),
                    "rewards": (n_steps,),
                    "dones": (n_steps,),
                }
                for name, shape in shapes.items():
                    file[f"data/demo_{i}/{name}"] = np.zeros(shape)

    target, chosen = (
        "results/smoke/demos/hopper/file.hdf5",
        {"demo_source": "file", "demo_files": "{hopper: mine.hdf5}"},
    )
    write(4)
    done = snakemake(tmp_path, target, **chosen)
    assert done.returncode == 0, done.stderr
    assert plan(tmp_path, target, **chosen) == set()
    write(5)
    assert plan(tmp_path, target, **chosen) == {"demos"}


def test_any_budget_can_be_asked_for_by_path(tmp_path: Path, plan: Plan) -> None:
    jobs = plan(tmp_path, "results/smoke/figures/fig8.pdf", budget="paper")
    assert {job for job in jobs if job.startswith("finetune")} == {"finetune m2 seed0", "finetune minf seed0"}


def test_promoted_figure_belongs_to_the_default_budget(tmp_path: Path, snakemake: Snakemake) -> None:
    done = snakemake(tmp_path, "--dry-run", "results/fig8.pdf")
    assert done.returncode == 1
    expected = "error: results/fig8.pdf: expected budget laptop, got smoke: ask for results/smoke/figures/fig8.pdf"
    assert done.stderr.splitlines()[-1] == expected


@pytest.mark.parametrize(("figure", "target"), [("gym", "figures/gym.pdf"), ("fig8", "tables/gains_fig8.md")])
def test_figure_without_complete_runs_is_refused(
    tmp_path: Path, snakemake: Snakemake, figure: str, target: str
) -> None:
    done = snakemake(tmp_path, "--dry-run", f"results/smoke/{target}", runs="complete")
    assert done.returncode == 1
    expected = f"error: {figure} of budget smoke: expected a complete run, got none"
    assert done.stderr.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"budget": "huge"},
            "--config: budget: expected one of laptop, long, paper, reference, smoke, workstation, got 'huge'",
        ),
        ({"m_values": "[0]"}, "--config: m_values.0: expected greater than 0, got '0'"),
        ({"figures": "{x: {title: y}}"}, "--config: figures.x.panels: expected a value, got nothing"),
        ({"films": "{x: {title: y, task: ant, policy: diffusion}}"}, "--config: films.x.task: expected one of "),
        ({"bugdet": "laptop"}, "--config: bugdet: expected a known key, got an unknown key"),
    ],
)
def test_bad_settings_stop_before_any_job(
    tmp_path: Path, snakemake: Snakemake, config: dict[str, str], message: str
) -> None:
    done = snakemake(tmp_path, **config)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_workflow_is_lint_free(tmp_path: Path, snakemake: Snakemake) -> None:
    done = snakemake(tmp_path, "--lint", "text")
    assert done.returncode == 0, done.stderr
