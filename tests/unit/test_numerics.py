"""Which versions a file of each suite depends on, in which order: Snakemake compares them as they are written."""

from __future__ import annotations

import pytest

from inril.numerics import VERSIONS, demos_versions, evaluation_versions, finetune_versions, pretrain_versions


def test_furniture_alone_depends_on_its_simulator() -> None:
    physics = {"furniture": VERSIONS["furniture"]}
    for suite in ("gym", "robomimic", "furniture"):
        expected = physics if suite == "furniture" else {}
        for versions in (
            demos_versions(suite, "generated"),
            evaluation_versions(suite),
            pretrain_versions(suite),
            finetune_versions(suite, "dppo", "surgery", 10),
        ):
            assert {name: value for name, value in versions.items() if name == "furniture"} == expected


def test_downloaded_demonstrations_depend_on_no_simulator() -> None:
    assert demos_versions("furniture", "robomimic") == {"demos": VERSIONS["demos"]}


@pytest.mark.parametrize(
    ("m", "parts"), [(10, ["finetune", "evaluate", "dppo", "surgery"]), ("inf", ["finetune", "evaluate", "dppo"])]
)
def test_a_run_depends_on_its_parts_in_this_order(m: str | int, parts: list[str]) -> None:
    """The records of published runs hold them so."""
    assert list(finetune_versions("gym", "dppo", "surgery", m)) == parts
    assert list(finetune_versions("furniture", "dppo", "surgery", m)) == [*parts, "furniture"]
