import fcntl
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import botocore.session
import pytest
from botocore.client import BaseClient
from small_project import Project, Remote, Start, md5, stored

pytestmark = pytest.mark.slow  # installs a server once

PINS = Path(__file__).with_name("s3-server.txt")
EXAMPLE = "s3://bucket/folder"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="module")
def remote(start: Start, pytestconfig: pytest.Config) -> Remote:
    """moto's S3 server, in an environment of its own: its botocore is not the one that DVC needs."""
    assert pytestconfig.cache is not None
    server = pytestconfig.cache.mkdir("s3-server")
    installed = server / PINS.name
    with server.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may be installing it
        if not installed.exists() or installed.read_text() != PINS.read_text():
            venv.create(server, clear=True, with_pip=False)
            pip = [sys.executable, "-m", "pip", "--python", str(server), "--disable-pip-version-check"]
            command = [*pip, "install", "--no-compile", "--no-deps", "-r", str(PINS)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            shutil.copy(PINS, installed)
    endpoint = start(server / "bin" / "moto_server", "-H", "127.0.0.1", "-p", "0", ready=r"Running on (http://\S+)")[1]
    client(endpoint).create_bucket(Bucket="bucket")
    return Remote(EXAMPLE, "s3://bucket", {"endpointurl": endpoint})


def client(endpoint: str) -> BaseClient:
    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        **{name.lower(): value for name, value in CREDENTIALS.items()},
    )


@pytest.fixture(scope="module")
def project(project: Project) -> Project:
    return replace(project, env={**project.env, **CREDENTIALS})


def test_push_and_pull(project: Project, remote: Remote, tmp_path: Path) -> None:
    project.push(remote.at("whole"))
    assert project.pulled(tmp_path / "clone").results() == project.results()


def test_a_lost_object_is_named_by_its_hash(project: Project, remote: Remote, tmp_path: Path) -> None:
    project.push(remote.at("gap"))
    lost = md5(project.results()["finetune/hopper/config.yaml"])
    client(remote.options["endpointurl"]).delete_object(Bucket="bucket", Key=f"gap/{stored(lost)}")
    clone = project.clone(tmp_path / "clone")
    assert f"failed to transfer '{lost}' - The specified key does not exist" in clone.must_not_dvc("pull")
    assert not clone.results()


def test_a_server_that_is_down_is_named(project: Project, free_port: Callable[[], int], tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    down = Remote(EXAMPLE, "s3://bucket/down", {"endpointurl": endpoint})
    refused = f'Could not connect to the endpoint URL: "{endpoint}/bucket/down/files/md5'
    project.use(down)
    assert refused in project.must_not_dvc("push")
    assert refused in project.clone(tmp_path / "clone").must_not_dvc("pull")


def test_a_bucket_that_does_not_exist_is_told(project: Project, remote: Remote) -> None:
    project.use(Remote(EXAMPLE, "s3://elsewhere/folder", remote.options))
    assert "The specified bucket does not exist" in project.must_not_dvc("push")


def test_missing_credentials_are_told(project: Project, remote: Remote) -> None:
    project.use(remote.at("any"))
    nobody = replace(project, env={name: value for name, value in project.env.items() if name not in CREDENTIALS})
    assert "Unable to locate credentials" in nobody.must_not_dvc("push")
