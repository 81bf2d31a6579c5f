import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from inril.config.base import DemoSource
from inril.config.layers import merge, read_yaml
from inril.config.project import Project
from inril.config.reference import schemas
from inril.config.root import Axes
from inril.config.runs import DemosConfig, FinetuneConfig
from inril.errors import InputError

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """A copy of the configuration, to spoil."""
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def project(config_dir: Path = CONFIG, **changed: Any) -> Project:
    return Project(config_dir, read_yaml(config_dir / "config.yaml") | changed)


def change(path: Path, changed: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(merge(read_yaml(path), changed)))


def finetune(settings: Project, m: Any = 2) -> FinetuneConfig:
    return settings.finetune("hopper", "dppo", "none" if m == "inf" else "surgery", m, seed=1)


@pytest.mark.parametrize("budget", sorted(path.stem for path in (CONFIG / "budgets").glob("*.yaml")))
def test_shipped_configuration_is_in_order(budget: str) -> None:
    checked = project(budget=budget)
    checked.check()
    assert checked.budget_name == budget


@pytest.mark.parametrize("path", sorted(CONFIG.rglob("*.yaml")), ids=lambda path: path.stem)
def test_files_inherit_from_files_alone(path: Path) -> None:
    tokens = yaml.scan(path.read_text())
    assert not [token for token in tokens if isinstance(token, yaml.AnchorToken | yaml.AliasToken)]


def test_later_layers_win(config_dir: Path) -> None:
    method, task, budget = (
        config_dir / name for name in ("methods/dppo.yaml", "tasks/hopper.yaml", "budgets/smoke.yaml")
    )
    change(method, {"n_envs": 11, "n_steps": 12, "eval": {"every": 13, "n_envs": 14}})
    change(task, {"finetune": {"dppo": {"n_steps": 22, "eval": {"n_envs": 24}}}})
    change(budget, {"finetune": {"dppo": {"n_envs": 31, "n_steps": 32, "eval": {"n_envs": 34}}}})
    smoke = finetune(project(config_dir, budget="smoke"))
    paper = finetune(project(config_dir, budget="paper"))
    assert (smoke.n_envs, smoke.n_steps, smoke.eval.n_envs) == (31, 32, 34)
    assert (paper.n_envs, paper.n_steps, paper.eval.every, paper.eval.n_envs) == (11, 22, 13, 24)


def test_a_budget_can_treat_one_task_differently(config_dir: Path) -> None:
    budget = config_dir / "budgets/smoke.yaml"
    change(budget, {"finetune": {"dppo": {"n_envs": 31}}, "tasks": {"hopper": {"finetune": {"dppo": {"n_envs": 41}}}}})
    settings = project(config_dir, budget="smoke")
    assert finetune(settings).n_envs == 41
    assert settings.finetune("walker2d", "dppo", "none", "inf", seed=1).n_envs == 31
    change(budget, {"tasks": {"hopper": {"finetune": {"dppo": {"n_env": 41}}}}})
    message = r"smoke.yaml: tasks.hopper.finetune.dppo.n_env: expected one of .*, got an unknown key"
    with pytest.raises(InputError, match=message):
        project(config_dir, budget="smoke")


def test_a_method_takes_over_what_is_set_for_its_base_in_every_file(config_dir: Path) -> None:
    method, task, budget = (
        config_dir / name for name in ("methods/dppo_bcloss.yaml", "tasks/hopper.yaml", "budgets/smoke.yaml")
    )
    change(method, {"max_diverged_rate": 0.1, "il": {"scale": 0.1}})
    change(task, {"finetune": {"dppo": {"max_diverged_rate": 0.2}, "dppo_bcloss": {"max_diverged_rate": 0.3}}})
    change(
        budget, {"finetune": {"dppo": {"eval": {"every": 31, "n_envs": 32}}, "dppo_bcloss": {"eval": {"every": 33}}}}
    )
    base, own = (
        project(config_dir, budget="smoke").finetune("hopper", name, "none", "inf", seed=1)
        for name in ("dppo", "dppo_bcloss")
    )
    assert (own.il.scale, own.max_diverged_rate, own.eval.every, own.eval.n_envs) == (0.1, 0.3, 33, 32)
    changed = {"method", "il", "max_diverged_rate", "eval", "algo"}
    assert own.model_dump(exclude=changed) == base.model_dump(exclude=changed)
    assert own.algo.model_dump(exclude={"bc_loss"}) == base.algo.model_dump()


