"""The tables of the page: rows of the published tables, written by `numbers.py`, each with the SQL that gives the same.

Here: heads, cells, links and notes. Not here: the place of a table and the text around it (`page.py`, `page.html`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from enrich_assets.report import figures, numbers


@dataclass(frozen=True)
class Cell:
    """A cell: its text, where it links to, its tooltip, whether it is bold."""

    text: str
    href: str = ""
    title: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of the page: heads, rows of cells, the SQL that gives the same, and notes."""

    heads: tuple[str, ...]
    rows: list[list[Cell | list[Cell]]]
    sql: str = ""
    text: int = 1  # the first so many columns are words, the others numbers
    notes: tuple[str, ...] = ()


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
    "its frames",
)


def redundancy_grid(of: Mapping[str, str], redundancy: pd.DataFrame, source: str = "redundancy") -> Grid:
    """The numbers of figure 1: pairs of each relation, and their shares above the thresholds.

    Parameters
    ----------
    of : mapping
        Which whole, as columns of the table and their values: `{"whole": "archive"}`, `{"task": "view"}`.
    redundancy : pandas.DataFrame
        Rows of the table `redundancy`, of this whole.
    source : {"redundancy", "panel_redundancy"}
        The published table that they come from, which the SQL queries.

    Returns
    -------
    Grid
    """
    rows: list[list[Cell | list[Cell]]] = []
    if len(redundancy):
        for row in figures.redundancy_shares(redundancy).to_dict("records"):
            over = [Cell(numbers.share(row[f"over_{k}"])) for k in figures.THRESHOLDS]
            rows.append([Cell(figures.RELATION_NAMES[row["relation"]]), Cell(numbers.count(row["pairs"])), *over])
    over_sql = ", ".join(
        f"coalesce(sum(pairs) FILTER (WHERE lower >= {k} - 1e-9), 0) / sum(pairs) AS over_{str(k).replace('.', '_')}"
        for k in figures.THRESHOLDS
    )
    condition = " AND ".join(f"{name} = {_quoted(value)}" for name, value in of.items())
    sql = f"SELECT relation, sum(pairs) AS pairs, {over_sql} FROM {source} WHERE {condition} GROUP BY relation"  # nosec B608: shown on the page, never run
    return Grid(("pairs of frames", "pairs", *(f"over {k}" for k in figures.THRESHOLDS)), rows, sql)


def score_grid(task: str, evaluations: pd.DataFrame) -> Grid:
    """The numbers of figure 2: mean and standard deviation by arm and budget, each run linked to its evaluation."""
    runs = numbers.current(evaluations)
    rows: list[list[Cell | list[Cell]]] = []
    summary = numbers.results_table(evaluations)
    for row in summary.sort_values(["arm", "budget"], key=_by_arm).itertuples():
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
                Cell(numbers.arm_name(row.arm)),
                Cell(numbers.count(row.budget)),
                Cell(numbers.count(row.n)),
                Cell(numbers.score(row.mean), link, strong=True),
                Cell(numbers.score(row.sd)),
                each,
            ]
        )
    sql = (
        "SELECT arm, budget, count(value) AS n, avg(value) AS mean, stddev_samp(value) AS sd FROM evaluations "  # nosec B608: shown on the page, never run
        f"WHERE task = {_quoted(task)} AND current GROUP BY arm, budget ORDER BY arm, budget"
    )
    return Grid(("arm", "labels", "runs", "mean", "sd", "each run"), rows, sql)


def _by_arm(column: pd.Series) -> pd.Series:
    """Sort key: arms in the order of the page, other columns as they are."""
    return column.map(numbers.arm_order) if column.name == "arm" else column


def comparison_grid(task: str, comparisons: pd.DataFrame) -> Grid:
    """Table 1: each arm against random and against everything, p corrected over the budgets, notes numbered below."""
    rows: list[list[Cell | list[Cell]]] = []
    notes: list[str] = []
    order = comparisons.sort_values(["reference", "arm", "budget"], ascending=[False, True, True])
    for r in order.itertuples():
        note = "" if numbers.is_missing(r.note) else str(r.note)
        if note and note not in notes:
            notes.append(note)
        star = not numbers.is_missing(r.p_both_holm) and r.p_both_holm <= r.alpha
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
                Cell(numbers.p_value(r.p_both_holm) + (" ★" if star and r.difference > 0 else " ▼" if star else "")),
                Cell(numbers.p_value(r.p_equivalence_holm) if equal else ""),
                Cell(equal, strong=equal == "yes"),
                Cell(numbers.p_value(r.p_holm)),
                Cell(
                    numbers.signed(r.rank_biserial)[:-2] if not numbers.is_missing(r.rank_biserial) else numbers.MISSING
                ),
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
        "p equivalence",
        "equivalent",
        "p, seeds alone",
        "effect, seeds alone",
        "note",
    )
    sql = f"SELECT * FROM comparisons WHERE task = {_quoted(task)} ORDER BY reference DESC, arm, budget"  # nosec B608: shown on the page, never run
    return Grid(heads, rows, sql, notes=tuple(notes))


