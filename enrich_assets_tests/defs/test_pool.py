"""Which frames a task may choose from, and which labels stay bought."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.labelling.importing import import_labels
from enrich_assets.profiles import load_profile
from enrich_assets.running.labelling import label_next
from enrich_assets.store.receipts import Cell, Origin
from enrich_assets_tests.defs.made_archive import make_cells, opened, verdict, write_stills


def read_batch(archive: Archive, folder: Path, batch: str, **columns: object) -> None:
    rows = [{"patient_id": f"{batch}{i}", "clip_id": "c", "split": "train", **columns} for i in range(4)]
    ingest(archive, str(write_stills(folder / batch, rows)), batch)
    make_cells(archive, batch)


def embed(archive: Archive, batch: str) -> None:
    """Vectors by chance: no VAE is needed to see who is asked for."""
    rng = np.random.default_rng(0)
    ids = Catalogue(archive).frames([batch]).frame_table[["frame_id"]]
    vectors = rng.normal(size=(len(ids), 128))
    draft = archive.store.draft(Cell("embeddings/vae", batch), settings="s", inputs={})
    draft.array("vectors", np.rint(4000 * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.int16))
    draft.table("frames", ids)
    draft.commit()


def test_where_nothing_is_labelled_the_pool_is_every_train_frame(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    read_batch(archive, tmp_path, "a")
    make_cells(archive, "a", "view/pool")
    assert len(Catalogue(archive).pool("view")) == 4


def test_a_batch_without_labels_adds_nothing_to_the_pool_of_a_labelled_task(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    read_batch(archive, tmp_path, "a")
    make_cells(archive, "a", "view/pool")
    read_batch(archive, tmp_path, "b", label="NT")
    assert verdict(archive, "view/pool", "a").why == "changed: any_labelled"
    for batch in ("a", "b"):
        make_cells(archive, batch, "view/pool")
    assert set(Catalogue(archive).pool("view").frames["batch"]) == {"b"}


def test_who_answered_unsure_is_not_asked_again(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "tasks: {view: {classes: [NT, A4C], ignore: [unsure]}}\n")
    read_batch(archive, tmp_path, "a")
    embed(archive, "a")
    (tmp_path / "answers.csv").write_text("frame_id,label\na0/c/0,unsure\na1/c/0,NT\na2/c/0,nonsense\n")
    imported = import_labels(archive, str(tmp_path / "answers.csv"), "view")
    assert imported.n_imported == 2
    (problem,) = imported.problems.itertuples()
    assert "'nonsense' is no class" in problem.reason
    make_cells(archive, "a", "label_presence", "labels")
    assert list(Catalogue(archive).labels().of_task("view")["frame_id"]) == ["a1/c/0"]
    assert set(label_next(archive, "view", 10, "train")[0]["frame_id"]) == {"a2/c/0", "a3/c/0"}


def test_another_budget_keeps_the_labels_bought(small: Path) -> None:
    """The pool has grown, so the order would be another one; and then somebody asks for one budget more."""
    before = Archive(small, load_profile(str(small / "enrich.yaml")))
    bought = before.store.receipts.require(Cell("view/enrich/ranking", "0"))
    order = list(before.store.table(bought, "ranking")["frame_id"])
    view = before.profile.tasks["view"].model_copy(update={"budgets": ("10", "20", "30"), "initial_frames": "3"})
    archive = Archive(small, before.profile.model_copy(update={"tasks": {**before.profile.tasks, "view": view}}))
    receipt = make_cells(archive, "0", "view/enrich/ranking")
    origin = receipt.origin(bought.cell)
    assert origin == Origin(bought.digest, bought.name), "the order depends on what was bought, so lineage names it"
    assert str(bought.cell) not in receipt.inputs, "and that is no reason to rank again"
    assert list(archive.store.table(receipt, "ranking")["frame_id"])[:20] == order[:20]


def test_from_scratch_nothing_bought_is_read(small: Path) -> None:
    before = Archive(small, load_profile(str(small / "enrich.yaml")))
    view = before.profile.tasks["view"].model_copy(update={"budgets": ("10", "20", "30"), "growth": "restart"})
    archive = Archive(small, before.profile.model_copy(update={"tasks": {**before.profile.tasks, "view": view}}))
    receipt = make_cells(archive, "0", "view/enrich/ranking")
    assert str(receipt.cell) not in receipt.read
