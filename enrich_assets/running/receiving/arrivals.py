"""Instances as they come, kept study by study; a study that has been quiet for a while is handed over as one drop.

    incoming/.receiving/<study>/<instance>.dcm       on its way; the sensor passes by names that begin with a dot
    incoming/.received/<study>.json                  instance -> sha256 of what was handed over
    incoming/<study>-<n>/...                         handed over by one rename, with `_READY`

Studies and instances are named by digests of their UIDs, since a UID leads back to a patient. Nothing of the network here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from enrich_assets.studies.drops import READY

UNDER_WAY, HANDED_OVER = ".receiving", ".received"
_LENGTH = 16  # of a name, in hex digits


class Kept(Enum):
    """What became of an instance."""

    NEW = "new"
    AGAIN = "again"  # the same bytes were there
    ANOTHER = "another"  # other bytes under the same UID: the first stay


class NoSpace(OSError):
    """The disk is full, or its owner may hold no more; nothing of the instance was kept."""


class Arrivals:
    """What comes into `incoming/`, from however many threads.

    Parameters
    ----------
    incoming : Path
        Made if it is not there, for its owner alone.
    quiet_seconds : float
        A study of which nothing came for so long is whole.
    under_way : str
        Folder below `incoming/` for what is on its way; one for each way to come.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        incoming: Path,
        quiet_seconds: float,
        *,
        under_way: str = UNDER_WAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.incoming, self.quiet_seconds, self._clock = incoming, quiet_seconds, clock
        self._under_way, self._handed_over = incoming / under_way, incoming / HANDED_OVER
        for folder in (incoming, self._under_way, self._handed_over):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.RLock()
        # What an earlier process left: as old as its newest file.
        self._last: dict[str, float] = {
            study.name: max((file.stat().st_mtime for file in study.iterdir()), default=study.stat().st_mtime)
            for study in self._under_way.iterdir()
            if study.is_dir()
        }

    def keep(self, study_uid: str, instance_uid: str, content: bytes) -> Kept:
        """Keep one instance, whole or not at all.

        Parameters
        ----------
        content : bytes
            A DICOM file.

        Raises
        ------
        NoSpace
            The disk is full.
        OSError
            It cannot be written for another reason.
        """
        study, instance, digest = _name(study_uid), _name(instance_uid), hashlib.sha256(content).hexdigest()
        with self._lock:
            known = self._ledger(study).get(instance) or self._digest_under_way(study, instance)
            if known is not None:
                return Kept.AGAIN if known == digest else Kept.ANOTHER
            folder = self._under_way / study
            folder.mkdir(mode=0o700, exist_ok=True)
            self._last[study] = self._clock()
        beside = folder / f".{instance}.{threading.get_ident()}"
        try:
            beside.write_bytes(content)
            os.replace(beside, folder / f"{instance}.dcm")
        except OSError as error:
            beside.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(error.errno, "no space is left for what is sent", str(folder)) from error
            raise
        with self._lock:
            self._last[study] = self._clock()
        return Kept.NEW

    def hand_over(self, whole: str | None = None) -> list[str]:
        """Make drops of the studies that have been quiet long enough.

        Parameters
        ----------
        whole : str, optional
            UID of a study that is known to be whole: of this one alone, at once.

        Returns
        -------
        list of str
            Names of the new drops.
        """
        with self._lock:
            now = self._clock()
            quiet = [study for study, last in self._last.items() if abs(now - last) >= self.quiet_seconds]
            # abs: a clock set back must not hold a study back for ever
            if whole is not None:
                quiet = [study for study in self._last if study == _name(whole)]
            return [drop for study in sorted(quiet) if (drop := self._hand_over(study))]

    @property
    def studies_under_way(self) -> int:
        """How many are not handed over."""
        return len(self._last)

    def _hand_over(self, study: str) -> str | None:
        folder = self._under_way / study
        for left in folder.glob(".*"):  # cut off by the end of an earlier process
            left.unlink()
        files = sorted(folder.glob("*.dcm"))
        del self._last[study]
        if not files:
            folder.rmdir()
            return None
        ledger = self._ledger(study)
        ledger |= {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        (folder / READY).touch()
        number = 1
        while (drop := self.incoming / f"{study}-{number}").exists():
            number += 1
        os.rename(folder, drop)
        beside = self._handed_over / f".{study}.json"
        beside.write_text(json.dumps(ledger, sort_keys=True), encoding="utf-8")
        os.replace(beside, self._handed_over / f"{study}.json")
        return drop.name

    def _ledger(self, study: str) -> dict[str, str]:
        """Instance -> sha256 of what was handed over; what cannot be read counts as nothing, and is sent once more."""
        try:
            read = json.loads((self._handed_over / f"{study}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}

    def _digest_under_way(self, study: str, instance: str) -> str | None:
        try:
            return hashlib.sha256((self._under_way / study / f"{instance}.dcm").read_bytes()).hexdigest()
        except OSError:
            return None


def _name(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:_LENGTH]
