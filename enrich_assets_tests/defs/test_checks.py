"""Checks stand between a quiet mistake and a reported number: each can pass, and each can fail.

For every check of the graph a test in which it passes and ways in which it fails: the artefact it looks at as an error of ours would
have written it (its receipt agrees with it, so no digest gives it away), or an archive that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
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

EVALUATION = Cell("view/enrich/evaluation", "10|0")
PANEL = Cell("view/similarity/vae", "first")
ARCHIVE_PANEL = Cell("archive/similarity/vae", "first")


def a_search_that_ended_at_its_bound(archive: Archive) -> None:
    tamper(archive, Cell("view/training_length"), metrics={"stopped": False})


def a_length_found_on_far_fewer_frames(archive: Archive) -> None:
    tamper(archive, Cell("view/training_length"), metrics={"labelled_frames": 1})


Wrong = Callable[[Archive], None]


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


def table_of(archive: Archive, cell: Cell, name: str) -> pd.DataFrame:
    return archive.store.table(archive.store.receipts.require(cell), name)


def array_of(archive: Archive, cell: Cell, name: str) -> np.ndarray:
    return np.array(archive.store.array(archive.store.receipts.require(cell), name))


# ------------------------------------------------------------------------- what is wrong, check by check: (archive) -> its cell


def patient_on_both_sides(archive: Archive) -> None:
    split = table_of(archive, Cell("split", "first"), "split")
    other = split.head(1).assign(split="test" if split["split"].iloc[0] == "train" else "train")
    tamper(archive, Cell("split", "first"), split=pd.concat([split, other], ignore_index=True))


def patient_on_no_side(archive: Archive) -> None:
    split = table_of(archive, Cell("split", "first"), "split")
    tamper(archive, Cell("split", "first"), split=split.assign(split=["validation", *split["split"].iloc[1:]]))


def manifest_asks_for_the_other_side(archive: Archive) -> None:
    split = table_of(archive, Cell("split", "first"), "split")
    wish = np.where(split["split"] == "train", "test", "train")
    tamper(archive, Cell("split", "first"), split=split.assign(wish=pd.array(wish, "string")))


def no_unit_is_active(archive: Archive) -> None:
    measures = archive.store.receipts.require(Cell("vae_weights")).metrics["measures"]
    silent = {**measures, "unit_variances": [0.0] * len(measures["unit_variances"])}
    tamper(archive, Cell("vae_weights"), metrics={"measures": silent})


def no_number_for_a_reconstruction(archive: Archive) -> None:
    measures = archive.store.receipts.require(Cell("vae_weights")).metrics["measures"]
    tamper(archive, Cell("vae_weights"), metrics={"measures": {**measures, "reconstruction_error": float("nan")}})


def all_vectors_nearly_alike(archive: Archive) -> None:
    vectors = array_of(archive, Cell("embeddings/vae", "first"), "vectors").astype(np.float64)
    together = vectors[0] + 0.01 * vectors
    fixed = np.rint(4000 * together / np.linalg.norm(together, axis=1, keepdims=True)).astype(np.int16)
    tamper(archive, Cell("embeddings/vae", "first"), vectors=fixed)


def vectors_of_other_patients(archive: Archive) -> None:
    """Each frame has its vector in common with a frame of another patient, and with no other."""
    cell = Cell("embeddings/vae", "first")
    frames = table_of(archive, Cell("frames", "first"), "frames")
    by_patient, half = np.argsort(frames["patient_id"].to_numpy(), kind="stable"), (len(frames) + 1) // 2
    vectors = np.zeros((len(frames), half), np.int16)
    vectors[by_patient, np.arange(len(frames)) % half] = 4000
    tamper(archive, cell, vectors=vectors)


def a_poor_embedding(archive: Archive) -> None:
    health = table_of(archive, Cell("embedding_health"), "health")
    tamper(archive, Cell("embedding_health"), health=health.assign(verdict=["warning", *health["verdict"].iloc[1:]]))


def a_vector_of_zeros(archive: Archive) -> None:
    vectors = array_of(archive, Cell("embeddings/vae", "first"), "vectors")
    vectors[3] = 0
    tamper(archive, Cell("embeddings/vae", "first"), vectors=vectors)


def a_vector_too_few(archive: Archive) -> None:
    vectors = array_of(archive, Cell("embeddings/vae", "first"), "vectors")
    tamper(archive, Cell("embeddings/vae", "first"), vectors=vectors[:-1])


def frames_the_vae_does_not_know(archive: Archive) -> None:
    vae = Cell("vae_weights")
    known = archive.store.receipts.require(vae).metrics["reconstruction_error"]
    tamper(archive, vae, metrics={"train_batches": ["another"], "reconstruction_error": known / 100})


def a_pair_too_few(archive: Archive) -> None:
    histograms = array_of(archive, PANEL, "panel/histograms")
    histograms[np.unravel_index(int(histograms.argmax()), histograms.shape)] -= 1
    tamper(archive, PANEL, **{"panel/histograms": histograms})


def a_neighbour_passed_over(archive: Archive) -> None:
    similarity = array_of(archive, PANEL, "panel/neighbour_similarity")
    tamper(archive, PANEL, **{"panel/neighbour_similarity": similarity - 1})


def a_pair_of_the_archive_too_few(archive: Archive) -> None:
    by_sides = array_of(archive, ARCHIVE_PANEL, "panel/by_sides")
    by_sides[np.unravel_index(int(by_sides.argmax()), by_sides.shape)] -= 1
    tamper(archive, ARCHIVE_PANEL, **{"panel/by_sides": by_sides})


def a_near_duplicate_passed_over(archive: Archive) -> None:
    """A frame that is the picture of another patient's, and the panel does not list them."""
    vectors = array_of(archive, Cell("embeddings/vae", "first"), "vectors")
    vectors[0] = vectors[-1]
    tamper(archive, Cell("embeddings/vae", "first"), vectors=vectors)


