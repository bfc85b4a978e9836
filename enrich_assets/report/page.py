"""The one page: tables and pictures in, one self-contained HTML text out.

Here: which figures and tables the page has and where their rows come from. Sentences are in `findings.py`,
frames in `gallery.py`, drawing in `figures.py`, the writing of numbers in `numbers.py`; layout in
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
from enrich_assets.report.findings import Finding, finding
from enrich_assets.report.gallery import Gallery, Images, Pair, Pictures, conflicts, gallery, png_uri

# Columns the page reads of each table: a table that is absent or empty is taken as one of these without rows.
NEEDED: dict[str, str] = {
    "studies": "study_id patient_id batch split n_clips n_frames",
    "files": "path batch status reason",
    "frames": "frame_id clip_id study_id patient_id batch split",
    "labels": "frame_id task label mask_path current",
    "redundancy": "task batch relation lower upper pairs share is_estimate",
    "neighbours": "task frame_id neighbour_id similarity",
    "nearest_chosen": "task frame_id chosen_id similarity",
    "near_duplicates": "task frame_id other_id similarity relation labels_conflict",
    "rankings": "task arm seed position frame_id similarity_to_chosen",
    "subsets": "subset_id task arm budget seed n_frames n_patients n_clips coverage_p50 coverage_p05 coverage_min",
    "subset_frames": "subset_id position frame_id",
    "evaluations": "evaluation_id task arm budget seed n_train n_test metric value ci_low ci_high subset_id "
    "model_digest device seconds mlflow_run_id dagster_run_id evaluated_at",
    "comparisons": "task budget arm reference n mean sd n_reference mean_reference sd_reference difference ci_low "
    "ci_high u p p_holm rank_biserial alpha can_reach_alpha margin p_equivalence p_equivalence_holm equivalent note",
    "sufficient": "task arm budget budget_low budget_high share_of_pool labels_saved_vs_all hours_saved_vs_all "
    "labels_saved_vs_random hours_saved_vs_random note",
    "checks": "asset check_name passed severity description",
}


@dataclass(frozen=True)
class Cell:
    """A cell: what it says, where it leads, what it says on hovering."""

    text: str
    href: str = ""
    title: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of the page: heads, rows of cells, the SQL that gives the same, and a sentence. `text`
    columns are left.
    """

    heads: tuple[str, ...]
    rows: list[list[Cell | list[Cell]]]
    sql: str = ""
    text: int = 1  # so many first columns are words, the others numbers
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskPart:
    """All the page says of one task."""

    name: str
    anchor: str
    finding: Finding
    redundancy: Markup | None
    redundancy_shares: Grid
    is_estimate: bool
    curves: Markup | None
    scores: Grid
    comparison: Grid
    represented: Grid
    coverage: Markup | None
    gallery: Gallery | None
    conflicts: list[Pair]
    n_conflicts: int
    n_near_duplicates: int
    near_left_out: int
    advice: str
    margin: str
    alpha: str


@dataclass(frozen=True)
class Part:
    """A heading of the navigation."""

    anchor: str
    name: str