def representation_grid(task: str, subsets: pd.DataFrame) -> Grid:
    """Table 2: patients and clips in the subsets of each arm and budget, and how well they cover the rest."""
    rows: list[list[Cell | list[Cell]]] = []
    current = numbers.current(subsets)
    of_cell = [(str(arm), budget, group) for (arm, budget), group in current.groupby(["arm", "budget"])]
    for arm, budget, group in sorted(of_cell, key=lambda c: (numbers.arm_order(c[0]), c[1])):
        least = group["coverage_min"].min()
        rows.append(
            [
                Cell(numbers.arm_name(arm)),
                Cell(numbers.count(budget)),
                Cell(numbers.count(len(group))),
                *(Cell(numbers.mean_count(group[c].mean())) for c in ("n_patients", "n_clips")),
                *(Cell(numbers.similarity(group[c].mean())) for c in ("coverage_p50", "coverage_p05")),
                Cell(numbers.similarity(least)),
            ]
        )
    heads = ("arm", "labels", "subsets", "patients", "clips", "coverage: median", "5th percentile", "worst")
    sql = f"SELECT * FROM representation WHERE task = {_quoted(task)} ORDER BY arm, budget"  # nosec B608: shown on the page, never run
    return Grid(heads, rows, sql)


def sufficient_grid(known: dict[str, pd.DataFrame]) -> Grid:
    """The numbers of the labelling time: the smallest sufficient budget of each task and arm, and what it saves."""
    rows: list[list[Cell | list[Cell]]] = []
    notes: list[str] = []
    for r in known["sufficient"].sort_values(["task", "arm"]).itertuples():
        suffices = not numbers.is_missing(r.budget)
        note = "" if numbers.is_missing(r.note) else str(r.note)
        if note and note not in notes:
            notes.append(note)
        high = " or more" if numbers.is_missing(r.budget_high) else f" to {numbers.count(r.budget_high)}"
        link = "#" + numbers.group_anchor(r.task, r.arm, int(r.budget)) if suffices else ""
        rows.append(
            [
                Cell(str(r.task)),
                Cell(numbers.arm_name(r.arm)),
                Cell(numbers.count(r.budget), link, strong=True),
                Cell(numbers.count(r.budget_low) + high if suffices else numbers.MISSING),
                Cell(numbers.share(r.share_of_pool)),
                Cell(numbers.count(r.labels_saved_vs_all)),
                Cell(numbers.hours(r.hours_saved_vs_all)),
                Cell(numbers.count(r.labels_saved_vs_random)),
                Cell(numbers.hours(r.hours_saved_vs_random)),
                Cell(f"({notes.index(note) + 1})" if note else "", title=note),
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
    return Grid(heads, rows, "SELECT * FROM sufficient ORDER BY task, arm", text=2, notes=tuple(notes))


def archive_grid(known: dict[str, pd.DataFrame]) -> Grid:
    """Table 3: patients, studies, clips, frames by split, and what is labelled, by task and class (a mask has none)."""
    frames, labels = known["frames"], numbers.current(known["labels"])
    heads = ["split", "patients", "studies", "clips", "frames"]
    groups: list[tuple[str, pd.Series]] = []
    of_label = labels.assign(what=labels["label"].where(labels["label"].notna(), "mask"))
    for (task, what), group in of_label.groupby(["task", "what"], sort=True) if len(labels) else ():
        heads.append(f"{task}: {what}")
        groups.append((f"{task}: {what}", group["frame_id"]))
    rows: list[list[Cell | list[Cell]]] = []
    for split in [*sorted(frames["split"].dropna().unique(), reverse=True), "total"]:
        of_split = frames if split == "total" else frames[frames["split"] == split]
        counts = [of_split[c].nunique() for c in ("patient_id", "study_id", "clip_id")] + [len(of_split)]
        counts += [int(of_split["frame_id"].isin(set(ids)).sum()) for _, ids in groups]
        rows.append([Cell(str(split)), *(Cell(numbers.count(c)) for c in counts)])
    sql = (
        "SELECT split, count(DISTINCT patient_id) AS patients, count(DISTINCT study_id) AS studies, "
        "count(DISTINCT clip_id) AS clips, count(*) AS frames FROM frames GROUP BY split"
    )
    return Grid(tuple(heads), rows if len(frames) else [], sql)


def refused_grid(files: pd.DataFrame, most: int = 200) -> Grid:
    """Files that could not be read, at most so many, with the reason."""
    refused = files[files["status"] == "refused"].sort_values(["batch", "path"])
    rows: list[list[Cell | list[Cell]]] = [
        [Cell(str(r.batch)), Cell(str(r.path)), Cell("" if numbers.is_missing(r.reason) else str(r.reason))]
        for r in refused.head(most).itertuples()
    ]
    more = len(refused) - most
    notes = (f"and {numbers.count(more)} more",) if more > 0 else ()
    sql = "SELECT batch, path, reason FROM files WHERE status = 'refused' ORDER BY batch, path"
    return Grid(("batch", "file", "reason"), rows, sql, text=3, notes=notes)


def check_grid(checks: pd.DataFrame, *, passed: bool) -> Grid:
    """The outcome of each check that passed, or of each that did not."""
    failed = ~checks["passed"].fillna(False).astype(bool)
    order = checks.assign(failed=failed)[failed != passed].sort_values(["asset", "check_name"])
    rows: list[list[Cell | list[Cell]]] = [
        [
            Cell("passed" if not r.failed else f"failed ({r.severity})", strong=bool(r.failed)),
            Cell(str(r.asset)),
            Cell(str(r.check_name).replace("_", " ")),
            Cell("" if numbers.is_missing(r.description) else str(r.description)),
        ]
        for r in order.itertuples()
    ]
    query = f"SELECT * FROM checks WHERE {'passed' if passed else 'NOT passed'}"  # nosec B608: two constants
    return Grid(("", "asset", "check", "outcome"), rows, query, text=4)


def cost_grid(stages: Mapping[str, Any], evaluations: pd.DataFrame) -> Grid:
    """Seconds by stage.

    Parameters
    ----------
    stages : mapping of str to float
        Seconds of each stage; where empty, the seconds of the evaluations alone are shown.
    evaluations : pandas.DataFrame
        Rows of the published table.

    Returns
    -------
    Grid
    """
    given = {str(k): float(v) for k, v in stages.items() if not numbers.is_missing(v)}
    if not given and evaluations["seconds"].notna().any():
        given = {"training and scoring": float(evaluations["seconds"].dropna().astype(float).sum())}
    whole = sum(given.values())
    rows: list[list[Cell | list[Cell]]] = [
        [Cell(stage), Cell(numbers.seconds(s)), Cell(numbers.share(s / whole if whole else None))]
        for stage, s in given.items()
    ]
    if rows:
        rows.append([Cell("total", strong=True), Cell(numbers.seconds(whole), strong=True), Cell("")])
    devices = sorted({str(d) for d in evaluations["device"].dropna()})
    notes = (f"models trained on: {', '.join(devices)}",) if devices else ()
    sql = "SELECT device, count(*) AS models, sum(seconds) AS seconds FROM evaluations GROUP BY device"
    return Grid(("stage", "time", "share"), rows, sql, notes=notes)


def appendix_groups(evaluations: pd.DataFrame) -> list[Group]:
    """Every evaluation, those superseded since at the end; each row has an anchor."""
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
        Cell(f"{numbers.metric_label(r.metric)} {numbers.score(r.value)}", strong=True),
        Cell(numbers.MISSING if numbers.is_missing(r.ci_low) else interval),
        Cell(f"{numbers.count(r.n_train)} / {numbers.count(r.n_test)} frames"),
        *(
            Cell(_short(v), title="" if numbers.is_missing(v) else str(v))
            for v in (r.subset_id, r.model_digest, r.mlflow_run_id, r.dagster_run_id)
        ),
        Cell("" if numbers.is_missing(r.device) else str(r.device)),
        Cell(numbers.seconds(r.seconds)),
        Cell("" if numbers.is_missing(r.evaluated_at) else moment(r.evaluated_at)),
        _frames_of(r),
    ]


def _frames_of(r: Any) -> Cell:
    """The link to the frames a model was trained on; of the whole pool and of earlier states the command that shows them."""
    now = numbers.is_missing(getattr(r, "current", None)) or bool(r.current)
    if r.arm != "all" and now:
        return Cell("frames", numbers.frames_link(numbers.anchor(r.evaluation_id)))
    return Cell(numbers.frames_command(r.evaluation_id))


def _short(value: Any) -> str:
    return numbers.MISSING if numbers.is_missing(value) else str(value)[:12]


def moment(value: Any) -> str:
    """A time to the minute; text as it is."""
    return value if isinstance(value, str) else pd.Timestamp(value).strftime("%Y-%m-%d %H:%M")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
