from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from robomimic_reader import read_with_robomimic

import inril.data.scripted.collect as scripted
from inril.config.runs import DemosConfig
from inril.data.demo_file import Episode, demo_returns, read_demos, read_provenance
from inril.data.scripted.attempt import Attempt, Recipe
from inril.data.scripted.collect import collect, generate_scripted
from inril.data.scripted.finished import AttemptStore, Job
from inril.data.scripted.operator import GROUPS
from inril.data.scripted.workers import Runner
from inril.errors import InputError
from inril.train.demonstrate import make_demos

LiftDemos = Callable[..., DemosConfig]
RECIPE = Recipe("lift", 1.0, 0, 400)


def episode(n_steps: int, mark: float = 0.0) -> Episode:
    rng = np.random.default_rng(n_steps)
    obs = rng.normal(size=(n_steps, 19)).astype(np.float32)
    obs[:, 0] = mark
    action = rng.uniform(-1, 1, (n_steps, 7)).astype(np.float32)
    return Episode(obs, action, np.ones(n_steps, dtype=np.float32), False, rng.normal(size=(n_steps, 5)))


class Fakes:
    """Runs attempts without a simulator, last ones first; group and number decide about success."""

    def __init__(self, fails: Callable[[Job], bool] = lambda job: job.number % 2 == 1) -> None:
        self.fails = fails
        self.jobs: list[Job] = []

    def __call__(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Attempt]]:
        for job in reversed(jobs):
            self.jobs.append(job)
            mark = 100 * GROUPS.index(job.group) + job.number
            yield job, Attempt(30, None if self.fails(job) else episode(10 + job.number, mark))


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    from contextlib import contextmanager

    runs = Fakes()

    @contextmanager
    def runner(recipe: Recipe, n_processes: int) -> Iterator[Runner]:
        yield runs

    monkeypatch.setattr(scripted, "runner", runner)
    return runs


def content(path: Path) -> object:
    return read_provenance(path)["content_sha256"]


def names(path: Path, mask: str) -> list[str]:
    with h5py.File(path) as file:
        return [name.decode() for name in file[f"mask/{mask}"]]


def test_first_successes_of_each_group_in_turns(tmp_path: Path, lift_demos: LiftDemos, fakes: Fakes) -> None:
    path = tmp_path / "demos.hdf5"
    cfg = lift_demos(n_demos=7)
    generate_scripted(cfg, path)
    demos = read_demos(path, cfg.task)
    starts = [0, *demos.episode_ends[:-1]]
    np.testing.assert_array_equal(demos.obs[starts, 0], [0, 100, 200, 2, 102, 202, 4])
    assert names(path, "better") == ["demo_0", "demo_3", "demo_6"]
    assert names(path, "okay") == ["demo_1", "demo_4"]
    assert names(path, "worse") == ["demo_2", "demo_5"]
    assert len(names(path, "train")) + len(names(path, "valid")) == 7
    # No attempt beyond the last one needed, nothing left behind.
    assert len(fakes.jobs) == len(set(fakes.jobs)) == 5 + 3 + 3
    assert list(tmp_path.iterdir()) == [path]


def test_statistics_are_recorded_and_logged(
    tmp_path: Path, lift_demos: LiftDemos, fakes: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "inril")
    generate_scripted(lift_demos(n_demos=7, seed=3), tmp_path / "demos.hdf5")
    provenance = read_provenance(tmp_path / "demos.hdf5")
    assert provenance["source"] == "generated"
    assert (provenance["seed"], provenance["level"], provenance["max_demo_steps"]) == (3, 1.0, 400)
    assert (provenance["better_attempts"], provenance["better_successes"]) == (5, 3)
    assert provenance["better_mean_steps"] == 12
    assert "better: 3 of 5 attempts succeeded" in caplog.messages


def test_few_demonstrations_leave_a_group_out(tmp_path: Path, lift_demos: LiftDemos, fakes: Fakes) -> None:
    generate_scripted(lift_demos(n_demos=2), tmp_path / "demos.hdf5")
    assert len(demo_returns(tmp_path / "demos.hdf5").lengths) == 2
    assert {job.group for job in fakes.jobs} == {"better", "okay"}
    assert "worse_attempts" not in read_provenance(tmp_path / "demos.hdf5")


def test_hopeless_operators_are_an_error(tmp_path: Path, lift_demos: LiftDemos, fakes: Fakes) -> None:
    fakes.fails = lambda job: job.group == "worse"
    with pytest.raises(InputError, match=r"operators: worse: expected a success in 20 attempts or fewer, got 0 in 40"):
        generate_scripted(lift_demos(n_demos=6), tmp_path / "demos.hdf5")
    assert not (tmp_path / "demos.hdf5").exists()


def test_stored_attempts_are_not_repeated(tmp_path: Path, lift_demos: LiftDemos, fakes: Fakes) -> None:
    cfg = lift_demos(n_demos=7)
    generate_scripted(cfg, tmp_path / "whole.hdf5")
    all_jobs, fakes.jobs = fakes.jobs, []
    store = AttemptStore(tmp_path / "demos.hdf5", RECIPE)
    done = all_jobs[::2]
    for job, attempt in Fakes()(done):
        store.save(job, attempt)
    generate_scripted(cfg, tmp_path / "demos.hdf5")
    assert sorted(fakes.jobs) == sorted(all_jobs[1::2])
    assert content(tmp_path / "demos.hdf5") == content(tmp_path / "whole.hdf5")