def test_a_method_without_a_base_names_its_policy(config_dir: Path) -> None:
    (config_dir / "methods/dppo_bcloss.yaml").write_text("algo: {bc_loss: {weight: 0.1}}\n")
    with pytest.raises(InputError, match=r"dppo_bcloss.yaml: policy_name: expected the policy .*, got nothing"):
        project(config_dir).check()


@pytest.mark.parametrize("base", ["ddpo", "dppo_bcloss", "dppo_demoloss"])
def test_a_base_is_a_method_without_one(config_dir: Path, base: str) -> None:
    change(config_dir / "methods/dppo_bcloss.yaml", {"base": base})
    with pytest.raises(InputError, match=f"dppo_bcloss.yaml: base: expected one of .*awr, .*, got '{base}'"):
        project(config_dir).check()


@pytest.mark.parametrize(
    ("file", "removed", "changed", "message"),
    [
        ("methods/dppo.yaml", ["algo"], {}, "dppo.yaml: algo.kind: expected one of dppo, idql, .*, got None"),
        ("methods/dppo.yaml", [], {"algo": {"kind": "ddpo"}}, "dppo.yaml: algo.kind: expected one of .*, got 'ddpo'"),
        ("methods/dppo.yaml", ["policy_name"], {}, "dppo.yaml: policy_name: expected the policy that it starts from"),
        ("methods/dppo_norm.yaml", [], {"algo": {"kind": "idql"}}, "dppo_norm.yaml: algo.kind: expected nothing"),
        ("tasks/can.yaml", [], {"finetune": {"idql": {"algo": {"kind": "awr"}}}}, "can.yaml: finetune.idql.algo.kind"),
        ("methods/dppo.yaml", [], {"rl_onyl": True}, "dppo.yaml: rl_onyl: expected one of .*, got an unknown key"),
        ("methods/awr.yaml", ["n_envs"], {}, "methods/awr.yaml: n_envs: expected a value, got nothing"),
    ],
)
def test_a_method_that_is_incomplete_is_refused_by_its_file(
    config_dir: Path, file: str, removed: list[str], changed: dict[str, Any], message: str
) -> None:
    values = {key: value for key, value in read_yaml(config_dir / file).items() if key not in removed}
    (config_dir / file).write_text(yaml.safe_dump(merge(values, changed)))
    with pytest.raises(InputError, match=message):
        project(config_dir, budget="reference").check()


def test_a_budget_without_steps_is_named(config_dir: Path) -> None:
    budget = config_dir / "budgets/smoke.yaml"
    values = read_yaml(budget)
    del values["finetune"]["any"]["env_steps"]
    budget.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"smoke.yaml: env_steps: expected a value, got nothing"):
        project(config_dir, budget="smoke").check()


def test_methods_are_the_files(config_dir: Path) -> None:
    (config_dir / "methods/dppo_gentle.yaml").write_text("base: dppo\nalgo: {actor_lr: 1.0e-6}\n")
    settings = project(config_dir)
    assert set(settings.all_methods) - set(project().all_methods) == {"dppo_gentle"}
    settings.check()
    run = settings.finetune("hopper", "dppo_gentle", "surgery", 2, seed=0)
    assert (run.method, run.algo.kind, run.algo.model_dump()["actor_lr"]) == ("dppo_gentle", "dppo", 1e-6)


def test_arms_are_called_rl_only_where_their_method_says_so(config_dir: Path) -> None:
    settings = project(config_dir)
    said = {name for name in settings.all_methods if read_yaml(config_dir / f"methods/{name}.yaml").get("rl_only")}
    assert said >= {"dppo", "idql", "dipo", "awr", "ppo_gaussian", "residual_ppo"}
    assert "dppo_il_only" not in said
    for method in settings.all_methods:
        assert settings.arm_name(method, "inf") == ("RL only" if method in said else "not interleaved")
        assert settings.arm_name(method, 10) == "10"


