import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_project import Project, Remote, Start, md5, stored

EXAMPLE = "https://host/folder"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def remote(start: Start, served: Path) -> Remote:
    """A server of plain files."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", served, "0"]
    return Remote(EXAMPLE, start(*command, ready=r"\((http://\S+)/\)")[1])


def folder(path: Path) -> Remote:
    return Remote("/shared/folder", str(path))


def test_push_to_a_folder_and_pull_from_it(project: Project, served: Path, tmp_path: Path) -> None:
    project.push(folder(served / "folder"))
    assert project.pulled(tmp_path / "clone").results() == project.results()


def test_pull_from_the_web_server_of_the_folder(project: Project, remote: Remote, served: Path, tmp_path: Path) -> None:
    project.push(folder(served / "whole"))
    project.use(remote.at("whole"))
    assert project.pulled(tmp_path / "clone").results() == project.results()


def test_a_push_over_http_fails(project: Project, remote: Remote) -> None:
    project.use(remote.at("empty"))
    said = project.must_not_dvc("push")
    assert "501, message=\"Unsupported method ('POST')\"" in said
    assert f"url='{remote.url}/empty/files/md5/" in said
    assert "failed to push data to the cloud" in said


def test_a_lost_object_is_named_by_its_hash_and_comes_back(
    project: Project, remote: Remote, served: Path, tmp_path: Path
) -> None:
    project.push(folder(served / "gap"))
    lost = md5(project.results()["finetune/hopper/config.yaml"])
    (served / "gap" / stored(lost)).unlink()
    project.use(remote.at("gap"))
    clone = project.clone(tmp_path / "clone")
    assert f"failed to transfer '{lost}' - {remote.url}/gap/{stored(lost)}" in clone.must_not_dvc("pull")
    assert not clone.results()
    names = clone.must_dvc("list", "--recursive", "--dvc-only", "--show-hash", ".").splitlines()
    assert [line.split()[1] for line in names if lost in line] == ["results/finetune/hopper/config.yaml"]

    # As docs/publishing.md says: a push looks at the list alone; without it, it looks at every file.
    project.use(folder(served / "gap"))
    assert "Everything is up to date" in project.must_dvc("push")
    (listed,) = (served / "gap").rglob("*.dir")
    listed.unlink()
    assert "2 files pushed" in project.must_dvc("push")
    clone.must_dvc("pull")
    assert clone.results() == project.results()


def test_a_damaged_object_is_refused_where_it_is_verified(project: Project, served: Path, tmp_path: Path) -> None:
    config = "finetune/hopper/config.yaml"
    project.push(replace(folder(served / "damaged"), options={"verify": "true"}))
    damaged = served / "damaged" / stored(md5(project.results()[config]))
    damaged.chmod(0o644)
    damaged.write_text("task: walker2d\n")
    clone = project.clone(tmp_path / "clone")
    assert "Checkout failed for following targets:\nresults/finetune" in clone.must_not_dvc("pull")
    assert config not in clone.results()


def test_a_server_that_is_down(project: Project, free_port: Callable[[], int], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    project.use(Remote(EXAMPLE, url))
    assert f"Cannot connect to host {url.removeprefix('http://')}" in project.must_not_dvc("push")
    clone = project.clone(tmp_path / "clone")
    said = clone.must_not_dvc("pull")
    assert "Missing cache files" in said
    assert "Checkout failed for following targets:\nresults/finetune" in said
    # What docs/publishing.md warns of: the address comes with --verbose only, and two commands see no error at all.
    assert url not in said
    assert f"{url}/files/md5" in clone.dvc("pull", "--verbose").stdout
    assert "Everything is up to date" in clone.must_dvc("fetch")
    assert "in sync" in clone.must_dvc("status", "--cloud")
