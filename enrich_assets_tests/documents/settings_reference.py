"""Writes docs/settings.md from the model of a profile: every key, what it takes, its default, and the comment beside it.

python -m enrich_assets_tests.documents.settings_reference
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from enrich_assets.method import hyperparameters
from enrich_assets.method.kinds import kind_names, kind_of
from enrich_assets.settings import Profile
from enrich_assets.settings.engine import LocalEngineSettings, RayEngineSettings
from enrich_assets.settings.sections import EMBEDDING_KINDS
from enrich_assets.settings.tasks import ArmSettings, TaskSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """# Settings

A profile says everything that is not in the archive. It is `enrich.yaml` in home, or a file or name given to `enrich --profile`; `extends:` takes another one
and changes what is named (`demo`, `archive`, `paper` come with the package). A wrong key or value is refused with its line and what is allowed. Defaults here are
the model's own; the built-in profiles set some of them otherwise.

This page is written by `python -m enrich_assets_tests.documents.settings_reference`.
"""


def page() -> str:
    """The whole page."""
    sections = [HEAD, "## At the top\n", table(Profile, leave_out=set(_sections()) | {"tasks", "embeddings", "engine"})]
    for key, model in _sections().items():
        sections += [f"## `{key}`\n", _says(model), table(model)]
    local, ray = LocalEngineSettings, RayEngineSettings
    sections += [
        "## `engine`\n",
        f"{_kind(local)} (default): {_says(local)}",
        f"{_kind(ray)}: {_says(ray)}",
        table(ray),
    ]
    sections += [
        "## `embeddings: {NAME: ...}`\n",
        "See [Embeddings](EMBEDDINGS.md). What a name takes follows from its kind.\n",
    ]
    for kind, model in EMBEDDING_KINDS.items():
        sections += [f"### {kind}\n", _says(model), table(model)]
    sections += ["## `tasks: {NAME: ...}`\n", _says(TaskSettings), table(TaskSettings, leave_out={"arms", "training"})]
    sections += ["### `arms: {NAME: ...}`\n", _says(ArmSettings), table(ArmSettings)]
    for kind in kind_names():
        sections += [f"### `training` of {kind}\n", table(kind_of(kind).hyperparameters)]  # type: ignore[arg-type]
    sections += [
        "### `training: {search: ...}`\n",
        _says(hyperparameters.SearchSettings),
        table(hyperparameters.SearchSettings),
    ]
    return "\n".join(sections)


def _sections() -> dict[str, type]:
    """Key of the profile -> the section it holds."""
    found = {}
    for name, field in Profile.model_fields.items():
        kind = field.annotation
        if inspect.isclass(kind) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)):
            found[name] = kind
    return found


def _kind(model: type) -> str:
    return f"`kind: {_schema(model)['properties']['kind']['const']}`"


def _says(model: type) -> str:
    return (inspect.getdoc(model) or "").split("\n\n")[0].replace("\n", " ") + "\n"


def table(model: type, leave_out: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """A row for each key."""
    comments = _comments(model)
    properties = _schema(model)["properties"]
    rows = ["| key | takes | default | |", "|---|---|---|---|"]
    for key, schema in properties.items():
        if key not in leave_out and key != "kind":
            default = _shown(schema["default"]) if "default" in schema else "needed"
            rows.append(f"| `{key}` | {_takes(schema)} | {default} | {comments.get(key, '')} |")
    return "\n".join(rows) + "\n"


def _schema(model: type) -> dict[str, Any]:
    return TypeAdapter(model).json_schema()


def _takes(schema: dict[str, Any]) -> str:
    """In words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_takes(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return "a section"
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items") or {}
        return f"list of {_takes(items)}" if items else "list"
    if kind == "object":
        return "mapping"
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "`true`, `false`",
        "null": "`null`",
    }
    bounds = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
    limits = [text.format(schema[bound]) for bound, text in bounds.items() if bound in schema]
    return " ".join([words.get(str(kind), "any"), *limits])


def _shown(value: Any) -> str:
    if value is None:
        return "`null`"
    if isinstance(value, dict):
        return ""  # a section, whose own table says it
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _comments(model: type) -> dict[str, str]:
    """Field -> the comment at its line, or those right above it; of its parents too."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.startswith("enrich_assets"):
            found |= _own_comments(base)
    return found


def _own_comments(model: type) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(model))
    comments = {
        token.start[0]: token.string.lstrip("# ").partition("noqa")[0].strip(" #")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.splitlines()
    found = {}
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above, at = [], node.lineno - 1
            while lines[at - 1].lstrip().startswith("#"):
                above.insert(0, comments[at])
                at -= 1
            beside = [
                comments[line] for line in range(node.lineno, (node.end_lineno or node.lineno) + 1) if line in comments
            ]
            found[node.target.id] = " ".join([*above, *beside]).replace("|", "\\|").replace("None", "null")
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
