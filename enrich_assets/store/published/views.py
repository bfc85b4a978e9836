"""The views of the published file: lineage in one row, source files of a number, scores recomputed in SQL, curves.

Here: SQL over the tables that `tables/` declares, each view with its comments. A view must run on DuckDB 1.0 and later.
"""

from __future__ import annotations

from dataclasses import dataclass

from enrich_assets.store.published.schema import identifier, literal


@dataclass(frozen=True)
class View:
    """A view: its query, what it is for, and the meaning of each column by name."""

    name: str
    comment: str
    query: str
    columns: dict[str, str]


SOURCE_FILES = View(
    "source_files",
    "Source files of each evaluation: evaluations -> subset_frames or predictions -> frames -> files.",
    """
    SELECT used.evaluation_id, used.role, frames.batch, frames.path,
           any_value(files.sha256) AS sha256, count(*) AS n_frames
    FROM (
        SELECT evaluation_id, 'train' AS role, frame_id FROM evaluations JOIN subset_frames USING (subset_id)
        UNION ALL
        SELECT DISTINCT evaluation_id, 'test', frame_id FROM predictions
    ) AS used
    JOIN frames USING (frame_id)
    LEFT JOIN files ON files.batch = frames.batch AND files.path = frames.path
    GROUP BY used.evaluation_id, used.role, frames.batch, frames.path
    """,
    {
        "evaluation_id": "joins evaluations",
        "role": "train (the model was trained on it) or test (scored on it)",
        "batch": "studies ingested together",
        "path": "the file as its manifest names it",
        "sha256": "sha256 of the file's bytes as received",
        "n_frames": "how many of its frames were used",
    },
)

# Tied scores share the mean of the ranks they take (mid-rank); U of the positives is their rank sum minus the
# smallest it can be. Hanley & McNeil 1982, Radiology 143:29: AUC = U / (n1 * n0). Ranks and U are multiples of
# 1/2, exact in DOUBLE.
AUC_BY_SQL = View(
    "auc_by_sql",
    "AUC recomputed from predictions: Mann-Whitney U with mid-ranks; mean over classes if several.",
    """
    WITH tied AS (
        SELECT evaluation_id, class, score, count(*) AS n, sum(truth) AS n_positive
        FROM predictions WHERE score IS NOT NULL GROUP BY evaluation_id, class, score
    ), ranked AS (
        SELECT *, sum(n) OVER (PARTITION BY evaluation_id, class ORDER BY score) - (n - 1) / 2 AS mid_rank
        FROM tied
    ), per_class AS (
        SELECT evaluation_id, class, sum(n_positive)::DOUBLE AS n1, sum(n - n_positive)::DOUBLE AS n0,
               sum(n_positive * mid_rank)::DOUBLE AS rank_sum
        FROM ranked GROUP BY evaluation_id, class
    )
    SELECT evaluation_id, avg((rank_sum - n1 * (n1 + 1) / 2) / nullif(n1 * n0, 0)) AS value
    FROM per_class GROUP BY evaluation_id
    """,
    {"evaluation_id": "joins evaluations", "value": "the AUC; NULL where one of the two classes is absent"},
)

JACCARD_BY_SQL = View(
    "jaccard_by_sql",
    "Jaccard recomputed from predictions: mean over structures present in either, then over frames.",
    """
    WITH per_frame AS (
        SELECT evaluation_id, frame_id, avg(intersection_pixels::DOUBLE / union_pixels) AS value
        FROM predictions WHERE union_pixels > 0 GROUP BY evaluation_id, frame_id
    )
    SELECT evaluation_id, avg(value) AS value FROM per_frame GROUP BY evaluation_id
    """,
    {"evaluation_id": "joins evaluations", "value": "the mean Jaccard index, background left out"},
)

RECOMPUTED = View(
    "recomputed",
    "Each stored score beside the same score computed from predictions by SQL.",
    """
    SELECT evaluation_id, metric, evaluations.value, by_sql.value AS value_by_sql,
           evaluations.value - by_sql.value AS difference
    FROM evaluations LEFT JOIN (
        SELECT 'auc' AS metric, * FROM auc_by_sql UNION ALL SELECT 'jaccard', * FROM jaccard_by_sql
    ) AS by_sql USING (evaluation_id, metric)
    """,
    {
        "evaluation_id": "joins evaluations",
        "metric": "auc, jaccard, or what the kind of the task is scored by",
        "value": "as stored with the evaluation",
        "value_by_sql": "as computed here from predictions; NULL for a metric that SQL does not compute",
        "difference": "0 but for the rounding of a mean",
    },
)

