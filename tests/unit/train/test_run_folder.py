from __future__ import annotations

import errno
import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from other_process import running

from inril.config.runs import HoldoutConfig
from inril.errors import InputError
from inril.tensor_file import read_tensors
from inril.train.origin import Origin, read_origins
from inril.train.run_folder import OnMismatch, RunFolder, open_run

CONFIG = HoldoutConfig(min_episodes=3)
INPUTS = {"demos": "abc", "finetune": "1"}
ORIGIN = Origin("Fast CPU", "inril 1")
HOLDER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from inril.config.runs import HoldoutConfig
    from inril.train.origin import Origin
    from inril.train.run_folder import open_run
    import torch
    inputs = {"demos": "abc", "finetune": "1"}
    with open_run(Path(sys.argv[1]), HoldoutConfig(min_episodes=3), inputs, "error", Origin("CPU", "inril")) as folder:
        folder.save({"w": torch.ones(3), "itr": 1})
        print("ready", flush=True)
        time.sleep(60)
""")


def enter(
    path: Path,
    config: HoldoutConfig = CONFIG,
    inputs: dict[str, str] | None = None,
    on_mismatch: OnMismatch = "error",
    origin: Origin = ORIGIN,
) -> Any:
    return open_run(path, config, INPUTS if inputs is None else inputs, on_mismatch, origin)


def message(path: Path, **arguments: Any) -> str:
    with pytest.raises(InputError) as caught, enter(path, **arguments):
        pass
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(str(path), "RUN")


def saved(path: Path, n: int = 2) -> None:
    with enter(path) as folder:
        folder.progress.write_text("rows\n")
        for itr in range(1, n + 1):
            folder.save({"net": {"w": torch.full((200,), float(itr))}, "itr": itr, "nothing": {}})


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def current(path: Path) -> Path:
    return path / "checkpoint" / "current.safetensors"


def previous(path: Path) -> Path:
    return path / "checkpoint" / "previous.safetensors"


def test_new_folder_has_no_state_and_its_settings_written(tmp_path: Path) -> None:
    with enter(tmp_path / "a" / "b") as folder:
        assert folder.state is None
        assert folder.progress.parent == tmp_path / "a" / "b"
    assert yaml.safe_load((tmp_path / "a" / "b" / "config.yaml").read_text()) == CONFIG.model_dump(mode="json")


def test_newest_state_is_resumed(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    with enter(tmp_path) as folder:
        assert folder.state["itr"] == 3
        assert torch.equal(folder.state["net"]["w"], torch.full((200,), 3.0))
        assert folder.state["nothing"] == {}
    assert read_tensors(previous(tmp_path), "checkpoint").meta["state"]["itr"] == 2


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "missing"])
def test_damaged_newest_state_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    saved(tmp_path)
    if damage == "flipped":
        spoil(current(tmp_path))
    elif damage == "missing":
        current(tmp_path).unlink()
    else:
        current(tmp_path).write_bytes(current(tmp_path).read_bytes()[: 300 if damage == "cut" else 0])
    with enter(tmp_path) as folder:
        assert folder.state["itr"] == 1


def test_state_that_cannot_be_read_now_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    whole = current(tmp_path).read_bytes()
    opened = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == current(tmp_path):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return opened(path, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        with pytest.raises(InputError, match=r"current\.safetensors: expected a readable file, got Stale"):
            enter(tmp_path).__enter__()
    assert current(tmp_path).read_bytes() == whole


def test_damaged_state_never_takes_the_place_of_the_whole_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Resumed from the previous state, then killed inside the next save.
    saved(tmp_path)
    spoil(current(tmp_path))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with enter(tmp_path) as folder, monkeypatch.context() as patched:
        patched.setattr("inril.train.run_folder.write_tensors", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.save({"itr": 2})
    with enter(tmp_path) as folder:
        assert folder.state["itr"] == 1


def test_kill_at_any_instant_of_a_save_leaves_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 3)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for target in ("inril.files.os.fsync", "inril.files.os.replace", "inril.train.run_folder.write_tensors"):
        with enter(tmp_path) as folder, monkeypatch.context() as patched:
            before = folder.state["itr"]
            patched.setattr(target, killed)
            with pytest.raises(KeyboardInterrupt):
                folder.save({"itr": before + 1})
        with enter(tmp_path) as folder:
            assert folder.state["itr"] in (before - 1, before)
            folder.save({"itr": before})


def test_two_damaged_states_are_one_clear_error(tmp_path: Path) -> None:
    saved(tmp_path)
    spoil(current(tmp_path))
    spoil(previous(tmp_path))
    assert message(tmp_path) == (
        "RUN/checkpoint/current.safetensors: expected a whole checkpoint, got another one: it was altered. "
        "Delete the run's checkpoint folder to start it again"
    )
    assert current(tmp_path).exists()
    assert previous(tmp_path).exists()
    assert (tmp_path / "progress.csv").read_text() == "rows\n"


@pytest.mark.parametrize(
    "changed", [{"config": HoldoutConfig(min_episodes=4)}, {"inputs": {**INPUTS, "demos": "other"}}, {"inputs": {}}]
)
def test_state_of_another_run_is_refused_unless_told_to_restart(tmp_path: Path, changed: dict[str, Any]) -> None:
    saved(tmp_path)
    settings = (tmp_path / "config.yaml").read_bytes()
    assert message(tmp_path, **changed) == (
        "RUN/checkpoint/current.safetensors: identity: expected the state of this run, "
        "got that of a run with other settings or inputs. "
        "Give another folder, delete this one, or pass --on-mismatch restart"
    )
    assert (tmp_path / "config.yaml").read_bytes() == settings
    with enter(tmp_path) as folder:
        assert folder.state["itr"] == 2
    with enter(tmp_path, on_mismatch="restart", **changed) as folder:
        assert folder.state is None
        assert not folder.progress.exists()
        assert not current(tmp_path).exists()


def test_order_of_inputs_does_not_matter(tmp_path: Path) -> None:
    saved(tmp_path)
    with enter(tmp_path, inputs=dict(reversed(INPUTS.items()))) as folder:
        assert folder.state["itr"] == 2


def test_restart_keeps_a_state_that_fits(tmp_path: Path) -> None:
    saved(tmp_path)
    with enter(tmp_path, on_mismatch="restart") as folder:
        assert folder.state["itr"] == 2


def finish(path: Path) -> None:
    with enter(path) as folder:
        folder.progress.write_text("all rows\n")
        (path / "policy.safetensors").write_text("weights")
        folder.finish()


def test_finished_run_keeps_its_results_only(tmp_path: Path) -> None:
    saved(tmp_path)
    finish(tmp_path)
    names = {path.name for path in tmp_path.iterdir()} - {".holder"}
    assert names == {"config.yaml", "metrics.csv", "policy.safetensors"}
    assert (tmp_path / "metrics.csv").read_text() == "all rows\n"


def test_finished_run_is_refused_and_nothing_overwritten(tmp_path: Path) -> None:
    finish(tmp_path)
    for changed in ({}, {"config": HoldoutConfig(min_episodes=4)}):
        assert message(tmp_path, **changed) == (
            "RUN: expected a new or an unfinished run, got a finished one. Give another folder, or delete this one"
        )
    assert (tmp_path / "metrics.csv").read_text() == "all rows\n"
    assert (tmp_path / "policy.safetensors").read_text() == "weights"
    with enter(tmp_path, on_mismatch="restart") as folder:
        assert folder.state is None
        assert not (tmp_path / "metrics.csv").exists()
        assert not (tmp_path / "policy.safetensors").exists()


def test_folder_in_use_is_refused_to_another_process(tmp_path: Path) -> None:
    with running(HOLDER, tmp_path) as process:
        expected = f"RUN: expected a folder to work in alone, got one in use by process {process.pid} on "
        assert message(tmp_path).startswith(expected)
        assert message(tmp_path, on_mismatch="restart").startswith("RUN: expected a folder to work in alone")


def test_folder_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with running(HOLDER, tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with enter(tmp_path) as folder:
            assert folder.state["itr"] == 1
            assert torch.equal(folder.state["w"], torch.ones(3))


def test_lock_is_given_back_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), enter(tmp_path):
        _ = 1 / 0
    with enter(tmp_path) as folder:
        assert isinstance(folder, RunFolder)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "expected a place that can be written" in message(tmp_path / "file" / "run")
    assert "expected a place that can be written" in message(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "in the way"


def test_settings_tell_on_what_they_were_computed(tmp_path: Path) -> None:
    saved(tmp_path)
    elsewhere = Origin("Another CPU, AVX2", "inril 2, commit abc")
    for _ in range(2):
        with enter(tmp_path, origin=elsewhere) as folder:
            folder.save({"itr": 3})
    assert read_origins(tmp_path / "config.yaml") == [ORIGIN, elsewhere]
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == CONFIG.model_dump(mode="json")


def test_a_run_that_starts_afresh_forgets_on_what_it_was_computed(tmp_path: Path) -> None:
    saved(tmp_path)
    elsewhere = Origin("Other CPU", "inril 2")
    with enter(tmp_path, config=HoldoutConfig(min_episodes=4), on_mismatch="restart", origin=elsewhere):
        pass
    assert read_origins(tmp_path / "config.yaml") == [elsewhere]
