"""Leave one site out: for each site a home of its own in which that site alone is the test side, run like any other.

    left-out/<column>/<site>/   enrich.yaml (extends this home's profile), store/, enrich.duckdb, report.html

What does not follow from the split is not computed again: batches, frames, labels, the VAE and its vectors are linked from this home.
So the VAE has seen frames of the site that is left out, though no label; with `own_vae` each home trains one without them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from enrich_assets.archive.home import LAYOUT_FILE, Archive
from enrich_assets.archive.sides.sites import named_sites, profile_leaving_out
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.settings import ALL, TaskSettings, budget_frames
from enrich_assets.store.published import query
from enrich_assets.store.receipts import digest_of

FOLDER, FOLDER_OWN_VAE, TABLE = "left-out", "left-out-own-vae", "left-out.csv"
LINKED, OF_VAE = tuple(asset for asset in BATCH_ASSETS if asset != "split"), ("vae_weights", "embeddings")
RESULTS = """
    SELECT task, arm, budget, metric, count(*) AS n, avg(value) AS mean, stddev_samp(value) AS sd, min(ci_low) AS ci_low,
           max(ci_high) AS ci_high, any_value(n_test) AS n_test
    FROM evaluations WHERE current GROUP BY task, arm, budget, metric ORDER BY task, budget, arm
"""
TEST_PATIENTS = "SELECT count(DISTINCT patient_id) AS patients FROM frames WHERE split = 'test'"


def sites_of(archive: Archive, column: str) -> list[str]:
    """The sites that the manifests name in a column, in order of name.

    Raises
    ------
    ValueError
        If the profile does not name the column among its `sites`, or fewer than two sites are there.
    """
    known = archive.profile.sites
    if column not in known:
        raise ValueError(
            f"{column!r} is none of the profile's `sites` ({', '.join(known) or 'none'}); add `sites: [{column}]` to "
            f"{archive.home / 'enrich.yaml'}"
        )
    manifests = [archive.register.rows(batch) for batch in archive.pinned]
    sites = named_sites(pd.concat(manifests, ignore_index=True), column) if manifests else []
    if len(sites) < 2:
        raise ValueError(
            f"{column}: {len(sites)} site is named in the manifests; to leave one out, at least two are needed"
        )
    return sites


def prepare(archive: Archive, column: str, site: str, *, own_vae: bool = False) -> Path:
    """The home in which a site is left out, with what does not follow from the split; made, or brought up to date.

    Raises
    ------
    ValueError
        Where the store is not a local folder.
    """
    source = archive.store.folder.local_path("")
    if source is None:
        raise ValueError(
            f"{archive.store.folder.url}: leaving sites out works on a local store; copy the home to a disk first"
        )
    home = _folder(archive, column, own_vae) / _safe(site)
    home.mkdir(parents=True, exist_ok=True)
    profile = yaml.safe_dump(profile_leaving_out(archive.home, column, site), allow_unicode=True)
    (home / "enrich.yaml").write_text(profile, encoding="utf-8")
    key = archive.home / "pseudonym.key"
    if key.exists():
        shutil.copy2(key, home / key.name)
    for below in ("batches", "annotations", LAYOUT_FILE):
        _link(Path(source) / below, home / "store" / below)
    for room in ("artefacts", "receipts", "history"):
        for folder in sorted((Path(source) / room).glob("*")):
            if folder.name.partition("@")[0] in (LINKED if own_vae else (*LINKED, *OF_VAE)):  # with its checks
                _link(folder, home / "store" / room / folder.name)
    return home


def _folder(archive: Archive, column: str, own_vae: bool) -> Path:
    return archive.home / (FOLDER_OWN_VAE if own_vae else FOLDER) / _safe(column)


def _safe(name: str) -> str:
    """A name fit for a folder; two names never become one."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    return plain if plain == name else f"{plain}-{digest_of(name)[:6]}".lstrip("-")


def _link(source: Path, target: Path) -> None:
    """Link a file, or each file of a folder; what is there already is replaced where it differs."""
    for file in sorted(source.rglob("*")) if source.is_dir() else [source] * source.is_file():
        if not file.is_file():
            continue
        place = target / file.relative_to(source) if source.is_dir() else target
        if place.exists():
            if place.samefile(file):
                continue
            place.unlink()
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:
            shutil.copy2(file, place)


