"""Steps and checks: the one declaration of an asset, and of what must hold of it.

    @step("{task}/similarity/{embedding}", Partitions.BATCH, reads={...}, settings=lambda where: ...)
    def similarity(cell, pool, vectors, before) -> StepOutput: ...

The function gets the values it declared to read, and a `CellContext`; no archive. It returns what the cell holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel

from enrich_assets.archive.home import Spread
from enrich_assets.archive.values import Value
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import Read
from enrich_assets.core.where import Where, places
from enrich_assets.progress import Advance, progress
from enrich_assets.settings import Profile
from enrich_assets.store.artefacts import Draft
from enrich_assets.store.receipts import Cell, digest_of
from enrich_assets.store.tracking import Tracking

CHECK_SIGN = "@"
CHECKPOINT = "checkpoint"

Settings = Callable[[Where], Any]
Reads = Mapping[str, Read] | Callable[[Where], Mapping[str, Read]]


@dataclass
class CellContext:
    """What a step's function knows of the cell it makes."""

    cell: Cell
    where: Where
    settings: Any  # what the declaration's `settings` gave: only this of the profile changes the content
    draft: Draft  # for content that is written piece by piece; what is returned is written here too
    run_id: str
    device: str | None
    tracking: Callable[[str], Tracking]
    product: str = ""  # path of the file that the step publishes in home, if it does
    spread: Spread | None = None  # computes parts of this cell on other machines, where the engine has any

    @property
    def partition(self) -> str:
        """Of the cell; empty for an asset without partitions."""
        return self.cell.partition

    def progress(self, what: str, unit: str = "") -> AbstractContextManager[Advance]:
        """Progress of a loop, reported under the name of the cell."""
        return progress(f"{self.cell}: {what}", unit)

    def checkpoint(self) -> bytes | None:
        """Where an interrupted attempt stopped, if there was one."""
        return self.draft.scratched(CHECKPOINT)

    def save_checkpoint(self, content: bytes) -> None:
        """Keep where the work stands, for an attempt after an interruption; it goes when the receipt is written."""
        self.draft.scratch(CHECKPOINT, content)


@dataclass
class StepOutput:
    """What a cell holds, and what is worth saying of it.

    Parameters
    ----------
    tables, arrays, weights
        The content, by name of file.
    notes, note_tables
        Kept beside the content, not part of its digest.
    metrics
        For the receipt: numbers, and what else JSON can hold.
    metadata
        For the UI, by title: numbers, texts, tables, and the small types below.
    digest
        The content's own name, where it has one; else it follows from the files.
    unused
        Reads that were declared but not used after all: no part of the lineage.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, bytes] = field(default_factory=dict)
    note_tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG for the UI."""

    png: bytes
    title: str


@dataclass(frozen=True)
class Markdown:
    """A text for the UI."""

    text: str


@dataclass(frozen=True)
class Link:
    """An address for the UI."""

    url: str


@dataclass(frozen=True)
class FilePath:
    """A file on this machine, for the UI."""

    path: str


@dataclass
class CheckOutcome:
    """Whether what a check asks holds.

    Parameters
    ----------
    passed
        It does.
    description
        A sentence with the numbers.
    table
        Examples, for the UI.
    """

    passed: bool
    description: str
    table: pd.DataFrame | None = None


@dataclass(frozen=True)
class Declared:
    """What steps and checks have in common, at one place of the graph."""

    key: str
    where: Where
    partitions: Partitions
    reads: Mapping[str, Read]
    settings: Any
    function: Callable[..., Any]
    version: int  # of the code: raise it when the same inputs come to give something else
    description: str

    @cached_property
    def settings_digest(self) -> str:
        """Of the settings and the version of the code: another one makes every cell stale."""
        return digest_of([self.version, plain(self.settings)])

    def cell(self, partition: str = "") -> Cell:
        """The cell of a partition."""
        return Cell(self.key, partition)

    @property
    def name(self) -> str:
        """The last part of the key that says what it is: `ranking`, `similarity`."""
        parts = self.key.partition(CHECK_SIGN)[0].split("/")
        return parts[-2] if self.where.embedding and len(parts) > 1 else parts[-1]


@dataclass(frozen=True)
class Check(Declared):
    """Something that must hold of an asset's cell. It stands alone: it reads what is stored, and runs without the asset."""

    asset: str = ""
    check_name: str = ""
    blocking: bool = False  # whether nothing may be made of a cell that fails it


