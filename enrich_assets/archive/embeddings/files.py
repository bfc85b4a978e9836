"""The bytes behind a path or URL of the profile, and their digest, which is worked out once for a file that stays as it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

from enrich_assets.store.receipts import MissingArtefact

if TYPE_CHECKING:
    from enrich_assets.archive.home import Archive


@dataclass(frozen=True)
class NamedFile:
    """A file of the profile.

    Parameters
    ----------
    url
        Absolute path, or fsspec URL.
    setting
        Where the profile names it, for messages.
    stamp
        Changes when the file does (size, time, ETag), as far as its file system can say.
    """

    url: str
    setting: str
    stamp: str

    def read(self) -> bytes:
        """All of it. Raises MissingArtefact."""
        try:
            return _content(self.url, self.stamp)
        except Exception as error:  # each file system has errors of its own
            raise self.unusable(f"cannot be read ({type(error).__name__}: {error})") from error

    @property
    def digest(self) -> str:
        """sha256 of the content, in hex. Raises MissingArtefact."""
        try:
            return _digest(self.url, self.stamp)
        except Exception as error:
            raise self.unusable(f"cannot be read ({type(error).__name__}: {error})") from error

    def unusable(self, why: str) -> MissingArtefact:
        """An error that names the file, what is wrong with it, and the setting."""
        return MissingArtefact(f"{self.setting}: {self.url} {why}")


def named_file(archive: Archive, place: str, setting: str) -> NamedFile:
    """The file at a path (relative to home) or URL.

    Raises
    ------
    MissingArtefact
        If there is none, or it cannot be reached.
    """
    url = place if "://" in place else str((archive.home / Path(place).expanduser()).resolve())
    try:
        fs, path = fsspec.core.url_to_fs(url)
        if not fs.isfile(path):
            raise FileNotFoundError(path)
        facts = sorted((key, str(value)) for key, value in fs.info(path).items())
    except FileNotFoundError:
        raise MissingArtefact(
            f"{setting}: there is no file {url}; name one (a path is relative to home, {archive.home})"
        ) from None
    except Exception as error:  # an unreachable server, a protocol whose library is not installed
        raise MissingArtefact(f"{setting}: {url} cannot be reached ({type(error).__name__}: {error})") from error
    return NamedFile(url, setting, str(facts))


@lru_cache(maxsize=2)
def _content(url: str, stamp: str) -> bytes:
    with fsspec.open(url, "rb") as file:
        return bytes(file.read())


@lru_cache(maxsize=64)
def _digest(url: str, stamp: str) -> str:
    digest = hashlib.sha256()
    if "://" not in url:
        with open(url, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest.update(_content(url, stamp))
    return digest.hexdigest()


@dataclass(frozen=True)
class EmbeddingModel:
    """A network's file: another content makes every embedding by it stale."""

    file: NamedFile

    @property
    def digest(self) -> str:
        """sha256 of the file, in hex."""
        return self.file.digest


def embedding_model(archive: Archive, name: str) -> EmbeddingModel:
    """The ONNX file of an embedding.

    Raises
    ------
    MissingArtefact
        If it is not there.
    """
    return EmbeddingModel(named_file(archive, archive.profile.embeddings[name].onnx, f"embeddings.{name}.onnx"))  # type: ignore[union-attr]
