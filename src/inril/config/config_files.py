"""The files of the configuration folder: one for each budget, method, policy, suite and task, each checked when read.

A misspelt key is found before any job runs, also where no current target uses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from inril.config.algos import KINDS
from inril.config.layers import Layer, read_yaml, require_section
from inril.config.root import Axes
from inril.config.runs import FinetuneConfig, PretrainConfig
from inril.errors import InputError

# Set by the run itself; in a file they would be overridden without a word.
_RUN_KEYS = {"task", "method", "separation", "m", "seed", "torch_threads"}
# What a file can say of a member of a phase.
SETTINGS = {
    "finetune": FinetuneConfig.model_fields.keys() - _RUN_KEYS,
    "pretrain": PretrainConfig.model_fields.keys() - {"policy_name", *_RUN_KEYS},
}
FOLDERS = {"finetune": "methods", "pretrain": "policies"}  # of the members of a phase
ANY = "any"  # all members of a phase
_PHASES = {"expert", "demos", "pretrain", "finetune"}
_OF_BUDGET = {"published", *Axes.model_fields, *_PHASES}
_SECTIONS = {
    "suites": {"task", "clip", *_PHASES},
    "tasks": {"task", "clip", *_PHASES},
    "budgets": {"suites", "tasks", *_OF_BUDGET},
    "methods": {"base", "rl_only", *SETTINGS["finetune"]},
    "policies": {"base", *SETTINGS["pretrain"]},
}
_SINGULAR = {"suites": "suite", "tasks": "task", "budgets": "budget", "methods": "method", "policies": "policy"}


class ConfigFiles:
    """Reads each file once: a plan asks for the same few, and for which there are, thousands of times.

    Args:
        folder: with a folder for each kind: budgets, methods, policies, suites, tasks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[Path, Layer] = {}
        self._listings: dict[str, tuple[str, ...]] = {}

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of the files of a kind, in alphabetical order."""
        if kind not in self._listings:
            self._listings[kind] = tuple(sorted(path.stem for path in (self.folder / kind).glob("*.yaml")))
        return self._listings[kind]

    def read(self, kind: str, name: str) -> Layer:
        """Return the contents of a file.

        Raises:
            InputError: there is none of this name, or it holds an unknown key.
        """
        path = self.folder / kind / f"{name}.yaml"
        if path not in self._files:
            require(_SINGULAR[kind], name, self.names(kind))
            self._files[path] = Layer(path, self._checked(kind, path))
        return self._files[path]

    def lineage(self, kind: str, name: str) -> tuple[str, ...]:
        """Return a method or policy, before it the one that it is based on, whose settings lie below in every layer.

        Raises:
            InputError: its base is none, or has a base itself.
        """
        path, values, _ = self.read(kind, name)
        base = values.get("base")
        if base is None:
            return (name,)
        roots = [other for other in self.names(kind) if "base" not in self.read(kind, other).values]
        if base not in roots:
            raise InputError(path, field="base", expected=f"one of {', '.join(roots)}", got=repr(base))
        return base, name

    def _checked(self, kind: str, path: Path) -> dict[str, Any]:
        values = read_yaml(path)
        _check_keys(path, "", values, _SECTIONS[kind])
        if kind == "methods":
            _check_method(path, values)
        self._check_phases(path, "", values)
        for group in ("suites", "tasks"):
            of_group = values.get(group) or {}
            _check_keys(path, f"{group}.", of_group, self.names(group))
            for name, part in of_group.items():
                _check_keys(path, f"{group}.{name}.", part or {}, _OF_BUDGET)
                self._check_phases(path, f"{group}.{name}.", part or {})
        return values

    def _check_phases(self, path: Path, prefix: str, values: Mapping[str, Any]) -> None:
        """Check the keys of the phases that have members: policies, methods."""
        for phase, folder in FOLDERS.items():
            members = values.get(phase) or {}
            _check_keys(path, f"{prefix}{phase}.", members, (ANY, *self.names(folder)))
            for name, part in members.items():
                _check_keys(path, f"{prefix}{phase}.{name}.", part or {}, SETTINGS[phase])
                if phase == "finetune":
                    _check_no_kind(path, f"{prefix}{phase}.{name}.", part or {})


def _check_keys(path: Path, prefix: str, values: Mapping[str, Any], known: Collection[str]) -> None:
    require_section(path, prefix.rstrip("."), values)
    for key in values:
        if key not in known:
            expected = f"one of {', '.join(sorted(known))}"
            raise InputError(path, field=f"{prefix}{key}", expected=expected, got="an unknown key")


def _check_method(path: Path, values: Mapping[str, Any]) -> None:
    """Check that a method says which algorithm it is and what it starts from; one with a base says neither."""
    if "base" in values:
        _check_no_kind(path, "", values)
        return
    if "policy_name" not in values:
        raise InputError(path, field="policy_name", expected="the policy that it starts from", got="nothing")
    kind = _algo(values).get("kind")
    if kind not in KINDS:
        raise InputError(path, field="algo.kind", expected=f"one of {', '.join(KINDS)}", got=repr(kind))


def _check_no_kind(path: Path, prefix: str, values: Mapping[str, Any]) -> None:
    if "kind" in _algo(values):
        field = f"{prefix}algo.kind"
        raise InputError(path, field=field, expected="nothing: a method's own file names its algorithm", got="a value")


def _algo(values: Mapping[str, Any]) -> Mapping[str, Any]:
    algo = values.get("algo")
    return algo if isinstance(algo, Mapping) else {}


def require(kind: str, name: str, choices: Sequence[str], where: str | Path = "configuration") -> None:
    """Raise an `InputError` about the settings of a kind unless a name is one of the choices."""
    if name not in choices:
        raise InputError(where, field=kind, expected=f"one of {', '.join(choices)}", got=repr(name))