@dataclass(frozen=True)
class Step(Declared):
    """One asset of the graph."""

    holds: type[Value] = Value
    group: str = ""
    kinds: tuple[str, ...] = ()
    pool: Literal["gpu"] | None = None
    automation: Any = None  # of Dagster: what follows by itself
    product: str | None = None  # name of the file in home that it publishes
    beside: tuple[str, ...] = ()  # names of further files that it publishes there, which the product refers to
    again: Callable[[Any, Value], str | None] | None = None  # (archive, what it holds) -> why it is worth another try
    lost_sources: Callable[[Any, str], str | None] | None = (
        None  # (archive, partition) -> which of its sources are gone
    )
    outlives: Callable[[Any, Cell], bool] | None = (
        None  # whether the content survives what is ahead (`planner.Outlook`)
    )

    @property
    def products(self) -> tuple[str, ...]:
        """All files that it publishes in home; what is referred to comes first."""
        return () if self.product is None else (*self.beside, self.product)


@dataclass(frozen=True)
class Template:
    """A declaration before the profile's names are filled in."""

    kind: type[Declared]
    template: str
    partitions: Partitions
    reads: Reads
    settings: Settings
    function: Callable[..., Any]
    version: int
    description: str | Callable[[Where], str]
    only: Callable[[Where], bool]
    more: Mapping[str, Any]

    def at_each_place(self, profile: Profile) -> list[Declared]:
        """The steps (checks) that a profile asks for."""
        return [self._at(where) for where in places(self.template, profile) if self.only(where)]

    def _at(self, where: Where) -> Declared:
        more = {name: where.fill(value) if name == "asset" else value for name, value in self.more.items()}
        if self.kind is Step and not more.get("group"):
            more["group"] = "/".join(name for name in (where.task, where.arm) if name)
        if self.kind is Step and self.template.count("/") > 1 and self.template.endswith("/{embedding}"):
            more["group"] += (
                "/" + self.template.split("/")[-2]
            )  # the graph shows the last part of a key, and that is `vae`
        return self.kind(
            key=where.fill(self.template),
            where=where,
            partitions=self.partitions,
            reads=self.reads(where) if callable(self.reads) else self.reads,
            settings=self.settings(where),
            function=self.function,
            version=self.version,
            description=self.description if isinstance(self.description, str) else self.description(where),
            **more,
        )


def _everywhere(where: Where) -> bool:
    return True


def step(
    template: str,
    partitions: Partitions = Partitions.NONE,
    *,
    reads: Reads | None = None,
    settings: Settings = lambda where: None,
    version: int = 1,
    description: Callable[[Where], str] | None = None,
    only: Callable[[Where], bool] = _everywhere,
    **more: Any,
) -> Callable[[Callable[..., StepOutput]], Template]:
    """Declare an asset: the function below makes one cell of it.

    Parameters
    ----------
    template
        Of the key, with {task}, {arm} and {embedding} to be filled in.
    partitions
        Which cells it has.
    reads
        What the function gets, by name of its argument; or a function of the place that gives it.
    settings
        What of the profile changes the content: the cell is stale when its digest changes.
    version
        Of the code; raise it when the same inputs come to give something else.
    description
        For the UI; else the first paragraph of the function's docstring.
    only
        Places at which the profile asks for it; what it is not asked for at is not part of the graph. Two declarations may share
        a template where each has its own places.
    **more
        Fields of `Step`: holds, group, kinds, pool, automation, product, beside, again, outlives.

    Returns
    -------
    decorator
        Turns `function(context, **values) -> StepOutput` into a Template.
    """

    def declare(function: Callable[..., StepOutput]) -> Template:
        summary = description or _first_line(function)
        return Template(Step, template, partitions, reads or {}, settings, function, version, summary, only, more)

    return declare


def check(
    asset: str,
    partitions: Partitions = Partitions.NONE,
    *,
    reads: Reads,
    settings: Settings = lambda where: None,
    version: int = 1,
    blocking: bool = False,
    only: Callable[[Where], bool] = _everywhere,
) -> Callable[[Callable[..., CheckOutcome]], Template]:
    """Declare a check of an asset: the function below, which gives it its name.

    Parameters
    ----------
    asset
        Template of the key of the asset.
    partitions
        As those of the asset.
    reads, settings, version, only
        As of `step`.
    blocking
        Nothing may be made of a cell that fails it.
    when
        As of `step`.

    Returns
    -------
    decorator
        Turns `function(context, **values) -> CheckOutcome` into a Template.
    """

    def declare(function: Callable[..., CheckOutcome]) -> Template:
        name = function.__name__
        more = {"asset": asset, "check_name": name, "blocking": blocking}
        template = f"{asset}{CHECK_SIGN}{name}"
        line = _first_line(function)
        return Template(Check, template, partitions, reads, settings, function, version, line, only, more)

    return declare


def plain(value: Any) -> Any:
    """Settings as JSON-able data, for their digest."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return plain(
            {
                each.name: getattr(value, each.name)
                for each in fields(value)
                if not (each.metadata.get("silent_at_default") and getattr(value, each.name) == each.default)
            }
        )
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ").strip()