# The part of an asset key that says what it is, and the column of `lineage` that holds its digest.
LINKS = {
    "studies": "studies_digest",
    "frames": "frames_digest",
    "labels": "labels_digest",
    "split": "split_digest",
    "vae_weights": "vae_weights_digest",
    "embedding_weights": "embedding_weights_digest",
    "embeddings": "embeddings_digest",
    "pool": "pool_digest",
    "similarity": "similarity_digest",
    "ranking": "ranking_digest",
    "subset": "subset_digest",
    "model": "model_digest",
    "evaluation": "predictions_digest",
}
_DIGESTS = ",\n        ".join(
    f"string_agg(digest, ', ' ORDER BY asset, partition) FILTER (WHERE link = {literal(link)}) AS {column}"
    for link, column in LINKS.items()
)
_SELECTED_DIGESTS = ", ".join(LINKS.values()).replace(
    "model_digest", "coalesce(chain.model_digest, evaluations.model_digest) AS model_digest"
)

LINEAGE = View(
    "lineage",
    "One row per evaluation: every digest of the chain behind it, its MLflow run and model, its Dagster run. "
    "An asset with several partitions shows their digests in their order; provenance has a row for each.",
    f"""
    WITH chain AS (
        SELECT evaluation_id,
        {_DIGESTS}
        FROM (
            SELECT *, CASE WHEN asset LIKE 'embeddings/%' THEN 'embeddings' WHEN asset LIKE '%/similarity/%' THEN 'similarity'
                      WHEN ends_with(asset, '_weights') AND asset <> 'vae_weights' THEN 'embedding_weights'
                      ELSE list_extract(string_split(asset, '/'), -1) END AS link FROM provenance
        ) GROUP BY evaluation_id
    ), sources AS (
        SELECT subset_id, count(DISTINCT (frames.batch, frames.path)) AS n_source_files
        FROM subset_frames JOIN frames USING (frame_id) GROUP BY subset_id
    )
    SELECT evaluations.evaluation_id, task, arm, budget, seed, metric, value, current, subset_id,
           n_train, n_test,
           {_SELECTED_DIGESTS},
           mlflow_run_id, mlflow_model_id, dagster_run_id, evaluated_at,
           coalesce(n_source_files, 0) AS n_source_files
    FROM evaluations LEFT JOIN chain USING (evaluation_id) LEFT JOIN sources USING (subset_id)
    """,  # nosec B608: columns of our own declarations
    {
        "evaluation_id": "the key that every reported number carries",
        "task": "the task the model was trained for",
        "arm": "how the frames were chosen",
        "budget": "labels allowed",
        "seed": "of the ranking and the training",
        "metric": "auc, jaccard, or what the kind of the task is scored by",
        "value": "the score",
        "current": "false when the subset has since changed, or the profile no longer asks for the cell",
        "subset_id": "joins subsets and subset_frames",
        "n_train": "frames trained on",
        "n_test": "frames scored",
        **{
            column: f"sha256 of the content of {link}"
            + {"evaluation": " (its predictions)", "embedding_weights": " (principal components)"}.get(link, "")
            for link, column in LINKS.items()
        },
        "mlflow_run_id": "run in MLflow",
        "mlflow_model_id": "logged model in MLflow",
        "dagster_run_id": "run in Dagster",
        "evaluated_at": "UTC",
        "n_source_files": "files the training frames came from (view source_files lists them)",
    },
)

CURVES = View(
    "curves",
    "Figure 2: mean and standard deviation of the current scores by task, arm and budget.",
    """
    SELECT task, arm, budget, metric, count(value) AS n, avg(value) AS mean, stddev_samp(value) AS sd
    FROM evaluations WHERE current GROUP BY task, arm, budget, metric ORDER BY task, budget, arm
    """,
    {
        "task": "the task the model was trained for",
        "arm": "how the frames were chosen",
        "budget": "labels allowed",
        "metric": "auc, jaccard, or what the kind of the task is scored by",
        "n": "replicates (seeds)",
        "mean": "of their scores",
        "sd": "standard deviation of their scores (n - 1); NULL for one replicate",
    },
)

REPRESENTATION = View(
    "representation",
    "Table 2: patients and clips in the current subsets of a budget, and how well they cover the rest.",
    """
    SELECT task, arm, budget, count(*) AS n, avg(n_frames) AS n_frames, avg(n_patients) AS n_patients,
           avg(n_clips) AS n_clips, avg(coverage_p50) AS coverage_p50, avg(coverage_p05) AS coverage_p05,
           min(coverage_min) AS coverage_min
    FROM subsets WHERE current GROUP BY task, arm, budget ORDER BY task, budget, arm
    """,
    {
        "task": "whose pool",
        "arm": "how the frames were chosen",
        "budget": "labels allowed",
        "n": "subsets (seeds)",
        "n_frames": "mean over the subsets",
        "n_patients": "mean over the subsets",
        "n_clips": "mean over the subsets",
        "coverage_p50": "mean over the subsets of the median similarity of left-out frames to the nearest chosen one",
        "coverage_p05": "mean over the subsets of its 5th percentile",
        "coverage_min": "minimum over the subsets",
    },
)

