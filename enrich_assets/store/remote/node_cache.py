"""Files of a store elsewhere, kept on this node by their sha256: fetched once, compared with it, then mapped into memory.

    <cache>/<first two hex digits>/<sha256>

What a file is called says what it holds, so nothing in here is ever out of date. The least recently used go first when it is full.
The files are frames of patients like any other of the store: the folder is its owner's alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import is_whole

FOLDER, SIZE = "ENRICH_CACHE", "ENRICH_CACHE_SIZE"  # environment
DEFAULT_BYTES, LOOKS = 20_000_000_000, 20
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
FULL = (errno.ENOSPC, errno.EDQUOT)


class NotAsNamed(RuntimeError):
    """What was fetched is not what its digest says."""


class NodeCache:
    """A folder of files by sha256, of a bounded size; any number of processes of this node share it.

    Parameters
    ----------
    root
        Made when something is first kept.
    most_bytes
        How much is kept. A file larger than that is kept alone.
    """

    def __init__(self, root: Path, most_bytes: int = DEFAULT_BYTES) -> None:
        self.root, self.most_bytes = root, most_bytes
        self._folder = Folder(str(root))
        self._held: int | None = None  # bytes, as far as this process knows
        self._since = 0  # bytes that this process has added since it last looked
        self._lock = threading.Lock()

    @classmethod
    def of_this_node(cls) -> NodeCache:
        """`ENRICH_CACHE`, else `enrich-assets` below the user's cache folder; `ENRICH_CACHE_SIZE` says how large (20G).

        Raises
        ------
        ValueError
            For a size that is none.
        """
        below = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        root = Path(os.environ.get(FOLDER) or Path(below) / "enrich-assets")
        return cls(root, bytes_of(os.environ[SIZE]) if os.environ.get(SIZE) else DEFAULT_BYTES)

    def file(self, sha256: str, fetch: Callable[[str], None]) -> Path:
        """The file of a digest on this node, whole.

        Parameters
        ----------
        sha256
            In hex.
        fetch
            Writes it to the path it is given; only called where it is not here, or not whole any more.

        Raises
        ------
        NotAsNamed
            If what was fetched has another digest. It is not kept.
        FileNotFoundError
            If `fetch` finds none.
        OSError
            With ENOSPC, if there is no room though all else was removed.
        """
        name = f"{sha256[:2]}/{sha256}"
        path = self.root / name
        with contextlib.suppress(FileNotFoundError):
            if is_whole(self._folder, name, sha256):
                os.utime(path)  # used now
                return path
            path.unlink()  # the disk has changed it
        try:
            self._fetch(path, sha256, fetch)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self.shrink(0)
            self._fetch(path, sha256, fetch)
        self._count(path.stat().st_size)
        return path

    def _fetch(self, path: Path, sha256: str, fetch: Callable[[str], None]) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        beside = path.with_name(f".{sha256[:16]}.{uuid.uuid4().hex[:8]}")
        try:
            fetch(str(beside))
            with beside.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise NotAsNamed(sha256)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    def _count(self, more: int) -> None:
        with self._lock:
            self._since += more
            if self._held is None or self._since > self.most_bytes // LOOKS:  # other processes keep files here, too
                self._held, self._since = sum(size for _, size, _ in self._files()), 0
            else:
                self._held += more
            full = self._held > self.most_bytes
        if full:
            self.shrink(self.most_bytes * 9 // 10)

    def shrink(self, to_bytes: int) -> None:
        """Remove the least recently used files until no more than so many bytes are left; the newest one stays.

        Who has mapped a file that goes keeps what is mapped.
        """
        with self._lock:
            files = sorted(self._files())
            held = sum(size for _, size, _ in files)
            for _, size, path in files[:-1]:
                if held <= to_bytes:
                    break
                path.unlink(missing_ok=True)
                held -= size
            self._held = held

    def _files(self) -> list[tuple[int, int, Path]]:
        """Time of last use in ns, size, path."""
        found = []
        for path in self.root.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        return found


def bytes_of(text: str) -> int:
    """`20G`, `500MB`, `1000000000`: bytes, in powers of ten.

    Raises
    ------
    ValueError
        For any other text.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if not found:
        raise ValueError(f"{SIZE}: {text!r} is no size; 20G, 500M or a number of bytes")
    return int(float(found[1]) * UNITS[found[2].upper()])