@dataclass(frozen=True)
class Vae:
    """What the page says of the VAE."""

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
    """The report as one HTML text (well-formed, no reference outside itself, a few megabytes at most).

    tables: the published tables by name; any may be absent. images: frame_id -> PNG bytes or (h, w[, 3])
    uint8, or None; a KeyError or OSError leaves the place empty. generated_at: a timestamp or a text. meta,
    all optional: `seconds` {stage: seconds}; `seconds_per_label` {task: seconds}; `advice` {task:
    sentence}; `near_duplicates_left_out` {task: count}; `vae` {"history": table by step, "figures": dict of
    its health, "reconstructions": PNG bytes}; `versions` {name: version}; `links` {name: address of a
    service}.
    """
    known = {name: _table(tables, name, columns.split()) for name, columns in NEEDED.items()}
    about = dict(meta or {})
    each = _seconds_per_label(known, about)
    pictures = Pictures(images)
    evaluations = known["evaluations"]
    tasks = sorted({str(t) for n in ("evaluations", "redundancy", "subsets") for t in known[n]["task"].dropna()})
    parts = [_task_part(task, known, about, each, pictures) for task in tasks]
    vae = _vae(about.get("vae") or {})
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room = resources.files("enrich_assets.report")
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    return template.render(
        css=Markup((room / "page.css").read_text(encoding="utf-8")),
        profile_name=profile_name,
        generated_at=_moment(generated_at),
        facts=_facts(known),
        tasks=parts,
        time=_labelling_time(known, each),
        sufficient=_sufficient(known),
        archive=_archive(known),
        refused=_refused(known["files"]),
        vae=vae,
        checks=_checks(known["checks"]),
        n_checks=len(known["checks"]),
        cost=_cost(about.get("seconds") or {}, evaluations),
        appendix=_appendix(evaluations),
        heads=APPENDIX_HEADS,
        versions=dict(about.get("versions") or {}),
        links=dict(about.get("links") or {}),
        nav=[
            Part("found", "Findings"),
            *(Part(p.anchor, p.name) for p in parts),
            Part("archive", "Archive"),
            Part("vae", "Embedding"),
            Part("cost", "Cost"),
            Part("evaluations", "Evaluations"),
        ],
        n=numbers,
    )


# ------------------------------------------------------------------------------------------ tables as given
def _table(tables: Mapping[str, pd.DataFrame], name: str, columns: list[str]) -> pd.DataFrame:
    given = tables.get(name)
    if given is None or given.empty:
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    return given.assign(**{column: None for column in columns if column not in given})


def _of(known: dict[str, pd.DataFrame], name: str, task: str) -> pd.DataFrame:
    return known[name][known[name]["task"] == task]


def _seconds_per_label(known: dict[str, pd.DataFrame], about: dict[str, Any]) -> dict[str, float]:
    """As the caller says; else what the saved hours imply."""
    each = {str(t): float(s) for t, s in (about.get("seconds_per_label") or {}).items()}
    for row in known["sufficient"].itertuples():
        if row.task not in each and not numbers.is_missing(row.labels_saved_vs_all) and row.labels_saved_vs_all:
            each[str(row.task)] = float(row.hours_saved_vs_all) * 3600 / float(row.labels_saved_vs_all)
    return each


# ------------------------------------------------------------------------------------------------ the tasks
def _task_part(
    task: str,
    known: dict[str, pd.DataFrame],
    about: dict[str, Any],
    each: dict[str, float],
    pictures: Pictures,
) -> TaskPart:
    mine = {name: _of(known, name, task) if "task" in table else table for name, table in known.items()}
    evaluations, comparisons = mine["evaluations"], mine["comparisons"]
    found = finding(task, evaluations, comparisons, mine["sufficient"], each.get(task))
    arms = sorted(mine["sufficient"]["arm"].dropna().unique(), key=numbers.arm_order)
    budgets = mine["sufficient"].set_index("arm")["budget"]
    budget = budgets[arms[0]] if arms and not numbers.is_missing(budgets[arms[0]]) else None
    pairs, n_conflicts = conflicts(mine["near_duplicates"], mine["labels"], pictures)
    margins = comparisons["margin"].dropna()
    return TaskPart(
        name=task,
        anchor=f"task-{task}",
        finding=found,
        redundancy=_svg(figures.redundancy_svg(mine["redundancy"], f"f1-{task}")) if len(mine["redundancy"]) else None,
        redundancy_shares=_redundancy_shares(task, mine["redundancy"]),
        is_estimate=bool(mine["redundancy"]["is_estimate"].fillna(False).astype(bool).any()),
        curves=_svg(figures.curves_svg(evaluations, comparisons, f"f2-{task}")) if len(evaluations) else None,
        scores=_scores(task, evaluations),
        comparison=_comparison(task, comparisons),
        represented=_represented(task, mine["subsets"]),
        coverage=_coverage(task, mine["subsets"]),
        gallery=gallery(task, mine, pictures, budget=None if budget is None else int(budget)),
        conflicts=pairs,
        n_conflicts=n_conflicts,
        n_near_duplicates=len(mine["near_duplicates"]),
        near_left_out=int((about.get("near_duplicates_left_out") or {}).get(task, 0)),
        advice=str((about.get("advice") or {}).get(task, "")),
        margin=f"{margins.iloc[0]:g}" if len(margins) else "",
        alpha=f"{comparisons['alpha'].iloc[0]:g}" if len(comparisons) else "0.05",
    )


