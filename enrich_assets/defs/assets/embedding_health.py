"""How healthy each embedding of the profile is, in one table. It blocks nothing: what blocks are the checks of what it measures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Vectors
from enrich_assets.archive.frames import ViewOfFrames
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.reads import Read, every, part, same
from enrich_assets.core.step import CellContext, CheckOutcome, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.defs.assets.embedding import GROUP, has_vae, judged, separation_settings, similarity_view
from enrich_assets.defs.automation import summary
from enrich_assets.method.kinds import kind_of

OK, WARNING, BLOCKS, OVERRIDDEN, FOR_READING = "ok", "warning", "blocks", "overridden", "for reading"
UNKNOWN = "not measurable"
ACTIVE_UNITS, RECONSTRUCTION, SPREAD, SECONDS = "active units", "reconstruction", "cosines between patients", "seconds"
COLUMNS = ["embedding", "measure", "value", "chance", "n", "verdict", "note"]


def labels_of_tasks(where: Where, labels: Labels) -> Plain:
    """Task -> frame -> class, of the tasks that have classes."""
    tasks = {name: task for name, task in where.profile.tasks.items() if kind_of(task.kind).answers == "class"}
    tables = {name: labels.of_task(name).drop_duplicates("frame_id").dropna(subset="label") for name in tasks}
    return Plain({n: dict(sorted(zip(t["frame_id"], t["label"].astype(str), strict=True))) for n, t in tables.items()})


def _reads(where: Where) -> Mapping[str, Read]:
    reads = {
        "vectors": every("embeddings/{embedding}", each=("embedding",), optional=True),
        "frames": part(every("frames", optional=True), similarity_view),
        "labels": part(every("labels", optional=True), labels_of_tasks),
    }
    return {**reads, "vae": same("vae_weights", optional=True)} if has_vae(where) else reads


def _settings(where: Where) -> Any:
    named = {name: Where(where.profile, embedding=name) for name in where.profile.embeddings}
    return {
        "vae": where.profile.vae.health_fields(),
        "embeddings": {name: [at.embedding_settings.kind, separation_settings(at)] for name, at in named.items()},
    }


@step("embedding_health", reads=_reads, settings=_settings, group=GROUP, kinds=("numpy",), automation=summary())
def embedding_health(
    cell: CellContext,
    vectors: Mapping[str, Vectors],
    frames: ViewOfFrames,
    labels: Plain,
    vae: Value | None = None,
) -> StepOutput:
    """Each embedding against chance: same clip, same patient, same label (for reading only); spread, units, seconds."""
    rows: list[dict[str, Any]] = []
    seconds: dict[str, float] = {}
    for name, value in vectors.items():
        despite = bool(cell.settings["embeddings"][name][1]["despite_health"])
        if name == "vae" and vae is not None and vae.is_there:
            rows += _of_vae(vae, cell.where, despite)
        table = frames.table[frames.table["batch"].isin(value.receipts)]
        if len(table):
            rows += _of_vectors(name, value, table, labels.value, cell.settings["embeddings"][name][1])
            took = sum(float(receipt.metrics.get("seconds", 0.0)) for receipt in value.receipts.values())
            seconds[name] = round(1000 * took / len(table), 3)
    table = pd.DataFrame(rows, columns=COLUMNS)
    worst = {name: _worst(table[table["embedding"] == name]["verdict"]) for name in vectors}
    overridden = sorted(set(table.loc[table["verdict"] == OVERRIDDEN, "embedding"]))
    shown = table.drop(columns="n").round(4)
    return StepOutput(
        tables={"health": table.astype({"value": "float64", "chance": "float64", "n": "Int64"})},
        metrics={"verdicts": worst, "overridden": overridden, "seconds_per_1000_frames": seconds},
        metadata={"health": shown},
    )


def _worst(verdicts: pd.Series) -> str:
    return next((one for one in (BLOCKS, OVERRIDDEN, WARNING, OK) if (verdicts == one).any()), UNKNOWN)


def _of_vae(vae: Value, where: Where, despite: bool) -> list[dict[str, Any]]:
    """What only a VAE has: units, and the reconstruction against the mean image."""
    health, measures = judged(vae, where), vae.metrics["measures"]
    error, mean_error = measures["reconstruction_error"], measures["mean_image_error"]
    ratio = error / mean_error if mean_error and error is not None else None
    rows: list[dict[str, Any]] = [
        {
            "measure": ACTIVE_UNITS,
            "value": float(health.active_units),
            "n": len(measures["unit_variances"]),
            "verdict": OK if health.passed else OVERRIDDEN if despite else BLOCKS,
            "note": "; ".join(health.reasons),
        },
        {
            "measure": RECONSTRUCTION,
            "value": ratio,
            "n": measures["n_frames"],
            "verdict": UNKNOWN if ratio is None else OK if ratio <= where.profile.vae.max_error_ratio else WARNING,
            "note": "error over that of the mean image",
        },
    ]
    return [{"embedding": "vae", "chance": None, **row} for row in rows]


def _of_vectors(
    name: str,
    vectors: Vectors,
    table: pd.DataFrame,
    labels: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Spread and retrieval, over the whole archive."""
    from enrich_assets.method.embeddings import separation as s

    of_frames = vectors.of(table)
    clips, patients, ids = table["clip_id"].to_numpy(), table["patient_id"].to_numpy(), table["frame_id"]
    measures = s.measure_separation(of_frames, clips, patients)
    verdict = s.judge_separation(measures, min_retrieval_ratio=settings["min_retrieval_ratio"])
    blocks = WARNING if not settings["may_block"] else OVERRIDDEN if settings["despite_health"] else BLOCKS
    low, middle, high = measures.cosines or (None, None, None)
    range_of_cosines = "one patient" if low is None else f"5th percentile; median {middle:.3f}, 95th {high:.3f}"
    rows: list[dict[str, Any]] = [
        {"measure": SPREAD, "value": low, "chance": None, "n": measures.n_frames, "note": range_of_cosines}
    ]
    judged_by_word = {s.CLIP: "same clip", s.PATIENT: "same patient", SPREAD: "cosines"}
    for measure, found in measures.retrieval.items():
        note = "nearest frame" if found.n else "no frame has another of its group"
        rows.append({"measure": measure, "value": found.rank1, "chance": found.chance, "n": found.n, "note": note})
    for row in rows:
        word = judged_by_word.get(row["measure"])
        of_it = [one for one in (*verdict.collapse, *verdict.warnings) if word is not None and word in one]
        row["note"] = "; ".join([row["note"], *of_it])
        if row["value"] is None:
            row["verdict"] = UNKNOWN
        elif word is None:
            row["verdict"] = FOR_READING
        else:
            row["verdict"] = blocks if {*of_it} & {*verdict.collapse} else WARNING if of_it else OK
    for task, classes in labels.items():
        known = np.array([classes.get(frame_id) for frame_id in ids], dtype=object)
        found = s.measure_separation(of_frames, clips, patients, labels=known).retrieval[s.LABEL_OUTSIDE]
        note = "nearest labelled frame of another clip" if found.n else "no class has labelled frames in two clips"
        verdict_on_labels = FOR_READING if found.n else UNKNOWN
        rows.append(
            {
                "measure": f"{s.LABEL_OUTSIDE} ({task})",
                "value": found.rank1,
                "chance": found.chance,
                "n": found.n,
                "verdict": verdict_on_labels,
                "note": note,
            }
        )
    return [{"embedding": name, **row} for row in rows]


@check(
    "embedding_health",
    reads={"health": same("embedding_health")},
)
def nothing_to_warn_of(cell: CellContext, health: Value) -> CheckOutcome:
    """No embedding is poor by any measure, and no block was overridden."""
    table = health.table("health")
    odd = table[table["verdict"].isin([BLOCKS, OVERRIDDEN, WARNING])]
    sentences = [f"{row.embedding}, {row.measure}: {row.verdict} ({row.note})" for row in odd.itertuples()]
    return CheckOutcome(
        odd.empty, "; ".join(sentences) or f"{table['embedding'].nunique()} embeddings, none is poor", odd
    )