REFUSED = View(
    "refused",
    "Source files that could not be read, and why.",
    "SELECT batch, path, reason, sha256 FROM files WHERE status = 'refused' ORDER BY batch, path",
    {
        "batch": "studies ingested together",
        "path": "the file as its manifest names it",
        "reason": "why",
        "sha256": "sha256 of the file's bytes as received",
    },
)

CURRENT_LABELS = View(
    "current_labels",
    "The labels in use.",
    """
    SELECT task, frame_id, label, mask_path, mask_digest, source, author, recorded_at
    FROM labels WHERE current
    """,
    {
        "task": "the task it is a label for",
        "frame_id": "joins frames",
        "label": "class name; NULL for a mask",
        "mask_path": "the mask's file as the manifest names it",
        "mask_digest": "sha256 of the mask's pixels",
        "source": "the manifest or the file it was imported from",
        "author": "who labelled it, where known",
        "recorded_at": "when (UTC)",
    },
)

# As `auc_by_sql` and `jaccard_by_sql`, over the test frames of one site.
SCORES_BY_SITE = View(
    "scores_by_site",
    "The score of each evaluation on the test frames of each site (columns of `sites` in the profile).",
    """
    WITH placed AS (
        SELECT predictions.*, site_column, site, patient_id
        FROM predictions JOIN frames USING (frame_id) JOIN study_sites USING (study_id)
    ), tied AS (
        SELECT evaluation_id, site_column, site, class, score, count(*) AS n, sum(truth) AS n_positive
        FROM placed WHERE score IS NOT NULL GROUP BY ALL
    ), ranked AS (
        SELECT *, sum(n) OVER (PARTITION BY evaluation_id, site_column, site, class ORDER BY score) - (n - 1) / 2 AS mid_rank
        FROM tied
    ), per_class AS (
        SELECT evaluation_id, site_column, site, class, sum(n_positive)::DOUBLE AS n1,
               sum(n - n_positive)::DOUBLE AS n0, sum(n_positive * mid_rank)::DOUBLE AS rank_sum
        FROM ranked GROUP BY ALL
    ), per_frame AS (
        SELECT evaluation_id, site_column, site, frame_id, avg(intersection_pixels::DOUBLE / union_pixels) AS value
        FROM placed WHERE union_pixels > 0 GROUP BY ALL
    ), scores AS (
        SELECT 'auc' AS metric, evaluation_id, site_column, site,
               avg((rank_sum - n1 * (n1 + 1) / 2) / nullif(n1 * n0, 0)) AS value
        FROM per_class GROUP BY ALL
        UNION ALL
        SELECT 'jaccard', evaluation_id, site_column, site, avg(value) FROM per_frame GROUP BY ALL
    ), sizes AS (
        SELECT evaluation_id, site_column, site, count(DISTINCT frame_id) AS n, count(DISTINCT patient_id) AS patients
        FROM placed GROUP BY ALL
    )
    SELECT evaluation_id, task, arm, budget, seed, current, site_column, site, n, patients, metric, scores.value
    FROM sizes JOIN evaluations USING (evaluation_id)
    LEFT JOIN scores USING (evaluation_id, site_column, site, metric)
    """,
    {
        "evaluation_id": "joins evaluations",
        "task": "the task the model was trained for",
        "arm": "how the frames were chosen",
        "budget": "labels allowed",
        "seed": "of the ranking and the training",
        "current": "as of the evaluation",
        "site_column": "the manifest's column",
        "site": "the site",
        "n": "test frames of the site",
        "patients": "test patients of the site",
        "metric": "auc, jaccard, or what the kind of the task is scored by",
        "value": "the score on them; NULL where a site has frames of one class only, or SQL does not compute the metric",
    },
)

# In order: a view may use those before it.
VIEWS: tuple[View, ...] = (
    SOURCE_FILES, LINEAGE,
    AUC_BY_SQL, JACCARD_BY_SQL, RECOMPUTED,
    CURVES, REPRESENTATION,
    REFUSED, CURRENT_LABELS, SCORES_BY_SITE,
)  # fmt: skip


def create_view(view: View) -> str:
    """CREATE VIEW and the comments on it and its columns, as one script."""
    name = identifier(view.name)
    script = [
        f"CREATE VIEW {name} AS {view.query.strip()}",
        f"COMMENT ON VIEW {name} IS {literal(view.comment)}",
    ]
    script += [
        f"COMMENT ON COLUMN {name}.{identifier(column)} IS {literal(comment)}"
        for column, comment in view.columns.items()
    ]
    return ";\n".join(script) + ";"
