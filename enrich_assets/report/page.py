"""The one page: tables and pictures in, one self-contained HTML text out.

Here: which figures and tables the page has and where their rows come from. Sentences are in `findings.py`,
frames in `gallery.py`, drawing in `figures/`, the writing of numbers in `numbers.py`; layout in
`page.html` and `page.css`. It reads published tables only and touches no file, network or clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from enrich_assets.report import figures, numbers
from enrich_assets.report.figures.grids import (
    APPENDIX_HEADS,
    Grid,
    appendix_groups,
    archive_grid,
    check_grid,
    comparison_grid,
    cost_grid,
    moment,
    redundancy_grid,
    refused_grid,
    representation_grid,
    score_grid,
    sufficient_grid,
)
from enrich_assets.report.figures.sides import side_grid, site_grid
from enrich_assets.report.findings import Finding, finding
from enrich_assets.report.gallery import Gallery, Images, Pictures, gallery, png_uri
from enrich_assets.report.health import health_grid, overridden
from enrich_assets.report.leaks import leak_part

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

# A task with rows in any of these has a part of the page.
TASK_TABLES = ("evaluations", "redundancy", "panel_redundancy", "subsets")


@dataclass(frozen=True)
class TaskPart:
    """All that the page shows of one task."""

    name: str
    anchor: str
    finding: Finding
    saw_labels: str
    redundancy: Markup | None
    redundancy_shares: Grid
    embedding: str
    other_embeddings: list[tuple[str, Grid]]
    arms: str
    is_estimate: bool
    curves: Markup | None
    scores: Grid
    comparison: Grid
    represented: Grid
    coverage: Markup | None
    gallery: Gallery | None
    n_near_duplicates: int
    near_left_out: int
    advice: str
    margin: str
    alpha: str


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

    anchor: str
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
) -> str:
    """The report as one HTML text: well-formed, no reference outside itself, a few megabytes at most.

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
    str
        The page.
    """
    known = {name: _table(tables, name, columns.split()) for name, columns in NEEDED.items()}
    about = dict(meta or {})
    seconds_per_label = _seconds_per_label(known, about)
    pictures = Pictures(images)
    evaluations = known["evaluations"]
    present = {str(t) for n in TASK_TABLES for t in known[n]["task"].dropna()}
    wanted = [str(t) for t in about.get("tasks") or ()]
    tasks = [t for t in wanted if t in present] + sorted(present - set(wanted))
    parts = [_task_part(task, known, about, seconds_per_label, pictures) for task in tasks]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room = resources.files("enrich_assets.report")
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    return template.render(
        css=Markup((room / "page.css").read_text(encoding="utf-8")),  # nosec B704: our own file
        profile_name=profile_name,
        generated_at=moment(generated_at),
        facts=_facts(known),
        tasks=parts,
        time=_labelling_time(known, seconds_per_label, tasks),
        sufficient=sufficient_grid(known),
        redundancy=_archive_redundancy(known["redundancy"]),
        leaks=leak_part(known["leaks"], about.get("leaks"), pictures),
        archive=archive_grid(known),
        sides=side_grid(known),
        sites=site_grid(known),
        patients_across_split=_patients_across_split(known["frames"]),
        refused=refused_grid(known["files"]),
        vae=_vae(about),
        health=health_grid(known["embedding_health"]),
        overridden=overridden(known["embedding_health"]),
        failed_checks=check_grid(known["checks"], passed=False),
        passed_checks=check_grid(known["checks"], passed=True),
        n_checks=len(known["checks"]),
        cost=cost_grid(about.get("seconds_by_stage") or {}, evaluations),
        appendix=appendix_groups(evaluations),
        heads=APPENDIX_HEADS,
        versions=dict(about.get("versions") or {}),
        links=dict(about.get("links") or {}),
        nav=[
            Part("findings", "Findings"),
            Part("redundancy", "Redundancy"),
            *(Part(p.anchor, p.name) for p in parts),
            Part("leaks", "Leaks"),
            Part("archive", "Archive"),
            Part("vae", "Embedding"),
            Part("cost", "Cost"),
            Part("evaluations", "Evaluations"),
        ],
        n=numbers,
    )


def _table(tables: Mapping[str, pd.DataFrame], name: str, columns: list[str]) -> pd.DataFrame:
    given = tables.get(name)
    if given is None or given.empty:
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    return given.assign(**{column: None for column in columns if column not in given})


def _of(known: dict[str, pd.DataFrame], name: str, task: str) -> pd.DataFrame:
    return known[name][known[name]["task"] == task]


def _seconds_per_label(known: dict[str, pd.DataFrame], about: dict[str, Any]) -> dict[str, float]:
    """Seconds per label by task: as the caller gives them, else what the saved hours imply."""
    seconds = {str(t): float(s) for t, s in (about.get("seconds_per_label") or {}).items()}
    for row in known["sufficient"].itertuples():
        if row.task not in seconds and not numbers.is_missing(row.labels_saved_vs_all) and row.labels_saved_vs_all:
            seconds[str(row.task)] = float(row.hours_saved_vs_all) * 3600 / float(row.labels_saved_vs_all)
    return seconds


def _task_part(
    task: str,
    known: dict[str, pd.DataFrame],
    about: dict[str, Any],
    seconds_per_label: dict[str, float],
    pictures: Pictures,
) -> TaskPart:
    whole = {name: _of(known, name, task) if "task" in table else table for name, table in known.items()}
    default = _default_embedding(whole, about)
    of_task = {name: _by(table, default) if name in BY_EMBEDDING else table for name, table in whole.items()}
    others = [str(one) for one in whole["redundancy"]["embedding"].dropna().unique() if one != default]
    ways = (about.get("arms") or {}).get(task, {})
    evaluations, comparisons, subsets = of_task["evaluations"], of_task["comparisons"], of_task["subsets"]
    redundancy, source = of_task["redundancy"], "redundancy"
    if redundancy.empty:  # the batches were compared, but not summed yet
        redundancy, source = figures.sum_of_panels(of_task["panel_redundancy"]), "panel_redundancy"
    margins = comparisons["margin"].dropna()
    return TaskPart(
        name=task,
        anchor=f"task-{task}",
        finding=finding(
            task, evaluations, comparisons, of_task["sufficient"], of_task["adequacy"], seconds_per_label.get(task)
        ),
        saw_labels=numbers.saw_labels(of_task["arms"], evaluations),
        redundancy=_svg(figures.redundancy_svg(redundancy, f"f1-{task}")) if len(redundancy) else None,
        redundancy_shares=redundancy_grid(
            {"task": task, **({"embedding": default} if others else {})}, redundancy, source
        ),
        embedding=default,
        other_embeddings=[
            (one, redundancy_grid({"task": task, "embedding": one}, _by(whole["redundancy"], one)))
            for one in sorted(others)
        ],
        arms="; ".join(f"{numbers.arm_name(arm)}: {way}" for arm, way in ways.items()),
        is_estimate=bool(redundancy["is_estimate"].fillna(False).astype(bool).any()),
        curves=_svg(figures.curves_svg(evaluations, comparisons, f"f2-{task}")) if len(evaluations) else None,
        scores=score_grid(task, evaluations),
        comparison=comparison_grid(task, comparisons),
        represented=representation_grid(task, subsets),
        coverage=_coverage(task, subsets),
        gallery=gallery(task, of_task, pictures, budget=_budget_to_show(of_task["sufficient"])),
        n_near_duplicates=len(of_task["near_duplicates"]),
        near_left_out=int((about.get("near_duplicates_left_out") or {}).get(task, 0)),
        advice=str((about.get("advice") or {}).get(task, "")),
        margin=f"{margins.iloc[0]:g}" if len(margins) else "",
        alpha=f"{comparisons['alpha'].iloc[0]:g}" if len(comparisons) else "0.05",
    )


def _archive_redundancy(redundancy: pd.DataFrame) -> ArchiveRedundancy | None:
    """None where the archive was not compared as a whole yet."""
    whole, train = (redundancy[redundancy["whole"] == name] for name in ("archive", "train"))
    if whole.empty:
        return None
    return ArchiveRedundancy(
        _svg(figures.redundancy_svg(whole, "f1-archive")),
        redundancy_grid({"whole": "archive"}, whole),
        redundancy_grid({"whole": "train"}, train),
        bool(whole["is_estimate"].fillna(False).astype(bool).any()),
    )


BY_EMBEDDING = ("redundancy", "panel_redundancy", "neighbours", "near_duplicates")


def _default_embedding(of_task: dict[str, pd.DataFrame], about: dict[str, Any]) -> str:
    """The embedding of figure 1: the profile's first, else the first that has rows; vae where no row names one."""
    named = [str(name) for table in BY_EMBEDDING for name in of_task[table]["embedding"].dropna().unique()]
    given = str(about.get("embedding") or "")
    return given if given in named or not named else named[0]


