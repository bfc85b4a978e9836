"""What leaks: the same picture on both sides of the split, under two patients, under two labels. Found over the whole archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.labelling.importing import import_labels
from enrich_assets.core.making import make
from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.store.receipts import Cell, Receipt
from enrich_assets_tests.defs.made_archive import bring_up_to_date, make_cells, opened, planner_of, verdict

PROFILE = """
frames: {crop: none}
embeddings: {vae: {despite_health: true}}
tasks: {view: {classes: [benign, malignant], positive: malignant}, chambers: null}
"""
ARCHIVE_PANEL, REDUNDANCY = "archive/similarity/vae", "archive/redundancy/vae"


def picture(number: int, noise: int = 0) -> np.ndarray:
    """A picture of its own; with noise another shot of the same."""
    shown = np.random.default_rng(number).integers(40, 200, (64, 64))
    return (shown + np.random.default_rng([number, noise]).integers(-noise, noise + 1, (64, 64))).astype(np.uint8)


def still(patient: str, pixels: np.ndarray, label: str = "", split: str = "", clip: str = "c") -> dict[str, object]:
    return {"patient_id": patient, "pixels": pixels, "label": label, "split": split, "clip_id": clip}


def write(folder: Path, stills: list[dict[str, object]], first: int = 0) -> str:
    folder.mkdir(parents=True)
    rows = []
    for number, one in enumerate(stills):
        Image.fromarray(np.asarray(one["pixels"])).save(folder / f"i{number}.png")
        row = {name: value for name, value in one.items() if name != "pixels"}
        rows.append(
            {**row, "path": f"i{number}.png", "study_id": f"s{one['patient_id']}", "frame_index": first + number}
        )
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return str(folder)


def embed(archive: Archive, batch: str) -> None:
    """Vectors of the pixels themselves: no VAE is needed to see what leaks."""
    frames = Catalogue(archive).frames([batch])
    table = frames.frame_table
    pixels = frames.pixels("similarity", table).reshape(len(table), -1).astype(np.float64)
    draft = archive.store.draft(Cell("embeddings/vae", batch), settings="s", inputs={})
    draft.array("vectors", to_fixed_point(pixels - pixels.mean(axis=1, keepdims=True)))
    draft.table("frames", table[["frame_id"]])
    draft.commit()
    planner = planner_of(archive)
    for check in ("unit_length", "tells_frames_apart"):
        make(planner, planner.graph[f"embeddings/vae@{check}"], batch)


def read(archive: Archive, folder: Path, batch: str, stills: list[dict[str, object]], first: int = 0) -> None:
    ingest(archive, write(folder / batch, stills, first), batch)
    make_cells(archive, batch)
    embed(archive, batch)
    make_cells(archive, batch, ARCHIVE_PANEL)


def leaks_of(archive: Archive) -> tuple[pd.DataFrame, Receipt]:
    receipt = make_cells(archive, "", "leaks")
    return archive.store.table(receipt, "leaks"), receipt


def outcome(archive: Archive, check: str) -> dict[str, object]:
    return archive.store.receipts.require(Cell(f"leaks@{check}")).metrics


def test_the_identical_pair_under_two_labels_is_found_though_it_lies_across_the_split(tmp_path: Path) -> None:
    """Of 780 breast stills it was the one that was not: only pairs within the pool were looked at."""
    archive = opened(tmp_path / "home", PROFILE)
    others = [still(f"p{n}", picture(n), "benign", "train") for n in range(5)]
    pair = [still("a", picture(99), "benign", "train"), still("b", picture(99), "malignant", "test")]
    read(archive, tmp_path, "one", [*others, *pair])
    (leak,) = leaks_of(archive)[0].to_dict("records")
    assert (leak["frame_id"], leak["other_id"]) == ("sa/c/5", "sb/c/6")
    assert (leak["patient_id"], leak["other_patient_id"]) == ("a", "b")
    assert (leak["split"], leak["other_split"]) == ("train", "test")
    assert (leak["label"], leak["other_label"], leak["task"]) == ("benign", "malignant", "view")
    assert leak["identical_pixels"]
    assert leak["across_split"]
    assert leak["labels_conflict"]
    assert leak["relation"] == "between patients"
    assert leak["similarity"] == pytest.approx(1, abs=1e-3)
    assert not any(outcome(archive, name)["passed"] for name in ("near_duplicates_across_split", "labels_agree"))
    assert not outcome(archive, "patients_differ")["passed"]


def test_a_test_frame_with_a_twin_in_train_is_found_without_any_label(tmp_path: Path) -> None:
    """56 of them stood in the text of a check, and only where both carried labels."""
    archive = opened(tmp_path / "home", PROFILE)
    train = [still(f"p{n}", picture(n), split="train") for n in range(6)]
    test = [still(f"t{n}", picture(n, noise=3), split="test") for n in range(2)] + [
        still("t9", picture(50), split="test")
    ]
    read(archive, tmp_path, "one", [*train, *test])
    table, receipt = leaks_of(archive)
    assert set(zip(table["frame_id"], table["other_id"], strict=True)) == {
        ("sp0/c/0", "st0/c/6"),
        ("sp1/c/1", "st1/c/7"),
    }
    assert table["labels_conflict"].isna().all(), "nothing is known of labels"
    assert not table["identical_pixels"].any()
    assert receipt.metrics["across_split"] == receipt.metrics["test_frames"] == 2
    assert "2 pairs" in str(outcome(archive, "near_duplicates_across_split")["description"])
    assert outcome(archive, "labels_agree")["passed"]
    assert outcome(archive, "patients_differ")["passed"], "alike, but not the same picture"


def test_of_one_patient_only_contradicting_labels_leak(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", PROFILE)
    stills = [
        still("p", picture(1), "benign", "train", "c"),
        still("p", picture(1, noise=2), "malignant", "train", "c"),
        still("p", picture(1, noise=3), "benign", "train", "d"),
        still("p", picture(1, noise=4), "", "train", "d"),
        still("q", picture(2), "benign", "test"),
    ]
    read(archive, tmp_path, "one", stills)
    table, receipt = leaks_of(archive)
    found = {(r.frame_id, r.other_id, r.relation) for r in table.itertuples()}
    assert found == {("sp/c/0", "sp/c/1", "within clip"), ("sp/c/1", "sp/d/2", "within patient")}
    assert table["labels_conflict"].all()
    assert not table["across_split"].any()
    assert receipt.metrics["labels_conflict"] == 2
    assert outcome(archive, "near_duplicates_across_split")["passed"]
    assert not outcome(archive, "labels_agree")["passed"]


def test_one_patient_under_two_ids_on_one_side_is_told(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", PROFILE)
    stills = [still("p", picture(1), "benign", "train"), still("q", picture(1), "benign", "train")]
    more = [still("q", picture(7), "benign", "train"), still("p", picture(7), "benign", "train")]
    read(archive, tmp_path, "one", [*stills, *more, still("r", picture(2), "benign", "test")])
    leak, other = leaks_of(archive)[0].to_dict("records")
    assert (
        {leak["patient_id"], leak["other_patient_id"]} == {other["patient_id"], other["other_patient_id"]} == {"p", "q"}
    )
    assert leak["relation"] == "between patients"
    assert (leak["label"], leak["other_label"]) == ("benign", "benign")
    assert not leak["across_split"]
    assert leak["labels_conflict"] is False or leak["labels_conflict"] == np.False_
    assert outcome(archive, "near_duplicates_across_split")["passed"]
    assert outcome(archive, "labels_agree")["passed"]
    told = str(outcome(archive, "patients_differ")["description"])
    assert told.startswith("2 pairs of identical pictures of different patients, of 1 pairs of patients")


def test_where_nothing_leaks_the_table_is_empty_and_every_check_passes(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", PROFILE)
    read(archive, tmp_path, "one", [still(f"p{n}", picture(n), "benign", "test" if n else "train") for n in range(3)])
    table, receipt = leaks_of(archive)
    assert table.empty
    assert receipt.metrics["pairs"] == receipt.metrics["across_split"] == receipt.metrics["left_out"] == 0
    checks = ("near_duplicates_across_split", "labels_agree", "patients_differ")
    assert all(outcome(archive, name)["passed"] for name in checks)


def test_what_leaks_between_batches_is_what_leaks_within_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stills = [
        still(f"p{n % 7}", picture(int(rng.integers(9)), int(rng.integers(3))), "benign" if n % 3 else "malignant")
        for n in range(30)
    ]
    for n, one in enumerate(stills):
        one["split"] = "test" if n % 7 in (1, 4) else "train"
    at_once, grown = opened(tmp_path / "a", PROFILE), opened(tmp_path / "b", PROFILE)
    read(at_once, tmp_path / "one", "all", stills)
    read(grown, tmp_path / "two", "x", stills[:13])
    read(grown, tmp_path / "two", "y", stills[13:], first=13)
    one, other = leaks_of(at_once)[0], leaks_of(grown)[0]
    assert len(one) > 20
    pd.testing.assert_frame_equal(one, other)
    whole, summed = (a.store.table(make_cells(a, "", REDUNDANCY), "redundancy") for a in (at_once, grown))
    pd.testing.assert_frame_equal(whole, summed)


def test_labels_that_come_later_renew_the_contradictions_and_no_panel(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", PROFILE)
    stills = [still("p", picture(1), "benign", "train"), still("q", picture(1), "", "test"), still("r", picture(2))]
    read(archive, tmp_path, "one", stills)
    assert leaks_of(archive)[0]["labels_conflict"].isna().all()
    (tmp_path / "answers.csv").write_text("frame_id,label\nsq/c/1,malignant\n")
    import_labels(archive, str(tmp_path / "answers.csv"), "view")
    make_cells(archive, "one", "label_presence", "labels")
    assert verdict(archive, "leaks").why == "changed: labels"
    assert verdict(archive, ARCHIVE_PANEL, "one").is_fresh
    assert set(bring_up_to_date(archive, "", "leaks")) >= {"leaks", "leaks@labels_agree"}
    assert not outcome(archive, "labels_agree")["passed"]
    (tmp_path / "answers.csv").write_text("frame_id,label\nsq/c/1,benign\n")
    import_labels(archive, str(tmp_path / "answers.csv"), "view")
    make_cells(archive, "one", "label_presence", "labels")
    bring_up_to_date(archive, "", "leaks")
    assert outcome(archive, "labels_agree")["passed"]


def test_where_pairs_are_too_many_to_look_at_identical_pictures_are_found_and_the_check_does_not_pass(
    tmp_path: Path,
) -> None:
    archive = opened(tmp_path / "home", PROFILE + "similarity: {max_pairs: 3, sampled_pairs: 1000}\n")
    stills = [still(f"p{n}", picture(n), split="train") for n in range(4)]
    read(archive, tmp_path, "one", [*stills, still("t", picture(2), split="test")])
    table, receipt = leaks_of(archive)
    assert list(zip(table["frame_id"], table["other_id"], strict=True)) == [("sp2/c/2", "st/c/4")]
    assert not receipt.metrics["all_pairs_known"]
    assert "not all pairs were looked at" in str(outcome(archive, "near_duplicates_across_split")["description"])
    redundancy = archive.store.table(make_cells(archive, "", REDUNDANCY), "redundancy")
    assert redundancy["is_estimate"].all()
    assert set(redundancy["whole"]) == {"archive", "train"}


def test_the_nearest_are_listed_and_the_rest_is_counted(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", PROFILE + "similarity: {max_near_duplicates: 2}\n")
    stills = [still(f"p{n}", picture(1, noise=n), split="train" if n % 2 else "test") for n in range(6)]
    read(archive, tmp_path, "one", stills)
    table, receipt = leaks_of(archive)
    assert len(table) == 2
    assert receipt.metrics["between_patients"] == 15
    assert receipt.metrics["across_split"] == 9
    assert receipt.metrics["left_out"] == 13
    assert "9 pairs" in str(outcome(archive, "near_duplicates_across_split")["description"])
    assert "at least" in str(outcome(archive, "near_duplicates_across_split")["description"])


def test_redundancy_is_of_the_archive_whatever_is_labelled(tmp_path: Path) -> None:
    """After 120 labels came in, the figure silently changed from 2,738,970 pairs to 7,140: those of the labelled frames."""
    archive = opened(tmp_path / "home", PROFILE)
    stills = [still(f"p{n}", picture(n % 4, n), "", "test" if n > 7 else "train") for n in range(10)]
    read(archive, tmp_path, "one", stills)
    keys = ("view/pool", "view/similarity/vae")

    def figures() -> tuple[pd.DataFrame, pd.DataFrame]:
        bring_up_to_date(archive, "one", *keys)
        bring_up_to_date(archive, "", "archive/redundancy/vae", "view/redundancy/vae")
        archive.store.receipts.refresh()
        cells = (Cell("archive/redundancy/vae"), Cell("view/redundancy/vae"))
        whole, pool = (archive.store.table(archive.store.receipts.require(cell), "redundancy") for cell in cells)
        return whole, pool

    def pairs(table: pd.DataFrame) -> int:
        return int(table.loc[table["relation"] == "all", "pairs"].sum())

    whole, pool = figures()
    assert pairs(whole[whole["whole"] == "archive"]) == 45
    assert pairs(whole[whole["whole"] == "train"]) == pairs(pool) == 28
    train = whole[whole["whole"] == "train"].drop(columns="whole").reset_index(drop=True)
    pd.testing.assert_frame_equal(train, pool)
    shares = whole.groupby(["whole", "relation"])["share"].sum()
    assert shares["archive", "all"] == shares["train", "all"] == pytest.approx(1)
    (tmp_path / "answers.csv").write_text("frame_id,label\nsp0/c/0,benign\nsp1/c/1,malignant\nsp2/c/2,benign\n")
    import_labels(archive, str(tmp_path / "answers.csv"), "view")
    make_cells(archive, "one", "label_presence", "labels")
    later, pool = figures()
    assert pairs(pool) == 3
    pd.testing.assert_frame_equal(later, whole)


# ----------------------------------------------------------------------------------------- patients kept together

TOGETHER = PROFILE + "split: {keep_together: near_duplicates, test_share: 0.5}\n"


def sides(archive: Archive, batch: str) -> dict[str, str]:
    table = archive.store.table(archive.store.receipts.require(Cell("split", batch)), "split")
    return dict(zip(table["patient_id"], table["split"], strict=True))


def ingest_only(archive: Archive, folder: Path, batch: str, stills: list[dict[str, object]]) -> dict[str, str]:
    ingest(archive, write(folder / batch, stills), batch)
    make_cells(archive, batch)
    return sides(archive, batch)


def test_linked_patients_stand_on_one_side_and_no_twin_lies_across_the_split(tmp_path: Path) -> None:
    """Twenty patients in ten pairs: by a hash of each, some pairs would be parted."""
    stills = [still(f"p{n}", picture(n // 2, noise=2 + n % 2)) for n in range(20)]
    apart = ingest_only(opened(tmp_path / "a", PROFILE + "split: {test_share: 0.5}\n"), tmp_path / "x", "one", stills)
    assert any(apart[f"p{n}"] != apart[f"p{n + 1}"] for n in range(0, 20, 2)), "else this test shows nothing"
    archive = opened(tmp_path / "b", TOGETHER)
    kept = ingest_only(archive, tmp_path / "y", "one", stills)
    assert all(kept[f"p{n}"] == kept[f"p{n + 1}"] for n in range(0, 20, 2))
    assert set(kept.values()) == {"train", "test"}
    embed(archive, "one")
    make_cells(archive, "one", ARCHIVE_PANEL)
    assert leaks_of(archive)[1].metrics["across_split"] == 0


def test_who_is_linked_to_an_earlier_patient_takes_that_ones_side_and_nobody_moves(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", TOGETHER)
    first = ingest_only(archive, tmp_path, "one", [still(f"p{n}", picture(n)) for n in range(8)])
    assert set(first.values()) == {"train", "test"}
    second = ingest_only(
        archive, tmp_path, "two", [still(f"q{n}", picture(n, noise=3)) for n in range(8)] + [still("p0", picture(90))]
    )
    assert [second[f"q{n}"] for n in range(8)] == [first[f"p{n}"] for n in range(8)]
    assert second["p0"] == first["p0"]
    assert sides(archive, "one") == first
    table = archive.store.table(archive.store.receipts.require(Cell("split", "two")), "split")
    assert set(table["decided_by"]) == {"near-duplicates", "earlier batch"}


def test_the_manifest_decides_for_whom_it_names_and_for_who_is_linked_to_them(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", TOGETHER)
    stills = [still("a", picture(1)), still("b", picture(1, noise=2), split="test"), still("c", picture(1, noise=3))]
    stills += [still("d", picture(2)), still("e", picture(2, noise=2), split="train")]
    found = ingest_only(archive, tmp_path, "one", stills)
    assert found == {"a": "test", "b": "test", "c": "test", "d": "train", "e": "train"}


def test_a_batch_without_a_readable_frame_is_split_too(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", TOGETHER)
    folder = Path(write(tmp_path / "one", [still("a", picture(1)), still("b", picture(1))]))
    for file in folder.glob("*.png"):
        file.write_bytes(file.read_bytes()[:60])
    ingest(archive, str(folder), "one")
    make_cells(archive, "one")
    assert set(sides(archive, "one")) == {"a", "b"}


def test_without_keep_together_no_picture_is_looked_at_for_the_split(tmp_path: Path) -> None:
    graph = planner_of(opened(tmp_path / "a", PROFILE)).graph
    assert "frames" not in graph.upstream(graph["split"])
    graph = planner_of(opened(tmp_path / "b", TOGETHER)).graph
    assert "frames" in graph.upstream(graph["split"])
    assert "vae_weights" not in graph.upstream(graph["split"]), "a VAE is trained on what the split gives it"
