"""What a profile is written in: names, budgets, classes, rules, kinds of task; each checked, each refused with what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from enrich_assets.method.kinds import kind_names
from enrich_assets.method.ranking import rule_named, rule_names

ALL = "all"  # the arm, and the budget key, of the whole pool


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Crop = Literal["cone", "none"] | tuple[int, int, int]
Fraction = Annotated[float, Field(gt=0, le=1)]


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """The end of a sentence that refuses a name: the allowed name most like it, or nothing."""
    nearest = difflib.get_close_matches(name, list(allowed), 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def check_name(what: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{what} {name!r}: lower-case letters, digits and underscores, a letter first")
    if "__" in name or name.endswith("_"):
        raise ValueError(
            f"{what} {name!r}: no two underscores in a row and none at the end, because Dagster joins the parts of an "
            "asset's key with two"
        )


def _budget_key(value: Any) -> str:
    """ "120" frames or "25%" of the pool."""
    text = str(value).strip().replace("_", "")
    if re.fullmatch(r"[1-9]\d*", text):
        return text
    if re.fullmatch(r"\d+(\.\d+)?%", text) and 0 < float(text[:-1]) <= 100:
        return text
    raise ValueError(f"{value!r} is no budget: a number of frames (120) or a share of the pool ('25%')")


BudgetKey = Annotated[str, BeforeValidator(_budget_key)]


def budget_frames(key: str, pool: int) -> int:
    """How many frames a budget buys.

    Parameters
    ----------
    key : str
        A number of frames ("120"), a share of the pool ("25%"), or "all".
    pool : int
        Frames in the pool.

    Returns
    -------
    int
        At least 1. A number of frames may exceed the pool; a share never does.
    """
    if key == ALL:
        return pool
    return max(1, round(float(key[:-1]) / 100 * pool)) if key.endswith("%") else int(key)


def _class_name(value: Any) -> Any:
    """Classes are names; a number without quotes is taken as one, YAML's yes and no are not."""
    if isinstance(value, bool):
        raise ValueError(f"YAML reads yes, no, on and off as {value}; put the name between quotes")
    return str(value) if isinstance(value, int) else value


ClassName = Annotated[str, BeforeValidator(_class_name)]


def _rule_name(value: Any) -> Any:
    """A rule's own name; `max`, the paper's word for greedy k-centre, is another name of that rule."""
    try:
        return rule_named(value).name
    except (ValueError, TypeError):
        known = rule_names()
        raise ValueError(
            f"there is no rule {value!r}; rules: {', '.join(known)}{did_you_mean(str(value), known)}"
        ) from None


RuleName = Annotated[str, BeforeValidator(_rule_name)]


# ------------------------------------------------------------------------------------- what depends on the kind of task


def known_kind(name: str) -> str:
    if name not in kind_names():
        known = kind_names()
        raise ValueError(f"there is no kind of task {name!r}; kinds: {', '.join(known)}{did_you_mean(name, known)}")
    return name