def _by(table: pd.DataFrame, embedding: str) -> pd.DataFrame:
    """Rows of one embedding; those that name none are taken as its rows."""
    return table[table["embedding"].isna() | (table["embedding"] == embedding)]


def _budget_to_show(sufficient: pd.DataFrame) -> int | None:
    """The sufficient budget of the first arm, ENRICH where there is one; None where none was."""
    arms = sorted(sufficient["arm"].dropna().unique(), key=numbers.arm_order)
    if not arms:
        return None
    budget = sufficient.set_index("arm")["budget"][arms[0]]
    return None if numbers.is_missing(budget) else int(budget)


def _svg(text: str) -> Markup:
    return Markup(text)  # nosec B704: made by matplotlib from our own tables, names in it are escaped there


def _coverage(task: str, subsets: pd.DataFrame) -> Markup | None:
    rows = numbers.current(subsets)
    drawn = rows[(rows["arm"] != "all") & rows["coverage_p50"].notna()] if len(rows) else rows
    return _svg(figures.coverage_svg(subsets, f"coverage-{task}")) if len(drawn) else None


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
    return _svg(figures.labelling_time_svg(known["sufficient"], drawn, seconds_per_label, largest, "f3"))


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
    curves = None if history is None or history.empty else _svg(figures.vae_curves_svg(history))
    return Vae(curves, png_uri(strip) if strip else "", facts)


def _patients_across_split(frames: pd.DataFrame) -> list[str]:
    """Patients with frames in more than one split: there should be none."""
    splits = frames.dropna(subset=["split"]).groupby("patient_id")["split"].nunique()
    return [str(patient) for patient in splits.index[splits > 1]]
