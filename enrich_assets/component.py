"""An archive as a Dagster Component: with it another project mounts one or several archives, each from a `defs.yaml` of its own.

type: enrich_assets.EnrichArchive
attributes:
  home: ../../../archives/lung
  key_prefix: lung
"""

import re
from pathlib import Path
from typing import Annotated

import dagster as dg

from enrich_assets.archive.home import Archive, ForeignHome
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.profiles import BUILT_IN, ProfileError, load_profile
from enrich_assets.settings import Profile

PREFIX = re.compile(r"[A-Za-z0-9_]+")  # it goes into names of jobs and groups, where Dagster allows nothing else
DEFS_YAML = "defs.yaml"


class MountError(ValueError):
    """An archive that cannot be mounted: says the `defs.yaml`, the attribute, what is wrong and what to do."""


class EnrichArchive(dg.Component, dg.Resolvable, dg.Model):
    """An archive of medical images: redundancy measured, frames ranked, and proof of how few labels suffice.

    Several go into one project, each with a home and a `key_prefix` of its own: the prefix stands before its asset keys, and in the
    names of its jobs, sensors, schedules, groups, partitions and its resource. Two archives share nothing but the pool `gpu`.
    The environment (ENRICH_HOME, ENRICH_PROFILE, ENRICH_STORE) does not count here: it can name one archive only.
    """

    home: Annotated[
        str,
        dg.Resolver.default(
            description="Folder of the archive: its databases, its key, `incoming/`; relative to the folder of this file.",
            examples=["../../../archives/lung", "{{ env.ARCHIVES }}/lung"],
        ),
    ]
    profile: Annotated[
        str | None,
        dg.Resolver.default(
            description=f"A built-in profile ({', '.join(BUILT_IN)}), or a YAML file, relative to the folder of this file. "
            "Without it home's `enrich.yaml`, else the built-in `archive`.",
            examples=["archive", "lung.yaml"],
        ),
    ] = None
    store: Annotated[
        str | None,
        dg.Resolver.default(
            description="Where artefacts and receipts are kept: any fsspec URL, or a folder, relative to the folder of this "
            "file. Without it `store/` in home.",
            examples=["s3://bucket/lung"],
        ),
    ] = None
    key_prefix: Annotated[
        str | None,
        dg.Resolver.default(
            description="Stands before all asset keys and names of this archive; needed where a project mounts several.",
            examples=["lung"],
        ),
    ] = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything Dagster sees of the archive. Raises MountError."""
        where = context.path / DEFS_YAML if context.path.is_dir() else context.path
        prefix = self._prefix(where)
        home = self._home(where)
        source = self._profile_source(where.parent, home)
        profile = _profile(where, source)
        store = _address(where.parent, self.store) if self.store else str(home / "store")
        _require_readable(where, home, profile, store)
        return build_definitions(profile, ArchiveResource(home=str(home), profile=source, store=store), prefix)

    def _prefix(self, where: Path) -> str:
        if self.key_prefix is None or PREFIX.fullmatch(self.key_prefix):
            return self.key_prefix or ""
        raise MountError(
            f"{where}: key_prefix: {self.key_prefix!r} would not do for the names of jobs: use letters, digits and _, "
            "or leave it out"
        )

    def _home(self, where: Path) -> Path:
        if not self.home.strip():
            raise MountError(
                f"{where}: home: is empty: name the folder of the archive (is the variable it comes from set?)"
            )
        if "://" in self.home:
            raise MountError(f"{where}: home: {self.home} is a URL: name a folder here, and put the URL under `store`")
        home = Path(_address(where.parent, self.home))
        if home.exists() and not home.is_dir():
            raise MountError(f"{where}: home: {home} is a file: name the folder of the archive")
        return home

    def _profile_source(self, folder: Path, home: Path) -> str:
        """What names the profile, as `load_profile` takes it."""
        if self.profile in BUILT_IN:
            return self.profile
        if self.profile:
            return _address(folder, self.profile)
        own = home / "enrich.yaml"
        return str(own) if own.exists() else "archive"


def _address(folder: Path, place: str) -> str:
    """A place that a `defs.yaml` in `folder` names: URLs as they are, paths relative to it."""
    return place if "://" in place else str((folder / Path(place).expanduser()).resolve())


def _profile(where: Path, source: str) -> Profile:
    try:
        return load_profile(source)
    except ProfileError as error:
        raise MountError(f"{where}: profile: {error}") from error


def _require_readable(where: Path, home: Path, profile: Profile, store: str) -> None:
    """Refuse the home of another version as soon as the project loads. A store elsewhere is not asked then: it may be far."""
    if "://" in store or not Path(store).is_dir():
        return
    try:
        Archive(home, profile, store).require_layout()
    except ForeignHome as error:
        raise MountError(f"{where}: home: {error} (with ENRICH_HOME={home})") from error
