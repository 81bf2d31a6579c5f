from pathlib import Path

import pandas as pd
import pytest

from inril.errors import InputError
from inril.report.tables import write_table

TABLE = pd.DataFrame({"m": ["inf"], "gain": [1.25]})
HEADER, ROWS = ("m", "gain"), [("RL <only>", "+1 %")]


def test_every_format(tmp_path: Path) -> None:
    out = [tmp_path / f"table.{suffix}" for suffix in ("csv", "md", "html", "tex")]
    write_table(TABLE, HEADER, ROWS, out)
    csv, markdown, html, latex = (path.read_text() for path in out)
    assert csv == "m,gain\ninf,1.25\n"
    assert markdown == "| m | gain |\n| --- | --- |\n| RL <only> | +1 % |\n"
    assert "<tr><td>RL &lt;only&gt;</td><td>+1 %</td></tr>" in html
    lines = latex.splitlines()
    assert lines[0] == r"\begin{tabular}{ll}"
    assert (lines[2], lines[4]) == (r"m & gain \\", r"RL <only> & +1 \% \\")
    assert lines[-1] == r"\end{tabular}"


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a file name ending in .csv, .html, .md or .tex, got .txt"):
        write_table(TABLE, HEADER, ROWS, [tmp_path / "table.txt"])
    assert not list(tmp_path.iterdir())
