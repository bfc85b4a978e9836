"""Keyed hashes in place of what identifies patients: names, UIDs, dates, files. The key is kept at one place and never shown."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from typing import NoReturn

_KEY_BYTES = 32
_HEX_DIGITS = 16
_MOST_DAYS = 3650


class Pseudonyms:
    """Keyed hashes (HMAC-SHA256) in place of identifiers; whoever lacks the key can neither reverse nor test a guess.

    The same identifier gives the same pseudonym for as long as the key lives, so a patient who comes again is known
    again. The key appears nowhere: not in repr, not in errors, and it refuses to be pickled.
    """

    __slots__ = ("__key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise ValueError(f"a key has {_KEY_BYTES} bytes")
        self.__key = key

    @classmethod
    def load_or_create(cls, path: str | os.PathLike[str]) -> Pseudonyms:
        """The key kept at `path`, made on first use: mode 0600, whole or not at all, one winner if several start.

        Raises
        ------
        ValueError
            The file holds no key (its content is not quoted).
        """
        path = os.fspath(path)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            beside = f"{path}.{secrets.token_hex(4)}"
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(_KEY_BYTES) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):  # another process was first: its key holds
                    os.link(beside, path)
            finally:
                os.unlink(beside)
        if os.stat(path).st_mode & 0o077:
            os.chmod(path, 0o600)
        return cls.read(path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Pseudonyms:
        """The key kept at `path`.

        Raises
        ------
        ValueError
            The file holds no key (its content is not quoted).
        FileNotFoundError
            If it is not there.
        """
        with open(path, errors="replace") as file:
            return cls.of_text(file.read(4 * _KEY_BYTES), os.fspath(path))

    @classmethod
    def of_text(cls, text: str, where: str) -> Pseudonyms:
        """The key as it stands in a file or a secret.

        Parameters
        ----------
        text
            64 hex digits.
        where
            It came from, for the error.

        Raises
        ------
        ValueError
            The text is no key (it is not quoted).
        """
        if not re.fullmatch(rf"[0-9a-f]{{{2 * _KEY_BYTES}}}", text.strip()):
            raise ValueError(
                f"{where}: does not hold a pseudonym key: `enrich key restore FILE` puts a copy back (without "
                "one, patients already in the archive would get other pseudonyms)"
            )
        return cls(bytes.fromhex(text.strip()))

    def __repr__(self) -> str:
        return "Pseudonyms(key hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Pseudonyms holds a secret key and is not pickled; call load_or_create where it is needed")

    def _digest(self, purpose: str, text: str) -> bytes:
        plain = unicodedata.normalize("NFC", text).strip(" \0")
        return hmac.digest(self.__key, f"{purpose}\0{plain}".encode("utf-8", "surrogateescape"), hashlib.sha256)

    def derived_key(self, purpose: str) -> bytes:
        """32 bytes for another keyed purpose of the same archive; this key itself stays hidden."""
        return self._digest("derived key", purpose)

    def patient(self, identifier: str) -> str:
        """The pseudonym of a patient: P and 16 hex digits."""
        return "P" + self._digest("patient", identifier).hex()[:_HEX_DIGITS]

    def study(self, uid: str, patient: str = "") -> str:
        """The pseudonym of a study.

        With the patient's identifier, two patients who share a study UID (by a mistake) still have two studies.
        """
        return "S" + self._digest("study", f"{patient}\0{uid}").hex()[:_HEX_DIGITS]

    def clip(self, uid: str, patient: str = "") -> str:
        """The pseudonym of a clip, from the UID of its instance or series."""
        return "C" + self._digest("clip", f"{patient}\0{uid}").hex()[:_HEX_DIGITS]

    def file(self, path: str) -> str:
        """What a file of a sealed folder is called, from its address: F and 12 hex digits."""
        return "F" + self._digest("file", path).hex()[:12]

    def day_shift(self, patient: str) -> int:
        """Days to add to every date of the patient (identifier, not pseudonym): -1 to -3650, never 0."""
        return -1 - int.from_bytes(self._digest("days", patient)[:8], "big") % _MOST_DAYS

    def second_shift(self, patient: str) -> int:
        """Seconds by which every time of the patient is moved back: 1 to 86,399."""
        return 1 + int.from_bytes(self._digest("seconds", patient)[:8], "big") % 86_399

    def shifted(self, date: str, patient: str) -> str | None:
        """A DICOM date (YYYYMMDD or YYYY.MM.DD) moved by the patient's shift, as YYYY-MM-DD; None if it is no date."""
        found = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", date.strip()[:10])
        if not found:
            return None
        try:
            day = datetime.date(*map(int, found.groups()))
            return (day + datetime.timedelta(days=self.day_shift(patient))).isoformat()
        except (ValueError, OverflowError):
            return None
