"""Tables for running the archive: what to label next, outcomes of checks, where each evaluation came from."""

from __future__ import annotations

from enrich_assets.store.published.declaration import declare

WORKLIST = declare(
    "worklist", "Unlabelled frames in the order in which to label them.", key="task position",
    columns="""
    task                   id!   what the label is for
    position               int!  from 0
    frame_id               id!   joins frames
    path                   text  source file
    similarity_to_labelled real  greatest similarity to any labelled frame
    nearest_labelled_id    id    that frame; a frame_id
    """,
)  # fmt: skip

CHECKS = declare(
    "checks", "The last outcome of each check on an asset.",
    columns="""
    asset        text!  asset key, with /
    check_name   text!  name of the check
    passed       flag!  the outcome
    severity     text   ERROR blocks what depends on the asset, WARN does not
    description  text   the outcome in words, with its numbers
    """,
)  # fmt: skip

PROVENANCE = declare(
    "provenance", "One row per link of the chain behind an evaluation; the view lineage shows it in one row.",
    key="evaluation_id asset partition",
    columns="""
    evaluation_id   id!    joins evaluations
    asset           text!  asset key, with / (split, embeddings, classification/enrich/subset, ...)
    partition       text!  batch, seed, or budget|seed; '' for an asset without partitions
    digest          id!    sha256 of its content when the evaluation was made
    dagster_run_id  id     run that made it
    created_at      time   UTC
    """,
)  # fmt: skip
