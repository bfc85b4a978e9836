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
BEFORE = "of what stands before: "  # in a digest of a record's text, which costs a tenth of one of its content
END = '"\n}'
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
    """A record as JSON; its last entry is the digest of all text before that entry."""
    text = json.dumps({**content, CHECKSUM: ""}, indent=1)
    before = text[: -len(_entry(""))]
    return (before + _entry(BEFORE + hashlib.sha256(before.encode()).hexdigest())).encode()


def record_of(content: bytes) -> dict[str, Any]:
    """A record from its JSON; see `whole_text`."""
    record: dict[str, Any] = json.loads(whole_text(content))
    return record


def whole_text(content: bytes) -> bytes:
    """A record as JSON, without its digest. One of an earlier version has a digest of its content, or none and is taken as it is.

    Raises
    ------
    ValueError
        If it is no JSON object, or not what its digest says.
    """
    before, mark, digest = content.rpartition(_entry(BEFORE).removesuffix(END).encode())
    if mark:
        if digest != (hashlib.sha256(before).hexdigest() + END).encode():
            raise ValueError("not what was written")
        return before.rstrip().removesuffix(b",") + b"}"
    record = json.loads(content)
    if not isinstance(record, dict):
        raise ValueError("not a record")
    checksum = record.pop(CHECKSUM, None)
    if checksum is not None and checksum != _digest(record):
        raise ValueError("not what was written")
    return json.dumps(record).encode()


def _entry(checksum: str) -> str:
    """How a record ends."""
    return f'"{CHECKSUM}": "{checksum}{END}'


def _digest(content: Mapping[str, Any]) -> str:
    """As an earlier version had it: of the content, whatever its text."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
