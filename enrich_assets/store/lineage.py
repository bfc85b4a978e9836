"""From a number back to its files: the chain of receipts behind an evaluation, and whether each link still holds.

Every digest that can be computed again is: stored files, names that follow from content, the value itself, source files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from enrich_assets.store.artefacts import Store
from enrich_assets.store.identity import subset_id
from enrich_assets.store.receipts import Cell, DamagedStore, Receipt, digest_of

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

    source_digest: sha256 of a source file as it lies there now, by what the rows call it (paths may be sealed).
    """

    def __init__(self, store: Store, source_digest: Callable[[str], str]) -> None:
        self.store, self.source_digest = store, source_digest
        self._links: dict[tuple[Cell, str], Link] = {}
        self._sources: dict[tuple[Cell, str, str], list[Link]] = {}
        self._found: dict[tuple[Cell, str], Receipt | None] = {}

    def chain(self, receipt: Receipt) -> Iterator[tuple[Cell, str, Receipt | None]]:
        """The receipt and everything it was made from, nearest first, each once: (cell, digest, receipt or None if gone)."""
        waiting: list[tuple[Cell, str]] = [(receipt.cell, receipt.digest)]
        seen: set[tuple[Cell, str]] = set(waiting)
        while waiting:
            cell, digest = waiting.pop(0)
            found = self._receipt(cell, digest)
            yield cell, digest, found
            for name, of in ({**found.seen, **found.inputs} if found is not None else {}).items():
                link = (Cell.parse(name), of)
                if _is_asset(name) and link not in seen:
                    seen.add(link)
                    waiting.append(link)

    def verify(self, receipt: Receipt, *, sources: bool = True) -> list[Link]:
        """Every link of the chain of an evaluation as it stands now, and the source files (frames, masks) at its ends."""
        task = receipt.asset.partition("/")[0]
        links = []
        for cell, digest, found in self.chain(receipt):
            key = (cell, digest)
            if key not in self._links:
                self._links[key] = self._verify_link(cell, digest, found)
            links.append(self._links[key])
            if sources and found is not None:
                if (*key, task) not in self._sources:
                    self._sources[*key, task] = list(self._verify_sources(found, task))
                links += self._sources[*key, task]
        return links

    def _receipt(self, cell: Cell, digest: str) -> Receipt | None:
        if (cell, digest) not in self._found:
            try:
                self._found[cell, digest] = self.store.receipts.earlier(cell, digest)
            except DamagedStore:
                self._found[cell, digest] = None
        return self._found[cell, digest]

    def _verify_link(self, cell: Cell, digest: str, receipt: Receipt | None) -> Link:
        what = str(cell)
        if receipt is None:
            return Link(what, digest, "gone", f"no readable receipt in history/{cell.folder}/{digest[:16]}.json", False)
        current = self.store.receipts.current(cell)
        is_current = current is not None and current.digest == digest
        if receipt.digest != digest or receipt.cell != cell:
            return Link(what, digest, "changed", "the receipt names another content", is_current)
        if cell.asset.rpartition("/")[2] not in NAMED_BY_CONTENT and digest_of(receipt.files) != digest:
            return Link(what, digest, "changed", "the receipt's list of files is not what its digest says", is_current)
        damaged = self.store.damaged(receipt)
        if damaged:
            named = "; ".join(
                f"{self.store.folder.path(self.store.path(receipt, n))} {how}" for n, how in damaged.items()
            )
            return Link(what, digest, "gone" if set(damaged.values()) == {"gone"} else "changed", named, is_current)
        wrong = self._wrong_content(cell, receipt)
        if wrong:
            return Link(what, digest, "changed", wrong, is_current)
        if current is not None and is_current and current != receipt:
            return Link(
                what, digest, "changed", f"receipts/{cell.folder}.json differs from its copy in history", is_current
            )
        return Link(what, digest, "holds", "" if is_current else "replaced since by a newer version", is_current)

    def _wrong_content(self, cell: Cell, receipt: Receipt) -> str:
        """What does not follow from the files, in words; '' if all does."""
        kind = cell.asset.rpartition("/")[2]
        if kind == "subset":
            table = self.store.table(receipt, "subset")
            name = subset_id(table["frame_id"], table["pixel_digest"])
            if not name == receipt.figures["subset_id"] == receipt.digest:
                return f"its frames give subset_id {name[:12]}, not {receipt.digest[:12]}"
        if kind == "evaluation":
            value = self.recomputed(receipt)
            if value != receipt.figures["value"]:
                return f"its predictions give {value!r}, not {receipt.figures['value']!r}"
        return ""

    def recomputed(self, receipt: Receipt) -> float:
        """The value of an evaluation, from its predictions alone."""
        from enrich_assets.method.statistics import metrics

        table = self.store.table(receipt, "predictions")
        if receipt.figures["metric"] == "auc":
            values = [metrics.auc(group["truth"], group["score"]) for _, group in table.groupby("class", sort=False)]
            return float(sum(values) / len(values))
        counts = [
            table.pivot(index="frame_id", columns="class", values=column)
            for column in ("intersection_pixels", "union_pixels")
        ]
        order = list(dict.fromkeys(table["class"]))
        frames = list(dict.fromkeys(table["frame_id"]))
        return float(metrics.jaccard(*(count.loc[frames, order].to_numpy() for count in counts)))

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


def _is_asset(name: str) -> bool:
    """Inputs that are cells, not digests of a part ('arrival', 'test set', 'labels of the subset')."""
    return " " not in name and name not in ("arrival", "imports", "classes", "everything")