def test_store_returns_what_was_saved(tmp_path: Path) -> None:
    store = AttemptStore(tmp_path / "demos.hdf5", RECIPE)
    assert store.load(Job("okay", 0)) is None
    store.save(Job("okay", 0), Attempt(12, episode(12)))
    store.save(Job("okay", 1), Attempt(400, None))
    loaded = store.load(Job("okay", 0))
    assert loaded is not None
    assert loaded.episode is not None
    for got, wanted in zip(loaded.episode[:5], episode(12)[:5], strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert store.load(Job("okay", 1)) == (400, None)
    store.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_damaged_attempts_count_as_not_made(tmp_path: Path, damage: bytes) -> None:
    store = AttemptStore(tmp_path / "demos.hdf5", RECIPE)
    store.save(Job("okay", 0), Attempt(12, episode(12)))
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(damage)
    assert store.load(Job("okay", 0)) is None


def test_attempts_of_other_settings_are_thrown_away(tmp_path: Path) -> None:
    out = tmp_path / "demos.hdf5"
    AttemptStore(out, RECIPE).save(Job("okay", 0), Attempt(12, None))
    AttemptStore(tmp_path / "others.hdf5", RECIPE).save(Job("okay", 0), Attempt(12, None))
    assert AttemptStore(out, RECIPE._replace(seed=1)).load(Job("okay", 0)) is None
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    assert AttemptStore(tmp_path / "others.hdf5", RECIPE).load(Job("okay", 0)) == (12, None)


def test_collecting_goes_on_until_each_group_has_enough(tmp_path: Path) -> None:
    advanced: list[int] = []
    run = Fakes(lambda job: job.number < 3)
    store = AttemptStore(tmp_path / "demos.hdf5", RECIPE)
    attempts = collect({"better": 2, "worse": 1}, store, run, advanced.append)
    assert sum(advanced) == 3
    assert [attempt.episode is None for attempt in attempts["better"]] == [True] * 3 + [False] * 2
    assert [attempt.episode is None for attempt in attempts["worse"]] == [True] * 3 + [False]


def test_processes_change_nothing_and_others_open_the_file(tmp_path: Path, lift_demos: LiftDemos) -> None:
    cfg = lift_demos(n_demos=5)
    make_demos(cfg, tmp_path / "one.hdf5")
    make_demos(cfg, tmp_path / "two.hdf5", sim_threads=2)
    make_demos(lift_demos(n_demos=5, seed=1), tmp_path / "other.hdf5")
    assert (tmp_path / "one.hdf5").read_bytes() == (tmp_path / "two.hdf5").read_bytes()
    assert content(tmp_path / "one.hdf5") != content(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "one.hdf5") as file:
        assert all(file[f"data/demo_{i}/rewards"][-1] == 1 for i in range(5))  # successes only
        assert len(file["data/demo_0/states"]) == file["data/demo_0"].attrs["num_samples"]
    sequences = read_with_robomimic(tmp_path / "one.hdf5", filter_key="okay")
    assert len(sequences) == demo_returns(tmp_path / "one.hdf5").lengths[[1, 4]].sum()
    assert sequences[0]["actions"].shape == (4, 7)
    assert sequences[0]["obs"]["object"].shape == (4, 10)
    sequences.close_and_delete_hdf5_handle()


def test_a_killed_run_goes_on_and_leaves_no_process_behind(
    tmp_path: Path, lift_demos: LiftDemos, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = lift_demos(n_demos=60)
    (tmp_path / "config.json").write_text(cfg.model_dump_json())
    command = [sys.executable, "-m", "inril", "demos", "--config", str(tmp_path / "config.json")]
    command += ["--out", str(tmp_path / "killed.hdf5"), "--sim-threads", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        while len(list(tmp_path.rglob("*.npz"))) < 5:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert not (tmp_path / "killed.hdf5").exists()
    before = {path.name for path in tmp_path.rglob("*.npz")}
    assert len(before) < 60
    made = count_saved(monkeypatch)
    make_demos(cfg, tmp_path / "killed.hdf5")
    assert not before & set(made)
    make_demos(cfg, tmp_path / "whole.hdf5")
    assert (tmp_path / "killed.hdf5").read_bytes() == (tmp_path / "whole.hdf5").read_bytes()
    with pytest.raises(ProcessLookupError):  # its workers ended with it
        os.killpg(process.pid, signal.SIGKILL)


def count_saved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the attempts that are stored from now on."""
    names: list[str] = []
    save = AttemptStore.save

    def counting(self: AttemptStore, job: Job, attempt: Attempt) -> None:
        names.append(f"{job.group}_{job.number}.npz")
        save(self, job, attempt)

    monkeypatch.setattr(AttemptStore, "save", counting)
    return names
