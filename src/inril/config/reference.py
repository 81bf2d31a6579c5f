"""Settings told: to programs by JSON schemas, to people by tables between the markers of config/README.md.

`<!-- keys of MODEL -->` or `<!-- keys of MODEL without KEY KEY -->`, and `<!-- end -->`, enclose the table of a model.
Sections without a table of their own on the page are told key by key within the one that they belong to, and what a
base class's table tells is not told again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from inril.config import algos, base, policy, root, runs, shown

# All models of settings, by name.
MODELS = {
    name: model
    for module in (algos, base, policy, root, runs, shown)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, base.Model)
}

_BLOCK = re.compile(r"(<!-- keys of (\w+)(?: without ([\w ]+))? -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
_BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
_NOUNS = {"integer": "integer", "number": "number", "string": "text"}

Schema = Mapping[str, Any]

_SCHEMAS: dict[str, type[base.Model]] = {
    "config": root.RootConfig,
    "demos": runs.DemosConfig,
    "expert": runs.ExpertJob,
    "finetune": runs.FinetuneConfig,
    "pretrain": runs.PretrainConfig,
}


def schemas() -> dict[str, str]:
    """Return the JSON schema of every setting, by file name."""
    return {
        f"{name}.schema.json": json.dumps(model.model_json_schema(), indent=2) + "\n"
        for name, model in _SCHEMAS.items()
    }


class Key(NamedTuple):
    """A line of a table.

    Attributes:
        name: with the keys above it, a dot between them; [] stands for any member of a list, <name> of a mapping.
        value: what is allowed, in words.
        default: as in YAML; empty where there is none.
        meaning: the field's description.
    """

    name: str
    value: str
    default: str
    meaning: str


class Page:
    """A page with tables of settings.

    Args:
        text: of the page; what stands between its markers does not matter.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.links = {block[2]: _link(text[: block.start()]) for block in _BLOCK.finditer(text)}

    def written(self) -> str:
        """Return the page with all tables as the models have them now."""
        return _BLOCK.sub(self._block, self.text)

    def table(self, name: str, without: Collection[str] = ()) -> str:
        """Return the table of the model of that name, but for some keys, in Markdown."""
        model = MODELS[name]
        parents = [MODELS[parent.__name__] for parent in model.__mro__[1:] if parent.__name__ in self.links]
        told = {key for parent in parents for key in parent.model_fields}
        schema = model.model_json_schema()
        keys = self._keys(schema, schema.get("$defs", {}), without={*told, *without})
        return _HEAD + "".join(f"| `{key.name}` | {key.value} | {key.default} | {key.meaning} |\n" for key in keys)

    def _block(self, old: re.Match[str]) -> str:
        start, name, without, end = old.groups(default="")
        return f"{start}\n{self.table(name, without.split())}\n{end}"

    def _keys(
        self, schema: Schema, definitions: Schema, prefix: str = "", without: Collection[str] = ()
    ) -> Iterator[Key]:
        """Yield the keys of a section, each followed by those of the sections below it."""
        for name, field in schema["properties"].items():
            if name in without:
                continue
            default = _yaml(field["default"]) if "default" in field else ""
            yield Key(prefix + name, self._value(field), default, field["description"].replace("<", r"\<"))
            for suffix, section in _sections(field):
                if section not in self.links:
                    yield from self._keys(definitions[section], definitions, f"{prefix}{name}{suffix}.")

    def _value(self, field: Schema) -> str:
        """Say in words which values are allowed."""
        if "$ref" in field:
            name = _name(field)
            return self.links.get(name, "section")
        if "enum" in field or "const" in field:
            return ", ".join(f"`{choice}`" for choice in field.get("enum", [field.get("const")]))
        if choices := field.get("anyOf") or field.get("oneOf"):
            return " or ".join(dict.fromkeys(map(self._value, choices)))
        return self._plain(field)

    def _plain(self, field: Schema) -> str:
        """Say in words which values a type without choices allows."""
        match field["type"]:
            case "boolean":
                return "`true`, `false`"
            case "null":
                return "`null`"
            case "array" if "prefixItems" in field:
                return f"[{', '.join(map(self._value, field['prefixItems']))}]"
            case "array":
                return f"[{self._value(field['items'])}, …]"
            case "object":
                return f"by name: {self._value(field['additionalProperties'])}"
            case kind:
                bounds = (f"{sign} {field[bound]:g}" for bound, sign in _BOUNDS.items() if bound in field)
                return " ".join([_NOUNS[kind], ", ".join(bounds)]).rstrip()


def _sections(field: Schema, suffix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the models that a field may hold, each with what stands in a key behind the field's name."""
    if "$ref" in field:
        yield suffix, _name(field)
    for choice in field.get("anyOf") or field.get("oneOf") or ():
        yield from _sections(choice, suffix)
    for part, inner in (("items", "[]"), ("additionalProperties", ".<name>")):
        if isinstance(field.get(part), Mapping):
            yield from _sections(field[part], suffix + inner)


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _yaml(default: Any) -> str:
    """Return a default as one writes it; of a section nothing needs to be written, since its keys have defaults."""
    if isinstance(default, dict):
        default = {}
    text = default if isinstance(default, str) and default else json.dumps(default)
    return f"`{text}`"


def _link(before: str) -> str:
    """Return a link to the heading that a text ends under, as GitHub addresses it."""
    heading = re.findall(r"^#+ (.+)$", before, re.MULTILINE)[-1]
    slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    return f"[{heading}](#{slug})"
