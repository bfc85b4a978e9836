"""The key of a home: patients of DICOM files without a manifest are known by hashes under it, and paths are sealed with it.

With another key every such patient would be a new one, on a side of the split of his own. So the store keeps the key's
fingerprint, and no other key is made or used while batches depend on the one that was there.

    <home>/pseudonym.key     the key; nobody else's, mode 0600
    ENRICH_KEY_FILE          another file that holds it: a mounted secret. It is only read
    ENRICH_KEY               the key itself, 64 hex digits, where a secret is handed out by the environment
    store/key.json           its fingerprint

A key is made by who ingests the first files that need one, never by who reads what was ingested, and not by a second home of a store
elsewhere: there the first one's is copied to.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from enrich_assets.archive.products import lies_in_home
from enrich_assets.store.batches import Batches
from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import record_bytes, record_of
from enrich_assets.store.receipts import DamagedStore
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.sealed_paths import is_sealed, unseal

KEY_FILE, RECORD = "pseudonym.key", "key.json"
GIVEN_FILE, GIVEN = "ENRICH_KEY_FILE", "ENRICH_KEY"  # environment
DIGITS = 16  # of a fingerprint, in hex
REMEDY = "put it back: `enrich key restore FILE`, from what `enrich key backup FILE` wrote or any copy of the file"


class KeyLost(RuntimeError):
    """The key that batches depend on is not there, or another one is: says how to put it back."""


class Key:
    """The key of a home, and what the store knows of it.

    Parameters
    ----------
    home
        Folder that holds the key.
    folder
        Of the store.
    """

    def __init__(self, home: Path, folder: Folder) -> None:
        self.path, self.folder = home / KEY_FILE, folder

    def open(self, *, may_create: bool = True) -> Pseudonyms:
        """The pseudonyms of the key; a new one, where nothing depends on any yet.

        Parameters
        ----------
        may_create
            False for who only reads what was ingested: a worker, another node.

        Raises
        ------
        KeyLost
            If batches depend on a key that is not there, or is another one; if what should hold the key does not; if there is none
            and none may be made.
        """
        where, text = self._given()
        if text is not None:
            pseudonyms = _of_text(text, where)
        elif self.path.exists() or (may_create and not self._must_not_create()):
            try:
                pseudonyms = Pseudonyms.load_or_create(str(self.path))
            except ValueError as error:
                raise KeyLost(str(error)) from error
        else:
            raise KeyLost(
                f"{self.path} is not there, and no key is made here: copy that of the home that ingests, or name it "
                f"({GIVEN_FILE}, or {GIVEN} for a secret of the environment); `enrich key backup FILE` copies it"
            )
        self._require_the_one_used(pseudonyms, where)
        return pseudonyms

    def _given(self) -> tuple[str, str | None]:
        """Where the key comes from, and what stands there if that is not home's own file."""
        if os.environ.get(GIVEN):
            return GIVEN, os.environ[GIVEN]
        if file := os.environ.get(GIVEN_FILE):
            try:
                return file, Path(file).read_text(errors="replace")
            except OSError as error:
                raise KeyLost(f"{GIVEN_FILE} names {file}, which cannot be read ({error.strerror})") from error
        return str(self.path), None

    def _must_not_create(self) -> bool:
        """Whether another home has made the key of this store. Raises KeyLost where batches depend on it."""
        if sealed := self._sealed():
            raise KeyLost(
                f"{self.path} is gone, and {_named(sealed)} {'was' if len(sealed) == 1 else 'were'} ingested with it: with another "
                f"key all their patients would be new ones. {REMEDY[0].upper()}{REMEDY[1:]}"
            )
        return not lies_in_home(self.path.parent, self.folder) and self._known() is not None

    def fingerprint(self) -> str:
        """Of the key that is there. Raises KeyLost; FileNotFoundError where there is none yet."""
        if self._given()[1] is None and not self.path.exists() and not self._sealed():
            raise FileNotFoundError(f"{self.path} is not there yet: it is made when it is first needed")
        return fingerprint(self.open())

    def backup(self, file: Path) -> str:
        """Copy the key.

        Parameters
        ----------
        file
            Made with mode 0600; one that is there already is never replaced.

        Returns
        -------
        str
            The fingerprint of the key.

        Raises
        ------
        FileExistsError
            If something else is there.
        FileNotFoundError
            If there is no key yet.
        KeyLost
            If the key is not the one that batches depend on.
        """
        seen = self.fingerprint()
        text = self._given()[1]
        content = self.path.read_bytes() if text is None else f"{text.strip()}\n".encode()
        if file.exists() and file.read_bytes() == content:
            return seen
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())
        return seen

    def restore(self, file: Path) -> str:
        """Put a key back from a copy. Another key that lies there is kept beside it.

        Returns
        -------
        str
            The fingerprint of the key.

        Raises
        ------
        KeyLost
            If it is not the key that batches depend on.
        ValueError
            If the file holds no key.
        FileNotFoundError
            If there is no such file.
        """
        content = file.read_bytes()
        pseudonyms = Pseudonyms.read(str(file))
        self._require_the_one_used(pseudonyms, str(file))
        if self.path.exists():
            if self.path.read_bytes() == content:
                return fingerprint(pseudonyms)
            names = (self.path.with_name(f"{KEY_FILE}.replaced-{i}") for i in range(1, 1000))
            self.path.rename(next(name for name in names if not name.exists()))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as key:
            key.write(content)
            key.flush()
            os.fsync(key.fileno())
        return fingerprint(pseudonyms)

    def _require_the_one_used(self, pseudonyms: Pseudonyms, where: str) -> None:
        """Compare with the fingerprint in the store, or with what was sealed; then note the fingerprint."""
        seen, known = fingerprint(pseudonyms), self._known()
        if seen == known:
            return
        sealed = self._sealed()
        if sealed and not all(_opens(source, pseudonyms) for source in sealed.values()):
            raise KeyLost(
                f"{where} (fingerprint {seen}) is not the key that {_named(sealed)} {'was' if len(sealed) == 1 else 'were'} ingested "
                f"with{f' ({known})' if known else ''}: with it all their patients would be new ones. The right one: {REMEDY}"
            )
        with contextlib.suppress(OSError):  # a home one may only read
            self.folder.write(RECORD, record_bytes({"fingerprint": seen}))

    def _known(self) -> str | None:
        try:
            return str(record_of(self.folder.read(RECORD))["fingerprint"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _sealed(self) -> dict[str, str]:
        """Batches that depend on the key -> their sealed source."""
        try:
            return {batch.name: batch.source for batch in Batches(self.folder).all() if is_sealed(batch.source)}
        except DamagedStore as damage:
            raise KeyLost(
                f"{self.path} may not be the key that batches depend on, and which did is not known: {damage}"
            ) from damage


def fingerprint(pseudonyms: Pseudonyms) -> str:
    """What tells keys apart, and says nothing of them."""
    return pseudonyms.derived_key("fingerprint").hex()[:DIGITS]


def _of_text(text: str, where: str) -> Pseudonyms:
    try:
        return Pseudonyms.of_text(text, where)
    except ValueError as error:
        raise KeyLost(str(error)) from error


def _opens(source: str, pseudonyms: Pseudonyms) -> bool:
    try:
        unseal(source.split(" ")[0], pseudonyms)  # several drops: `<sealed> and 3 more`
    except LookupError:
        return False
    return True


def _named(sealed: dict[str, str]) -> str:
    names = list(sealed)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"batch{'es' if len(names) > 1 else ''} {', '.join(names[:3])}{more}"
