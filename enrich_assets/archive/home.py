"""A home opened: its profile, its store, its key and its locks, as one plain object. Nothing here knows of Dagster.

What is in it is read by `catalogue`; what comes in, by `ingest`. An archive knows the batches that were there when it was opened;
`look_again` is how it hears of later ones. So a run works on what was there when it began.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from enrich_assets.archive.key import Key
from enrich_assets.archive.products import Products, lies_in_home
from enrich_assets.archive.profile_kept import ProfileKept
from enrich_assets.archive.values import V
from enrich_assets.profiles.reading import home, load_profile, profile_source
from enrich_assets.settings import Profile
from enrich_assets.store.artefacts import Store
from enrich_assets.store.batches import Batch, Batches
from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import Cell, Receipt
from enrich_assets.store.remote.databases import database_url, is_server
from enrich_assets.store.tracking import Tracking
from enrich_assets.studies.pseudonyms import Pseudonyms

LAYOUT, LAYOUT_FILE = 2, "layout.json"
MARK_FILE = ".mark"
# Environment that `enrich ui` gives its servers, so that runs begun there write links that lead back to it.
DAGSTER_ADDRESS, MLFLOW_ADDRESS = "ENRICH_UI_DAGSTER", "ENRICH_UI_MLFLOW"
VALUES_IN_MEMORY = 64
# Of many cells together: a batch's panel reads the tables of all before it, and sixty-four of those would fill the memory.
WHOLES_IN_MEMORY = 8
# What in a path the addresses of SQLite databases (Dagster, MLflow), DuckDB or fsspec take for something else.
UNFIT = re.compile(r"[?\\\x00-\x1f]|%[0-9A-Fa-f]{2}|::")


# `spread(function, shared, items)`: `function(shared, *item)` for each item on other machines; the results, in the order of the items.
Spread = Callable[[Callable[..., Any], Any, Sequence[tuple[Any, ...]]], Iterator[Any]]


class ForeignHome(RuntimeError):
    """A home that another version of this program wrote, or a path that cannot be one."""


class Archive:
    """A home: its batches, its store and what is published in it.

    Parameters
    ----------
    home_folder
        Holds the databases and the key.
    profile
        The settings.
    store_url
        Any fsspec URL; without it ENRICH_STORE, else `store/` in home.
    batches
        The state to work on; without it the batches that are there at the first look.
    """

    def __init__(
        self,
        home_folder: Path,
        profile: Profile,
        store_url: str | None = None,
        batches: tuple[Batch, ...] | None = None,
    ) -> None:
        self.home = home_folder
        self.profile = profile
        self.store = Store(store_url or os.environ.get("ENRICH_STORE") or str(home_folder / "store"))
        self.register = Batches(self.store.folder)
        self.owns_store = lies_in_home(home_folder, self.store.folder)  # else other homes may stand on it, too
        self.products = Products(home_folder, None if self.owns_store else self.store.folder)
        self.spread: Spread | None = None  # set by an engine that has other machines
        self._batches = batches
        self._names: tuple[tuple[Batch, ...] | None, list[str]] = (None, [])  # of these batches
        self._tracking: dict[str, Tracking] = {}
        self._value = lru_cache(maxsize=VALUES_IN_MEMORY)(self._read_value)
        self._whole = lru_cache(maxsize=WHOLES_IN_MEMORY)(self._read_value)

    @classmethod
    def open(cls, home_folder: str | None = None, profile: str | None = None, store_url: str | None = None) -> Archive:
        """The archive of these, else of this environment: ENRICH_HOME, ENRICH_PROFILE, ENRICH_STORE.

        Parameters
        ----------
        home_folder
            A path; made when something is first written.
        profile
            Name of a built-in one, or a YAML file.
        store_url
            Any fsspec URL.

        Raises
        ------
        ProfileError
            For a profile that cannot be used.
        ForeignHome
            For a home that another version wrote, or whose path no database can be named with.
        """
        folder = Path(home_folder).resolve() if home_folder else home()
        if odd := UNFIT.search(str(folder)):
            raise ForeignHome(
                f"{str(folder)!r} cannot be a home: its databases cannot be named with {odd.group()!r} in the path; name another "
                "ENRICH_HOME"
            )
        archive = cls(folder, load_profile(profile or profile_source(folder)), store_url)
        archive.require_layout()
        return archive

    # --------------------------------------------------------------------------------------------------- its batches

    @property
    def pinned(self) -> tuple[Batch, ...]:
        """The batches this archive works on, in the order in which they were ingested."""
        if self._batches is None:
            self._batches = self.register.all()
        return self._batches

    @property
    def batches(self) -> list[str]:
        """Their names."""
        if self._names[0] is not self.pinned:  # asked for at each look at a cell
            self._names = self.pinned, [batch.name for batch in self.pinned]
        return self._names[1]

    def batch(self, name: str) -> Batch:
        """The batch of that name. Raises LookupError, with the names there are."""
        for batch in self.pinned:
            if batch.name == name:
                return batch
        raise LookupError(f"no batch {name!r} was ingested; there are: {', '.join(self.batches) or 'none'}")

    def keep_to(self, names: Collection[str]) -> None:
        """Work on these batches only, of those that are there."""
        self._batches = tuple(batch for batch in self.pinned if batch.name in names)

    def look_again(self) -> None:
        """See batches and receipts that came since."""
        self._batches = None
        self.store.receipts.refresh()

    # ---------------------------------------------------------------------------------------------------- its version

    def require_layout(self) -> None:
        """Raise for a store that an earlier or later version wrote: it is never read as something it is not.

        Raises
        ------
        ForeignHome
            With what to do.
        """
        folder = self.store.folder
        content = folder.read_many([LAYOUT_FILE]).get(LAYOUT_FILE)
        if content is not None:
            try:
                layout = json.loads(content).get("layout")
            except (ValueError, AttributeError) as error:
                raise ForeignHome(f"{folder.path(LAYOUT_FILE)} is damaged: `enrich repair` writes it again") from error
            if layout != LAYOUT:
                raise ForeignHome(
                    f"{folder.url} has layout {layout}, this program writes layout {LAYOUT}: use the version of enrich-assets "
                    "that wrote it, or another ENRICH_HOME"
                )
        elif folder.exists("batches") and not folder.exists("arrivals"):
            raise ForeignHome(f"{folder.path(LAYOUT_FILE)} is gone: `enrich repair` writes it again")
        elif folder.exists("arrivals/register.json") or folder.exists("receipts"):
            raise ForeignHome(
                f"{folder.url} was written by enrich-assets before layout {LAYOUT}. Nothing was changed. Run `enrich migrate`: it "
                "keeps the batches, their order, imported labels and the key, and sets aside what can be computed again; or "
                "use the version that wrote it, or another ENRICH_HOME"
            )

    def mark_layout(self) -> None:
        """Write down which layout the store has, once."""
        if not self.store.folder.exists(LAYOUT_FILE):
            self.store.folder.write(LAYOUT_FILE, json.dumps({"layout": LAYOUT}).encode())

    # ------------------------------------------------------------------------------------------------ its files and keys

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """Of the key of this home, which is made when files that need it are first ingested. Raises KeyLost where it is gone since."""
        self.make_home()
        return self.key.open()

    @cached_property
    def known_pseudonyms(self) -> Pseudonyms:
        """The same for who reads what was ingested: a key is loaded, never made. Raises KeyLost."""
        return self.key.open(may_create=False)

    @property
    def profile_kept(self) -> ProfileKept:
        """What the home knows of the profile it is run with."""
        return ProfileKept(self.home, None if self.owns_store else self.store.folder)

    @property
    def key(self) -> Key:
        """The key itself: its fingerprint, its copies."""
        return Key(self.home, self.store.folder)

    def make_home(self) -> None:
        """The folder, for nobody but its owner; one that is there stays as it is."""
        if not self.home.is_dir():
            self.home.parent.mkdir(parents=True, exist_ok=True)
            self.home.mkdir(mode=0o700, exist_ok=True)

    @cached_property
    def mark(self) -> str:
        """What tells this home from others that share its Dagster: drawn by chance, once."""
        self.make_home()
        home = Folder(str(self.home))
        if not home.exists(MARK_FILE):
            home.write(MARK_FILE, uuid.uuid4().hex.encode())
        return home.read(MARK_FILE).decode()

    @property
    def published(self) -> Path:
        """The DuckDB file people read."""
        return self.products.path("enrich.duckdb")

    @property
    def report(self) -> Path:
        """The page people open."""
        return self.products.path("report.html")

    @property
    def incoming(self) -> str:
        """URL of the folder that drops come into."""
        return self.profile.incoming.url or str(self.home / "incoming")

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps its runs. Raises NoDatabase."""
        return database_url(self.profile.tracking.uri or f"sqlite:///{self.home / 'mlflow.db'}")

    def tracking(self, task: str) -> Tracking:
        """The MLflow recorder of a task, one per archive and task."""
        if task not in self._tracking:
            settings = self.profile.tracking
            self._tracking[task] = Tracking(
                self.tracking_uri,
                f"enrich/{task}",
                artifacts=settings.artifacts,
                dagster_url=settings.dagster_url or os.environ.get(DAGSTER_ADDRESS, "http://127.0.0.1:3000"),
                mlflow_url=settings.ui_url or self._mlflow_address(),
            )
        return self._tracking[task]

    def _mlflow_address(self) -> str | None:
        """Where people find MLflow if the profile does not say: the server itself, else that of `enrich ui`."""
        uri = self.tracking_uri
        if is_server(uri):
            return uri if uri.startswith("http") and "@" not in uri else None
        return os.environ.get(MLFLOW_ADDRESS, "http://127.0.0.1:5000")

    def value(self, holds: type[V], receipts: Mapping[str, Receipt]) -> V:
        """What some receipts hold, as a value; kept in memory while it is used.

        Parameters
        ----------
        holds
            Type of the value.
        receipts
            Partition -> receipt, in the order of the partitions.
        """
        held = tuple(_Held(receipt) for receipt in receipts.values())
        return (self._value if len(held) < 2 else self._whole)(holds, held)  # type: ignore[arg-type]

    def _read_value(self, holds: type[V], held: tuple[_Held, ...]) -> V:
        return holds(self.store, {one.receipt.partition: one.receipt for one in held})

    # ------------------------------------------------------------------------------------------------------- its locks

    @cached_property
    def ingesting(self) -> FileLock:
        """Held while a batch is named and registered: a sensor's run and an `enrich ingest` may do so at once.

        It spares two arrivals at once the same name. None is lost without it: each has a folder of its own (`store.batches`).
        """
        self.make_home()
        return FileLock(str(self.home / ".ingest.lock"))

    @contextmanager
    def making(self, cell: Cell, run_id: str = "") -> Iterator[bool]:
        """Lock a cell: one maker at a time, on one machine or one shared folder.

        It spares work, and what is kept does not rest on it: artefacts are named by what they hold, and receipts by what they were
        made from, so makers on two machines write the same files, or others.

        Parameters
        ----------
        cell
            What is made.
        run_id
            Who makes it: who ends that run may `free` the cell.

        Yields
        ------
        bool
            Whether we had to wait for another maker: then look at the cell again.
        """
        path = self._lock_path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(path))
        waited = False
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            waited = True
            lock.acquire()
        try:
            path.write_text(run_id, encoding="utf-8")
            yield waited
        finally:
            lock.release()

    def free(self, cell: Cell, run_id: str) -> None:
        """Take a cell's lock from a run that was ended: its process may be frozen, and hold it for ever. What it still makes is refused
        where receipts are written (`Draft.alive`)."""
        path = self._lock_path(cell)
        with suppress(FileNotFoundError):
            if path.read_text(encoding="utf-8") == run_id:
                path.unlink()

    def _lock_path(self, cell: Cell) -> Path:
        below = self.store.folder.local_path("locks") or str(self.home / ".locks")
        return Path(below) / f"{cell.folder}.lock"


class _Held:
    """A receipt as a key of the cache. A cell made again is another value, though its content be the same: a value hands out the
    numbers of its receipt, too (budgets, MLflow runs), which no digest of the content tells apart."""

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self._key = (receipt.cell, receipt.digest, receipt.revision, receipt.created_at)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Held) and self._key == other._key