def test_a_task_may_start_a_method_from_another_policy(config_dir: Path) -> None:
    change(config_dir / "tasks/one_leg_low.yaml", {"finetune": {"dppo": {"policy_name": "unet"}}})
    change(config_dir / "tasks/hopper.yaml", {"finetune": {"dppo": {"policy_name": "unet"}}})
    settings = project(config_dir)
    assert settings.finetune("one_leg_low", "dppo_bcloss", "none", "inf", 0).policy_name == "unet"
    assert {"dppo", "dppo_bcloss"}.isdisjoint(settings.methods("hopper"))  # which has no such policy
    assert "idql" in settings.methods("hopper")


def test_fields_that_came_later_are_written_only_where_they_differ_from_their_default() -> None:
    hopper, lift = (project(budget="paper").finetune(task, "dppo", "none", "inf", 0) for task in ("hopper", "lift"))
    written = json.loads(hopper.model_dump_json())
    assert "reset_each_itr" not in written
    assert "obs_keys" not in written["task"]
    assert json.loads(lift.model_dump_json())["task"]["obs_keys"] == lift.task.obs_layout
    for settings in (hopper, lift):
        assert FinetuneConfig.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("chosen", "hopper", "lift"),
    [
        ("generated", "generated", "generated"),
        ("d4rl", "d4rl", "generated"),
        ("robomimic", "generated", "robomimic"),
    ],
)
def test_a_source_applies_to_the_tasks_that_it_has(chosen: DemoSource, hopper: DemoSource, lift: DemoSource) -> None:
    settings = project(demo_source=chosen)
    assert (settings.demos("hopper").source, settings.demos("lift").source) == (hopper, lift)


def test_a_source_without_the_task_is_refused() -> None:
    message = r"^configuration: demonstrations of hopper: expected one of generated, d4rl, got 'robomimic'$"
    with pytest.raises(InputError, match=message):
        project().demos("hopper", "robomimic")
    with pytest.raises(ValidationError, match="a source of robomimic tasks: generated or robomimic"):
        DemosConfig(task=project().demos("lift").task, source="d4rl")