def leave_out(
    archive: Archive, column: str, sites: Sequence[str], say: Callable[[str], None], *, own_vae: bool = False
) -> list[str]:
    """Run a home for each site, one after the other, and collect what was scored in `left-out/<column>/left-out.csv`.

    Parameters
    ----------
    archive, column
        Whose sites.
    sites
        Those to leave out; none: each of them.
    say
        Gets lines while it works.
    own_vae
        Each home trains a VAE of its own.

    Returns
    -------
    list of str
        The results in words. The file: site, patients (on test), task, arm, budget, budget_key, metric, n (seeds), mean, sd, ci_low,
        ci_high, n_test (frames), note; a site on which nothing could be scored has a row with the reason.

    Raises
    ------
    ValueError
        For a column that the profile does not name, or a site that no manifest names.
    """
    known = sites_of(archive, column)
    if unknown := sorted(set(sites) - set(known)):
        raise ValueError(f"no study is of {column} {unknown[0]!r}; there are: {', '.join(known)}")
    sites = sites or known
    parts: list[pd.DataFrame] = []
    for number, site in enumerate(sites, 1):
        say(f"leaving out {column} {site} ({number} of {len(sites)})")
        home = prepare(archive, column, site, own_vae=own_vae)
        environment = {**os.environ, "ENRICH_HOME": str(home), "ENRICH_STORE": str(home / "store")}
        environment.pop("ENRICH_PROFILE", None)
        environment.pop("DAGSTER_HOME", None)
        command = [sys.executable, "-m", "enrich_assets.cli", "run"]
        ran = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)  # nosec B603: a list, no shell
        said = ran.stderr.strip().splitlines()
        found = with_budget_keys(_found(home, site), archive.profile.tasks)
        if found.empty or ran.returncode:
            why = next((line.strip() for line in said if "not made" in line), said[-1].strip() if said else "")
            say(f"  {why}")
            found = found if len(found) else pd.DataFrame([{"site": site, "note": why}])
        parts.append(found)
    table = pd.concat(parts, ignore_index=True)
    file = _folder(archive, column, own_vae) / TABLE
    table.to_csv(file, index=False)
    return [*results_lines(table, column), f"all of it: {file}"]


def _found(home: Path, site: str) -> pd.DataFrame:
    database = home / "enrich.duckdb"
    if not database.exists():
        return pd.DataFrame()
    results: Any = pd.DataFrame()
    with suppress(LookupError):
        results = query(str(database), RESULTS)
    patients = int(query(str(database), TEST_PATIENTS)["patients"].iloc[0])
    return results.assign(site=site, patients=patients, note="") if len(results) else pd.DataFrame()


def with_budget_keys(results: pd.DataFrame, tasks: Mapping[str, TaskSettings]) -> pd.DataFrame:
    """The results of one site with a column `budget_key`: as the profile names the budget, because 20% is another number of frames at
    each site."""
    keys = []
    for row in results.itertuples():
        of_task = results[(results["task"] == row.task) & (results["arm"] == ALL)]
        pool = int(of_task["budget"].max()) if len(of_task) else None
        named = tasks[str(row.task)].budgets if row.arm != ALL and str(row.task) in tasks and pool else ()
        found = (key for key in named if pool is not None and budget_frames(key, pool) == row.budget)
        keys.append(next(found, ALL if row.arm == ALL else str(row.budget)))
    return results.assign(budget_key=keys)


def results_lines(table: pd.DataFrame, column: str) -> list[str]:
    """The table as lines: a row for each site, task and budget, mean over the seeds of each arm; and the mean over sites."""
    lines = []
    scored = table.dropna(subset=["task"]) if "task" in table else table.head(0)
    for task, rows in scored.groupby("task"):
        lines.append(f"{task}: {rows['metric'].iloc[0]} on the {column} left out, mean over seeds")
        shown = rows.pivot_table(
            index=["site", "patients", "n_test"], columns=["budget_key", "arm"], values="mean", sort=False
        )
        lines += shown.round(4).to_string().splitlines()
        over_sites = (
            rows.groupby(["budget_key", "arm"], sort=False)["mean"].agg(["mean", "min", "max", "count"]).round(4)
        )
        lines += ["over sites:", *over_sites.to_string().splitlines()]
    silent = table[table["task"].isna()] if "task" in table else table
    lines += [f"{column} {row.site}: nothing scored: {row.note}" for row in silent.itertuples()]
    return lines
