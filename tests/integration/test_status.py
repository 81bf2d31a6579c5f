"""What `inril status` tells of real run folders in every state."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import tiny
from rich.console import Console

from inril import cli
from inril.config import paths
from inril.config.base import Model
from inril.config.layers import read_yaml
from inril.config.paths import Pretraining, Run
from inril.config.plan import Plan
from inril.config.project import Project
from inril.errors import InputError
from inril.report.status import Row, State, figure_status, time_left
from inril.report.status_table import render

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0
CONTROL = """
        controls:
          - {method: dppo_il_only, m: 2, separation: network, title: "imitation alone, as in m = 2"}"""


class Scene(NamedTuple):
    """Nine runs: m = 2, 5 and RL only, three seeds; seed 1 is being pre-trained, seed 2 has nothing yet."""

    config_dir: Path
    project: Project
    results: Path
    pids: dict[str, int]  # of the two processes at work, which are stopped

    def folder(self, m: int | str, seed: int) -> Path:
        separation = "none" if m == "inf" else "surgery"
        return self.results / paths.finetune("smoke", "hopper", "dppo", separation, m, seed)  # type: ignore[arg-type]

    def rows(self) -> dict[tuple[int | str, int], Row]:
        return {(row.run.m, row.run.seed): row for row in figure_status(Plan(self.project), "fig8", self.results)}


@pytest.fixture(scope="module")
def scene(inputs: tiny.Inputs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("status")
    config_dir = folder / "config"
    shutil.copytree(tiny.ROOT / "config", config_dir)
    edit(config_dir / "config.yaml", "seeds: null", "seeds: [0, 1, 2]")
    edit(config_dir / "config.yaml", "m_values: null", "m_values: [2, 5, inf]")
    edit(config_dir / "config.yaml", CONTROL, "")
    edit(config_dir / "budgets" / "smoke.yaml", "check_every: 100", "check_every: 20")
    project = Project(config_dir, read_yaml(config_dir / "config.yaml") | {"budget": "smoke"})
    pids: dict[str, int] = {}
    scene = Scene(config_dir, project, folder, pids)

    def begin(m: int | str, seed: int, policy: Path = inputs.diffusion) -> subprocess.Popen[bytes]:
        config = project.finetune("hopper", "dppo", "none" if m == "inf" else "surgery", m, seed)  # type: ignore[arg-type]
        args = ["finetune", "--demos", str(inputs.demos), "--policy", str(policy)]
        return start(args, config, scene.folder(m, seed))

    assert begin(2, 0).wait(PATIENCE_S) == 0
    with stopped(begin(5, 0), has_checkpoints(scene.folder(5, 0))):
        pass
    with ExitStack() as stack:
        running = stack.enter_context(stopped(begin("inf", 0), has_checkpoints(scene.folder("inf", 0))))
        pretrain = folder / paths.pretrain("smoke", "hopper", "diffusion", 1)
        cloning = start(
            ["pretrain", "--demos", str(inputs.demos)], project.pretrain("hopper", "diffusion", 1), pretrain
        )
        files = [pretrain / "checkpoint" / f"{name}.safetensors" for name in ("previous", "current")]
        stack.enter_context(stopped(cloning, lambda: all(file.exists() for file in files)))
        pids |= {"running": running.pid, "pre-training": cloning.pid}
        assert begin(5, 1, folder / "no_policy").wait(PATIENCE_S) == 1
        shutil.copytree(scene.folder(5, 0), scene.folder("inf", 1))
        yield scene


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def start(args: Sequence[str], config: Model, out: Path) -> subprocess.Popen[bytes]:
    """Start a run as Snakemake does, its output in a log in its folder."""
    out.mkdir(parents=True)
    command = [*tiny.PROGRAM, *args, "--config", config.model_dump_json(), "--out", str(out)]
    with (out / "log.txt").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def has_checkpoints(folder: Path) -> Callable[[], bool]:
    timing = folder / "timing.csv"
    return lambda: timing.exists() and timing.read_text().count("probe") >= 2


@contextmanager
def stopped(process: subprocess.Popen[bytes], moment: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """Stop a run at a moment: it lives and changes nothing. Kill it in the end."""
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not moment():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.wait()


def last(metrics: Path, column: str, metric: str = "return", split: str = "eval") -> float:
    table = pd.read_csv(metrics, float_precision="round_trip")  # as it was written, to the last bit
    return float(table[(table["split"] == split) & (table["metric"] == metric)][column].iloc[-1])


def test_every_state_is_told(scene: Scene) -> None:
    assert {run: row.state for run, row in scene.rows().items()} == {
        (2, 0): State.FINISHED,
        (5, 0): State.INTERRUPTED,
        ("inf", 0): State.RUNNING,
        (2, 1): State.PRETRAINING,
        (5, 1): State.FAILED,
        ("inf", 1): State.INTERRUPTED,
        (2, 2): State.WAITING,
        (5, 2): State.WAITING,
        ("inf", 2): State.WAITING,
    }


def test_finished_run_shows_its_last_evaluation(scene: Scene) -> None:
    row, metrics = scene.rows()[2, 0], scene.folder(2, 0) / "metrics.csv"
    assert row.steps >= row.total == 2000
    assert (row.left, row.eta_s, row.note) == (0, None, "")
    assert row.last_return == last(metrics, "value")
    assert row.last_itr == last(metrics, "itr")


def test_running_run_shows_steps_speed_and_who_runs_it(scene: Scene) -> None:
    row, folder = scene.rows()["inf", 0], scene.folder("inf", 0)
    assert row.steps == pd.read_csv(folder / "progress.csv")["env_steps"].max()
    assert row.left == 2000 - row.steps > 0
    timing = pd.read_csv(folder / "timing.csv")
    seconds = timing.loc[timing["split"] == "seconds", "value"].sum()
    assert row.speed == pytest.approx(timing["env_steps"].max() / seconds)
    age = time.time() - (folder / "progress.csv").stat().st_mtime
    assert row.eta_s == pytest.approx(max(row.left / row.speed - age, 0), abs=0.5)
    assert row.last_return == last(folder / "progress.csv", "value")
    assert f"process {scene.pids['running']} on " in row.note


def test_doubts_about_learning_are_told(scene: Scene) -> None:
    folder = scene.folder("inf", 0)
    told = pd.read_csv(folder / "diagnostics.csv")
    try:
        worse = told.copy()
        values = {
            "out_of_range": 0.26,
            "grad_norm_rl_largest": 2907.0,
            "explained_variance": -0.1,
            "updates_taken": 0.5,
        }
        worse["value"] = worse["metric"].map(values).fillna(worse["value"])
        worse["itr"] += 10
        worse.to_csv(folder / "diagnostics.csv", index=False)
        doubts = (
            "26% of observations out of range, gradient norms up to 2907, the critic explains nothing, 50% of updates"
        )
        assert doubts in scene.rows()["inf", 0].note
        (folder / "diagnostics.csv").write_text("no table")
        assert "observations" not in scene.rows()["inf", 0].note
    finally:
        told.to_csv(folder / "diagnostics.csv", index=False)


def test_pretraining_shows_gradient_steps(scene: Scene) -> None:
    row = scene.rows()[2, 1]
    checkpoints = scene.results / paths.pretrain("smoke", "hopper", "diffusion", 1) / "checkpoint"
    times = [(checkpoints / f"{name}.safetensors").stat().st_mtime for name in ("previous", "current")]
    assert row.steps in range(40, 200, 20)
    assert (row.total, row.left) == (200, 2000)
    assert row.speed == pytest.approx(20 / (times[1] - times[0]))
    assert f"process {scene.pids['pre-training']} on " in row.note


def test_policies_of_a_table_are_told_by_their_pre_training(scene: Scene) -> None:
    columns, rows = [{"title": "DP", "policy": "diffusion"}], [{"task": "hopper", "paper": [None]}]
    changed = {"budget": "smoke", "comparisons": {"table1": {"columns": columns, "rows": rows}}}
    project = Project(scene.config_dir, read_yaml(scene.config_dir / "config.yaml") | changed)
    found = figure_status(Plan(project), "table1", scene.results)
    assert [row.run for row in found] == [Pretraining("hopper", "diffusion", seed) for seed in (0, 1, 2)]
    assert [row.state for row in found] == [State.WAITING, State.PRETRAINING, State.WAITING]
    ours = scene.rows()[2, 1]
    assert found[1] == ours._replace(run=found[1].run, left=0, eta_s=found[1].eta_s, arm="")
    console = Console(file=StringIO(), width=200)
    console.print(render("table1", found, console))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "diffusion, pre-trained" in text
    assert "2 waiting, 1 pre-training" in text


def test_interrupted_run_keeps_its_steps_and_has_no_eta(scene: Scene) -> None:
    row = scene.rows()[5, 0]
    assert row.steps == pd.read_csv(scene.folder(5, 0) / "progress.csv")["env_steps"].max() > 0
    assert row.eta_s is None


def test_failure_is_told_in_the_words_of_its_log(scene: Scene) -> None:
    assert "no_policy: expected" in scene.rows()[5, 1].note


def test_other_settings_are_told(scene: Scene) -> None:
    note = "config.yaml differs from the settings as they are now"  # a folder of seed 0 in the place of seed 1's
    assert scene.rows()["inf", 1].note == note


def test_half_written_line_does_not_count(scene: Scene, tmp_path: Path) -> None:
    before = scene.rows()["inf", 1]
    shutil.copytree(scene.results / "results", tmp_path / "results")
    copy = scene._replace(results=tmp_path)
    with (copy.folder("inf", 1) / "progress.csv").open("a") as file:
        file.write("hopper,dppo,surgery,5,0,999,9999")
    assert copy.rows()["inf", 1] == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"task,method\n", "progress.csv: line 1: expected the columns of metrics, got 'task,method'"),
        (b"no line", None),
        (b"\xff\xfe\n", "progress.csv: expected metrics, got 'utf-8' codec can't decode"),
        (b"", None),
    ],
)
def test_broken_metrics_are_told_unless_they_may_be_growing(
    scene: Scene, tmp_path: Path, content: bytes, reason: str | None
) -> None:
    copy = scene._replace(results=tmp_path)
    copy.folder(2, 2).mkdir(parents=True)
    (copy.folder(2, 2) / "progress.csv").write_bytes(content)
    row = copy.rows()[2, 2]
    if reason is None:
        assert row.state is State.WAITING
    else:
        assert row.state is State.UNREADABLE
        assert row.note.startswith(reason)


def test_broken_number_is_told(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.results / "results", tmp_path / "results")
    copy = scene._replace(results=tmp_path)
    edit(copy.folder(5, 0) / "progress.csv", ",eval,return,", ",eval,return,many,")
    row = copy.rows()[5, 0]
    assert row.state is State.UNREADABLE
    assert row.note.startswith("progress.csv: line 2: expected a metric, got 'hopper,dppo,surgery,5,0,0,0,eval,")


def test_lost_timing_costs_only_the_speed(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.folder(2, 0), scene._replace(results=tmp_path).folder(2, 0))
    copy = scene._replace(results=tmp_path)
    (copy.folder(2, 0) / "timing.csv").write_text("torn\n")
    row = copy.rows()[2, 0]
    assert (row.state, row.speed) == (State.FINISHED, None)


def test_looking_changes_nothing(scene: Scene) -> None:
    def contents() -> dict[Path, tuple[int, int]]:
        files = (path for path in scene.results.rglob("*") if ".holder" not in path.parts or path.is_dir())
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = contents()
    scene.rows()
    assert contents() == before


def test_time_left_is_all_that_is_left_at_the_summed_speed() -> None:
    run = Run("hopper", "dppo", "none", "inf", 0)
    waiting = Row(run, State.WAITING, 0, 1000, 1000)
    fast = Row(run, State.RUNNING, 900, 1000, 100, speed=30.0, eta_s=3.0)
    slow = Row(run, State.RUNNING, 600, 1000, 400, speed=20.0, eta_s=20.0)
    assert time_left([waiting, fast, slow]) == 30.0
    assert time_left([fast, slow]) == 20.0  # the fast one cannot help the slow one
    assert time_left([waiting]) is None


@pytest.mark.parametrize(("width", "has_bar"), [(140, True), (80, False)])
def test_table_fits_the_terminal(scene: Scene, width: int, has_bar: bool) -> None:
    console = Console(width=width, record=True, file=StringIO())
    console.print(render("fig8", list(scene.rows().values()), console))
    text = console.export_text()
    summary = "fig8: 1 of 9 finished, 3 waiting, 1 pre-training, 1 running, 2 interrupted, 1 failed, "
    assert " ".join(text.split()).startswith(summary)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert ("━" in text) is has_bar


def test_command_prints_the_table_once(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--budget", "smoke", "--config-dir", str(scene.config_dir), "--results", str(scene.results)]
    assert cli.main(["status", *args]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fig8, budget smoke: 1 of 9 finished")
    assert sum(line.startswith("hopper dppo") for line in lines) == 9


def test_unknown_figure_is_refused(scene: Scene) -> None:
    figures = "fig1, fig5, fig6, fig7, fig8, fig9, balance, balance_fresh, adaptive, gym"
    with pytest.raises(InputError, match=f"figure: expected one of {figures}, got 'fig3'"):
        figure_status(Plan(scene.project), "fig3", scene.results)


def test_watching_ends_with_ctrl_c(scene: Scene) -> None:
    master, terminal = pty.openpty()
    args = ["--budget", "smoke", "--config-dir", str(scene.config_dir), "--results", str(scene.results)]
    process = subprocess.Popen(
        [*tiny.PROGRAM, "status", "--watch", *args],
        stdout=terminal,
        stderr=terminal,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    try:
        seen = b""
        while b"1 of 9 finished" not in seen:
            seen += os.read(master, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        os.close(master)
        os.close(terminal)
