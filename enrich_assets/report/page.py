"""The report: tables and pictures in, self-contained HTML texts out: the findings, and beside them pictures, the frames
behind each score, and checks.

Here: which figures and tables the pages have and where their rows come from. The part of a task is in `task_part.py`, sentences in
`findings.py`, frames in `gallery.py` and `trained_on.py`, drawing in `figures/`, the writing of numbers in `numbers.py`; layout in `page.html`,
`pictures.html`, `frames.html`, `checks.html`, what they share in `base.html` and `parts.html`, and `page.css`. It reads published tables only and touches no
file, network or clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from enrich_assets.report import figures, numbers
from enrich_assets.report.figures.grids import (
    APPENDIX_HEADS,
    Grid,
    appendix_groups,
    archive_grid,
    check_grid,
    cost_grid,
    moment,
    redundancy_grid,
    refused_grid,
    sufficient_grid,
)
from enrich_assets.report.figures.sides import side_grid, site_grid
from enrich_assets.report.gallery import Images, Pictures, png_uri
from enrich_assets.report.health import health_grid, overridden
from enrich_assets.report.leaks import leak_part
from enrich_assets.report.names import CHECKS, FINDINGS, FRAMES, PICTURES
from enrich_assets.report.task_part import inline, task_part
from enrich_assets.report.trained_on import Choice, room_of_each, trained_on

# Columns the page reads of each table: a table that is absent or empty is taken as one of these without rows.
NEEDED: dict[str, str] = {
    "studies": "study_id patient_id batch split n_clips n_frames",
    "files": "path batch status reason",
    "frames": "frame_id clip_id study_id patient_id batch split",
    "labels": "frame_id task label mask_path current",
    "embedding_health": "embedding measure value chance n verdict note",
    "redundancy": "whole task embedding relation lower upper pairs share is_estimate",
    "panel_redundancy": "whole task embedding batch relation lower upper pairs share is_estimate",
    "neighbours": "task embedding frame_id neighbour_id similarity",
    "nearest_chosen": "task frame_id chosen_id similarity",
    "near_duplicates": "task embedding frame_id other_id similarity relation labels_conflict",
    "leaks": "frame_id other_id patient_id other_patient_id split other_split similarity identical_pixels relation "
    "across_split labels_conflict task label other_label",
    "arms": "task arm rule sees_labels",
    "rankings": "task arm seed position frame_id similarity_to_chosen",
    "subsets": "subset_id task arm budget seed n_frames n_patients n_clips coverage_p50 coverage_p05 coverage_min",
    "subset_frames": "subset_id position frame_id",
    "evaluations": "evaluation_id task arm budget seed n_train n_test metric value ci_low ci_high subset_id "
    "model_digest device seconds mlflow_run_id dagster_run_id evaluated_at",
    "comparisons": "task budget arm reference n mean sd n_reference mean_reference sd_reference difference ci_low "
    "ci_high p_both_holm u p p_holm rank_biserial alpha can_reach_alpha margin p_equivalence p_equivalence_holm equivalent "
    "note",
    "sufficient": "task arm budget budget_low budget_high share_of_pool labels_saved_vs_all hours_saved_vs_all "
    "labels_saved_vs_random hours_saved_vs_random note",
    "adequacy": "task question asks answer passed remedy cost_seconds",
    "checks": "asset check_name passed severity description",
    "sites": "site_column site split task class patients frames",
    "site_association": "site_column task cramers_v by_chance p confounded n",
}

SIDE_OF_CHOSEN, BYTES_OF_CHOSEN = 64, 8_000_000  # pixels of a frame behind a score; bytes of all of them

# A task with rows in any of these has a part of the page.
TASK_TABLES = ("evaluations", "redundancy", "panel_redundancy", "subsets")


@dataclass(frozen=True)
class ArchiveRedundancy:
    """Figure 1, of all frames, and the numbers of all frames and of all train frames."""

    figure: Markup
    shares: Grid
    shares_of_train: Grid
    is_estimate: bool


@dataclass(frozen=True)
class Part:
    """An entry of the navigation."""

    href: str
    name: str


@dataclass(frozen=True)
class Vae:
    """All that the page shows of the VAE."""

    curves: Markup | None = None
    strip: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)


def render(
    tables: Mapping[str, pd.DataFrame],
    images: Images,
    *,
    profile_name: str,
    generated_at: Any,
    meta: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """The report as HTML texts: well-formed, without references but to one another, a few megabytes at most.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        The published tables by name; any may be absent.
    images : callable
        frame_id -> PNG bytes or (h, w[, 3]) uint8, or None; a LookupError or OSError leaves the place empty.
    profile_name : str
        Printed at the top.
    generated_at : timestamp or str
        Printed at the top.
    meta : mapping, optional
        What no table holds; each key may be absent: `tasks` (names in the order wanted); `embedding` (the one of figure 1);
        `arms` {task: {arm: how it chooses}}; `seconds_by_stage` {stage:
        seconds}; `seconds_per_label` {task: seconds}; `advice` {task: sentence}; `near_duplicates_left_out` {task:
        count}; `leaks` {metric of that asset: count}; `vae_health` {active_units, latent, reconstruction_error, mean_image_error, retrieval_rank1,
        retrieval_chance}; `vae_history` (table by step); `vae_reconstructions` (PNG bytes); `versions` {name:
        version}; `links` {name: address}.

    Returns
    -------
    dict of str to str
        Name of file -> page: the findings, the pictures, the frames behind each score, the checks (`names`). They are to lie beside one another; the first one says
        everything that was found by itself.
    """
    known = {name: _table(tables, name, columns.split()) for name, columns in NEEDED.items()}
    about = dict(meta or {})
    seconds_per_label = _seconds_per_label(known, about)
    pictures = Pictures(images)
    evaluations, checks = known["evaluations"], known["checks"]
    present = {str(t) for n in TASK_TABLES for t in known[n]["task"].dropna()}
    wanted = [str(t) for t in about.get("tasks") or ()]
    tasks = [t for t in wanted if t in present] + sorted(present - set(wanted))
    parts = [task_part(task, known, about, seconds_per_label, pictures) for task in tasks]
    shared = {
        "css": Markup(_own("page.css")),  # nosec B704: our own file
        "profile_name": profile_name,
        "generated_at": moment(generated_at),
        "tasks": parts,
        "leaks": leak_part(known["leaks"], about.get("leaks"), pictures),
        "vae": _vae(about),
        "overridden": overridden(known["embedding_health"]),
        "refused": refused_grid(known["files"]),
        "failed_checks": check_grid(checks, passed=False),
        "n_checks": len(checks),
        "versions": dict(about.get("versions") or {}),
        "links": dict(about.get("links") or {}),
        "n": numbers,
        "names": {"findings": FINDINGS, "pictures": PICTURES, "frames": FRAMES, "checks": CHECKS},
    }
    findings = {
        "facts": _facts(known),
        "time": _labelling_time(known, seconds_per_label, tasks),
        "sufficient": sufficient_grid(known),
        "redundancy": _archive_redundancy(known["redundancy"]),
        "archive": archive_grid(known),
        "sides": side_grid(known),
        "sites": site_grid(known),
        "patients_across_split": _patients_across_split(known["frames"]),
        "cost": cost_grid(about.get("seconds_by_stage") or {}, evaluations),
        "appendix": appendix_groups(evaluations),
        "heads": APPENDIX_HEADS,
    }
    of_checks = {"passed_checks": check_grid(checks, passed=True), "health": health_grid(known["embedding_health"])}
    environment = Environment(
        loader=FunctionLoader(_own), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # nosec B701: it escapes
    others = [Part(PICTURES, "Pictures"), Part(FRAMES, "Frames"), Part(CHECKS, "Checks")]
    of_tasks = [Part(f"#{part.anchor}", part.name) for part in parts]
    home = Part(FINDINGS, "Findings")
    sections = [Part(f"#{name.lower()}", name) for name in ("Leaks", "Archive", "Cost", "Evaluations")]
    navigation = {
        "page.html": [Part("#redundancy", "Redundancy"), *of_tasks, *sections, *others],
        "pictures.html": [home, *of_tasks, Part("#leaks", "Leaks"), Part("#vae", "Embedding"), *others[1:]],
        "frames.html": [home, others[0], *of_tasks, others[2]],
        "checks.html": [
            home,
            *others[:2],
            Part("#checks", "Checks"),
            Part("#vae", "Embedding"),
            Part("#refused", "Refused files"),
        ],
    }
    made: dict[str, tuple[str, Mapping[str, Any]]] = {
        FINDINGS: ("page.html", findings),
        PICTURES: ("pictures.html", {}),
        FRAMES: ("frames.html", {"choices": _choices(tasks, known, images)}),
        CHECKS: ("checks.html", of_checks),
    }
    return {
        name: environment.get_template(template).render(**shared, **own, nav=navigation[template])
        for name, (template, own) in made.items()
    }


def _choices(tasks: list[str], known: dict[str, pd.DataFrame], images: Images) -> dict[str, list[Choice]]:
    """Task -> the frames of each of its subsets, with room of their own for pictures."""
    pictures, most = Pictures(images, side=SIDE_OF_CHOSEN, limit=BYTES_OF_CHOSEN), room_of_each(known["subsets"])
    of_task = {task: {**known, "subsets": known["subsets"][known["subsets"]["task"] == task]} for task in tasks}
    return {task: trained_on(task, of_task[task], pictures, most) for task in tasks}


def _own(name: str) -> str:
    """A file of this folder."""
    return (resources.files("enrich_assets.report") / name).read_text(encoding="utf-8")


def _table(tables: Mapping[str, pd.DataFrame], name: str, columns: list[str]) -> pd.DataFrame:
    given = tables.get(name)
    if given is None or given.empty:
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    return given.assign(**{column: None for column in columns if column not in given})


def _seconds_per_label(known: dict[str, pd.DataFrame], about: dict[str, Any]) -> dict[str, float]:
    """Seconds per label by task: as the caller gives them, else what the saved hours imply."""
    seconds = {str(t): float(s) for t, s in (about.get("seconds_per_label") or {}).items()}
    for row in known["sufficient"].itertuples():
        if row.task not in seconds and not numbers.is_missing(row.labels_saved_vs_all) and row.labels_saved_vs_all:
            seconds[str(row.task)] = float(row.hours_saved_vs_all) * 3600 / float(row.labels_saved_vs_all)
    return seconds


def _archive_redundancy(redundancy: pd.DataFrame) -> ArchiveRedundancy | None:
    """None where the archive was not compared as a whole yet."""
    whole, train = (redundancy[redundancy["whole"] == name] for name in ("archive", "train"))
    if whole.empty:
        return None
    return ArchiveRedundancy(
        inline(figures.redundancy_svg(whole, "f1-archive")),
        redundancy_grid({"whole": "archive"}, whole),
        redundancy_grid({"whole": "train"}, train),
        bool(whole["is_estimate"].fillna(False).astype(bool).any()),
    )


def _pools(known: dict[str, pd.DataFrame]) -> tuple[dict[str, int], dict[str, int]]:
    """Frames of each task's pool (the budget of the arm `all`), and the largest budget trained."""
    pools, largest = {}, {}
    for task, runs in numbers.current(known["evaluations"]).groupby("task"):
        full, others = runs[runs["arm"] == "all"], runs[runs["arm"] != "all"]
        if len(full) and len(others):
            pools[str(task)], largest[str(task)] = int(full["budget"].max()), int(others["budget"].max())
    return pools, largest


