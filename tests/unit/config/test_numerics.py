"""Which versions a file of each suite depends on, in which order: Snakemake compares them as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from inril.config.layers import read_yaml
from inril.config.numerics import (
    VERSIONS,
    demos_versions,
    evaluation_versions,
    finetune_versions,
    pretrain_versions,
    versions,
)
from inril.config.project import Project
from inril.config.runs import FinetuneConfig

CONFIG = Path(__file__).parents[3] / "config"


def run(task: str, method: str = "dppo", m: int | str = "inf", separation: str = "surgery") -> FinetuneConfig:
    project = Project(CONFIG, read_yaml(CONFIG / "config.yaml"))
    return project.finetune(task, method, "none" if m == "inf" else separation, m, seed=0)  # type: ignore[arg-type]


def test_furniture_alone_depends_on_its_simulator() -> None:
    physics = {"furniture": VERSIONS["furniture"]}
    for suite, task in {"gym": "hopper", "robomimic": "lift", "furniture": "peg_in_hole_low"}.items():
        expected = physics if suite == "furniture" else {}
        for found in (
            demos_versions(suite, "generated"),
            evaluation_versions(suite),
            pretrain_versions(suite),
            finetune_versions(run(task, m=10)),
        ):
            assert {name: value for name, value in found.items() if name == "furniture"} == expected


def test_downloaded_demonstrations_depend_on_no_simulator() -> None:
    assert demos_versions("furniture", "robomimic") == {"demos": VERSIONS["demos"]}


def test_a_part_without_golden_numbers_is_at_its_first_version() -> None:
    assert versions("idql", "a new algorithm") == {"idql": VERSIONS["idql"], "a new algorithm": 1}


@pytest.mark.parametrize(
    ("m", "parts"), [(10, ["finetune", "evaluate", "dppo", "surgery"]), ("inf", ["finetune", "evaluate", "dppo"])]
)
def test_a_run_depends_on_its_parts_in_this_order(m: str | int, parts: list[str]) -> None:
    """The records of published runs hold them so."""
    assert list(finetune_versions(run("hopper", m=m))) == parts
    assert list(finetune_versions(run("peg_in_hole_low", m=m))) == [*parts, "furniture"]


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("dppo_bcloss", ["dppo", "bc_loss"]),
        ("dppo_demoloss_450", ["dppo", "bc_loss"]),
        ("dppo_il_only", ["dppo"]),
        ("dppo_noise", ["dppo", "noise"]),
        ("dppo_norm", ["dppo"]),
        ("idql_demos_actor", ["idql"]),
        ("idql_demos_both", ["idql", "rewarded_demos"]),
        ("idql_noise", ["idql", "noise"]),
        ("ppo_gaussian", ["ppo_gaussian"]),
        ("residual_il_only", ["residual_ppo"]),
    ],
)
def test_a_method_depends_on_its_algorithm_and_on_what_that_is_set_to_use(method: str, parts: list[str]) -> None:
    assert list(finetune_versions(run("hopper", method))) == ["finetune", "evaluate", *parts]
