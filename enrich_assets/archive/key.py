"""The key of a home: patients of DICOM files without a manifest are known by hashes under it, and paths are sealed with it.

With another key every such patient would be a new one, on a side of the split of his own. So the store keeps the key's
fingerprint, and no other key is made or used while batches depend on the one that was there.

    <home>/pseudonym.key     the key; nobody else's, mode 0600
    store/key.json           its fingerprint
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from enrich_assets.store.batches import Batches
from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import record_bytes, record_of
from enrich_assets.store.receipts import DamagedStore
from enrich_assets.studies.dicom import Pseudonyms, is_sealed, unseal

KEY_FILE, RECORD = "pseudonym.key", "key.json"
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

    def open(self) -> Pseudonyms:
        """The pseudonyms of the key; a new one, where nothing depends on any yet.

        Raises
        ------
        KeyLost
            If batches depend on a key that is not there, or is another one; if the file holds no key.
        """
        if not self.path.exists() and (sealed := self._sealed()):
            raise KeyLost(
                f"{self.path} is gone, and {_named(sealed)} {'was' if len(sealed) == 1 else 'were'} ingested with it: with another "
                f"key all their patients would be new ones. {REMEDY[0].upper()}{REMEDY[1:]}"
            )
        try:
            pseudonyms = Pseudonyms.load_or_create(str(self.path))
        except ValueError as error:
            raise KeyLost(str(error)) from error
        self._require_the_one_used(pseudonyms, str(self.path))
        return pseudonyms

    def fingerprint(self) -> str:
        """Of the key that is there. Raises KeyLost; FileNotFoundError where there is none yet."""
        if not self.path.exists() and not self._sealed():
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
        content = self.path.read_bytes()
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
