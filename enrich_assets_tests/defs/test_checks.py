"""Checks stand between a quiet mistake and a reported number: each can pass, and each can fail.

For every check of the graph a test in which it passes, and the ways of `wrong_cells` in which it fails.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.core.making import make
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.build import build_definitions
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.profiles import load_profile
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell, DamagedStore, Receipt
from enrich_assets_tests.defs.made_archive import (
    is_fresh,
    make_cells,
    opened,
    planner_of,
    tamper,
    verdict,
    write_stills,
)
from enrich_assets_tests.defs.wrong_cells import CASES, PANEL, Wrong, a_pair_too_few, a_vector_of_zeros, table_of


def open_small(home: Path, near_duplicate: float | None = None) -> Archive:
    profile = load_profile(str(home / "enrich.yaml"))
    if near_duplicate is None:
        return Archive(home, profile)
    similarity = profile.similarity.model_copy(update={"near_duplicate": near_duplicate})
    return Archive(home, profile.model_copy(update={"similarity": similarity}))


def run_check(archive: Archive, check: str, partition: str = "") -> Receipt:
    """The outcome of a check on what the store holds now."""
    planner = planner_of(archive)
    return make(planner, planner.graph.checks[check], partition).receipt


@pytest.mark.parametrize("profile", ["demo", "archive", "paper"])
def test_every_check_of_the_graph_has_a_way_to_fail(profile: str) -> None:
    names = {check.check_name for check in graph_of(load_profile(profile)).checks.values()}
    of_search = {"stopped_improving", "fits_the_pool"} if profile == "paper" else set()  # it names its epochs
    assert names == set(CASES) - of_search
    assert all(ways for _, ways in CASES.values())


@pytest.fixture(scope="module")
def untouched(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    import shutil

    home = tmp_path_factory.mktemp("untouched") / "home"
    shutil.copytree(small_home, home)
    archive = open_small(home, near_duplicate=0.9999)  # a VAE of 120 steps finds frames of two labels alike at 0.98
    make_cells(archive, "first", "archive/similarity/vae")
    make_cells(archive, "", "leaks")
    return archive


@pytest.mark.parametrize("name", CASES)
def test_it_passes_on_what_is_right(untouched: Archive, name: str) -> None:
    cell = Cell.parse(CASES[name][0])
    outcome = run_check(untouched, *cell)
    assert outcome.metrics["passed"], outcome.metrics["description"]
    assert outcome.metrics["description"]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [(name, way) for name, (_, ways) in CASES.items() for way in ways],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_it_fails_on_what_is_wrong(small: Path, name: str, wrong: Wrong) -> None:
    archive = open_small(small, near_duplicate=0.9999)
    check, partition = Cell.parse(CASES[name][0])
    before = run_check(archive, check, partition)
    wrong(archive)
    read = {name: archive.store.receipts.require(Cell.parse(name)).digest for name in before.read}
    if read != {name: digest for name, (digest, _) in before.read.items()}:
        assert not is_fresh(archive, check, partition), "what it looked at is not what is there now"
    outcome = run_check(archive, check, partition)
    assert not outcome.metrics["passed"], outcome.metrics["description"]
    assert outcome.metrics["description"] != before.metrics["description"]
    assert outcome.metrics["blocking"] is graph_of(archive.profile).checks[check].blocking


# ------------------------------------------------------------------------------------------------- what they find, in detail


def test_a_patient_whose_side_a_later_batch_changed_is_found(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    for batch in ("one", "two"):
        rows = [{"patient_id": p, "clip_id": f"{batch}{p}", "split": "train", "label": "NT"} for p in "ab"]
        ingest(archive, str(write_stills(tmp_path / batch, rows)), batch)
        make_cells(archive, batch, "studies", "frames", "split")
    assert run_check(archive, "split@patients_disjoint", "two").metrics["passed"]
    split = table_of(archive, Cell("split", "two"), "split")
    tamper(archive, Cell("split", "two"), split=split.assign(split=["train", "test"]))
    outcome = run_check(archive, "split@patients_disjoint", "two").metrics
    assert (outcome["passed"], outcome["description"]) == (False, "1 patients on both sides, or on none: b")


def test_a_manifest_that_wants_to_move_a_patient_is_named_and_moves_nobody(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    for batch, side in (("one", "train"), ("two", "test")):
        rows = [{"patient_id": p, "clip_id": f"{batch}{p}", "split": side, "label": "NT"} for p in "ab"]
        ingest(archive, str(write_stills(tmp_path / batch, rows)), batch)
        make_cells(archive, batch, "studies", "frames", "split")
    assert set(Catalogue(archive).split().table("split")["split"]) == {"train"}
    outcome = run_check(archive, "split@manifest_moves_nobody", "two").metrics
    assert not outcome["passed"]
    assert not outcome["blocking"], "said, not forbidden: they stay"
    assert "move 2 patients" in outcome["description"]
    assert run_check(archive, "split@manifest_moves_nobody", "one").metrics["passed"]
    assert run_check(archive, "split@patients_disjoint", "two").metrics["passed"]


def test_near_duplicates_across_the_split_are_counted_as_plain_arithmetic_counts_them(small: Path) -> None:
    archive = open_small(small)
    sides = Catalogue(archive).frame_table()
    train, test = (sides[sides["split"] == side].reset_index(drop=True) for side in ("train", "test"))
    vectors = Catalogue(archive).vectors()
    products = vectors.of(test).astype(np.int64) @ vectors.of(train).astype(np.int64).T
    threshold = float(np.sort(products.ravel())[-3]) / SCALE**2  # so that three pairs are as near
    near = open_small(small, threshold)
    make_cells(near, "first", "archive/similarity/vae")
    metrics = make_cells(near, "", "leaks").metrics
    expected = products >= threshold * SCALE**2
    assert metrics["across_split"] == expected.sum() >= 3
    assert metrics["test_frames"] == expected.any(axis=1).sum()
    outcome = near.store.receipts.require(Cell("leaks@near_duplicates_across_split")).metrics
    assert not outcome["passed"]
    assert not outcome["blocking"], "said, not forbidden: it is for you to judge"
    assert outcome["description"].startswith(f"{expected.sum()} pairs of a train and a test frame are near-duplicates")


# --------------------------------------------------------------------------------------------------------- what follows from it


def test_every_check_of_a_current_cell_stands_in_the_published_table(small_home: Path) -> None:
    published = query(str(small_home / "enrich.duckdb"), "SELECT * FROM checks")
    assert set(published["check_name"]) == set(CASES)
    assert set(published["severity"]) <= {"WARN", "ERROR"}
    assert published.loc[published["severity"] == "ERROR", "passed"].all()
    planner = planner_of(open_small(small_home))
    cells = {cell for check in planner.graph.checks.values() for cell in planner.cells(check)}
    assert len(published) == len(cells)


def test_panels_against_what_an_earlier_batch_no_longer_holds_are_not_added_up(small: Path) -> None:
    archive = open_small(small)
    archive.store.draft(Cell("view/pool", "first"), settings="changed", inputs={}).commit(digest="f" * 64)
    found = verdict(archive, "view/redundancy/vae")
    assert found.is_blocked
    assert found.why.startswith("view/similarity/vae[first] was made before something it reads changed")


def test_nothing_is_made_of_a_cell_that_did_not_pass_a_blocking_check(small: Path) -> None:
    archive = open_small(small)
    a_pair_too_few(archive)
    unchecked = verdict(archive, "view/redundancy/vae")
    assert unchecked.is_blocked
    assert "view/similarity/vae[first] was not checked yet (panel_is_whole)" in unchecked.why
    run_check(archive, "view/similarity/vae@panel_is_whole", "first")
    archive.store.receipts.forget(Cell("view/enrich/ranking", "0"))
    for asset, partition in (("view/redundancy/vae", ""), ("view/enrich/ranking", "0")):
        blocked = verdict(archive, asset, partition)
        assert blocked.is_blocked
        assert "view/similarity/vae[first] did not pass its check panel_is_whole" in blocked.why
        with pytest.raises(LookupError, match="did not pass its check panel_is_whole"):
            make_cells(archive, partition, asset)


def test_a_check_may_look_at_what_did_not_pass_another(small: Path) -> None:
    archive = open_small(small)
    a_vector_of_zeros(archive)
    assert not run_check(archive, "embeddings/vae@unit_length", "first").metrics["passed"]
    assert run_check(archive, "embeddings/vae@drift", "first").metrics["passed"]


def test_a_check_of_a_damaged_file_says_so_instead_of_passing(small: Path) -> None:
    archive = open_small(small)
    receipt = archive.store.receipts.require(Cell("view/enrich/ranking", "0"))
    (small / "store" / archive.store.path(receipt, "ranking.parquet")).write_bytes(b"")
    with pytest.raises(DamagedStore, match="is not what view/enrich/ranking"):
        run_check(archive, "view/enrich/ranking@train_frames_once", "0")


def test_a_check_runs_alone_as_dagster_runs_it(small: Path) -> None:
    """From the UI: nothing of its asset is made again."""
    import dagster as dg

    from enrich_assets.defs.mount import Mount
    from enrich_assets.defs.resources import ArchiveResource

    archive = open_small(small)
    a_pair_too_few(archive)
    before = archive.store.receipts.require(PANEL)
    job = build_definitions(archive.profile, ArchiveResource.of(archive)).resolve_implicit_global_asset_job_def()
    key = Mount().check_key("view/similarity/vae@panel_is_whole")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("batch", ["first"])
        alone = job.get_subset(asset_selection=set(), asset_check_selection={key})
        result = alone.execute_in_process(instance=instance, tags={"dagster/partition": "first"}, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert "pairs counted" in str(evaluation.description)
    assert archive.store.receipts.require(PANEL) == before
