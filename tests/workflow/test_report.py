"""The page that `snakemake --report` makes of a run at the smoke budget."""

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Snakemake = Callable[..., CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
FIGURE = "results/smoke/figures/fig8.png"
TABLE = "results/smoke/figures/fig8.csv"
GAINS = "results/smoke/tables/gains_fig8.html"
RUNS = (
    "finetune/hopper/dppo/none/minf/seed0",
    "finetune/hopper/dppo/surgery/m2/seed0",
    "finetune/hopper/dppo_il_only/network/m2/seed0",
)
SETTINGS = [f"results/smoke/{run}/config.yaml" for run in (*RUNS, "pretrain/hopper/diffusion/seed0")]


@pytest.fixture(scope="module")
def page(smoke: Path, snakemake: Snakemake) -> str:
    """The report of Fig. 8, made without a network."""
    assert snakemake(smoke, GAINS).returncode == 0
    style = str(ROOT / "workflow" / "report" / "report.css")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")  # the discard port, where nothing answers
        done = snakemake(smoke, "--report", "report.html", "--report-stylesheet", style, FIGURE, GAINS)
    assert done.returncode == 0, done.stderr
    return (smoke / "report.html").read_text()


def embedded(page: str, name: str) -> Any:
    """Return one of the values that the page's scripts start from."""
    (value,) = re.findall(rf'<script id="{name}">\s*var \w+ = (.*);\s*</script>', page)
    return json.loads(value)


def test_figure_tables_and_settings_are_embedded_byte_for_byte(page: str, smoke: Path) -> None:
    results = embedded(page, "results")
    assert results.keys() == {FIGURE, TABLE, GAINS, *SETTINGS}
    for path, result in results.items():
        kind, content = result["data_uri"].split(";base64,")
        assert kind.startswith("data:")
        assert base64.b64decode(content) == (smoke / path).read_bytes()
    assert [results[path]["mime_type"] for path in (FIGURE, GAINS)] == ["image/png", "text/html"]  # shown in the page


def test_caption_of_the_figure_tells_what_it_shows(page: str) -> None:
    caption = embedded(page, "results")[FIGURE]["caption"]
    assert "Budget <strong>smoke</strong>, 3 of 3 runs" in caption
    for fact in ("m: 2, RL only", "seeds: 0", "environment steps of a run: 2,000;", "(a) Hopper, DPPO"):
        assert fact in caption
    assert "System Message" not in page  # what docutils writes where it cannot read a caption


def test_captions_of_tables_tell_budget_and_runs(page: str) -> None:
    results = embedded(page, "results")
    for path in (TABLE, GAINS):
        text = " ".join(results[path]["caption"].split())
        assert "3 runs at budget <strong>smoke</strong>" in text


def test_settings_are_shown_as_the_run_wrote_them(page: str, smoke: Path) -> None:
    results = embedded(page, "results")
    for path in SETTINGS:
        assert (smoke / path).read_text() in results[path]["caption"]
    labels = [results[path]["labels"] for path in SETTINGS]
    run = {"task": "hopper", "method": "dppo", "separation": "none", "m": "RL only", "seed": "0"}
    assert labels[0] == run
    assert labels[1] == run | {"separation": "surgery", "m": "  2"}


def test_gains_are_laid_out_as_a_table(page: str, smoke: Path) -> None:
    text = (smoke / GAINS).read_text()
    markdown = (smoke / GAINS).with_suffix(".md").read_text().splitlines()
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in text.splitlines() if "<tr>" in line]
    assert rows == [line.strip("| ").split(" | ") for line in markdown if "---" not in line]


def test_runtimes_of_all_rules_are_shown(page: str) -> None:
    runtimes = embedded(page, "runtimes")["data"]["values"]
    assert {job["rule"] for job in runtimes} == {"demos", "pretrain", "finetune", "table", "figure", "gains"}
    assert all(job["runtime"] > 0 for job in runtimes)


def test_page_loads_nothing_from_outside(page: str) -> None:
    loaded: list[str] = []

    class Loads(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            loaded.extend(value or "" for name, value in attrs if name in ("src", "srcset") or tag == "link")

    Loads().feed(page)
    assert [address for address in loaded if not address.startswith("data:")] == []
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "max-height: 95vh" in styles  # ours is among them
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:)", styles)