def test_a_file_of_ones_own_is_named_by_a_layer_or_on_the_command_line(config_dir: Path) -> None:
    generated = project().demos("hopper").digest()
    change(config_dir / "budgets" / "laptop.yaml", {"tasks": {"hopper": {"demos": {"path": "of/the/budget"}}}})
    settings = project(config_dir, demo_source="file")
    assert settings.demos("hopper").path == Path("of/the/budget")
    assert settings.demos("hopper", "generated").digest() == generated  # the file is no part of other sources
    assert settings.demos("lift").source == "generated"
    chosen = project(config_dir, demo_source="file", demo_files={"hopper": "said/here"})
    assert chosen.demos("hopper").path == Path("said/here")
    chosen.check()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"demo_source": "file"}, "config.yaml: demo_source: expected a file: demo_files, or demos.path of a task or "),
        ({"demo_files": {"hoper": "x"}}, "demo_files: expected one of can, halfcheetah, hopper, "),
        ({"demo_files": {"hopper": 3}}, "demo_files.hopper: expected"),
    ],
)
def test_files_of_ones_own_are_checked(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        project(**changed).check()


def test_settings_are_utf_8_whatever_the_locale(config_dir: Path) -> None:
    task = config_dir / "tasks" / "hopper.yaml"
    task.write_text(task.read_text().replace("title: Hopper", "title: Hüpfer ½"), encoding="utf-8")
    show = (
        "import pathlib, sys; from inril.config.layers import read_yaml; "
        "print(ascii(read_yaml(pathlib.Path(sys.argv[1]))['task']['title']))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", show, str(task)],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(CONFIG.parent / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ascii("Hüpfer ½")


def test_axes_come_from_the_budget_unless_chosen() -> None:
    smoke = project(budget="smoke")
    assert smoke.axes("hopper") == Axes(seeds=(0,), m_values=(2, "inf"))
    chosen = project(budget="smoke", seeds=[3, 4], m_values=[7])
    assert chosen.axes("hopper") == Axes(seeds=(3, 4), m_values=(7,))


def test_axes_of_a_task_come_before_those_of_all(config_dir: Path) -> None:
    path = config_dir / "budgets" / "smoke.yaml"
    path.write_text(path.read_text().replace("  lift: {", "  lift: {seeds: [4], "))
    settings = project(config_dir, budget="smoke")
    assert settings.axes("lift") == Axes(seeds=(4,), m_values=(2, "inf"))
    assert settings.axes("hopper").seeds == (0,)
    assert project(config_dir, budget="smoke", seeds=[7]).axes("lift").seeds == (7,)


def test_budget_says_where_a_panel_comes_from() -> None:
    sources = {panel.label: panel.source for panel in project(budget="laptop").figure("fig8").panels}
    assert sources == {"a": "compute", "b": "workstation", "c": "workstation"}
    assert {panel.source for panel in project(budget="workstation").figure("fig8").panels} == {"compute"}


def test_unknown_source_of_a_panel_is_refused(config_dir: Path) -> None:
    path = config_dir / "budgets" / "smoke.yaml"
    path.write_text(path.read_text().replace("published: workstation", "published: mainframe"))
    with pytest.raises(
        InputError, match=r"source of figure fig1, panel a: expected one of compute, laptop, .*mainframe"
    ):
        project(config_dir, budget="smoke").check()


def test_a_control_may_have_another_separation_than_its_panel() -> None:
    settings = project(budget="laptop")
    panel, _ = settings.figure("fig9").panels
    assert panel.holds("hopper", "dppo", "none", "10")
    assert not panel.holds("hopper", "dppo", "none", "5")
    assert not panel.is_own("dppo", "none", "10")
    # Figures without such controls are what they were.
    (control, _) = settings.figure("fig8").panels[1].controls
    assert "separation" not in control.model_dump()


def test_equal_settings_have_equal_digests() -> None:
    assert finetune(project()).digest() == finetune(project()).digest()
    assert finetune(project(), 2).digest() != finetune(project(), 3).digest()


def test_smoke_runs_the_code_paths_of_every_other_budget() -> None:
    # A budget scales a run; it must not switch anything.
    kinds = {
        (run.policy_name, run.algo.kind, run.il.unit)
        for b in ("smoke", "laptop", "paper")
        for run in [finetune(project(budget=b))]
    }
    assert len(kinds) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bugdet": "laptop"}, "bugdet: expected a known key, got an unknown key"),
        ({"budget": "huge"}, "budget: expected one of laptop, long, paper, reference, smoke, workstation, got 'huge'"),
        ({"demo_source": "web"}, "demo_source: expected 'generated', 'd4rl', 'robomimic' or 'file', got 'web'"),
        ({"m_values": [0]}, "m_values.0: expected greater than 0, got 0"),
        ({"m_values": [5, -2]}, "m_values.1: expected greater than 0, got -2"),
        ({"m_values": ["many"]}, "m_values.0: expected a valid integer"),
        ({"seeds": [-1]}, "seeds.0: expected greater than or equal to 0, got -1"),
        ({"seeds": []}, "seeds: expected Tuple should have at least 1 item"),
        ({"torch_threads": 0}, "torch_threads: expected greater than 0, got 0"),
        ({"plot": {"smoothing": {"window": 4}}}, "plot.smoothing: expected an odd window larger than the order"),
    ],
)
def test_bad_choices_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        project(**changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"task": "hoper"},
            "figures.fig8.panels.task: expected one of can, halfcheetah, hopper, lamp_low,",
        ),
        ({"method": "ddpo"}, "figures.fig8, panel a: method: expected one of "),
        (
            {"separation": "loud"},
            "figures.fig8.panels.0.separation: expected 'none', 'surgery' or 'network', got 'loud'",
        ),
        ({"title": None}, "figures.fig8.panels.0.title: expected a valid string, got None"),
    ],
)
def test_bad_panels_are_refused(changed: dict[str, Any], message: str) -> None:
    panel = {"label": "a", "title": "x", "task": "hopper", "method": "dppo", "separation": "surgery"} | changed
    figures = {"fig8": {"panels": [panel], "metrics": ["eval/return"]}}
    with pytest.raises(InputError, match=re.escape(message)):
        project(figures=figures).check()


