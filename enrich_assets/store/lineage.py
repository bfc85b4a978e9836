"""From a number back to its files: the chain of receipts behind an evaluation, and whether each link and each edge still holds.

A receipt names the receipt of every cell it read; so a chain leads through what was really read, whatever was made since. Every
digest that can be computed again is: stored files, names that follow from content, the value itself, source files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from enrich_assets.method.kinds import kind_of
from enrich_assets.store.artefacts import Store
from enrich_assets.store.identity import subset_id
from enrich_assets.store.receipts import NAME_LENGTH, Cell, DamagedStore, Origin, Receipt, digest_of, history_file

State = Literal["holds", "changed", "gone"]
NAMED_BY_CONTENT = ("subset", "results")  # last parts of asset keys whose digest is not that of their files


@dataclass(frozen=True)
class Link:
    """One link of a chain, as it stands now."""

    what: str  # a cell, or a source file
    digest: str
    state: State
    detail: str = ""
    is_current: bool = True
    is_source: bool = False


class Lineage:
    """Walks and verifies chains. Links shared by many evaluations are verified once.

    Parameters
    ----------
    store
        Where the receipts and files are.
    source_digest
        sha256 of a source file as it lies there now, by what the rows call it (paths may be sealed).
    """

    def __init__(self, store: Store, source_digest: Callable[[str], str]) -> None:
        self.store, self.source_digest = store, source_digest
        self._links: dict[tuple[Cell, str], Link] = {}
        self._sources: dict[tuple[Cell, str, str], list[Link]] = {}
        self._receipts: dict[tuple[Cell, str], Receipt | None] = {}
        self._edges: dict[tuple[Cell, str], list[tuple[Cell, Origin]]] = {}  # receipt -> what it read

    def chain(self, receipt: Receipt) -> Iterator[tuple[Cell, Origin, Receipt | None]]:
        """The receipt and everything it was made from, nearest first, each once.

        Yields
        ------
        cell, origin, receipt
            What was read, as it stood then; the receipt is None if it is gone.
        """
        first = (receipt.cell, Origin(receipt.digest, receipt.name))
        waiting, seen = deque([first]), {first}
        while waiting:
            cell, origin = waiting.popleft()
            read_from = self._receipt(cell, origin.receipt)
            yield cell, origin, read_from
            for link in self._read_by(cell, origin.receipt, read_from):
                if link not in seen:
                    seen.add(link)
                    waiting.append(link)

    def _read_by(self, cell: Cell, name: str, receipt: Receipt | None) -> list[tuple[Cell, Origin]]:
        """What a receipt read; worked out once, for thousands of chains lead through the same ones."""
        if (cell, name) not in self._edges:
            read = receipt.read if receipt is not None else {}
            self._edges[cell, name] = [(Cell.parse(read_cell), Origin(*origin)) for read_cell, origin in read.items()]
        return self._edges[cell, name]

    def verify(self, receipt: Receipt, *, sources: bool = True) -> list[Link]:
        """Every link of the chain of an evaluation as it stands now.

        Parameters
        ----------
        receipt
            Of the evaluation.
        sources
            Also the source files (frames, masks) at the ends of the chain; each is read.
        """
        task = receipt.asset.partition("/")[0]
        links = []
        for cell, origin, read_from in self.chain(receipt):
            key = (cell, origin.receipt)
            if key not in self._links:
                self._links[key] = self._verify_link(cell, origin, read_from)
            links.append(self._links[key])
            if sources and read_from is not None:
                if (*key, task) not in self._sources:
                    self._sources[*key, task] = list(self._verify_sources(read_from, task))
                links += self._sources[*key, task]
        return links

    def _receipt(self, cell: Cell, name: str) -> Receipt | None:
        if (cell, name) not in self._receipts:
            try:
                self._receipts[cell, name] = self.store.receipts.earlier(cell, name)
            except DamagedStore:
                self._receipts[cell, name] = None
        return self._receipts[cell, name]

    def _verify_link(self, cell: Cell, origin: Origin, receipt: Receipt | None) -> Link:
        what, digest = str(cell), origin.digest
        if receipt is None:
            return Link(what, digest, "gone", f"no readable receipt {history_file(cell, origin.receipt)}", False)
        current = self.store.receipts.current(cell)
        is_current = current is not None and current.name == receipt.name
        problem = (
            self._wrong_edge(cell, origin, receipt)
            or self._wrong_files(receipt, with_notes=is_current)
            or self._wrong_content(cell, receipt)
        )
        if problem is not None:
            return Link(what, digest, problem[0], problem[1], is_current)
        if is_current and current != receipt:
            detail = f"receipts/{cell.folder}.json differs from its copy in history"
            return Link(what, digest, "changed", detail, is_current)
        return Link(what, digest, "holds", "" if is_current else "replaced since by a newer version", is_current)

    def _wrong_edge(self, cell: Cell, origin: Origin, receipt: Receipt) -> tuple[State, str] | None:
        """Whether the receipt is the one that was read: its cell, its content, and the name that follows from all of it."""
        if receipt.cell != cell or receipt.digest != origin.digest:
            return "changed", "the receipt names another content"
        if receipt.name != origin.receipt:
            return "changed", f"the receipt is no longer what its name {origin.receipt[:NAME_LENGTH]} says"
        for name, counted in receipt.inputs.items():
            read, _ = receipt.read.get(name, (counted, ""))
            if read != counted:
                return "changed", f"{name} was read as {read[:12]}, but counts as {counted[:12]}"
        if cell.asset.rpartition("/")[2] not in NAMED_BY_CONTENT and digest_of(receipt.files) != origin.digest:
            return "changed", "the receipt's list of files is not what its digest says"
        return None

    def _wrong_files(self, receipt: Receipt, *, with_notes: bool) -> tuple[State, str] | None:
        damaged = self.store.damaged(receipt, with_notes=with_notes)
        if not damaged:
            return None
        named = "; ".join(f"{self.store.folder.path(self.store.path(receipt, n))} {how}" for n, how in damaged.items())
        return ("gone" if set(damaged.values()) == {"gone"} else "changed"), named

    def _wrong_content(self, cell: Cell, receipt: Receipt) -> tuple[State, str] | None:
        """What does not follow from the files, in words; None if all does."""
        kind = cell.asset.rpartition("/")[2]
        if kind == "subset":
            table = self.store.table(receipt, "subset")
            name = subset_id(table["frame_id"], table["pixel_digest"])
            if not name == receipt.metrics["subset_id"] == receipt.digest:
                return "changed", f"its frames give subset_id {name[:12]}, not {receipt.digest[:12]}"
        if kind == "evaluation":
            value = self.recomputed(receipt)
            if value != receipt.metrics["value"]:
                return "changed", f"its predictions give {value!r}, not {receipt.metrics['value']!r}"
        return None

    def recomputed(self, receipt: Receipt) -> float:
        """The value of an evaluation, computed from its predictions alone. Raises DamagedStore."""
        return kind_of(receipt.metrics["kind"]).value_of(self.store.table(receipt, "predictions"))

    def _verify_sources(self, receipt: Receipt, task: str) -> Iterator[Link]:
        """The files that a cell's table names: those of `studies`, and the masks among the task's `labels`."""
        named = {"studies": ("rows", "path", "sha256"), "labels": (task, "mask_path", "mask_sha256")}
        if receipt.asset not in named or self.store.damaged(receipt):
            return
        name, path_column, digest_column = named[receipt.asset]
        if f"{name}.parquet" not in receipt.files:
            return
        files = self.store.table(receipt, name).drop_duplicates(path_column).dropna(subset=digest_column)
        for path, wanted in files[[path_column, digest_column]].itertuples(index=False):
            try:
                state: State = "holds" if self.source_digest(path) == wanted else "changed"
                detail = "" if state == "holds" else "the source file changed"
            except (OSError, ValueError, LookupError):
                state, detail = "gone", "the source file is no longer there"
            yield Link(path, wanted, state, detail, is_source=True)
