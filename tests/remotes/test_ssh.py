import getpass
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_project import Project, Remote, Start, md5, stored

EXAMPLE = "ssh://user@host/folder"
USER = getpass.getuser()

CONFIG = """
AuthorizedKeysFile {keys}/authorized
HostKey {keys}/host
KbdInteractiveAuthentication no
ListenAddress 127.0.0.1:{port}
PasswordAuthentication no
PidFile none
StrictModes no
Subsystem sftp internal-sftp
"""


@pytest.fixture(scope="module")
def keys(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of the server, of a user whom it lets in, and of one whom it does not."""
    keys = tmp_path_factory.mktemp("keys")
    for name in ("host", "user", "stranger"):
        project.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
    shutil.copy(keys / "user.pub", keys / "authorized")
    return keys


@pytest.fixture(scope="module")
def remote(
    project: Project, start: Start, free_port: Callable[[], int], keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Remote:
    """Debian's sshd with its own settings, as the user who runs the tests."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None:
        pytest.skip("no sshd: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it; on a running system its service makes it
    port = free_port()
    (keys / "sshd_config").write_text(CONFIG.format(keys=keys, port=port))
    start(sshd, "-D", "-e", "-f", keys / "sshd_config", ready="Server listening")
    # What docs/publishing.md warns of: DVC does not mind that the server shows another key than the known one.
    known = Path(project.env["HOME"]) / ".ssh" / "known_hosts"
    known.parent.mkdir(mode=0o700)
    known.write_text(f"[127.0.0.1]:{port} {(keys / 'stranger.pub').read_text()}")
    folder = tmp_path_factory.mktemp("stored")
    return Remote(EXAMPLE, f"ssh://{USER}@127.0.0.1:{port}{folder}", {"keyfile": str(keys / "user")})


def test_push_and_pull(project: Project, remote: Remote, tmp_path: Path) -> None:
    project.push(remote.at("whole"))
    assert project.pulled(tmp_path / "clone").results() == project.results()


def test_a_lost_object_is_named_by_its_hash(project: Project, remote: Remote, tmp_path: Path) -> None:
    project.push(remote.at("gap"))
    lost = md5(project.results()["finetune/hopper/config.yaml"])
    store = Path("/", remote.url.split("/", 3)[3], "gap")
    (store / stored(lost)).unlink()
    clone = project.clone(tmp_path / "clone")
    assert f"failed to transfer '{lost}' - [Errno 2] No such file" in clone.must_not_dvc("pull")
    assert not clone.results()


def test_a_refused_key_is_told(project: Project, remote: Remote, keys: Path) -> None:
    project.use(Remote(EXAMPLE, remote.url, {"keyfile": str(keys / "stranger")}))
    assert f"Permission denied for user {USER} on host 127.0.0.1" in project.must_not_dvc("push")


def test_a_server_that_is_down_is_named(project: Project, free_port: Callable[[], int], tmp_path: Path) -> None:
    port = free_port()
    down = Remote(EXAMPLE, f"ssh://{USER}@127.0.0.1:{port}/folder")
    refused = f"Connect call failed ('127.0.0.1', {port})"
    project.use(down)
    assert refused in project.must_not_dvc("push")
    said = project.clone(tmp_path / "clone").must_not_dvc("pull")
    assert "failed to connect to ssh (/folder/files/md5)" in said
    assert refused in said