def leak(**more: object) -> Wrong:
    """A pair that stands in the table and leaks as these columns say."""
    pair = {
        **dict.fromkeys(("frame_id", "patient_id", "label"), "a"),
        **dict.fromkeys(("other_id", "other_patient_id", "other_label"), "b"),
        "task": "view",
        "similarity": 0.99,
        "relation": "between patients",
        **dict.fromkeys(("across_split", "labels_conflict", "identical_pixels"), False),
        **more,
    }

    def wrong(archive: Archive) -> None:
        counts = {"across_split": int(bool(pair["across_split"])), "test_frames": int(bool(pair["across_split"]))}
        tamper(archive, Cell("leaks"), leaks=pd.DataFrame([pair]), metrics=counts)

    return wrong


def pairs_nobody_looked_at(archive: Archive) -> None:
    tamper(archive, Cell("leaks"), metrics={"all_pairs_known": False})


def test_frames_of_one_class(archive: Archive) -> None:
    table = table_of(archive, Cell("view/test_set"), "test_set")
    tamper(archive, Cell("view/test_set"), test_set=table[table["label"] == table["label"].iloc[0]])


test_frames_of_one_class.__test__ = False  # type: ignore[attr-defined]  (a way to be wrong, no test)


def no_test_frames(archive: Archive) -> None:
    tamper(archive, Cell("view/test_set"), test_set=table_of(archive, Cell("view/test_set"), "test_set").head(0))


def a_frame_ranked_twice(archive: Archive) -> None:
    order = table_of(archive, Cell("view/enrich/ranking", "0"), "ranking")
    tamper(archive, Cell("view/enrich/ranking", "0"), ranking=pd.concat([order.iloc[:-1], order.head(1)]))


def a_frame_not_ranked(archive: Archive) -> None:
    order = table_of(archive, Cell("view/enrich/ranking", "0"), "ranking")
    tamper(archive, Cell("view/enrich/ranking", "0"), ranking=order.iloc[1:])