def _svg(text: str) -> Markup:
    return Markup(text)  # made by matplotlib from our own tables, names in it are escaped there


def _coverage(task: str, subsets: pd.DataFrame) -> Markup | None:
    rows = numbers.current(subsets)
    drawn = rows[(rows["arm"] != "all") & rows["coverage_p50"].notna()] if len(rows) else rows
    return _svg(figures.coverage_svg(subsets, f"coverage-{task}")) if len(drawn) else None


def _redundancy_shares(task: str, redundancy: pd.DataFrame) -> Grid:
    rows: list[list[Cell | list[Cell]]] = []
    if len(redundancy):
        for row in figures.redundancy_shares(redundancy).to_dict("records"):
            over = [Cell(numbers.share(row[f"over_{k}"])) for k in figures.THRESHOLDS]
            rows.append([Cell(figures.RELATION_NAMES[row["relation"]]), Cell(numbers.count(row["pairs"])), *over])
    over_sql = ", ".join(
        f"coalesce(sum(pairs) FILTER (WHERE lower >= {k} - 1e-9), 0) / sum(pairs) AS over_{str(k).replace('.', '_')}"
        for k in figures.THRESHOLDS
    )
    sql = (
        f"SELECT relation, sum(pairs) AS pairs, {over_sql} FROM redundancy WHERE task = {_quoted(task)} "
        "AND batch = '' GROUP BY relation"
    )
    return Grid(("pairs of frames", "pairs", *(f"over {k}" for k in figures.THRESHOLDS)), rows, sql)


def _scores(task: str, evaluations: pd.DataFrame) -> Grid:
    runs = numbers.current(evaluations)
    rows: list[list[Cell | list[Cell]]] = []
    for row in numbers.results_table(evaluations).itertuples():
        of_cell = runs[(runs["arm"] == row.arm) & (runs["budget"] == row.budget)].sort_values("seed")
        link = "#" + numbers.group_anchor(task, row.arm, row.budget)
        each: list[Cell] = [
            Cell(
                numbers.score(e.value),
                "#" + numbers.anchor(e.evaluation_id),
                f"seed {e.seed}: {e.evaluation_id}",
            )
            for e in of_cell.itertuples()
        ]
        rows.append(
            [
                Cell(numbers.count(row.budget)),
                Cell(numbers.arm_name(row.arm)),
                Cell(numbers.count(row.n)),
                Cell(numbers.score(row.mean), link, strong=True),
                Cell(numbers.score(row.sd)),
                each,
            ]
        )
    sql = (
        "SELECT budget, arm, count(value) AS n, avg(value) AS mean, stddev_samp(value) AS sd FROM evaluations "
        f"WHERE task = {_quoted(task)} AND current GROUP BY budget, arm ORDER BY budget, arm"
    )
    return Grid(("labels", "arm", "runs", "mean", "sd", "each run"), rows, sql, text=0)


