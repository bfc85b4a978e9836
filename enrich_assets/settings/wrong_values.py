"""What is wrong with a value of the profile, in words of the profile: pydantic speaks of inputs, instances and parsing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from enrich_assets.settings.words import did_you_mean

_MUST_BE = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be text",
    "tuple": "must be a list, [A, B]",
    "list": "must be a list, [A, B]",
    "dict": "must be a mapping of settings, NAME: VALUE",
    "model": "must be a mapping of settings, NAME: VALUE",
    "dataclass": "must be a mapping of settings, NAME: VALUE",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}


def in_words(error: Mapping[str, Any]) -> str:
    """What must be otherwise, and what it is.

    Parameters
    ----------
    error : mapping
        One of `ValidationError.errors()`: type, msg, input, ctx.
    """
    kind, context, given = str(error["type"]), error.get("ctx") or {}, error.get("input")
    if kind == "missing":
        return "is missing"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        text = f"{words} {context[name]}"
    elif kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", ""))) or [str(context.get("expected"))]
        text = f"must be one of {', '.join(allowed)}{did_you_mean(str(given), allowed)}"
    elif kind in ("too_short", "too_long"):
        most = kind == "too_long"
        n = context["max_length" if most else "min_length"]
        text = f"must have at {'most' if most else 'least'} {n} {'entry' if n == 1 else 'entries'}"
    elif kind in ("value_error", "assertion_error"):
        text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    else:
        text = _MUST_BE.get(kind.partition("_")[0], str(error["msg"]))
    return f"{text} (is: {str(given)[:60]!r})"
