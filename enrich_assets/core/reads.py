"""What a step reads. One declaration, from which follow the edge that Dagster draws, the digests that make a cell stale, the value
its function gets, and its lineage.

    reads={"pool": up_to("{task}/pool"),                         # this batch and every earlier one
           "before": earlier("{task}/similarity/vae", optional=True, counts=False),
           "labels": part("labels", labels_of_subset, of=("subset",), over=Over.EVERY)}   # digest of these rows only
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from enrich_assets.archive.values import Part
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.where import Where

PartOf = Callable[..., Part]  # (where, value, *values of the reads named in `of`) -> part
Stays = Callable[..., bool]  # (outlook, where, partitions about to be made, *values of the reads named in `of`)


class Over(Enum):
    """Which cells of the asset that is read."""

    SAME = "same"  # the same partition; the one cell of an asset without partitions
    EVERY = "every"  # all that the profile and the batches at hand ask for
    UP_TO = "up to"  # this batch and every earlier one
    EARLIER = "earlier"  # every earlier batch
    SEED = "seed"  # of a cell of the grid: its seed
    ITSELF = "itself"  # the cell as it was before
    SOURCE = "source"  # no asset: something of the archive
    CHECKS = "checks"  # no asset: the outcomes of all checks


@dataclass(frozen=True)
class Read:
    """One thing a step reads."""

    asset: str  # template of its key; of a source, its name
    over: Over = Over.SAME
    optional: bool = False  # what is not there is left out; else it is missing
    counts: bool = True  # False: read and kept for lineage, never a reason to be stale
    current: bool = False  # each cell must itself be fresh: no sum over what is being replaced
    part_of: PartOf | None = None  # only this part of it counts, and is handed to the function
    of: tuple[str, ...] = ()  # names of the other reads that choose the part
    stays: Stays | None = None  # for forecasts: whether the part will be as it is, though the whole is about to change
    of_receipts: bool = False  # the part says what receipts say beside their content: equal content, yet another part
    follows: bool = True  # a change of it asks for the cell in Dagster; False: only drawn, the planner sees to it
    each: tuple[
        str, ...
    ] = ()  # "task", "arm", "embedding": of every one of them; the value is a mapping by their names

    def places(self, where: Where) -> dict[Any, Where]:
        """Where the assets it reads stand, by the names that tell them apart.

        Returns
        -------
        dict
            One entry "" without `each`; else their names, (task, arm) and the like -> place.
        """
        if not self.each:
            return {"": where}
        places = where.each_task() if "task" in self.each else [where]
        if "arm" in self.each:
            places = (arm for place in places for arm in place.each_arm())
        if "embedding" in self.each:
            places = (embedding for place in places for embedding in place.each_embedding())
        return {tuple(getattr(place, name) for name in self.each): place for place in places}

    def keys(self, where: Where) -> list[str]:
        """Keys of the assets it reads; none for a source or for checks."""
        if self.over in (Over.SOURCE, Over.CHECKS):
            return []
        return [place.fill(self.asset) for place in self.places(where).values()]

    def partitions(self, partitions: Partitions, where: Where, partition: str, batches: Sequence[str]) -> list[str]:
        """Which partitions of an asset the cell reads.

        Parameters
        ----------
        partitions
            How the asset that is read is partitioned.
        where
            Of the asset that is read.
        partition
            Of the cell that reads.
        batches
            Names of the batches at hand, in the order of ingestion.
        """
        if partitions is Partitions.NONE:
            return [""]
        if self.over in (Over.SAME, Over.ITSELF):
            return [partition]
        if self.over is Over.SEED:
            return [partition.rpartition("|")[2]]
        every = partitions.keys(where, batches)
        if self.over is Over.EVERY:
            return every
        here = every.index(partition) if partition in every else len(every)
        return every[:here] if self.over is Over.EARLIER else every[: here + 1]


def same(asset: str, **options: Any) -> Read:
    """The cell of the same partition (or the one cell there is)."""
    return Read(asset, Over.SAME, **options)


def every(asset: str, **options: Any) -> Read:
    """All cells."""
    return Read(asset, Over.EVERY, **options)


def up_to(asset: str, **options: Any) -> Read:
    """This batch and every earlier one."""
    return Read(asset, Over.UP_TO, **options)


def earlier(asset: str, **options: Any) -> Read:
    """Every earlier batch."""
    return Read(asset, Over.EARLIER, **options)


def seed_of(asset: str) -> Read:
    """The cell of the same seed."""
    return Read(asset, Over.SEED)


def itself(asset: str) -> Read:
    """The cell as it was before it is made again; nothing the first time. Never a reason to be stale."""
    return Read(asset, Over.ITSELF, optional=True, counts=False)


def source(name: str, *, of: tuple[str, ...] = (), counts: bool = True) -> Read:
    """Something of the archive that no step makes: a manifest, imported labels, source files.

    Parameters
    ----------
    name
        One of `archive.sources.SOURCES`.
    of
        Names of the other reads that choose it.
    counts
        Whether another digest of it makes the cell stale.
    """
    return Read(name, Over.SOURCE, of=of, counts=counts)


def every_check() -> Read:
    """The outcomes of all checks that were run: cell -> receipt."""
    return Read("", Over.CHECKS, optional=True)


def part(
    read: Read, part_of: PartOf, *, of: tuple[str, ...] = (), stays: Stays | None = None, of_receipts: bool = False
) -> Read:
    """A part of what is read: the function gets it alone, and its digest alone counts.

    Parameters
    ----------
    read
        The whole.
    part_of
        `part_of(where, value, *others) -> Part`.
    of
        Names of the other reads whose values are `others`: they choose the part.
    stays
        `stays(outlook, where, partitions, *others) -> bool`, for forecasts: whether the part stays as it is though
        these partitions of the whole are about to be made.
    of_receipts
        The part holds something that receipts say beside their content, so it is computed each time.
    """
    return replace(read, part_of=part_of, of=of, stays=stays, of_receipts=of_receipts)
