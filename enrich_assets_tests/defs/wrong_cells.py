"""For every check of the graph, ways in which it fails.

Each writes the artefact that a check looks at as an error of ours would have written it (its receipt agrees with it, so no digest
gives it away), or makes the archive wrong.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import tamper

EVALUATION = Cell("view/enrich/evaluation", "10|0")
PANEL = Cell("view/similarity/vae", "first")
ARCHIVE_PANEL = Cell("archive/similarity/vae", "first")

Wrong = Callable[[Archive], None]


def table_of(archive: Archive, cell: Cell, name: str) -> pd.DataFrame:
    return archive.store.table(archive.store.receipts.require(cell), name)


def array_of(archive: Archive, cell: Cell, name: str) -> np.ndarray:
    return np.array(archive.store.array(archive.store.receipts.require(cell), name))


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


def a_search_that_ended_at_its_bound(archive: Archive) -> None:
    tamper(archive, Cell("view/training_length"), metrics={"stopped": False})


def a_length_found_on_far_fewer_frames(archive: Archive) -> None:
    tamper(archive, Cell("view/training_length"), metrics={"labelled_frames": 1})


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