@pytest.mark.parametrize(
    ("file", "changed", "message"),
    [
        ("methods/dppo.yaml", {"algo": {"gama": 1}}, "algo.gama: expected a known key, got an unknown key"),
        ("methods/dppo.yaml", {"algo": {"gamma": 1.5}}, "algo.gamma: expected less than or equal to 1, got 1.5"),
        ("methods/dppo.yaml", {"m": 0}, "m: expected one of algo, base, checkpoint_every, "),
        ("tasks/hopper.yaml", {"dmos": {}}, "dmos: expected one of clip, demos, expert, finetune, pretrain, task, got"),
        ("tasks/hopper.yaml", {"expert": {"n_envs": -5}}, "n_envs: expected greater than 0, got -5"),
        ("budgets/smoke.yaml", {"finetune": {"dppo": {"n_envs": 0}}}, "n_envs: expected greater than 0, got 0"),
        ("budgets/smoke.yaml", {"m_values": [0]}, "m_values.0: expected greater than 0, got 0"),
        (
            "budgets/smoke.yaml",
            {"finetune": {"ddpo": {}}},
            "finetune.ddpo: expected one of any, ",
        ),
        ("budgets/smoke.yaml", {"finetune": {"dppo": {"seed": 1}}}, "finetune.dppo.seed: expected one of algo, "),
        (
            "tasks/hopper.yaml",
            {"pretrain": {"diffuse": {}}},
            "pretrain.diffuse: expected one of any, diffusion, gaussian, ",
        ),
        (
            "budgets/smoke.yaml",
            {"pretrain": {"diffusion": {"policy": {"network": {"widths": [64, 64]}}}}},
            "policy.network: expected a residual network needs an odd number of equal widths",
        ),
    ],
)
def test_bad_files_are_named(config_dir: Path, file: str, changed: dict[str, Any], message: str) -> None:
    change(config_dir / file, changed)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        project(config_dir, budget="smoke").check()
    assert file in str(error.value)


@pytest.mark.parametrize(
    ("removed", "field"),
    [(", obs_dim: 11", "task.obs_dim"), ("target_return: 1422, ", "expert.target_return")],
)
def test_what_a_task_lacks_is_missing_in_its_file(config_dir: Path, removed: str, field: str) -> None:
    path = config_dir / "tasks/hopper.yaml"
    path.write_text(path.read_text().replace(removed, ""))
    with pytest.raises(InputError, match=f"tasks/hopper.yaml: {field}: expected a value, got nothing"):
        project(config_dir).check()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task": "hoper", "paper": [1]}, "task: expected one of can, halfcheetah, hopper"),
        ({"task": "hopper", "paper": [1, 2]}, "comparisons.table2: expected a number of the paper for each column"),
    ],
)
def test_bad_comparisons_are_refused(row: dict[str, Any], message: str) -> None:
    comparisons = {"table2": {"columns": [{"title": "DPPO", "method": "dppo"}], "rows": [row]}}
    with pytest.raises(InputError, match=re.escape(message)):
        project(comparisons=comparisons).check()


def policy_table(policy: str = "gaussian_chunk", **changed: Any) -> dict[str, Any]:
    columns = [{"title": "Gaussian", "policy": policy}, {"title": "DP", "policy": "diffusion"}]
    return {"table1": {"columns": columns, "rows": [{"task": "hopper", "paper": [0.3, None]}], **changed}}


def test_what_is_published_of_a_comparison_is_measured_in_successes() -> None:
    rows = project(budget="laptop").comparison("table2").rows
    assert {row.metric for row in rows if row.source != "compute"} == {"success"}


