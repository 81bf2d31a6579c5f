"""The shape of the sources: imports go one way, names are not used twice, text is UTF-8, and the way in is short."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "inril"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {
    ".".join(["inril", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in MODULES
    if path != PACKAGE / "__init__.py"
}
# Each may import what stands below it; modules of a line, one another.
LAYERS = (
    "__main__",
    "cli",
    "publishing",
    "report",
    "train",
    "algos",
    "interleave",
    "theory",
    "learning",
    "evaluate",
    "policies",
    "data",
    "envs",
    "device",
    "config",
    "metrics tensor_file progress",
    "seeding files types errors jit",
)
LEVEL = {name: level for level, line in enumerate(LAYERS) for name in line.split()}
LOOSE = 10
# Parallel parts of suites, which are read side by side; so are all packages' entry points.
PARALLEL = {"__init__", "base", "model", "rules", "suite", "tasks"}
ONE_OF_EACH = {"lamp", "mug_rack", "one_leg", "peg_in_hole", "round_table"}  # task, and its scripted expert
WAY_IN = (
    "Snakefile",
    "rules/finetune.smk",
    "src/inril/cli/training.py",
    "src/inril/train/finetune.py",
    "src/inril/algos/dppo.py",
)
LONGEST_WAY_IN = 900


def part_of(module: str) -> str:
    """Return the package, or loose module, that a dotted name belongs to."""
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """Return what a module imports of the package, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES.keys()
            found |= submodules or {node.module}
    return found & NAMES.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        assert not imports(path)
        return
    upward = {name for name in imports(path) if LEVEL[part_of(name)] < LEVEL[own]}
    assert not upward


def test_no_imports_in_circles() -> None:
    graph = {name: imports(path) for name, path in NAMES.items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for other in graph[module]:
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_few_modules_lie_loose() -> None:
    assert len(list(PACKAGE.glob("[!_]*.py"))) <= LOOSE


def test_no_two_modules_have_one_name() -> None:
    counted = Counter(path.stem for path in MODULES)
    assert {name for name, n in counted.items() if n > 1} - PARALLEL - ONE_OF_EACH == set()


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def in_the_locales_encoding(path: Path) -> list[str]:
    """Return the calls that read or write text as the locale would."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        is_text = name in ("read_text", "write_text") or (name == "open" and modes and "b" not in modes[-1])
        if is_text and not any(keyword.arg == "encoding" for keyword in node.keywords):
            found.append(ast.unparse(node))
    return found


def test_text_is_utf_8_whatever_the_locale() -> None:
    scripts = [*MODULES, *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "studies").glob("*.py")]
    found = {path.name: calls for path in scripts if (calls := in_the_locales_encoding(path))}
    assert found == {}
    rules = "".join(path.read_text(encoding="utf-8") for path in [*(ROOT / "rules").iterdir(), ROOT / "Snakefile"])
    assert re.findall(r"\w+_text\((?!.*encoding)", rules) == []


def test_the_way_in_is_short_and_as_long_as_the_readme_says() -> None:
    lines = sum(len((ROOT / file).read_text().splitlines()) for file in WAY_IN)
    assert lines <= LONGEST_WAY_IN
    readme = (ROOT / "README.md").read_text()
    walked = re.findall(r"^\d\. `(\S+)`", readme, flags=re.MULTILINE)
    assert tuple(walked) == WAY_IN
    assert f"{lines} lines in all" in readme


def defined(path: Path) -> set[str]:
    """Return what a module defines at its top, and the members of its classes with the class's name before them."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                found |= {name, *(f"{name}.{part.name}" for part in body if isinstance(part, ast.FunctionDef))}
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    for file, name in re.findall(r"`([\w/]+\.py): ([\w.]+)`", page.read_text()):
        assert name in defined(PACKAGE / file), f"{file}: {name}"
