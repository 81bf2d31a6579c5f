import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]

Start = Callable[..., re.Match[str]]


@dataclass(frozen=True)
class Remote:
    """Where to push to: The line of docs/publishing.md for the example, with this address in its place."""

    example: str
    url: str
    options: Mapping[str, str] = field(default_factory=dict)

    def at(self, folder: str) -> "Remote":
        return replace(self, url=f"{self.url}/{folder}")


@dataclass(frozen=True)
class Project:
    """A project in git and DVC."""

    folder: Path
    env: Mapping[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)

    def must(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dvc(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *args)

    def must_dvc(self, *args: str) -> str:
        return self.must(sys.executable, "-m", "dvc", *args)

    def must_not_dvc(self, *args: str) -> str:
        done = self.dvc(*args)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def use(self, remote: Remote) -> None:
        self._own_settings.unlink(missing_ok=True)  # name an earlier remote
        lines = [line.split("#")[0].split() for line in (ROOT / "docs" / "publishing.md").read_text().splitlines()]
        (line,) = (line for line in lines if line[:3] == ["dvc", "remote", "add"] and remote.example in line)
        self.must_dvc(*(remote.url if word == remote.example else word for word in line[1:]))
        for option, value in remote.options.items():
            self.must_dvc("remote", "modify", "--local", "mine", option, value)

    def push(self, remote: Remote) -> None:
        self.use(remote)
        assert "4 files pushed" in self.must_dvc("push")  # three, and the list of them

    def clone(self, folder: Path) -> "Project":
        """A clone with the same remote as somebody else has it: no DVC cache, none of DVC's notes about remotes."""
        self.must("git", "clone", "--quiet", ".", str(folder))
        clone = Project(folder, {**self.env, "DVC_SITE_CACHE_DIR": f"{folder}.site"})
        shutil.copy(self._own_settings, clone._own_settings)
        return clone

    def pulled(self, folder: Path) -> "Project":
        """A clone into which everything was pulled."""
        clone = self.clone(folder)
        clone.must_dvc("pull")
        return clone

    @property
    def _own_settings(self) -> Path:
        return self.folder / ".dvc" / "config.local"

    def results(self) -> dict[str, bytes]:
        results = self.folder / "results"
        return {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("*") if file.is_file()}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def stored(name: str) -> str:
    """Where a remote has the object of this name."""
    return f"files/md5/{name[:2]}/{name[2:]}"
