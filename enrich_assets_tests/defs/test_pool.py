"""Which frames a task may choose from, and which labels stay bought."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from enrich_assets.archive import Archive
from enrich_assets.defs.annotation import take_in_labels
from enrich_assets.defs.conclusions import next_frames
from enrich_assets.defs.graph import Graph
from enrich_assets.settings import load_profile
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import make, opened, write_stills


def ingest(archive: Archive, folder: Path, batch: str, **columns: object) -> None:
    rows = [{"patient_id": f"{batch}{i}", "clip_id": "c", "split": "train", **columns} for i in range(4)]
    archive.ingest(str(write_stills(folder / batch, rows)), batch)
    make(archive, batch)


def embed(archive: Archive, batch: str) -> None:
    """Vectors by chance: no VAE is needed to see who is asked for."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(archive.frames.table([batch])), 128))
    draft = archive.store.draft(Cell("embeddings", batch), settings="s", inputs={})
    draft.array("vectors", np.rint(4000 * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.int16))
    draft.commit()


def test_where_nothing_is_labelled_the_pool_is_every_train_frame(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    ingest(archive, tmp_path, "a")
    make(archive, "a", "view/pool")
    assert len(archive.pool("view")) == 4


def test_a_batch_without_labels_adds_nothing_to_the_pool_of_a_labelled_task(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    ingest(archive, tmp_path, "a")
    make(archive, "a", "view/pool")
    ingest(archive, tmp_path, "b", label="NT")
    pool = Graph(archive.profile).steps["view/pool"]
    assert pool.why_stale(archive, "a") == "changed: labels in any batch"
    for batch in ("a", "b"):
        make(archive, batch, "view/pool")
    assert set(archive.pool("view")["batch"]) == {"b"}


def test_who_answered_unsure_is_not_asked_again(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "tasks: {view: {classes: [NT, A4C], ignore: [unsure]}}\n")
    ingest(archive, tmp_path, "a")
    embed(archive, "a")
    (tmp_path / "answers.csv").write_text("frame_id,label\na0/c/0,unsure\na1/c/0,NT\na2/c/0,nonsense\n")
    taken = take_in_labels(archive, str(tmp_path / "answers.csv"), "view")
    assert taken.n_imported == 2
    (problem,) = taken.problems.itertuples()
    assert "'nonsense' is no class" in problem.reason
    make(archive, "a", "labelled", "labels")
    assert list(archive.labels("view")["frame_id"]) == ["a1/c/0"]
    assert set(next_frames(archive, "view", 10)["frame_id"]) == {"a2/c/0", "a3/c/0"}


def test_another_budget_keeps_the_labels_bought(small: Path) -> None:
    """The pool has grown, so the order would be another one; and then somebody asks for one budget more."""
    before = Archive(small, load_profile(str(small / "enrich.yaml")))
    bought = before.store.receipts.require(Cell("view/enrich/ranking", "0"))
    order = list(before.store.table(bought, "ranking")["frame_id"])
    view = before.profile.tasks["view"].model_copy(update={"budgets": ("10", "20", "30"), "start": "3"})
    archive = Archive(small, before.profile.model_copy(update={"tasks": {**before.profile.tasks, "view": view}}))
    receipt, _ = Graph(archive.profile).steps["view/enrich/ranking"].materialise(archive, "0")
    assert receipt.figures["extends"] == bought.digest
    assert receipt.seen[str(bought.cell)] == bought.digest, "the order depends on what was bought, so lineage tells it"
    assert list(archive.store.table(receipt, "ranking")["frame_id"])[:20] == order[:20]
