"""A folder behind a URL: whole files read and written through fsspec, so that a reader never sees half of one.

Only bytes and names live here; what the bytes mean is the business of the modules beside it. An object store has no folders and cannot
rename: files are copied there one by one, side by side. Nothing of a listing is remembered, and no file is asked for before it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from enrich_assets.store.remote.patience import patiently

OBJECT_STORES = {
    "s3",
    "s3a",
    "gs",
    "gcs",
    "abfs",
    "abfss",
    "az",
    "oss",
    "memory",
}  # a name is all that there is of a folder
CONNECTIONS = 32  # to S3, at a time
MISSING_EXTRA = "{url} cannot be opened: {why}. `pip install 'enrich-assets[s3]'` brings what s3:// needs"
Result = TypeVar("Result")


class NoSuchStore(RuntimeError):
    """A URL that nothing here can open."""


class Folder:
    """A folder at a URL (`/srv/enrich`, `file:///srv/enrich`, `memory://test`, `s3://bucket/enrich`).

    Raises
    ------
    NoSuchStore
        For a protocol that nothing installed here speaks.
    """

    def __init__(self, url: str) -> None:
        self.fs, root = _opened(url)
        self.root = root.rstrip("/")
        self.url = url.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def __repr__(self) -> str:
        return f"Folder({self.url!r})"

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.url}/{name}")

    def path(self, name: str) -> str:
        """Path of a file or folder, as the file system knows it."""
        return f"{self.root}/{name}"

    def local_path(self, name: str) -> str | None:
        """The path on this machine, or None where the folder lies elsewhere."""
        return self.path(name) if self.is_local else None

    @contextlib.contextmanager
    def local_copy(self, name: str) -> Iterator[str]:
        """A path on this machine that holds the file: itself where it is local, else a copy for the while."""
        local = self.local_path(name)
        if local is not None:
            yield local
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, name.rpartition("/")[2])
            self.fetch(name, copy)
            yield copy

    def fetch(self, name: str, to: str) -> None:
        """Copy a file of a folder elsewhere to a path on this machine. Raises FileNotFoundError."""
        self._ask(lambda: self.fs.get_file(self.path(name), to))

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        if self.is_local:
            return os.path.exists(self.path(name))
        return bool(self._ask(lambda: self.fs.exists(self.path(name))))

    def read(self, name: str) -> bytes:
        """All of a file. Raises FileNotFoundError."""
        if self.is_local:  # ten thousand receipts are read by a run with nothing to do
            with open(self.path(name), "rb") as file:
                return file.read()
        return self._ask(lambda: self.fs.cat_file(self.path(name), **self._at_once))

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Several files, side by side where they lie elsewhere; those that are gone are left out."""
        if self.is_local:
            found = {}
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found[name] = self.read(name)
            return found
        if not names:
            return {}
        paths = {self.path(name): name for name in names}
        answers = self._ask(lambda: self.fs.cat(list(paths), on_error="return", **self._at_once))
        found = {}
        for path, answer in answers.items():
            name = paths[path]
            if isinstance(answer, bytes):
                found[name] = answer
            elif not isinstance(answer, FileNotFoundError):  # no answer: asked again, by itself and with patience
                with contextlib.suppress(FileNotFoundError):
                    found[name] = self.read(name)
        return found

    def write(self, name: str, content: bytes) -> None:
        """Write beside, then rename: the name holds either what it held before or all of `content`."""
        if self.is_local:
            self._write_local(self.path(name), content)
        else:
            self.write_many({name: content})

    def write_many(self, contents: Mapping[str, bytes]) -> None:
        """Several files, each whole or not at all; side by side where they lie elsewhere."""
        if self.is_local:
            for name, content in contents.items():
                self._write_local(self.path(name), content)
            return
        if not self._is_object_store:
            for parent in {self.path(name).rpartition("/")[0] for name in contents}:
                self.fs.makedirs(parent, exist_ok=True)
        # an object store's put is whole or not at all
        self._ask(lambda: self.fs.pipe({self.path(name): content for name, content in contents.items()}))

    def _write_local(self, target: str, content: bytes) -> None:
        parent, _, base = target.rpartition("/")
        self.fs.makedirs(parent, exist_ok=True)
        beside = f"{parent}/.{base}.{uuid.uuid4().hex[:8]}"
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

    def digest(self, name: str) -> str:
        """sha256 of the file as it stands now, in hex."""
        if not self.is_local:
            return hashlib.sha256(self.read(name)).hexdigest()
        with open(self.path(name), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def state(self, name: str) -> tuple[int, int, int] | None:
        """Size, time of the last change in ns, and inode of a local file; None elsewhere. Raises FileNotFoundError."""
        local = self.local_path(name)
        if local is None:
            return None
        status = os.stat(local)
        return status.st_size, status.st_mtime_ns, status.st_ino

    def stamps(self, name: str) -> dict[str, str]:
        """What tells versions of the files below a folder apart: name -> its ETag, or else its size and times."""
        if self.is_local:
            return {f"{name}/{one}": str(self.state(f"{name}/{one}")) for one in self.names(name)}
        start = self.path(name)
        found = self._ask(lambda: self.fs.find(start, detail=True))
        return {
            f"{name}/{path[len(start) :].lstrip('/')}": _stamp(info)
            for path, info in found.items()
            if path.rstrip("/") != start
        }

    def described(self, name: str) -> dict[str, tuple[int, float]]:
        """Bytes, and the time of the last change in seconds since 1970, of each of `files`, in order."""
        names = list(self.files(name))
        if self.is_local:
            status = {one: os.stat(self.path(one)) for one in names}
            return {one: (of.st_size, of.st_mtime) for one, of in status.items()}
        start = self.path(name)
        found = self._ask(lambda: self.fs.find(start, detail=True))
        times = ("LastModified", "last_modified", "mtime", "updated", "created")
        described = {}
        for one in names:
            if (info := found.get(self.path(one))) is not None:
                changed = next(info[key] for key in times if info.get(key))
                described[one] = (
                    int(info["size"]),
                    float(changed.timestamp() if hasattr(changed, "timestamp") else changed),
                )
        return described

    def changed_at(self, name: str) -> float:
        """When the file was last written, in seconds since 1970."""
        return float(self._ask(lambda: self.fs.modified(self.path(name))).timestamp())

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
        for path in sorted(self._found(start)):
            relative = path[len(self.root) :].lstrip("/") if path.startswith(self.root) else path
            if relative.endswith(suffix) and not relative.rpartition("/")[2].startswith("."):
                yield relative

    def names(self, name: str) -> list[str]:
        """Names of all files below a folder, relative to it, in no order; none where there is no such folder."""
        start = self.path(name)
        return [path[len(start) :].lstrip("/") for path in self._found(start)]

    def _found(self, start: str) -> list[str]:
        """Paths of the files below a path. A folder of an object store that was emptied may list itself: it is no file."""
        if self.is_local:
            return [os.path.join(folder, file) for folder, _, files in os.walk(start) for file in files]
        self.fs.invalidate_cache()
        return [path for path in self._ask(lambda: self.fs.find(start)) if path.rstrip("/") != start]

    def folders(self, name: str = "") -> list[str]:
        """Names of the folders directly below one, in order."""
        start = self.path(name).rstrip("/") if name else self.root
        self.fs.invalidate_cache()
        try:
            entries = self._ask(lambda: self.fs.ls(start, detail=True))
        except FileNotFoundError:
            return []
        names = (entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory")
        return sorted(name.rpartition("/")[2] for name in names if name != start)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it, if it is there."""
        local = self.local_path(name)
        if local is not None:  # fsspec would take `?`, `*` and `[` in the path of a home for patterns
            if os.path.isdir(local) and not os.path.islink(local):
                shutil.rmtree(local)
            elif os.path.lexists(local):
                os.unlink(local)
        elif self._is_object_store:
            there = [*self._found(self.path(name)), self.path(name)]
            self._remove_paths(there if self.exists(name) else [])
        elif self.exists(name):
            self.fs.rm(self.path(name), recursive=True)

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove files by name; those that are not there are none of its business."""
        if self.is_local:
            for name in names:
                self.remove(name)
        else:
            self._remove_paths([self.path(name) for name in names])

    def _remove_paths(self, paths: Sequence[str]) -> None:
        """Of an object store or another server: many with one request, where it can."""
        if not paths:
            return
        if "s3" in _protocols(self.fs):
            self._ask(lambda: self.fs.rm(list(paths)))  # deletes of S3 pass over what is not there
            return
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self._ask(lambda path=path: self.fs.rm_file(path))  # type: ignore[misc]

    def move(self, source: str, target: str) -> None:
        """Rename a folder; if the target is there already (the same content), the source is dropped."""
        if self.exists(target):
            self.remove(source)
            return
        if self.is_local:
            self.fs.makedirs(self.path(target).rpartition("/")[0], exist_ok=True)
            os.replace(self.path(source), self.path(target))
        elif self._is_object_store:
            names = self.names(source)
            self.copy_files(source, target, names)
            self.remove_files([f"{source}/{name}" for name in names])
        else:
            self.fs.makedirs(self.path(target).rpartition("/")[0], exist_ok=True)
            self.fs.mv(self.path(source), self.path(target), recursive=True)

    def copy_files(self, source: str, target: str, names: Sequence[str]) -> None:
        """Copy files of a folder into another one, side by side where they lie elsewhere. Raises FileNotFoundError."""
        if not names:
            return
        if self.is_local:
            for name in names:
                self.write(f"{target}/{name}", self.read(f"{source}/{name}"))
            return
        pairs = [(self.path(f"{source}/{name}"), self.path(f"{target}/{name}")) for name in names]
        if not self._is_object_store:
            for parent in {path.rpartition("/")[0] for _, path in pairs}:
                self.fs.makedirs(parent, exist_ok=True)
        self._ask(lambda: self.fs.copy([one for one, _ in pairs], [other for _, other in pairs], on_error="raise"))

    @property
    def _at_once(self) -> dict[str, int]:
        """Options of a read: s3fs would ask for the size of each file before, to read large ones in pieces."""
        return {"max_concurrency": 1} if "s3" in _protocols(self.fs) else {}

    @property
    def _is_object_store(self) -> bool:
        return bool(OBJECT_STORES & set(_protocols(self.fs)))

    def _ask(self, request: Callable[[], Result]) -> Result:
        """A request to a server, sent again while it does not answer; to a local disk, once."""
        return request() if self.is_local else patiently(request, f"the store {self.url}")


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it. Of a server's no listing is kept: others write there, too."""
    protocol = fsspec.utils.get_protocol(url)
    options: dict[str, Any] = {} if protocol in ("file", "local") else {"use_listings_cache": False}
    if protocol in ("s3", "s3a"):
        options["config_kwargs"] = {"max_pool_connections": CONNECTIONS}
    try:
        return fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise NoSuchStore(MISSING_EXTRA.format(url=url, why=error)) from error
    except ValueError as error:
        if "Protocol not known" in str(error):
            raise NoSuchStore(f"{url} is no address of a store: {error}") from error
        raise


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _stamp(info: Mapping[str, Any]) -> str:
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    times = [str(info.get(name, "")) for name in ("LastModified", "mtime", "created", "updated", "last_modified")]
    return str(tag) if tag else "|".join([str(info.get("size")), *times])
