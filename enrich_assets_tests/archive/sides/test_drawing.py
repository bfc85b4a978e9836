"""The sides of an archive: who stands where as batches come, come again, are lost, or were split by an earlier version."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sides import sides_now
from enrich_assets.archive.sides.drawing import classes_of_patients, joined_groups
from enrich_assets.store.receipts import Cell, digest_of
from enrich_assets_tests.defs.made_archive import is_fresh, make_cells, opened, verdict, write_stills

SPLIT = ("studies", "frames", "split")


def rows(patients: list[str], **more: object) -> list[dict[str, object]]:
    """Two stills of each patient; of every third the class is A4C."""
    return [
        {"patient_id": p, "clip_id": f"{p}-{c}", "label": "A4C" if at % 3 == 2 else "NT", **more}
        for at, p in enumerate(patients)
        for c in range(2)
    ]


def named(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i:02d}" for i in range(n)]


def sides(archive: Archive) -> dict[str, str]:
    return {str(p): str(s) for p, s in Catalogue(archive).split().sides.items()}


def taken(archive: Archive, folder: Path, batch: str, patients: list[str], **more: object) -> dict[str, str]:
    """Ingest these patients as a batch and split it; the sides of everyone."""
    ingest(archive, str(write_stills(folder, rows(patients, **more), side=24)), batch)
    make_cells(archive, batch, *SPLIT)
    archive.look_again()
    return sides(archive)


def test_a_later_batch_moves_nobody_and_is_drawn_by_its_own_patients(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    first = taken(archive, tmp_path / "one", "one", named("p", 12))
    assert list(first.values()).count("test") == 3
    both = taken(archive, tmp_path / "two", "two", [*named("q", 12)])
    assert {patient: both[patient] for patient in first} == first
    assert list(both.values()).count("test") == 6
    assert is_fresh(archive, "split", "one")


def test_a_batch_ingested_again_with_more_patients_moves_nobody(tmp_path: Path) -> None:
    """Not in it, and not in a later batch that met one of the new patients first."""
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    taken(archive, tmp_path / "one", "one", named("p", 8))
    before = taken(archive, tmp_path / "two", "two", named("q", 8))
    for side in ("train", "test"):
        patient = next(p for p, s in before.items() if p.startswith("q") and s == side)
        folder = write_stills(tmp_path / f"more-{side}", rows([*named("p", 8), patient, f"new-{side}"]), side=24)
        table = pd.read_csv(folder / "manifest.csv")
        table["clip_id"] = table["clip_id"].where(
            ~table["patient_id"].str.startswith(("q", "n")), table["clip_id"] + "again"
        )
        table.assign(study_id=table["patient_id"] + "/" + side).to_csv(folder / "manifest.csv", index=False)
        ingest(archive, str(folder), "one")
        archive.look_again()
        assert verdict(archive, "split", "one").is_stale or verdict(archive, "studies", "one").is_stale
        for batch in ("one", "two"):
            make_cells(archive, batch, *SPLIT)
        after = sides(archive)
        assert {p: after[p] for p in before} == before


def test_labels_that_come_later_decide_no_side_again(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    unlabelled = taken(archive, tmp_path / "one", "one", named("p", 12), label=None)
    assert list(unlabelled.values()).count("test") == 3
    folder = write_stills(tmp_path / "one", rows(named("p", 12)), side=24)
    ingest(archive, str(folder), "one")  # the same files, labelled now
    archive.look_again()
    make_cells(archive, "one", *SPLIT)
    assert sides(archive) == unlabelled


def test_the_manifest_may_move_patients_of_its_own_batch(tmp_path: Path) -> None:
    """The remedy that a warning names: a column `split`, and the batch ingested again."""
    archive = opened(tmp_path / "home")
    before = taken(archive, tmp_path / "one", "one", named("p", 6))
    moved = next(patient for patient, side in before.items() if side == "train")
    table = pd.read_csv(tmp_path / "one" / "manifest.csv")
    table["split"] = table["patient_id"].map({moved: "test"})
    table.to_csv(tmp_path / "one" / "manifest.csv", index=False)
    ingest(archive, str(tmp_path / "one"), "one")
    archive.look_again()
    make_cells(archive, "one", *SPLIT)
    assert sides(archive) == {**before, moved: "test"}


def test_a_lost_receipt_is_no_reason_to_draw_again(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    taken(archive, tmp_path / "one", "one", named("p", 5))
    before = taken(archive, tmp_path / "two", "two", named("q", 7))
    folder = write_stills(tmp_path / "more", rows(named("p", 9)), side=24)
    ingest(archive, str(folder), "more")  # so that the carried rounding is another
    archive.store.receipts.forget(Cell("split", "two"))
    make_cells(archive, "two", "split")
    assert sides(archive.__class__(archive.home, archive.profile, batches=archive.pinned[:2])) == before


@pytest.mark.parametrize("setting", ["salt: another", "test_share: 0.5"])
def test_another_draw_asked_for_in_the_profile_is_drawn(tmp_path: Path, setting: str) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    before = taken(archive, tmp_path / "one", "one", named("p", 24))
    again = opened(
        tmp_path / "home",
        f"split: {{test_share: 0.25, {setting}}}\n" if "salt" in setting else f"split: {{{setting}}}\n",
    )
    assert verdict(again, "split", "one").why == "its settings changed"
    make_cells(again, "one", "split")
    assert sides(again) != before


def by_hash(patient: str, share: float, salt: str) -> str:
    """The rule of earlier versions: each patient alone."""
    number = int.from_bytes(hashlib.sha256(f"{salt}:{patient}".encode()).digest()[:8], "big") / 2**64
    return "test" if number < share else "train"


def test_a_home_that_was_split_by_hash_keeps_every_patient(tmp_path: Path) -> None:
    """Its cells stay fresh as they are; the next batch is drawn by quota."""
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    ingest(archive, str(write_stills(tmp_path / "one", rows(named("p", 20)), side=24)), "one")
    make_cells(archive, "one", "studies", "frames")
    patients = named("p", 20)
    held = {p: by_hash(p, 0.25, "enrich") for p in patients}
    assert list(held.values()).count("test") != 5, "the hash drew another number than the quota would"
    studies, cell = archive.store.receipts.require(Cell("studies", "one")), Cell("split", "one")
    draft = archive.store.draft(
        cell,
        settings=digest_of([1, {"test_share": 0.25, "salt": "enrich"}]),  # as version 1 of the step wrote them
        inputs={str(studies.cell): studies.digest, "before": digest_of({})},
    )
    table = pd.DataFrame({"patient_id": patients, "split": list(held.values()), "decided_by": "hash", "wish": None})
    draft.table("split", table.astype({"wish": "string"}))
    draft.commit(patients_train=0, patients_test=0)
    assert is_fresh(archive, "split", "one")
    make_cells(archive, "one", "split@patients_disjoint")
    later = taken(archive, tmp_path / "two", "two", [*patients[:4], *named("q", 12)])
    assert {p: later[p] for p in patients} == held
    assert [later[q] for q in named("q", 12)].count("test") == 3
    make_cells(archive, "one", "split")  # by hand, or after another revision
    assert sides(archive) == later


def test_sides_are_known_before_anything_is_made_and_are_those_that_follow(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    for batch, n in (("one", 7), ("two", 9)):
        ingest(archive, str(write_stills(tmp_path / batch, rows(named(batch, n)), side=24)), batch)
    foreseen = dict(sides_now(archive)[["patient_id", "split"]].itertuples(index=False))
    for batch in ("one", "two"):
        make_cells(archive, batch, *SPLIT)
    assert sides(archive) == foreseen
    assert dict(sides_now(archive)[["patient_id", "split"]].itertuples(index=False)) == foreseen


def test_classes_are_those_the_tasks_can_use(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "tasks: {view: {ignore: [unsure]}}\n")
    table = pd.DataFrame(
        [("a", "NT", None), ("a", "A4C", None), ("b", "unsure", None), ("c", " NT ", "m.png"), ("d", "XY", None)],
        columns=["patient_id", "label", "mask_path"],
    )
    assert classes_of_patients(table, archive.profile) == {
        "a": {"label=NT", "label=A4C"},
        "b": set(),
        "c": {"label=NT", "mask"},
        "d": set(),  # no class of the profile
    }


# ------------------------------------------------------------------------------------------------------------- sites


def test_whole_sites_stand_on_a_side_over_batches(tmp_path: Path) -> None:
    text = "sites: [hospital]\nsplit: {test_share: 0.25, by: site}\n"
    archive = opened(tmp_path / "home", text)
    hospitals = {p: "ABCD"[i % 4] for i, p in enumerate(named("p", 16))}
    folder = write_stills(
        tmp_path / "one", [{**r, "hospital": hospitals[str(r["patient_id"])]} for r in rows(list(hospitals))], side=24
    )
    ingest(archive, str(folder), "one")
    make_cells(archive, "one", *SPLIT)
    first = sides(archive)
    by_site = {hospital: {first[p] for p, h in hospitals.items() if h == hospital} for hospital in "ABCD"}
    assert all(len(found) == 1 for found in by_site.values())
    assert list(first.values()).count("test") == 4
    more = {p: "ABCDE"[i % 5] for i, p in enumerate(named("q", 5))}
    folder = write_stills(
        tmp_path / "two", [{**r, "hospital": more[str(r["patient_id"])]} for r in rows(list(more))], side=24
    )
    ingest(archive, str(folder), "two")
    archive.look_again()
    make_cells(archive, "two", *SPLIT)
    later = sides(archive)
    assert {p: later[p] for p in first} == first
    assert all(later[p] in by_site[h] for p, h in more.items() if h != "E"), "a patient joins the side of the site"


def test_a_site_left_out_is_the_test_side(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "sites: [hospital]\nsplit: {by: site, leave_out: B}\n")
    table = [{**r, "hospital": "AB"[int(str(r["patient_id"])[1:]) % 2], "split": "train"} for r in rows(named("p", 6))]
    ingest(archive, str(write_stills(tmp_path / "one", table, side=24)), "one")
    make_cells(archive, "one", *SPLIT)
    assert sides(archive) == {p: "test" if int(p[1:]) % 2 else "train" for p in named("p", 6)}


def test_sites_that_share_a_patient_are_one_group() -> None:
    groups = joined_groups({"p": ["A", "B"], "q": ["B"], "r": ["C"], "s": ["A"]}, {"old": "C"})
    assert groups["p"] == groups["q"] == groups["s"]
    assert groups["r"] == groups["old"] != groups["p"]