def a_test_patient_ranked(archive: Archive) -> None:
    frames = Catalogue(archive).frame_table()
    patient = frames.loc[frames["split"] == "test", "patient_id"].iloc[0]
    order = table_of(archive, Cell("view/enrich/ranking", "0"), "ranking")
    tamper(
        archive, Cell("view/enrich/ranking", "0"), ranking=order.assign(patient_id=[patient, *order["patient_id"][1:]])
    )


def a_test_frame_not_scored(archive: Archive) -> None:
    predictions = table_of(archive, EVALUATION, "predictions")
    first = predictions["frame_id"].iloc[0]
    tamper(archive, EVALUATION, predictions=predictions[predictions["frame_id"] != first])


def a_subset_of_other_frames_than_its_name_says(archive: Archive) -> None:
    subset = Cell("view/enrich/subset", "10|0")
    tamper(archive, subset, subset=table_of(archive, Cell("view/random/subset", "10|0"), "subset"))


def a_score_on_more_frames_than_the_subset(archive: Archive) -> None:
    tamper(archive, EVALUATION, metrics={"n_train": 11})


def trained_on_a_test_patient(archive: Archive) -> None:
    tested = table_of(archive, Cell("view/test_set"), "test_set")["patient_id"].iloc[0]
    subset = Cell("view/enrich/subset", "10|0")
    chosen = table_of(archive, subset, "subset")
    tamper(archive, subset, subset=chosen.assign(patient_id=[tested, *chosen["patient_id"][1:]]))


CASES: dict[str, tuple[str, list[Wrong]]] = {  # name of the check -> a cell of it, and what makes it fail
    "patients_disjoint": ("split@patients_disjoint[first]", [patient_on_both_sides, patient_on_no_side]),
    "manifest_moves_nobody": ("split@manifest_moves_nobody[first]", [manifest_asks_for_the_other_side]),
    "health": ("vae_weights@health", [no_unit_is_active, no_number_for_a_reconstruction]),
    "unit_length": ("embeddings/vae@unit_length[first]", [a_vector_of_zeros, a_vector_too_few]),
    "tells_frames_apart": (
        "embeddings/vae@tells_frames_apart[first]",
        [all_vectors_nearly_alike, vectors_of_other_patients],
    ),
    "nothing_to_warn_of": ("embedding_health@nothing_to_warn_of", [a_poor_embedding]),
    "drift": ("embeddings/vae@drift[first]", [frames_the_vae_does_not_know]),
    "panel_is_whole": ("view/similarity/vae@panel_is_whole[first]", [a_pair_too_few, a_neighbour_passed_over]),
    "archive_panel_is_whole": (
        "archive/similarity/vae@archive_panel_is_whole[first]",
        [a_pair_of_the_archive_too_few, a_near_duplicate_passed_over],
    ),
    "near_duplicates_across_split": (
        "leaks@near_duplicates_across_split",
        [leak(across_split=True), pairs_nobody_looked_at],
    ),
    "labels_agree": ("leaks@labels_agree", [leak(labels_conflict=True)]),
    "patients_differ": ("leaks@patients_differ", [leak(identical_pixels=True)]),
    "scorable": ("view/test_set@scorable", [test_frames_of_one_class, no_test_frames]),
    "train_frames_once": (
        "view/enrich/ranking@train_frames_once[0]",
        [a_frame_ranked_twice, a_frame_not_ranked, a_test_patient_ranked],
    ),
    "stopped_improving": ("view/training_length@stopped_improving", [a_search_that_ended_at_its_bound]),
    "fits_the_pool": ("view/training_length@fits_the_pool", [a_length_found_on_far_fewer_frames]),
    "joined_to_subsets": (
        "view/comparison@joined_to_subsets",
        [
            a_test_frame_not_scored,
            a_subset_of_other_frames_than_its_name_says,
            a_score_on_more_frames_than_the_subset,
            trained_on_a_test_patient,
        ],
    ),
}


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
