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
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell, DamagedStore, Receipt
from enrich_assets_tests.defs.made_archive import (
    bring_up_to_date,
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


def no_better_than_the_mean_image(archive: Archive) -> None:
    measures = archive.store.receipts.require(Cell("vae_weights")).metrics["measures"]
    blurred = {**measures, "reconstruction_error": measures["mean_image_error"] * 1.01}
    tamper(archive, Cell("vae_weights"), metrics={"measures": blurred})


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


def a_test_frame_like_one_of_the_pool(archive: Archive) -> None:
    frames = Catalogue(archive).frame_table()
    embedded = list(table_of(archive, Cell("embeddings/vae", "first"), "frames")["frame_id"])
    test, train = (frames.loc[frames["split"] == side, "frame_id"].iloc[0] for side in ("test", "train"))
    vectors = array_of(archive, Cell("embeddings/vae", "first"), "vectors")
    vectors[embedded.index(test)] = vectors[embedded.index(train)]
    tamper(archive, Cell("embeddings/vae", "first"), vectors=vectors)


def near_duplicates_labelled_differently(archive: Archive) -> None:
    labels = Catalogue(archive).labels().of_task("view")
    one = labels["frame_id"].iloc[0]
    other = labels.loc[labels["label"] != labels["label"].iloc[0], "frame_id"].iloc[0]
    pair = {"frame_id": [one], "other_id": [other], "similarity": [0.99], "relation": ["between patients"]}
    tamper(archive, Cell("view/redundancy/vae"), near_duplicates=pd.DataFrame(pair))


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


Wrong = Callable[[Archive], None]
CASES: dict[str, tuple[str, list[Wrong]]] = {  # name of the check -> a cell of it, and what makes it fail
    "patients_disjoint": ("split@patients_disjoint[first]", [patient_on_both_sides, patient_on_no_side]),
    "manifest_moves_nobody": ("split@manifest_moves_nobody[first]", [manifest_asks_for_the_other_side]),
    "health": ("vae_weights@health", [no_unit_is_active, no_better_than_the_mean_image]),
    "unit_length": ("embeddings/vae@unit_length[first]", [a_vector_of_zeros, a_vector_too_few]),
    "drift": ("embeddings/vae@drift[first]", [frames_the_vae_does_not_know]),
    "panel_is_whole": ("view/similarity/vae@panel_is_whole[first]", [a_pair_too_few, a_neighbour_passed_over]),
    "near_duplicates_across_split": (
        "view/redundancy/vae@near_duplicates_across_split",
        [a_test_frame_like_one_of_the_pool],
    ),
    "labels_agree": ("view/redundancy/vae@labels_agree", [near_duplicates_labelled_differently]),
    "scorable": ("view/test_set@scorable", [test_frames_of_one_class, no_test_frames]),
    "train_frames_once": (
        "view/enrich/ranking@train_frames_once[0]",
        [a_frame_ranked_twice, a_frame_not_ranked, a_test_patient_ranked],
    ),
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
    assert names == set(CASES)
    assert all(ways for _, ways in CASES.values())


@pytest.fixture(scope="module")
def untouched(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    import shutil

    home = tmp_path_factory.mktemp("untouched") / "home"
    shutil.copytree(small_home, home)
    return open_small(home, near_duplicate=0.9999)


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
    if read != {name: origin.digest for name, origin in before.read.items()}:
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


def test_near_duplicates_across_the_split_are_named(small: Path) -> None:
    archive = open_small(small)
    sides = Catalogue(archive).frame_table()
    train, test = (sides[sides["split"] == side].reset_index(drop=True) for side in ("train", "test"))
    vectors = Catalogue(archive).vectors()
    products = vectors.of(test).astype(np.int64) @ vectors.of(train).astype(np.int64).T
    greatest = products.max(axis=1) / SCALE**2
    nearest = np.sort(greatest)[::-1]
    threshold = float((nearest[1] + nearest[2]) / 2)  # so that exactly two test frames are beyond it
    if not nearest[1] > nearest[2] or threshold <= 0:
        pytest.skip("three equally near frames")
    outcome = run_check(open_small(small, threshold), "view/redundancy/vae@near_duplicates_across_split").metrics
    assert not outcome["passed"]
    assert not outcome["blocking"], "said, not forbidden: it is for you to judge"
    assert outcome["description"].startswith(f"2 of {len(test)} test frames")
    first = int(np.flatnonzero(greatest >= threshold)[0])
    assert f"{test['frame_id'][first]} ~ {train['frame_id'][int(products[first].argmax())]}" in outcome["description"]


def test_without_near_duplicates_the_check_says_how_many_were_looked_at(small: Path) -> None:
    outcome = run_check(open_small(small, 1.0), "view/redundancy/vae@near_duplicates_across_split").metrics
    assert outcome["passed"]
    assert outcome["description"].startswith("0 of ")


def test_near_duplicates_across_the_split_are_looked_for_again_when_labels_change(small: Path) -> None:
    """It compares the labelled test frames with the pool: with other labels these are others."""
    archive, check = open_small(small), "chambers/redundancy/vae@near_duplicates_across_split"
    assert is_fresh(archive, check)
    looked_at = run_check(archive, check).metrics["description"]
    frames, catalogue = Catalogue(archive).frame_table(), Catalogue(archive)
    unlabelled = frames[
        (frames["split"] == "test") & ~frames["frame_id"].isin(catalogue.labels().of_task("chambers")["frame_id"])
    ]
    label = {
        "frame_id": unlabelled["frame_id"].head(1),
        "label": None,
        "source": "t",
        "author": "",
        "recorded_at": "2027",
    }
    side = archive.profile.tasks["chambers"].size
    Annotations(archive.store.folder).add("chambers", pd.DataFrame(label), [np.eye(side, dtype=np.uint8)])
    bring_up_to_date(archive, "first", "label_presence", "labels")
    assert verdict(archive, check).why == "changed: label_presence[first]"
    assert run_check(archive, check).metrics["description"] != looked_at
    assert is_fresh(archive, check)


def test_a_label_corrected_among_near_duplicates_is_looked_at_again_and_no_other(small: Path) -> None:
    archive, check = open_small(small), "view/redundancy/vae@labels_agree"
    near_duplicates_labelled_differently(archive)
    pair = table_of(archive, Cell("view/redundancy/vae"), "near_duplicates")
    assert not run_check(archive, check).metrics["passed"]
    labels = Catalogue(archive).labels().of_task("view")

    def correct(frame: str, label: str) -> None:
        row = {"frame_id": [frame], "label": [label], "source": "t", "author": "", "recorded_at": "2027"}
        Annotations(archive.store.folder).add("view", pd.DataFrame(row))
        bring_up_to_date(archive, "first", "labels")

    names = set(labels["label"])
    elsewhere = labels[~labels["frame_id"].isin({*pair["frame_id"], *pair["other_id"]})].iloc[0]
    correct(elsewhere["frame_id"], next(iter(names - {elsewhere["label"]})))
    assert is_fresh(archive, check), "a label corrected elsewhere"
    right = labels.set_index("frame_id")["label"][pair["frame_id"].iloc[0]]
    correct(pair["other_id"].iloc[0], right)
    assert verdict(archive, check).why == "changed: labels"
    assert run_check(archive, check).metrics["passed"]


def test_near_duplicates_of_different_labels_are_listed(small: Path) -> None:
    archive = open_small(small)
    labels = Catalogue(archive).labels().of_task("view").set_index("frame_id")["label"]
    one, other = (labels[labels == name].index for name in sorted(set(labels))[:2])
    frames = Catalogue(archive).frame_table()["frame_id"]
    (unlabelled,) = [*frames[~frames.isin(labels.index)], "a/b/0"][:1]
    pairs = pd.DataFrame(
        {
            "frame_id": [one[0], one[1], one[2]],
            "other_id": [one[3], other[0], unlabelled],
            "similarity": [0.99, 0.985, 1.0],
            "relation": "between patients",
        }
    )
    tamper(archive, Cell("view/redundancy/vae"), near_duplicates=pairs)
    outcome = run_check(archive, "view/redundancy/vae@labels_agree").metrics
    assert not outcome["passed"]
    assert not outcome["blocking"]
    assert outcome["description"].startswith(
        f"1 of 3 near-duplicate pairs carry different labels: {one[1]} ~ {other[0]} (0.9850)"
    )
    tamper(archive, Cell("view/redundancy/vae"), near_duplicates=pairs.drop(index=1))
    assert run_check(archive, "view/redundancy/vae@labels_agree").metrics["passed"]
    tamper(archive, Cell("view/redundancy/vae"), near_duplicates=pd.DataFrame())
    assert run_check(archive, "view/redundancy/vae@labels_agree").metrics["passed"]


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