def test_a_comparison_says_no_more_than_it_has_to() -> None:
    settings = project(budget="laptop", comparisons=policy_table(note="Below."))
    settings.check()
    assert settings.comparison("table1").note == "Below."
    columns = json.loads(settings.comparison("table1").model_dump_json())["columns"]
    assert columns[1] == {"title": "DP", "policy": "diffusion"}
    assert "note" not in json.loads(project().comparison("table2").model_dump_json())


@pytest.mark.parametrize("policy", ["transformer", "unet"])
def test_policies_that_are_not_pre_trained_are_refused(policy: str) -> None:
    message = "policy of hopper in comparison table1: expected one of diffusion, gaussian, gaussian_chunk, got"
    with pytest.raises(InputError, match=re.escape(message)):
        project(comparisons=policy_table(policy)).check()


@pytest.mark.parametrize("m", [0, -3, 1.5, "many"])
def test_m_is_a_positive_integer_or_inf(m: Any) -> None:
    with pytest.raises(InputError, match=r"m: expected"):
        finetune(project(), m)


def test_rl_only_separates_nothing() -> None:
    with pytest.raises(InputError, match=r"m = inf \(RL only\) goes with separation none"):
        project().finetune("hopper", "dppo", "surgery", "inf", seed=0)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            ("ant", "dppo", "none"),
            "task: expected one of can, halfcheetah, hopper, lamp_low,",
        ),
        (("hopper", "sac", "none"), "method: expected one of .*awr, .*, ppo_gaussian, .*, got 'sac'"),
        (("hopper", "dppo", "wall"), "separation: expected one of none, surgery, network, got 'wall'"),
    ],
)
def test_unknown_names_are_refused(axes: tuple[str, str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        project().finetune(*axes, "inf", seed=0)


@pytest.mark.parametrize("method", ["dppo", "idql", "ppo_gaussian"])
def test_a_network_of_its_own_is_for_methods_with_two(method: str) -> None:
    message = f"separation none or surgery for finite m of {method}, not 'network'"
    with pytest.raises(InputError, match=message):
        project().finetune("hopper", method, "network", 2, seed=0)


def test_residual_methods_have_their_separations() -> None:
    for separation in ("none", "surgery", "network"):
        assert project().finetune("hopper", "residual_ppo", separation, 2, seed=0).separation == separation
    assert project().finetune("hopper", "residual_il_only", "network", 2, seed=0).method == "residual_il_only"
    for separation in ("none", "surgery"):
        with pytest.raises(InputError, match="separation network for finite m of residual_il_only"):
            project().finetune("hopper", "residual_il_only", separation, 2, seed=0)


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        ({"act_steps": 5}, "algo.residual.act_steps: expected at most the 4 steps of the pre-trained policy's chunks"),
        ({"ddim_steps": 7}, "algo.residual.ddim_steps: expected at most the 6 denoising steps of the pre-trained"),
    ],
)
def test_a_base_is_asked_for_no_more_than_it_has(config_dir: Path, residual: dict[str, int], message: str) -> None:
    change(config_dir / "budgets/smoke.yaml", {"finetune": {"residual_ppo": {"algo": {"residual": residual}}}})
    with pytest.raises(InputError, match=f"smoke.yaml: finetune.residual_ppo.{message}"):
        project(config_dir, budget="smoke").finetune("hopper", "residual_ppo", "none", "inf", seed=0)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "expected valid YAML"), ("- a", "expected a mapping of keys to values, got list")]
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_yaml(tmp_path / "x.yaml")


def test_readme_explains_every_key() -> None:
    words = set(re.findall(r"\w+", (CONFIG / "README.md").read_text()))
    keys = {key for schema in schemas().values() for key in _properties(json.loads(schema))}
    assert keys - words == set()


def _properties(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {key for part in schema for key in _properties(part)}
    if not isinstance(schema, dict):
        return set()
    nested = {key for part in schema.values() for key in _properties(part)}
    properties = schema.get("properties", {})
    return nested | (set(properties) if isinstance(properties, dict) else set())