def _comparison(task: str, comparisons: pd.DataFrame) -> Grid:
    rows: list[list[Cell | list[Cell]]] = []
    notes: list[str] = []
    order = comparisons.sort_values(["reference", "budget", "arm"], ascending=[False, True, True])
    for r in order.itertuples():
        note = "" if numbers.is_missing(r.note) else str(r.note)
        if note and note not in notes:
            notes.append(note)
        star = not numbers.is_missing(r.p_holm) and r.p_holm <= r.alpha
        equal = "" if numbers.is_missing(r.equivalent) else "yes" if r.equivalent else "not shown"
        rows.append(
            [
                Cell(f"{numbers.arm_name(r.arm)} against {numbers.arm_name(r.reference)}"),
                Cell(numbers.count(r.budget)),
                Cell(f"{numbers.count(r.n)} : {numbers.count(r.n_reference)}"),
                Cell(numbers.score(r.mean), "#" + numbers.group_anchor(task, r.arm, r.budget)),
                Cell(numbers.score(r.mean_reference)),
                Cell(numbers.signed(r.difference), strong=True),
                Cell(
                    f"{numbers.signed(r.ci_low)} to {numbers.signed(r.ci_high)}"
                    if not numbers.is_missing(r.ci_low)
                    else numbers.MISSING
                ),
                Cell(numbers.p_value(r.p)),
                Cell(numbers.p_value(r.p_holm) + (" ★" if star and r.difference > 0 else " ▼" if star else "")),
                Cell(
                    numbers.signed(r.rank_biserial)[:-2] if not numbers.is_missing(r.rank_biserial) else numbers.MISSING
                ),
                Cell(numbers.p_value(r.p_equivalence_holm) if equal else ""),
                Cell(equal, strong=equal == "yes"),
                Cell(f"({notes.index(note) + 1})" if note else "", title=note),
            ]
        )
    heads = (
        "comparison",
        "labels",
        "runs",
        "mean",
        "reference",
        "difference",
        "95 % interval",
        "p",
        "p corrected",
        "effect",
        "p equivalence",
        "equivalent",
        "note",
    )
    sql = f"SELECT * FROM comparisons WHERE task = {_quoted(task)} ORDER BY reference DESC, budget, arm"
    return Grid(heads, rows, sql, notes=tuple(notes))


def _represented(task: str, subsets: pd.DataFrame) -> Grid:
    rows: list[list[Cell | list[Cell]]] = []
    current = numbers.current(subsets)
    for (budget, arm), group in current.groupby(["budget", "arm"], sort=True):
        least = group["coverage_min"].min()
        rows.append(
            [
                Cell(numbers.count(budget)),
                Cell(numbers.arm_name(arm)),
                Cell(numbers.count(len(group))),
                *(Cell(numbers.mean_count(group[c].mean())) for c in ("n_patients", "n_clips")),
                *(Cell(numbers.similarity(group[c].mean())) for c in ("coverage_p50", "coverage_p05")),
                Cell(numbers.similarity(least)),
            ]
        )
    heads = ("labels", "arm", "subsets", "patients", "clips", "coverage: median", "5th percentile", "worst")
    sql = f"SELECT * FROM representation WHERE task = {_quoted(task)} ORDER BY budget, arm"
    return Grid(heads, rows, sql, text=0)


# --------------------------------------------------------------------------------------------- across tasks
def _pools(known: dict[str, pd.DataFrame]) -> tuple[dict[str, int], dict[str, int]]:
    """Frames of each task's pool (the budget of the arm `all`), and the greatest budget trained."""
    pools, largest = {}, {}
    for task, runs in numbers.current(known["evaluations"]).groupby("task"):
        full, others = runs[runs["arm"] == "all"], runs[runs["arm"] != "all"]
        if len(full) and len(others):
            pools[str(task)], largest[str(task)] = int(full["budget"].max()), int(others["budget"].max())
    return pools, largest


def _labelling_time(known: dict[str, pd.DataFrame], each: dict[str, float]) -> Markup | None:
    pools, largest = _pools(known)
    drawn = set(pools) & set(each) & set(known["sufficient"]["task"])
    if not drawn:
        return None
    return _svg(figures.labelling_time_svg(known["sufficient"], pools, each, largest, "f3"))


def _sufficient(known: dict[str, pd.DataFrame]) -> Grid:
    rows: list[list[Cell | list[Cell]]] = []
    for r in known["sufficient"].sort_values(["task", "arm"]).itertuples():
        found = not numbers.is_missing(r.budget)
        high = numbers.MISSING if numbers.is_missing(r.budget_high) else numbers.count(r.budget_high)
        link = "#" + numbers.group_anchor(r.task, r.arm, int(r.budget)) if found else ""
        rows.append(
            [
                Cell(str(r.task)),
                Cell(numbers.arm_name(r.arm)),
                Cell(numbers.count(r.budget), link, strong=True),
                Cell(f"{numbers.count(r.budget_low)} to {high}" if found else numbers.MISSING),
                Cell(numbers.share(r.share_of_pool)),
                Cell(numbers.count(r.labels_saved_vs_all)),
                Cell(numbers.hours(r.hours_saved_vs_all)),
                Cell(numbers.count(r.labels_saved_vs_random)),
                Cell(numbers.hours(r.hours_saved_vs_random)),
                Cell("" if numbers.is_missing(r.note) else str(r.note)),
            ]
        )
    heads = (
        "task",
        "arm",
        "labels that suffice",
        "95 % interval (estimate)",
        "of the pool",
        "saved against everything",
        "time",
        "saved against random",
        "time",
        "note",
    )
    return Grid(heads, rows, "SELECT * FROM sufficient ORDER BY task, arm", text=2)


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


