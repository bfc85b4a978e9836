"""All published tables, in the order in which they stand in the file; a module per topic declares them."""

from __future__ import annotations

from enrich_assets.store.published.declaration import Table
from enrich_assets.store.published.tables.archive import CLIPS, FILES, FRAMES, LABEL_PROBLEMS, LABELS, STUDIES
from enrich_assets.store.published.tables.evaluation import (
    ADEQUACY,
    COMPARISONS,
    EVALUATIONS,
    PREDICTIONS,
    SUFFICIENT,
    TRAINING_CURVES,
)
from enrich_assets.store.published.tables.operation import CHECKS, PROVENANCE, WORKLIST
from enrich_assets.store.published.tables.selection import ARMS, RANKINGS, SUBSET_FRAMES, SUBSETS
from enrich_assets.store.published.tables.similarity import (
    EMBEDDING_HEALTH,
    LEAKS,
    NEAR_DUPLICATES,
    NEIGHBOURS,
    PANEL_REDUNDANCY,
    REDUNDANCY,
)
from enrich_assets.store.published.tables.sites import SITE_ASSOCIATION, SITE_REDUNDANCY, SITES, STUDY_SITES

TABLES: tuple[Table, ...] = (
    STUDIES, FILES, CLIPS, FRAMES, LABELS, LABEL_PROBLEMS,
    STUDY_SITES, SITES, SITE_ASSOCIATION, SITE_REDUNDANCY,
    EMBEDDING_HEALTH, REDUNDANCY, PANEL_REDUNDANCY, NEIGHBOURS, NEAR_DUPLICATES, LEAKS,
    ARMS, RANKINGS, SUBSETS, SUBSET_FRAMES,
    EVALUATIONS, PREDICTIONS, COMPARISONS, SUFFICIENT, ADEQUACY, TRAINING_CURVES,
    WORKLIST, CHECKS, PROVENANCE,
)  # fmt: skip
BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}
