"""Tables of settings for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from inril.config.reference import MODELS, Page

README = Path(__file__).parents[3] / "config" / "README.md"


def test_every_field_has_a_description() -> None:
    fields = {f"{name}.{key}": field for name, model in MODELS.items() for key, field in model.model_fields.items()}

    assert [name for name, field in fields.items() if not field.description] == []


def test_tables_of_the_readme_are_in_sync_with_the_models() -> None:
    text = README.read_text()
    assert Page(text).written() == text, "run: inril schemas --out workflow/schemas --readme config/README.md"


def page(*markers: str) -> str:
    return "\n\n".join(
        f"## Part {i}\n\n<!-- keys of {marker} -->\nold\n<!-- end -->" for i, marker in enumerate(markers)
    )


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_a_table_says_what_is_allowed_by_default_and_what_for() -> None:
    written = Page(page("SmoothingConfig")).written()

    assert "old" not in written
    assert lines(written) == [
        "| `window` | integer > 0 | `11` | points, odd |",
        "| `order` | integer ≥ 0 | `2` | of the polynomial |",
    ]


def test_sections_are_told_in_place_unless_they_have_a_table() -> None:
    in_place, apart = (
        lines(Page(page(*markers)).written()) for markers in (["PlotConfig"], ["PlotConfig", "SmoothingConfig"])
    )

    assert any(line.startswith("| `smoothing.window` | integer > 0 |") for line in in_place)
    assert any(line.startswith("| `smoothing` | [Part 1](#part-1) or `null` | `null` |") for line in apart)
    assert not any(line.startswith("| `smoothing.window`") for line in apart)


def test_keys_of_a_base_class_with_a_table_are_told_once() -> None:
    alone, below = (lines(Page(page(*markers)).written()) for markers in (["PPOConfig"], ["PPOBase", "PPOConfig"]))

    assert sorted(line.split("`")[1] for line in alone) == sorted(line.split("`")[1] for line in below)


def test_keys_can_be_left_out() -> None:
    (line,) = lines(Page(page("SmoothingConfig without order")).written())
    assert line.startswith("| `window` |")


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ("RootConfig", "m_values", "[integer > 0 or `inf`, …] or `null`"),
        ("RootConfig", "execution.device", "`auto`, `cpu`, `cuda`"),
        ("TaskSpec", "obs_keys", "by name: integer > 0"),
        ("PPOConfig", "std_range", "[number > 0, number > 0]"),
        ("ResidualConfig", "noise_correlation", "number ≥ 0, < 1"),
        ("FigureConfig", "panels[].controls[].title", "text"),
        ("FigureConfig", "il_level", "`true`, `false`"),
    ],
)
def test_values_are_told_in_words(model: str, key: str, value: str) -> None:
    assert any(line.startswith(f"| `{key}` | {value} |") for line in lines(Page(page(model)).written()))