def _archive(known: dict[str, pd.DataFrame]) -> Grid:
    """Table 1: patients, studies, clips, frames by split, and what is labelled, by task and class."""
    frames, labels = known["frames"], numbers.current(known["labels"])
    heads = ["split", "patients", "studies", "clips", "frames"]
    groups: list[tuple[str, pd.Series]] = []
    of_label = labels.assign(what=labels["label"].where(labels["label"].notna(), "mask"))
    for (task, what), group in of_label.groupby(["task", "what"], sort=True) if len(labels) else ():
        heads.append(f"{task}: {what}")
        groups.append((f"{task}: {what}", group["frame_id"]))
    rows: list[list[Cell | list[Cell]]] = []
    for split in [*sorted(frames["split"].dropna().unique(), reverse=True), "together"]:
        mine = frames if split == "together" else frames[frames["split"] == split]
        counts = [mine[c].nunique() for c in ("patient_id", "study_id", "clip_id")] + [len(mine)]
        counts += [int(mine["frame_id"].isin(set(ids)).sum()) for _, ids in groups]
        rows.append([Cell(str(split)), *(Cell(numbers.count(c)) for c in counts)])
    sql = (
        "SELECT split, count(DISTINCT patient_id) AS patients, count(DISTINCT study_id) AS studies, "
        "count(DISTINCT clip_id) AS clips, count(*) AS frames FROM frames GROUP BY split"
    )
    return Grid(tuple(heads), rows if len(frames) else [], sql)


def _refused(files: pd.DataFrame, most: int = 200) -> Grid:
    refused = files[files["status"] == "refused"].sort_values(["batch", "path"])
    rows: list[list[Cell | list[Cell]]] = [
        [Cell(str(r.batch)), Cell(str(r.path)), Cell("" if numbers.is_missing(r.reason) else str(r.reason))]
        for r in refused.head(most).itertuples()
    ]
    more = len(refused) - most
    notes = (f"and {numbers.count(more)} more",) if more > 0 else ()
    sql = "SELECT batch, path, reason FROM files WHERE status = 'refused' ORDER BY batch, path"
    return Grid(("batch", "file", "reason"), rows, sql, text=3, notes=notes)


def _checks(checks: pd.DataFrame) -> Grid:
    order = checks.assign(failed=~checks["passed"].fillna(False).astype(bool)).sort_values(
        ["failed", "asset", "check_name"], ascending=[False, True, True]
    )
    rows: list[list[Cell | list[Cell]]] = [
        [
            Cell("passed" if not r.failed else f"failed ({r.severity})", strong=bool(r.failed)),
            Cell(str(r.asset)),
            Cell(str(r.check_name).replace("_", " ")),
            Cell("" if numbers.is_missing(r.description) else str(r.description)),
        ]
        for r in order.itertuples()
    ]
    return Grid(("", "asset", "check", "found"), rows, "SELECT * FROM checks", text=4)


def _vae(given: Mapping[str, Any]) -> Vae:
    history, strip = given.get("history"), given.get("reconstructions")
    f = dict(given.get("figures") or {})
    facts = []
    if "active_units" in f:
        facts.append((f"{numbers.count(f['active_units'])} of {numbers.count(f.get('latent'))}", "units active"))
    if not numbers.is_missing(f.get("mean_image_error")) and f.get("mean_image_error"):
        ratio = float(f["reconstruction_error"]) / float(f["mean_image_error"])
        facts.append((numbers.share(ratio), "of the mean image's error left"))
    if not numbers.is_missing(f.get("retrieval_rank1")):
        chance = numbers.share(f.get("retrieval_chance"))
        facts.append((numbers.share(f["retrieval_rank1"]), f"nearest frame is of the same clip (chance {chance})"))
    drawn = history is not None and len(history) > 0
    return Vae(_svg(figures.vae_curves_svg(history)) if drawn else None, png_uri(strip) if strip else "", facts)


