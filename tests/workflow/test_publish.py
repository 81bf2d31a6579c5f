"""Published results in fresh clones: real git, DVC and Snakemake, on a real run at the smoke budget."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUNS = Path("results/smoke/finetune/hopper/dppo")
M2, RL_ONLY = RUNS / "surgery" / "m2" / "seed0", RUNS / "none" / "minf" / "seed0"
REDRAWN = {"table", "figure", "promote"}

Plan = Callable[..., set[str]]


def call(root: Path, *command: str, offline: bool = False) -> CompletedProcess[str]:
    """Run a Python module of the environment on the code of a clone."""
    without_network = ["unshare", "--map-root-user", "--net"] if offline else []
    return subprocess.run(
        [*without_network, sys.executable, "-m", *command],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "HOME": str(root.parent), "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def make(root: Path, *command: str) -> str:
    done = call(root, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(root: Path, *args: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *args], cwd=root, check=True, capture_output=True)


COMPARISON = """
comparisons:
  table1: {columns: [{title: DP, policy: diffusion}], rows: [{task: hopper, paper: [null]}]}
  table2: {columns: [{title: DPPO, method: dppo}], rows: [{task: hopper, paper: [2929]}]}
"""


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count, f"{pattern} is not in {path}"
    path.write_text(text)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose default budget is smoke, with Fig. 8 and a comparison of one of its arms, published."""
    root = tmp_path_factory.mktemp("publish") / "origin"
    for folder in ("config", "profiles", "rules", "src", "workflow"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".dvc").mkdir()
    for file in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitattributes", ".gitignore", "dvc.yaml"):
        shutil.copy(ROOT / file, root / file)
    (root / "published" / "tables").mkdir(parents=True)
    for file in ("Snakefile", "environment.yml", "published/tables/README.md"):
        shutil.copy(ROOT / file, root / file)
    edit(root / "dvc.yaml", r"foreach: \[.*\]", "foreach: [smoke]")
    edit(root / "src" / "inril" / "config" / "base.py", "^DEFAULT_BUDGET = .*", 'DEFAULT_BUDGET = "smoke"')
    edit(root / "config" / "config.yaml", "^budget: laptop", "budget: smoke")
    edit(root / "config" / "config.yaml", r"^  fig1:(.*\n)+?(?=  fig8:)", "")
    edit(root / "config" / "config.yaml", r"^  fig9:(.*\n)+?(?=\nplot:)", COMPARISON)
    edit(root / "config" / "config.yaml", r"^        controls:\n          - \{method: dppo_il_only.*\n", "")
    edit(root / "src" / "inril" / "publishing" / "current.py", "^_KEPT_ARMS = .*", '_KEPT_ARMS = ("m2", "minf")')
    git(root, "init", "--quiet")
    make(root, "snakemake", "--cores", "2", "results/fig8.pdf")
    assert make(root, "inril", "publish").startswith("published smoke: 3 of 3 runs; ")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "published")
    return root


