"""The profile that a home is run with, kept beside what was made by it: where it came from, and home's own `enrich.yaml` word for word.

A store outside home gets the whole profile, `profile.yaml`: another home, or a run that the UI launches elsewhere, reads it there.

Without `enrich.yaml` a home falls back on the profile for any archive. Under that, everything would be trained again, without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from enrich_assets.settings import Profile
from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import record_bytes, record_of
from enrich_assets.store.receipts import digest_of

RECORD, OWN, FALLBACK = ".profile.json", "enrich.yaml", "archive"
SHARED = "profile.yaml"  # in the store; `profiles.reading` looks for it


class ProfileLost(RuntimeError):
    """The profile a home was made with is not named any more."""


class ProfileKept:
    """What a home knows of its profile."""

    def __init__(self, home: Path, shared: Folder | None = None) -> None:
        self.home, self.shared = home, shared

    def keep(self, profile: Profile, source: str) -> None:
        """Note the profile that a run works with.

        Parameters
        ----------
        profile, source
            What `profiles.profile_source` names, and as it was read.
        """
        own = self.home / OWN
        is_own = Path(source) == own
        record = {
            "source": OWN if is_own else source,
            "name": profile.name,
            "digest": digest_of(profile.model_dump(mode="json")),
            "text": own.read_text(encoding="utf-8-sig") if is_own else "",
        }
        if record != self._record():
            Folder(str(self.home)).write(RECORD, record_bytes(record))
        if self.shared is not None:
            whole = json.dumps(profile.model_dump(mode="json"), indent=1).encode()
            if self.shared.read_many([SHARED]).get(SHARED) != whole:
                self.shared.write(SHARED, whole)

    def require(self, source: str) -> str | None:
        """Raise where the profile would be another one only because nobody names it any more.

        Parameters
        ----------
        source
            What names the profile now.

        Returns
        -------
        str or None
            A note, where another profile was named on purpose.

        Raises
        ------
        ProfileLost
            With what to do.
        """
        before = str(self._record().get("source", ""))
        now = OWN if Path(source) == self.home / OWN else source
        if not before or before == now:
            return None
        if now == FALLBACK and not os.environ.get("ENRICH_PROFILE"):
            what = (
                f"{self.home / OWN} is gone, and this home was made with it: `enrich repair` puts back the copy that was kept"
                if before == OWN
                else f"this home was made with profile {before}: `enrich --profile {before} run`"
            )
            raise ProfileLost(
                f"{what}. Under profile {FALLBACK} everything would be trained again; if that is meant: `enrich --profile {FALLBACK} run`"
            )
        return f"this home was run with profile {before} before, now with {now}"

    @property
    def lost_text(self) -> str | None:
        """The text of home's own `enrich.yaml`, where that is gone and was kept."""
        record = self._record()
        if record.get("source") == OWN and not (self.home / OWN).exists():
            return str(record.get("text") or "") or None
        return None

    def restore(self) -> None:
        """Write the kept `enrich.yaml` again."""
        if self.lost_text is not None:
            Folder(str(self.home)).write(OWN, self.lost_text.encode())

    def _record(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return record_of((self.home / RECORD).read_bytes())
        return {}
