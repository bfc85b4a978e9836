"""Whether what is read is what was written: records that carry their own digest, and files compared once per process.

A file is compared with its digest when it is first read, also one that is only mapped into memory; as long as it has the same
size, time and inode it is not read for that again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Any

from enrich_assets.store.folder import Folder

CHECKSUM = "checksum"
_State = tuple[int, int, int]  # size, time in ns, inode

_compared: dict[tuple[str, str], _State] = {}  # (path, digest) -> the file as it was then; of this process
_lock = threading.Lock()


def is_whole(folder: Folder, name: str, sha256: str) -> bool:
    """Whether a file holds what was written. A local file is read for that once per process.

    Parameters
    ----------
    folder, name
        The file.
    sha256
        Of what was written, in hex.

    Raises
    ------
    FileNotFoundError
        If it is gone.
    """
    state = folder.state(name)
    key = (folder.path(name), sha256)
    with _lock:
        if state is not None and _compared.get(key) == state:
            return True
    whole = folder.digest(name) == sha256
    if whole and state is not None:
        with _lock:
            _compared[key] = state
    return whole


def record_bytes(content: Mapping[str, Any]) -> bytes:
    """A record as JSON, with the digest of its content as its last entry."""
    return json.dumps({**content, CHECKSUM: _digest(content)}, indent=1).encode()


def record_of(content: bytes) -> dict[str, Any]:
    """A record from its JSON. One that an earlier version wrote carries no digest, and is taken as it is.

    Raises
    ------
    ValueError
        If it is no JSON object, or not what its digest says.
    """
    record = json.loads(content)
    if not isinstance(record, dict):
        raise ValueError("not a record")
    checksum = record.pop(CHECKSUM, None)
    if checksum is not None and checksum != _digest(record):
        raise ValueError("not what was written")
    return record


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
