"""A folder behind a URL: whole files read and written through fsspec, so that a reader never sees half of one.

Only bytes and names live here; what the bytes mean is the business of the modules beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Folder:
    """A folder at a URL (`/srv/enrich`, `file:///srv/enrich`, `memory://test`, `s3://bucket/enrich`)."""

    def __init__(self, url: str) -> None:
        self.fs, root = fsspec.core.url_to_fs(url)
        self.root = root.rstrip("/")
        self.url = url.rstrip("/")

    def __repr__(self) -> str:
        return f"Folder({self.url!r})"

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.url}/{name}")

    def path(self, name: str) -> str:
        """Path of a file or folder, as the file system knows it."""
        return f"{self.root}/{name}"

    def local_path(self, name: str) -> str | None:
        """The path on this machine, or None where the folder lies elsewhere."""
        return self.path(name) if isinstance(self.fs, LocalFileSystem) else None

    @contextlib.contextmanager
    def local_copy(self, name: str) -> Iterator[str]:
        """A path on this machine that holds the file: itself where it is local, else a copy for the while."""
        local = self.local_path(name)
        if local is not None:
            yield local
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, name.rpartition("/")[2])
            self.fs.get_file(self.path(name), copy)
            yield copy

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        return bool(self.fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """All of a file. Raises FileNotFoundError."""
        return self.fs.cat_file(self.path(name))

    def write(self, name: str, content: bytes) -> None:
        """Write beside, then rename: the name holds either what it held before or all of `content`."""
        target = self.path(name)
        parent, _, base = target.rpartition("/")
        self.fs.makedirs(parent, exist_ok=True)
        beside = f"{parent}/.{base}.{uuid.uuid4().hex[:8]}"
        if isinstance(self.fs, LocalFileSystem):
            try:
                with open(beside, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, target)
            except BaseException:  # a full disk: what is half written must not fill it further
                with contextlib.suppress(OSError):
                    os.unlink(beside)
                raise
        else:  # an object store's put is whole or not at all
            self.fs.pipe_file(target, content)

    def digest(self, name: str) -> str:
        """sha256 of the file as it stands now, in hex."""
        digest = hashlib.sha256()
        with self.fs.open(self.path(name), "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def state(self, name: str) -> tuple[int, int, int] | None:
        """Size, time of the last change in ns, and inode of a local file; None elsewhere. Raises FileNotFoundError."""
        local = self.local_path(name)
        if local is None:
            return None
        status = os.stat(local)
        return status.st_size, status.st_mtime_ns, status.st_ino

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return int(self.fs.size(self.path(name)) or 0)

    def changed_at(self, name: str) -> float:
        """When the file was last written, in seconds since 1970."""
        return float(self.fs.modified(self.path(name)).timestamp())

    def remove_empty_folders(self, *names: str) -> None:
        """Remove the folders below these that hold nothing, on a local disk; elsewhere there are none."""
        for name in names:
            local = self.local_path(name)
            for folder, _, _ in os.walk(local, topdown=False) if local is not None else ():
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    def files(self, name: str = "", suffix: str = "") -> Iterator[str]:
        """Names of the files below a folder, in order; hidden ones (half-written) left out.

        Parameters
        ----------
        name
            The folder; all, where it is not given.
        suffix
            How a name must end.

        Yields
        ------
        str
            Relative to this folder.
        """
        start = self.path(name).rstrip("/") if name else self.root
        if not self.fs.exists(start):
            return
        self.fs.invalidate_cache()
        for path in sorted(self.fs.find(start)):
            relative = path[len(self.root) :].lstrip("/") if path.startswith(self.root) else path
            if relative.endswith(suffix) and not relative.rpartition("/")[2].startswith("."):
                yield relative

    def names(self, name: str) -> list[str]:
        """Names of all files below a folder, relative to it, in no order; none where there is no such folder."""
        start = self.path(name)
        if (local := self.local_path(name)) is not None:
            found = ((folder, file) for folder, _, files in os.walk(local) for file in files)
            return [os.path.relpath(os.path.join(folder, file), local) for folder, file in found]
        self.fs.invalidate_cache()
        return [path[len(start) :].lstrip("/") for path in self.fs.find(start)]

    def folders(self, name: str = "") -> list[str]:
        """Names of the folders directly below one, in order."""
        start = self.path(name).rstrip("/") if name else self.root
        if not self.fs.exists(start):
            return []
        self.fs.invalidate_cache()
        entries = self.fs.ls(start, detail=True)
        return sorted(entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory")

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it, if it is there."""
        local = self.local_path(name)
        if local is not None:  # fsspec would take `?`, `*` and `[` in the path of a home for patterns
            if os.path.isdir(local) and not os.path.islink(local):
                shutil.rmtree(local)
            elif os.path.lexists(local):
                os.unlink(local)
        elif self.exists(name):
            self.fs.rm(self.path(name), recursive=True)

    def move(self, source: str, target: str) -> None:
        """Rename a folder; if the target is there already (the same content), the source is dropped."""
        if self.exists(target):
            self.remove(source)
            return
        self.fs.makedirs(self.path(target).rpartition("/")[0], exist_ok=True)
        if isinstance(self.fs, LocalFileSystem):
            os.replace(self.path(source), self.path(target))
        else:
            self.fs.mv(self.path(source), self.path(target), recursive=True)