def _labelling_time(
    known: dict[str, pd.DataFrame], seconds_per_label: dict[str, float], tasks: list[str]
) -> Markup | None:
    pools, largest = _pools(known)
    inadequate = set(known["adequacy"].loc[~known["adequacy"]["passed"].fillna(False).astype(bool), "task"])
    compared = set(known["sufficient"]["task"]) & set(known["adequacy"]["task"]) - inadequate
    drawn = {t: pools[t] for t in tasks if t in pools and t in seconds_per_label and t in compared}
    if not drawn:
        return None
    return inline(figures.labelling_time_svg(known["sufficient"], drawn, seconds_per_label, largest, "f3"))


def _facts(known: dict[str, pd.DataFrame]) -> list[tuple[str, str]]:
    frames, files = known["frames"], known["files"]
    return [
        (numbers.count(frames["patient_id"].nunique()), "patients"),
        (numbers.count(frames["study_id"].nunique()), "studies"),
        (numbers.count(frames["clip_id"].nunique()), "clips"),
        (numbers.count(len(frames)), "frames"),
        (numbers.count(int((files["status"] == "refused").sum())), "files refused"),
        (numbers.count(len(numbers.current(known["evaluations"]))), "models scored"),
    ]


def _vae(about: Mapping[str, Any]) -> Vae:
    history, strip = about.get("vae_history"), about.get("vae_reconstructions")
    health = dict(about.get("vae_health") or {})
    facts = []
    if "active_units" in health:
        facts.append(
            (f"{numbers.count(health['active_units'])} of {numbers.count(health.get('latent'))}", "units active")
        )
    if not numbers.is_missing(health.get("mean_image_error")) and health.get("mean_image_error"):
        ratio = float(health["reconstruction_error"]) / float(health["mean_image_error"])
        facts.append((numbers.share(ratio), "of the mean image's error left"))
    if not numbers.is_missing(health.get("retrieval_rank1")):
        chance = numbers.share(health.get("retrieval_chance"))
        facts.append(
            (numbers.share(health["retrieval_rank1"]), f"of nearest frames are of the same clip (chance {chance})")
        )
    curves = None if history is None or history.empty else inline(figures.vae_curves_svg(history))
    return Vae(curves, png_uri(strip) if strip else "", facts)


def _patients_across_split(frames: pd.DataFrame) -> list[str]:
    """Patients with frames in more than one split: there should be none."""
    splits = frames.dropna(subset=["split"]).groupby("patient_id")["split"].nunique()
    return [str(patient) for patient in splits.index[splits > 1]]