@pytest.fixture(scope="module")
def pulled(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone, pulled without a network."""
    root = clone(origin, tmp_path_factory.mktemp("pulled"))
    done = call(root, "dvc", "pull", offline=True)
    assert done.returncode == 0, done.stderr
    return root


def clone(origin: Path, parent: Path) -> Path:
    git(parent, "clone", "--quiet", str(origin), "clone")
    return parent / "clone"


@pytest.fixture
def jobs(plan: Plan) -> Plan:
    def of(root: Path, *args: str, **config: str) -> set[str]:
        return plan(root, *(args or ("results/fig8.pdf",)), root=root, **config)

    return of


@pytest.fixture(params=["fresh", "own runs"], scope="module")
def anywhere(request: pytest.FixtureRequest, origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pulled clone: a fresh one, and one with a run of its own."""
    if request.param == "fresh":
        return request.getfixturevalue("pulled")
    return request.getfixturevalue("pulled_over_own_runs")


@pytest.fixture(scope="module")
def pulled_over_own_runs(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = clone(origin, tmp_path_factory.mktemp("own"))
    make(root, "snakemake", "--cores", "2", f"{RL_ONLY}/metrics.csv")
    own = {path: path.stat() for path in (root / "results" / "smoke").rglob("*") if path.is_file()}
    make(root, "dvc", "pull")
    assert "Nothing to be done" in make(root, "snakemake", "--dry-run", "results/fig8.pdf")
    assert (root / M2 / "metrics.csv").exists()
    for path, before in own.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns), path
    return root


def test_comparisons_are_published_too(pulled: Path) -> None:
    done = call(pulled, "snakemake", "--dry-run", "results/table1.tex", "results/table2.tex", offline=True)
    assert "Nothing to be done" in done.stdout, done.stdout + done.stderr
    assert "1 × 8 episodes" in (pulled / "results" / "table1.md").read_text()
    assert "| paper | 2929 |" in (pulled / "results" / "table2.md").read_text()


def test_nothing_is_to_be_done_after_a_pull(anywhere: Path) -> None:
    done = call(anywhere, "snakemake", "--dry-run", "results/fig8.pdf", offline=True)
    assert "Nothing to be done" in done.stdout, done.stdout + done.stderr
    assert make(anywhere, "dvc", "status").strip() == "Data and pipelines are up to date."
    assert make(anywhere, "dvc", "status", "--cloud").strip() == "Cache and remote 'published' are in sync."


def test_removed_m_redraws(anywhere: Path, jobs: Plan) -> None:
    assert jobs(anywhere, m_values="[inf]") == REDRAWN


def test_added_seed_runs_only_that_seed(anywhere: Path, jobs: Plan) -> None:
    new = {"pretrain seed1", "finetune m2 seed1", "finetune minf seed1"}
    assert jobs(anywhere, seeds="[0,1]") == new | REDRAWN


def test_changed_colour_redraws(anywhere: Path, jobs: Plan) -> None:
    assert jobs(anywhere, plot="{rl_color: red}") == {"figure", "promote"}


@pytest.fixture
def bumped_dppo(anywhere: Path) -> Iterator[Path]:
    path = anywhere / "src" / "inril" / "config" / "numerics.py"
    before = path.read_text()
    edit(path, r'"dppo": \d+', '"dppo": 1000')
    yield anywhere
    path.write_text(before)


def test_bumped_numerics_rerun_what_they_affect(bumped_dppo: Path, jobs: Plan) -> None:
    assert jobs(bumped_dppo) == {"finetune m2 seed0", "finetune minf seed0"} | REDRAWN
    assert "finetune@smoke" in make(bumped_dppo, "dvc", "status")


def test_one_stage_can_be_pulled_alone(origin: Path, tmp_path: Path, jobs: Plan) -> None:
    root = clone(origin, tmp_path)
    make(root, "inril", "pull", "finetune@smoke")
    assert jobs(root) == REDRAWN
    make(root, "inril", "pull", "weights@smoke", "pretrain@smoke")  # weights lack what pre-trained policies hold
    assert jobs(root, f"{M2}/policy.safetensors") == set()
    assert (root / M2 / "policy.safetensors").exists()


def test_one_run_can_be_pulled_alone(origin: Path, tmp_path: Path, jobs: Plan) -> None:
    root = clone(origin, tmp_path)
    make(root, "inril", "pull", f"results/published/{M2.relative_to('results')}")
    assert jobs(root, f"{M2}/metrics.csv") == set()
    assert not (root / RL_ONLY).exists()


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_what_the_store_lacks_is_named(origin: Path, tmp_path: Path, damage: str) -> None:
    root = clone(origin, tmp_path)
    wanted = (origin / M2 / "metrics.csv").read_bytes()
    stored = next(path for path in (root / "published").rglob("*") if path.is_file() and path.read_bytes() == wanted)
    if damage == "lost":
        stored.unlink()
    else:
        stored.write_bytes(wanted.replace(b"hopper", b"hoppla", 1))
    done = call(root, "inril", "pull")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"missing or damaged in the store: results/published/{M2.relative_to('results')}/metrics.csv." in done.stderr


def test_store_that_would_grow_too_large_is_refused(pulled: Path) -> None:
    before = (pulled / "dvc.lock").read_bytes()
    done = call(pulled, "inril", "publish", "--limit-mb", "0.5")
    assert done.returncode == 1
    assert re.search(r"published: expected at most 0.5 MB, got 1.* MB \(smoke/demos 0.\d MB, ", done.stderr)
    assert "largest: results/published/smoke/demos/hopper/generated.hdf5" in done.stderr
    assert (pulled / "dvc.lock").read_bytes() == before


def test_unknown_budget_is_named(pulled: Path) -> None:
    done = call(pulled, "inril", "publish", "huge")
    assert done.stderr == "error: dvc.yaml: foreach: expected one of smoke, got 'huge'\n"


def test_publishing_takes_complete_runs_only_and_twice_changes_nothing(
    origin: Path, tmp_path: Path, jobs: Plan
) -> None:
    root = clone(origin, tmp_path)
    published = {path: path.read_bytes() for path in [root / "dvc.lock", *(root / "published").rglob("*.*")]}
    make(root, "inril", "publish")
    assert {path: path.read_bytes() for path in published} == published
    assert subprocess.run(["git", "status", "--short"], cwd=root, capture_output=True, text=True).stdout == ""

    (root / M2 / "metrics.csv").unlink()
    refused = call(root, "inril", "publish")
    assert refused.returncode == 1
    run = M2.relative_to("results/smoke/finetune")
    named = rf"finetune: expected what is published to be current .*, got {run}/\S+, "
    assert re.search(named, refused.stderr)
    demos = root / "results" / "smoke" / "demos" / "hopper" / "generated.hdf5"
    demos.rename(tmp_path / demos.name)  # without them Snakemake would make all runs again
    refused = call(root, "inril", "publish", "--figures", "fig8")
    assert refused.returncode == 1
    assert re.search(r"demos: expected what is published to be current .*, got hopper/generated.hdf5", refused.stderr)
    (tmp_path / demos.name).rename(demos)
    assert {path: path.read_bytes() for path in published} == published
    assert make(root, "inril", "publish", "--figures", "table2").startswith("published smoke: 1 of 1 runs; ")
    assert {path: path.read_bytes() for path in published} == published
    assert make(root, "inril", "publish", "--drop").startswith("published smoke: 2 of 3 runs; ")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "one run")
    (tmp_path / "again").mkdir()
    again = clone(root, tmp_path / "again")
    make(again, "inril", "pull")
    assert jobs(again, runs="complete") == set()
    assert jobs(again) == {"finetune m2 seed0"} | REDRAWN
    drawn = json.loads(next((again / "results/published").rglob("fig8.pdf.provenance.json")).read_text())
    assert '"m":2' in str(drawn)
