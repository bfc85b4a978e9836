"""The planner: the one place that says of a cell whether it is fresh, stale (and why) or blocked (and why).

`enrich run` executes what it yields, `enrich plan` prices it, schedules and sensors turn it into run requests, and whoever makes a
cell asks it once more under the cell's lock. It compares a receipt with what the declaration reads now; it makes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from enrich_assets.archive.home import Archive
from enrich_assets.archive.sources import source_value
from enrich_assets.archive.values import Value
from enrich_assets.core.gathered import Gathered, Inputs
from enrich_assets.core.graph import Graph
from enrich_assets.core.reads import Over, Read
from enrich_assets.core.step import Check, Declared, Step
from enrich_assets.store.receipts import NOT_MADE_YET, Cell, DamagedStore, MissingArtefact, Receipt


class State(Enum):
    """What a cell can be."""

    FRESH = "fresh"
    STALE = "stale"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Verdict:
    """What the planner says of a cell, in a few words for the user."""

    state: State
    why: str = ""
    cause: Cell | None = None  # of a blocked cell: what is missing, where it is a cell
    keeps: bool = False  # of a stale cell, in a forecast: it is made again and will hold what it holds

    @property
    def is_fresh(self) -> bool:
        return self.state is State.FRESH

    @property
    def is_stale(self) -> bool:
        return self.state is State.STALE

    @property
    def is_blocked(self) -> bool:
        return self.state is State.BLOCKED


FRESH = Verdict(State.FRESH)
DID_NOT_PASS = "did not pass: "  # nosec B105: words for the user


class Unsound(MissingArtefact):
    """What a cell needs is there, but did not pass a check without which nothing may be made of it."""


class Planner:
    """Verdicts on the cells of an archive, for the batches it knows.

    Parameters
    ----------
    archive
        Whose receipts are compared; it is only read.
    graph
        The steps and checks of its profile.
    """

    def __init__(self, archive: Archive, graph: Graph) -> None:
        self.archive, self.graph = archive, graph
        self.receipts = archive.store.receipts
        self._keys: dict[tuple[str, int], list[str]] = {}  # of a declaration and a read: keys of the assets it reads
        self._every: dict[tuple[str, int], list[Cell]] = {}  # and all cells of them, of the batches that were looked at
        self._gathered: dict[tuple[str, int, str], Gathered] = {}  # and their receipts, as long as none is another
        self._seen: tuple[object, int] = (None, 0)  # the batches and the state of the receipts that these are of

    # ------------------------------------------------------------------------------------------------------- verdicts

    def verdict(self, declared: Declared, partition: str = "", kept: Collection[str] = ()) -> Verdict:
        """Fresh, stale or blocked, as things stand now.

        Parameters
        ----------
        declared, partition
            The cell.
        kept
            Names of reads whose part is taken to be what it was when the cell was made.

        Returns
        -------
        Verdict
            With the reason. Nothing is raised for what is missing or damaged: then the cell is blocked.
        """
        cell = declared.cell(partition)
        self.receipts.expect(self.cells_around([(declared, partition)]))
        receipt = self.receipts.current(cell)
        try:
            why = self._why_stale(declared, partition, receipt, kept)
            if why is not None and receipt is not None:  # to be made, it needs what does not count, too
                self.inputs(declared, partition)
        except (MissingArtefact, DamagedStore, LookupError) as missing:
            message = str(missing.args[0] if missing.args else missing)
            return Verdict(State.BLOCKED, message, getattr(missing, "cell", None))
        return FRESH if why is None else Verdict(State.STALE, why)

    def _why_stale(
        self, declared: Declared, partition: str, receipt: Receipt | None, kept: Collection[str]
    ) -> str | None:
        inputs = self.inputs(declared, partition, only_counted=receipt is not None, previous=receipt, kept=kept)
        if receipt is None:
            damage = self.receipts.unreadable.get(declared.cell(partition))
            return "its receipt cannot be read" if damage else "never made"
        if receipt.settings != declared.settings_digest:
            return "its settings changed"
        if receipt.inputs != inputs.counted:
            names = inputs.counted.keys() | receipt.inputs.keys()
            changed = sorted(n for n in names if inputs.counted.get(n) != receipt.inputs.get(n))
            return f"changed: {', '.join(changed[:3])}" + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        gone = self.archive.store.missing(receipt)
        if gone is not None:
            self.require_sources(declared, partition, f"its file {gone} is gone")
            return f"its file {gone} is gone"
        if isinstance(declared, Step) and declared.product is not None:
            return self.archive.products.why_not_all_here(declared.products, receipt.digest)
        if isinstance(declared, Step) and declared.again is not None:
            return declared.again(self.archive, self.archive.value(declared.holds, {partition: receipt}))
        return None

    def require_sources(self, declared: Declared, partition: str, harm: str) -> None:
        """Raise where a cell that was harmed could not be made again as it was, because files it was made from are gone.

        Made all the same, it would hold less than before, and everything after it would follow.

        Parameters
        ----------
        declared, partition
            The cell.
        harm
            What happened to it, in words.

        Raises
        ------
        DamagedStore
            With what to bring back.
        """
        if isinstance(declared, Step) and declared.lost_sources is not None:
            lost = declared.lost_sources(self.archive, partition)
            if lost is not None:
                raise DamagedStore(f"{harm}, and it cannot be made again: {lost}")

    def cells(self, declared: Declared) -> list[Cell]:
        """All cells of a step or check that the profile and the batches at hand ask for."""
        keys = declared.partitions.keys(declared.where, self.archive.batches)
        return [declared.cell(key) for key in keys]

    def cells_around(self, cells: Iterable[tuple[Declared, str]]) -> Iterator[Cell]:
        """Cells whose receipts a verdict on these looks at, as far as is known beforehand: themselves, what they read, checks of that."""
        if self.archive.store.folder.is_local:  # nothing is gained by reading them at once
            return
        for declared, partition in cells:
            yield declared.cell(partition)
            for read in declared.reads.values():
                for cell in self.cells_read(declared, read, partition):
                    yield cell
                    yield from (
                        check.cell(cell.partition) for check in self.graph.checks_of(cell.asset) if check.blocking
                    )

    def held(self, key: str) -> dict[str, Receipt]:
        """Partition -> receipt, of the cells of an asset that are asked for and made."""
        self.receipts.expect(self.cells(self.graph[key]))
        receipts = {cell.partition: self.receipts.current(cell) for cell in self.cells(self.graph[key])}
        return {partition: receipt for partition, receipt in receipts.items() if receipt is not None}

    # --------------------------------------------------------------------------------------------------------- inputs

    def inputs(
        self,
        declared: Declared,
        partition: str,
        *,
        only_counted: bool = False,
        previous: Receipt | None = None,
        kept: Collection[str] = (),
    ) -> Inputs:
        """What the cell reads now.

        Parameters
        ----------
        declared, partition
            The cell.
        only_counted
            Leave out what cannot make the cell stale.
        previous
            A receipt of the cell: a part is not computed again where nothing of what it is a part of has changed.
        kept
            Names of reads whose part is taken to be as `previous` has it.

        Raises
        ------
        MissingArtefact
            For a cell that is not there, or is not fresh where it must be.
        Unsound
            For a cell that did not pass a blocking check.
        DamagedStore
            If a stored file that a part is computed from is gone or changed.
        """
        inputs = Inputs()
        counting = {name for name, read in declared.reads.items() if read.counts or not only_counted} - {*kept}
        needed = counting | {other for name in counting for other in declared.reads[name].of}
        reads = {name: read for name, read in declared.reads.items() if name in needed}
        for name, read in reads.items():
            gathered = self._gather(declared, read, partition)
            if not read.optional and not isinstance(declared, Check):  # a check may look at what did not pass
                if not gathered.are_sound:
                    for cell, receipt in gathered.receipts.items():
                        self.require_sound(cell, receipt)
                gathered.are_sound = True
            inputs.add(name, gathered)
        values: dict[str, Any] = {}
        inputs.counted |= {name: previous.inputs[name] for name in kept if previous and name in previous.inputs}
        for name, read in reads.items():
            if not read.counts or name in kept:
                continue
            if read.part_of is None and read.over is not Over.SOURCE:
                inputs.counted |= {str(c): r.digest for c, r in inputs.by_read[name].items()}
            elif previous is not None and self._untouched(declared, name, inputs, previous):
                inputs.counted[name] = previous.inputs[name]
            else:
                inputs.counted[name] = self._value(declared, name, partition, inputs, values).digest
        return inputs

    def values(self, declared: Declared, partition: str, inputs: Inputs) -> dict[str, Any]:
        """What the step's function gets: a value (or its part) for each read, by name."""
        values: dict[str, Any] = {}
        return {name: self._value(declared, name, partition, inputs, values) for name in declared.reads}

    def value(self, declared: Declared, name: str, partition: str) -> Any:
        """The whole value that a read names now, of which the cell may use a part.

        Raises
        ------
        MissingArtefact
            If a cell of it was not made yet.
        """
        read = declared.reads[name]
        return self._whole(declared, read, self._receipts_of(declared, read, partition))

    def require_sound(self, cell: Cell, receipt: Receipt) -> None:
        """Raise where a blocking check of the cell did not pass, or was not run on what it holds now.

        Dagster stops at such a check only within the run that made the cell; we stop in every later one too.

        Raises
        ------
        Unsound
            With the check and its outcome.
        """
        for check in self.graph.checks_of(cell.asset):
            if not check.blocking:
                continue
            looked = self.receipts.current(check.cell(cell.partition))
            seen = looked.origin(cell) if looked is not None else None
            if looked is None or seen is None or seen.digest != receipt.digest:
                raise Unsound(
                    f"{cell} was not checked yet ({check.check_name}): `enrich run` does it", check.cell(cell.partition)
                )
            if not looked.metrics["passed"]:
                raise Unsound(
                    f"{cell} did not pass its check {check.check_name} ({looked.metrics['description']}), so nothing is made of it"
                )

    def unsound(self) -> Iterator[tuple[Cell, str]]:
        """Blocking checks that what is held now did not pass, with the reason: nothing is up to date on them."""
        blocking = [check for check in self.graph.checks.values() if check.blocking]
        if not self.archive.store.folder.is_local:
            checks = [cell for check in blocking for cell in self.cells(check)]
            checked = [Cell(check.asset, cell.partition) for check in blocking for cell in self.cells(check)]
            self.receipts.expect([*checks, *checked])
        for check in blocking:
            for cell in self.cells(check):
                looked = self.receipts.current(cell)
                of = self.receipts.current(Cell(check.asset, cell.partition))
                if looked is None or of is None or looked.metrics["passed"]:
                    continue
                seen = looked.origin(of.cell)
                if seen is not None and seen.digest == of.digest:
                    yield cell, f"{DID_NOT_PASS}{looked.metrics['description']}"

    def cells_read(self, declared: Declared, read: Read, partition: str) -> list[Cell]:
        """The cells that a read of a cell names, whether they are there or not."""
        if read.over is Over.CHECKS:
            return [cell for check in self.graph.checks.values() for cell in self.cells(check)]
        at = declared.key, id(read)
        self._forget_what_changed()
        if at in self._every:
            return self._every[at]
        batches, cells = self.archive.batches, []
        for key in self._keys_read(declared, read):
            upstream = self.graph.steps[key]
            cells += [Cell(key, of) for of in read.partitions(upstream.partitions, upstream.where, partition, batches)]
        if read.over is Over.EVERY:
            self._every[at] = cells
        return cells

    def _keys_read(self, declared: Declared, read: Read) -> list[str]:
        """Keys of the assets that a read names; worked out once."""
        at = declared.key, id(read)
        if at not in self._keys:
            self._keys[at] = read.keys(declared.where)
        return self._keys[at]

    def _forget_what_changed(self) -> None:
        """Keep nothing of reads of all cells once there is another batch, or any receipt is another."""
        batches, generation = self.archive.pinned, self.receipts.generation
        if self._seen[0] is not batches or self._seen[1] != generation:
            self._every, self._gathered, self._seen = {}, {}, (batches, generation)

    def _gather(self, declared: Declared, read: Read, partition: str) -> Gathered:
        """The receipts a read names: gathered once for all looks at a cell, and where all batches are read for all cells of a grid."""
        if read.current:
            return Gathered(self._receipts_of(declared, read, partition))
        at = declared.key, id(read), "" if read.over is Over.EVERY else partition
        self._forget_what_changed()
        if at not in self._gathered:
            self._gathered[at] = Gathered(self._receipts_of(declared, read, partition))
        return self._gathered[at]

    def _receipts_of(self, declared: Declared, read: Read, partition: str) -> dict[Cell, Receipt]:
        """The cells a read names, and their receipts; of an optional read those that are there."""
        receipts: dict[Cell, Receipt] = {}
        for cell in self.cells_read(declared, read, partition):
            receipt = self.receipts.current(cell)
            if receipt is None and read.over is Over.ITSELF and cell in self.receipts.unreadable:
                receipt = next(reversed(self.receipts.past(cell)), None)  # a ranking goes on from where it was
            if receipt is None:
                if not read.optional:
                    raise MissingArtefact(f"{cell} {NOT_MADE_YET}", cell)
                continue
            if read.current and not self.verdict(self.graph.steps[cell.asset], cell.partition).is_fresh:
                raise MissingArtefact(
                    f"{cell} was made before something it reads changed: `enrich run` makes it again", cell
                )
            receipts[cell] = receipt
        return receipts

    def _untouched(self, declared: Declared, name: str, inputs: Inputs, previous: Receipt) -> bool:
        """Whether a part must be as it was: the cells it is a part of, and those that choose it, hold what they held."""
        if name not in previous.inputs:
            return False
        chain, assets = [name], set[str]()
        while chain:
            read = declared.reads[chain.pop()]
            if read.over is Over.SOURCE or read.of_receipts:
                return False
            chain += read.of
            assets |= {*self._keys_read(declared, read)}
        if previous.settings != declared.settings_digest:
            return False
        return all(inputs.digests.get(asset, {}) == previous.digests_read.get(asset, {}) for asset in assets)

    def _value(self, declared: Declared, name: str, partition: str, inputs: Inputs, values: dict[str, Any]) -> Any:
        """The value of a read, or the part of it that counts; each worked out once."""
        if name not in values:
            read = declared.reads[name]
            others = [self._value(declared, other, partition, inputs, values) for other in read.of]
            if read.over is Over.SOURCE:
                values[name] = source_value(self.archive, read.asset, partition, *others)
            else:
                values[name] = self._part(declared, read, partition, inputs.by_read.get(name, {}), others)
        return values[name]

    def _part(
        self, declared: Declared, read: Read, partition: str, receipts: dict[Cell, Receipt], others: list[Any]
    ) -> Any:
        """What of the cells that a read names counts; what no other read chooses is worked out once for all cells of a grid."""
        if (part_of := read.part_of) is None:
            return self._whole(declared, read, receipts)
        gathered = self._gather(declared, read, partition)
        if read.over is not Over.EVERY or others or gathered.receipts is not receipts:
            return part_of(declared.where, self._whole(declared, read, receipts), *others)
        return gathered.kept(lambda: part_of(declared.where, self._whole(declared, read, receipts)))

    def _whole(self, declared: Declared, read: Read, receipts: Mapping[Cell, Receipt]) -> Any:
        """A value of all that a read names; of a read of each task or arm, a value by its name."""
        if read.over is Over.CHECKS:
            return dict(receipts)

        def of(key: str) -> Value:
            of_key = {cell.partition: receipt for cell, receipt in receipts.items() if cell.asset == key}
            return self.archive.value(self.graph.steps[key].holds, of_key)

        values = {name: of(place.fill(read.asset)) for name, place in read.places(declared.where).items()}
        if not read.each:
            return values[""]
        return {name[0] if len(name) == 1 else name: value for name, value in values.items()}
