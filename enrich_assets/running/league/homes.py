"""The league: embeddings x rules at small budgets, on every archive given, each in a home of its own that is run like any other.

    league/<archive>/   enrich.yaml (from the design), store/, enrich.duckdb, report.html

Here: the design read, homes prepared and run. What they hold then: `scores`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from enrich_assets.archive.home import Archive
from enrich_assets.archive.ingest import ingest

PHANTOM, RANDOM = "phantom", "random"
MANIFESTS = (".csv", ".parquet")


@dataclass(frozen=True)
class Design:
    """What is fixed before anything is trained.

    Attributes
    ----------
    arms : dict
        Embedding -> rules.
    default : str
        The arm that challengers are held against.
    challengers : tuple of str
        Embeddings whose arms may become the default.
    see_labels : dict
        Task -> rules that see labels; trained in a second round.
    profile : dict
        Of every home.
    archives : dict
        Name -> what differs from `profile` there.
    """

    arms: Mapping[str, Sequence[str]]
    default: str
    profile: Mapping[str, Any]
    challengers: tuple[str, ...] = ("vae", "pca")
    see_labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    archives: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def blind(self) -> dict[str, dict[str, str]]:
        """The arms that see no label, by name, and the random one."""
        named = {
            arm_name(embedding, rule): {"embedding": embedding, "rule": rule}
            for embedding, rules in self.arms.items()
            for rule in rules
        }
        return {**named, RANDOM: {"rule": RANDOM}}

    @property
    def sighted(self) -> tuple[str, ...]:
        """Names of the arms that see labels."""
        return tuple(dict.fromkeys(arm_name("labels", rule) for rules in self.see_labels.values() for rule in rules))

    def profile_of(self, archive: str, *, see_labels: bool) -> dict[str, Any]:
        """The profile of an archive's home, as YAML has it."""
        merged = _merged(self.profile, self.archives.get(archive, {}))
        for name, task in merged.get("tasks", {}).items():
            if task is not None:
                seen = self.see_labels.get(name, ()) if see_labels else ()
                task["arms"] = {**self.blind, **{arm_name("labels", rule): {"rule": rule} for rule in seen}}
        return merged


def arm_name(embedding: str, rule: str) -> str:
    """`vae` and `k-center-greedy` make `vae_k_center_greedy`."""
    return f"{embedding}_{rule.replace('-', '_')}"


def read_design(path: str) -> Design:
    """A design from YAML.

    Raises
    ------
    ValueError
        If the file is no design, with what is wrong.
    """
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    allowed = tuple(Design.__dataclass_fields__)
    if not isinstance(given, dict):
        raise ValueError(f"{path}: a design is a mapping of {', '.join(allowed)}")
    if unknown := sorted(set(given) - set(allowed)):
        raise ValueError(f"{path}: {unknown[0]!r} is no part of a design; there are: {', '.join(allowed)}")
    if missing := [name for name in ("arms", "default", "profile") if name not in given]:
        raise ValueError(f"{path}: {missing[0]} is missing")
    design = Design(**{**given, "challengers": tuple(given.get("challengers", ("vae", "pca")))})
    if design.default not in design.blind:
        raise ValueError(f"{path}: the default {design.default!r} is none of the arms: {', '.join(design.blind)}")
    return design


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: _merged(value, {}) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in over.items():
        beneath = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = _merged(beneath if isinstance(beneath, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


# ------------------------------------------------------------------------------------------------------ homes and runs


def archive_name(archive: str) -> str:
    """What an archive is called: by its folder, that of its manifest where a file is named."""
    if "://" in archive:
        return archive_name(f"/{archive.partition('://')[2].strip('/')}")
    path = Path(archive)
    return PHANTOM if archive == PHANTOM else (path.parent if path.suffix in MANIFESTS else path).resolve().name


def home_of(folder: Path, name: str) -> Archive:
    """The home of an archive under its own profile and with its own store, whatever the environment names."""
    home = folder / name
    return Archive.open(str(home), str(home / "enrich.yaml"), str(home / "store"))


def prepare(design: Design, archive: str, folder: Path, *, see_labels: bool = False) -> Archive:
    """The home of an archive, with its profile written and its studies ingested once.

    Parameters
    ----------
    archive : str
        Whatever `enrich ingest` takes; `phantom` is the built-in one.
    folder : Path
        Where the homes lie.

    Raises
    ------
    ValueError, FileNotFoundError
        As `enrich ingest` raises them (a wrong profile or manifest is a ValueError).
    """
    name = archive_name(archive)
    home = folder / name
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = yaml.safe_dump(design.profile_of(name, see_labels=see_labels), allow_unicode=True, sort_keys=False)
    (home / "enrich.yaml").write_text(text, encoding="utf-8")
    opened = home_of(folder, name)
    if not opened.batches:
        path = archive if "://" in archive else str(Path(archive).resolve())
        if archive == PHANTOM:
            from enrich_assets.studies.phantom import write_phantom

            path = str(home / PHANTOM)
            write_phantom(path, seed=opened.profile.phantom.seed, patients=opened.profile.phantom.patients)
        ingest(opened, path, None)
        opened = home_of(folder, name)
    return opened


def run_home(home: Path, say: Callable[[str], None]) -> str:
    """`enrich run` in a process of its own, its lines passed on; why something was not made, else ''."""
    environment = {**os.environ, "ENRICH_HOME": str(home), "ENRICH_STORE": str(home / "store")}
    for name in ("ENRICH_PROFILE", "DAGSTER_HOME"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "enrich_assets.cli", "run"]
    lines = []
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:  # nosec B603: a list, no shell
        for line in running.stderr or ():
            say(f"  {line.rstrip()}")
            lines.append(line.strip())
    if not running.returncode:
        return ""
    return next((line for line in lines if "not made" in line), lines[-1] if lines else "failed")
