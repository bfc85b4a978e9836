"""Checks on assets that stand between a quiet mistake and a reported number."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from enrich_assets.archive import Archive
from enrich_assets.defs.curation import TEST_TWINS
from enrich_assets.defs.graph import Graph
from enrich_assets.defs.publication import CONFLICTS, labels_agree
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.settings import load_profile
from enrich_assets.store.published.file import query
from enrich_assets.store.receipts import Cell, MissingArtefact


def opened(home: Path, threshold: float) -> Archive:
    profile = load_profile(str(home / "enrich.yaml"))
    similarity = profile.similarity.model_copy(update={"near_duplicate": threshold})
    return Archive(home, profile.model_copy(update={"similarity": similarity}))


def twins(archive: Archive) -> dg.AssetCheckResult:
    step = Graph(archive.profile).steps["view/redundancy"]
    _, made = step.materialise(archive)
    (check,) = (check for check in made.checks if check.check_name == TEST_TWINS)
    return check


def test_twins_across_the_split_are_told_with_their_names(small: Path) -> None:
    sides = opened(small, 0.98).frame_table()
    train, test = (sides[sides["split"] == side].reset_index(drop=True) for side in ("train", "test"))
    archive = opened(small, 0.98)
    products = archive.vectors(test).astype(np.int64) @ archive.vectors(train).astype(np.int64).T
    greatest = products.max(axis=1) / SCALE**2
    nearest = np.sort(greatest)[::-1]
    threshold = float((nearest[1] + nearest[2]) / 2)  # so that exactly two test frames are beyond it
    if not nearest[1] > nearest[2] or threshold <= 0:
        pytest.skip("three equally near frames")
    check = twins(opened(small, threshold))
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN, "told, not forbidden: it is for you to judge"
    assert check.description is not None
    assert check.description.startswith(f"2 of {len(test)} test frames")
    first = int(np.flatnonzero(greatest >= threshold)[0])
    assert f"{test['frame_id'][first]} ~ {train['frame_id'][int(products[first].argmax())]}" in check.description


def test_without_twins_the_check_passes_and_says_how_many_were_looked_at(small: Path) -> None:
    check = twins(opened(small, 1.0))
    assert check.passed
    assert str(check.description).startswith("0 of ")


def test_near_duplicates_of_different_labels_are_listed() -> None:
    pairs = pd.DataFrame(
        {
            "task": "view",
            "frame_id": ["a/b/0", "a/b/1", "a/b/2"],
            "other_id": ["c/d/0", "c/d/1", "c/d/2"],
            "similarity": [0.99, 0.985, 1.0],
            "labels_conflict": [False, True, None],
        }
    )
    check = labels_agree(pairs)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert str(check.description).startswith("1 of 3 near-duplicate pairs carry different labels: view: a/b/1 ~ c/d/1")
    assert labels_agree(pairs.drop(index=1)).passed
    assert labels_agree(pd.DataFrame()).passed


def test_every_check_of_a_current_cell_stands_in_the_published_table(small_home: Path) -> None:
    found = query(str(small_home / "enrich.duckdb"), "SELECT * FROM checks")
    told = set(found["check_name"])
    assert told >= {TEST_TWINS, CONFLICTS, "patients_disjoint", "health", "finite", "drift", "panel_is_whole"}
    assert told >= {"train_frames_once", "joined_to_subset"}
    assert set(found["severity"]) <= {"WARN", "ERROR"}
    assert found.loc[found["severity"] == "ERROR", "passed"].all()


def test_panels_against_what_an_earlier_batch_no_longer_holds_are_not_added_up(small: Path) -> None:
    archive = opened(small, 0.98)
    step = Graph(archive.profile).steps["view/redundancy"]
    archive.store.draft(Cell("view/pool", "first"), settings="changed", inputs={}).commit(digest="f" * 64)
    with pytest.raises(MissingArtefact, match="computed before an earlier batch changed"):
        step.why_stale(archive)


def test_nothing_is_made_of_a_cell_that_did_not_pass_a_blocking_check(small: Path) -> None:
    path = small / "store" / "receipts" / "view" / "similarity" / "first.json"
    told = json.loads(path.read_text())
    (check,) = told["figures"]["checks"]
    told["figures"]["checks"] = [{**check, "passed": False, "severity": "ERROR"}]
    path.write_text(json.dumps(told))
    archive = opened(small, 0.98)
    graph = Graph(archive.profile)
    for asset, partition in (("view/redundancy", ""), ("view/enrich/ranking", "0")):
        with pytest.raises(MissingArtefact, match=r"view/similarity\[first\] did not pass its check panel_is_whole"):
            graph.steps[asset].why_stale(archive, partition)