def _cost(stages: Mapping[str, Any], evaluations: pd.DataFrame) -> Grid:
    given = {str(k): float(v) for k, v in stages.items() if not numbers.is_missing(v)}
    if not given and evaluations["seconds"].notna().any():
        given = {"training and scoring": float(evaluations["seconds"].dropna().astype(float).sum())}
    whole = sum(given.values())
    rows: list[list[Cell | list[Cell]]] = [
        [Cell(stage), Cell(numbers.seconds(s)), Cell(numbers.share(s / whole if whole else None))]
        for stage, s in given.items()
    ]
    if rows:
        rows.append([Cell("together", strong=True), Cell(numbers.seconds(whole), strong=True), Cell("")])
    devices = sorted({str(d) for d in evaluations["device"].dropna()})
    notes = (f"models trained on: {', '.join(devices)}",) if devices else ()
    sql = "SELECT device, count(*) AS models, sum(seconds) AS seconds FROM evaluations GROUP BY device"
    return Grid(("stage", "time", "share"), rows, sql, notes=notes)


# ------------------------------------------------------------------------------------------------- appendix
@dataclass(frozen=True)
class Group:
    """The evaluations of one task, arm and budget in the appendix."""

    anchor: str
    name: str
    current: bool
    rows: list[tuple[str, list[Cell]]]  # (anchor, cells)


APPENDIX_HEADS = (
    "evaluation",
    "seed",
    "value",
    "95 % interval over patients",
    "trained / scored on",
    "subset",
    "weights",
    "MLflow run",
    "Dagster run",
    "device",
    "time",
    "when (UTC)",
)


def _appendix(evaluations: pd.DataFrame) -> list[Group]:
    """Every evaluation, those since superseded at the end; each row an anchor."""
    marked = evaluations.assign(
        now=evaluations["current"].fillna(True).astype(bool) if "current" in evaluations else True
    )
    groups = []
    for (now, task, arm, budget), rows in marked.groupby(["now", "task", "arm", "budget"], sort=True):
        anchor = numbers.group_anchor(task, arm, budget) + ("" if now else "-earlier")
        name = f"{task}, {numbers.arm_name(arm)}, {numbers.count(budget)} labels"
        entries = [(numbers.anchor(r.evaluation_id), _appendix_row(r)) for r in rows.sort_values("seed").itertuples()]
        groups.append(Group(anchor, name if now else f"{name} (superseded)", bool(now), entries))
    return sorted(groups, key=lambda g: not g.current)


def _appendix_row(r: Any) -> list[Cell]:
    interval = f"{numbers.score(r.ci_low)} to {numbers.score(r.ci_high)}"
    return [
        Cell(str(r.evaluation_id)),
        Cell(str(r.seed)),
        Cell(f"{numbers.metric_name(r.metric)} {numbers.score(r.value)}", strong=True),
        Cell(numbers.MISSING if numbers.is_missing(r.ci_low) else interval),
        Cell(f"{numbers.count(r.n_train)} / {numbers.count(r.n_test)} frames"),
        *(
            Cell(_short(v), title="" if numbers.is_missing(v) else str(v))
            for v in (r.subset_id, r.model_digest, r.mlflow_run_id, r.dagster_run_id)
        ),
        Cell("" if numbers.is_missing(r.device) else str(r.device)),
        Cell(numbers.seconds(r.seconds)),
        Cell("" if numbers.is_missing(r.evaluated_at) else _moment(r.evaluated_at)),
    ]


def _short(value: Any) -> str:
    return numbers.MISSING if numbers.is_missing(value) else str(value)[:12]


def _moment(value: Any) -> str:
    return value if isinstance(value, str) else pd.Timestamp(value).strftime("%Y-%m-%d %H:%M")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
