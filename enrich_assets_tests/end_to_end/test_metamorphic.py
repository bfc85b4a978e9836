"""What may not change stays the same to the bit, and what must change does: patients renamed, frames doubled, constant and black frames,
one wrong label, a test side of one class, a loss that is no number. A shuffled manifest: `test_row_order`.

The archives hold a few stills in PCA space. Cells are made in the order of a run, without Dagster.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.labelling.importing import import_labels
from enrich_assets.core.making import make
from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import Goal, Outlook, stages
from enrich_assets.method.similarity import similarity_histogram
from enrich_assets.store.receipts import Cell, Receipt
from enrich_assets_tests.attack.homes import write_archive
from enrich_assets_tests.defs.made_archive import extended, planner_of

PROFILE = """
frames: {{crop: none}}
embeddings: {{pca: {{dimensions: 6}}}}
similarity: {{neighbours: 3}}
tasks:
  masks: null
  view:
    classes: [a, b]
    positive: b
    size: 16
    initial_frames: 4
    budgets: [8]
    seeds: 2
    training: {{widths: [4, 8], dense: 8, epochs: 1, min_steps: 4, lr_milestones: [], learning_rate: {rate}}}
"""
TOP = 4000 * 4000  # the integer product of a unit vector with itself, but for rounding


def home_of(home: Path, *archives: Path, rate: float = 5e-4) -> Archive:
    """A home with a batch of each archive."""
    archive = extended(home, Path("archive"), PROFILE.format(rate=rate))
    for folder in archives:
        ingest(archive, str(folder), folder.name)
    archive.look_again()
    return archive


def bring_up(archive: Archive) -> Outlook:
    """Make what is stale, stage by stage, all but what is published; what a run would say beside."""
    planner = planner_of(archive)
    outlook = Outlook(planner)
    for stage in stages(outlook, Goal()):
        for group in stage.groups:
            for declared in group.members:
                if declared.key.partition("@")[0] in ("results", "report"):
                    continue
                verdict = planner.verdict(declared, group.partition)
                assert not verdict.is_blocked, verdict
                if verdict.is_stale:
                    make(planner, declared, group.partition)
    return outlook


def held(archive: Archive) -> dict[Cell, Receipt]:
    """Every cell that is made, assets alone."""
    planner: Planner = planner_of(archive)
    return {receipt.cell: receipt for key in planner.graph.steps for receipt in planner.held(key).values()}


def contents(archive: Archive) -> dict[Cell, str]:
    return {cell: receipt.digest for cell, receipt in held(archive).items()}


def table(archive: Archive, key: str, partition: str, name: str) -> pd.DataFrame:
    return archive.store.table(held(archive)[Cell(key, partition)], name)


def vectors(archive: Archive, batch: str) -> dict[str, tuple[int, ...]]:
    """frame_id -> its vector in fixed point."""
    receipt = held(archive)[Cell("embeddings/pca", batch)]
    ids = archive.store.table(receipt, "frames")["frame_id"]
    return dict(zip(ids, map(tuple, archive.store.array(receipt, "vectors").tolist()), strict=True))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients of six stills, half of them on the test side, two classes on each."""
    return write_archive(tmp_path_factory.mktemp("metamorphic") / "first")


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which everything is made of them."""
    home = tmp_path_factory.mktemp("finished") / "home"
    bring_up(home_of(home, source))
    return home


def again(finished: Path, tmp_path: Path) -> Archive:
    """A copy of that home, to do with as one likes."""
    shutil.copytree(finished, tmp_path / "home")
    return extended(tmp_path / "home", Path("archive"), PROFILE.format(rate=5e-4))


def rewritten(source: Path, folder: Path, rows: pd.DataFrame) -> Path:
    """The same pictures under another manifest."""
    folder.mkdir(parents=True)
    rows.assign(path=[str(source / path) for path in rows["path"]]).to_csv(folder / "manifest.csv", index=False)
    return folder


def rows_of(source: Path) -> pd.DataFrame:
    return pd.read_csv(source / "manifest.csv", dtype=str)


# -------------------------------------------------------------------------------------------------- patients renamed


def test_patients_by_other_names_give_the_same_vectors_rankings_models_and_predictions(
    source: Path, finished: Path, tmp_path: Path
) -> None:
    before = extended(finished, Path("archive"), PROFILE.format(rate=5e-4))
    names = {name: f"Q{99 - number}" for number, name in enumerate(sorted(rows_of(source)["patient_id"].unique()))}
    rows = rows_of(source)
    after = home_of(
        tmp_path / "home", rewritten(source, tmp_path / "first", rows.assign(patient_id=rows["patient_id"].map(names)))
    )
    bring_up(after)
    then, now = contents(before), contents(after)
    assert then.keys() == now.keys()
    holds_names = {"studies", "frames", "split", "view/pool", "view/test_set", "leaks", "view/worklist"}
    holds_names |= {f"{whole}/redundancy/pca" for whole in ("view", "archive")}
    holds_names |= {f"view/{arm}/{asset}" for arm in ("enrich", "random", "all") for asset in ("ranking", "subset")}
    differing = {cell.asset for cell in then if then[cell] != now[cell]} - {"view/comparison"}
    assert {"view/enrich/model", "view/all/model", "view/random/model", "embeddings/pca"} <= {c.asset for c in then}
    assert differing <= holds_names, differing - holds_names
    for seed in ("0", "1"):
        for arm in ("enrich", "random"):
            one, other = (table(home, f"view/{arm}/ranking", seed, "ranking") for home in (before, after))
            pd.testing.assert_frame_equal(one.assign(patient_id=one["patient_id"].map(names)), other)
    scores = [
        {cell: receipt.metrics["value"] for cell, receipt in held(home).items() if cell.asset.endswith("/evaluation")}
        for home in (before, after)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 6
    compared = [table(home, "view/comparison", "", "comparison") for home in (before, after)]
    pd.testing.assert_frame_equal(*compared, rtol=1e-12)  # sums over patients, in the order of their names


# ---------------------------------------------------------------------------------------------------- frames doubled


@pytest.fixture(scope="module")
def doubled(source: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The finished home after every picture came once more, under other studies of the same patients."""
    place = tmp_path_factory.mktemp("doubled")
    rows = rows_of(source)
    copies = rewritten(source, place / "copies", rows.assign(study_id="copy-" + rows["study_id"]))
    archive = again(finished, place)
    ingest(archive, str(copies), "copies")
    archive.look_again()
    bring_up(archive)
    return archive


def test_a_frame_twice_has_the_same_vector_twice(doubled: Archive) -> None:
    first, copies = vectors(doubled, "first"), vectors(doubled, "copies")
    assert {f"copy-{frame}": vector for frame, vector in first.items()} == copies
    assert len(copies) == 48


def test_each_pair_counts_four_times_when_every_frame_is_doubled(finished: Path, doubled: Archive) -> None:
    before = extended(finished, Path("archive"), PROFILE.format(rate=5e-4))
    once, twice = (table(home, "view/redundancy/pca", "", "redundancy") for home in (before, doubled))
    pool = table(before, "view/pool", "first", "pool")
    own = np.array([vectors(before, "first")[frame] for frame in pool["frame_id"]], dtype=np.int16)
    edges = np.append(once.loc[once["relation"] == "all", "lower"], 1.0)
    with_itself = np.histogram(np.clip((own.astype(np.int64) ** 2).sum(axis=1) / TOP, -1, 1), bins=edges)[0]
    pairs = [one.loc[one["relation"] == "all", "pairs"].to_numpy() for one in (once, twice)]
    np.testing.assert_array_equal(pairs[1], 4 * pairs[0] + with_itself)
    assert pairs[0].sum() == len(pool) * (len(pool) - 1) // 2
    np.testing.assert_array_equal(
        similarity_histogram(np.concatenate([own, own]), edges), 4 * similarity_histogram(own, edges) + with_itself
    )


def test_each_frame_and_its_copy_are_listed_as_near_duplicates(doubled: Archive) -> None:
    near = table(doubled, "view/redundancy/pca", "", "near_duplicates")
    found = {tuple(sorted(pair)) for pair in near[["frame_id", "other_id"]].itertuples(index=False)}
    pool = table(doubled, "view/pool", "first", "pool")["frame_id"]
    assert {(frame, f"copy-{frame}") for frame in pool} <= {tuple(sorted(p, key=len)) for p in found}


def test_copies_move_no_patient_and_leave_the_test_side_alone(finished: Path, doubled: Archive) -> None:
    before = extended(finished, Path("archive"), PROFILE.format(rate=5e-4))
    sides = [table(home, "split", batch, "split") for home, batch in ((before, "first"), (doubled, "copies"))]
    assert dict(zip(sides[0]["patient_id"], sides[0]["split"], strict=True)) == dict(
        zip(sides[1]["patient_id"], sides[1]["split"], strict=True)
    )
    unchanged = {"pca_weights", "studies", "frames", "split", "labels", "embeddings/pca", "view/pool"}
    now = contents(doubled)
    for cell, digest in contents(before).items():
        if cell.asset in unchanged or cell.asset.endswith("/similarity/pca"):
            assert now[cell] == digest, cell


# ----------------------------------------------------------------------------------------------- constant and black


def test_black_and_constant_frames_have_directions_and_change_no_other_frame(finished: Path, tmp_path: Path) -> None:
    archive = again(finished, tmp_path)
    before = contents(archive)
    flat = tmp_path / "flat"
    flat.mkdir()
    rows = []
    for patient, (grey, label) in enumerate([(0, "a"), (0, "b"), (128, "a"), (255, "b")]):
        for frame in range(2):
            name = f"f{patient}_{frame}.png"
            Image.fromarray(np.full((64, 64), grey, np.uint8)).save(flat / name)
            ids = {"patient_id": f"F{patient}", "study_id": f"F{patient}", "clip_id": f"C{frame}"}
            rows.append({"path": name, **ids, "label": label, "split": "train"})
    pd.DataFrame(rows).to_csv(flat / "manifest.csv", index=False)
    ingest(archive, str(flat), "flat")
    archive.look_again()
    bring_up(archive)
    found = vectors(archive, "flat")
    lengths = np.sqrt((np.array(list(found.values()), dtype=np.int64) ** 2).sum(axis=1))
    assert len(found) == 8
    assert (
        np.abs(lengths - 4000) <= 0.5 * np.sqrt(6)
    ).all()  # half a step of the fixed point in each of six dimensions
    black = [vector for frame, vector in found.items() if frame.startswith(("F0/", "F1/"))]
    assert len({*black}) == 1  # four black frames of two patients: one direction
    leaks = table(archive, "leaks", "", "leaks")
    between = leaks[leaks["patient_id"].isin(["F0", "F1"]) & leaks["other_patient_id"].isin(["F0", "F1"])]
    assert len(between[between["patient_id"] != between["other_patient_id"]]) == 4
    assert between["labels_conflict"].astype(bool).any()  # the same black picture under two labels is said
    now = contents(archive)
    of_first = [cell for cell in before if cell.partition == "first"]
    assert {cell: before[cell] for cell in of_first} == {cell: now[cell] for cell in of_first}
    history = [
        table_of
        for cell, receipt in held(archive).items()
        if cell.asset.endswith("/model")
        for table_of in [archive.store.table(receipt, "history")]
    ]
    assert all(np.isfinite(one["loss"]).all() for one in history)


# ------------------------------------------------------------------------------------------------------- one wrong label


def remade(archive: Archive, before: Mapping[Cell, str]) -> set[Cell]:
    """Cells whose content is another now."""
    now = contents(archive)
    assert now.keys() == before.keys()
    return {cell for cell, digest in now.items() if before[cell] != digest}


@pytest.mark.parametrize("side", ["train", "test"])
def test_one_wrong_label_changes_labels_models_and_evaluations_of_its_frame_and_nothing_else(
    finished: Path, tmp_path: Path, side: str
) -> None:
    archive = again(finished, tmp_path)
    before = contents(archive)
    subsets = {
        cell: set(archive.store.table(receipt, "subset")["frame_id"])
        for cell, receipt in held(archive).items()
        if cell.asset.endswith("/subset")
    }
    common = set.union(*subsets.values()) - set.intersection(*(s for c, s in subsets.items() if "/all/" not in c.asset))
    frame = min(common) if side == "train" else min(table(archive, "view/test_set", "", "test_set")["frame_id"])
    labels = table(archive, "labels", "first", "view").set_index("frame_id")["label"]
    wrong = {"a": "b", "b": "a"}[str(labels[frame])]
    export = tmp_path / "wrong.csv"
    export.write_text(f"frame_id,label\n{frame},{wrong}\n")
    assert import_labels(archive, str(export), "view").n_imported == 1
    archive.look_again()
    bring_up(archive)
    trained_on = {cell for cell, frames in subsets.items() if frame in frames}
    models = {Cell(cell.asset.replace("/subset", "/model"), cell.partition) for cell in trained_on}
    evaluations = {
        Cell(cell.asset.replace("/subset", "/evaluation"), cell.partition)
        for cell in (trained_on if side == "train" else subsets)
    }
    expected = {Cell("labels", "first")} | models | evaluations
    expected |= {Cell("view/test_set")} if side == "test" else set()
    changed = remade(archive, before)
    # these sum up scores and labels, for reading only: no ranking and no model is made of them
    assert changed - expected <= {Cell("view/comparison"), Cell("leaks"), Cell("embedding_health")}
    assert expected <= changed
    if side == "train":
        assert 0 < len(models) < len(subsets)


# ------------------------------------------------------------------------- what cannot be scored, and no number


def test_a_test_side_of_one_class_is_said_and_changes_nothing_before_the_models(
    source: Path, finished: Path, tmp_path: Path
) -> None:
    rows = rows_of(source)
    rows.loc[rows["split"] == "test", "label"] = "a"
    archive = home_of(tmp_path / "home", rewritten(source, tmp_path / "first", rows))
    planner = planner_of(archive)
    outlook = Outlook(planner)
    for stage in stages(outlook, Goal()):
        for group in stage.groups:
            for declared in group.members:
                if not planner.verdict(declared, group.partition).is_blocked and declared.key not in (
                    "results",
                    "report",
                ):
                    make(planner, declared, group.partition)
    assert list(outlook.blocked) == ["models of view"]
    assert "b" in outlook.blocked["models of view"]
    made = contents(archive)
    assert not [cell for cell in made if cell.asset.endswith(("/model", "/evaluation", "/ranking"))]
    then = contents(extended(finished, Path("archive"), PROFILE.format(rate=5e-4)))
    for cell in made:
        if cell.asset in ("embeddings/pca", "pca_weights", "view/pool") or "/similarity/" in cell.asset:
            assert made[cell] == then[cell], cell


def test_a_loss_that_is_no_number_makes_no_model_and_no_score(source: Path, tmp_path: Path) -> None:
    archive = home_of(tmp_path / "home", source, rate=1e30)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        bring_up(archive)
    made = contents(archive)
    assert [cell for cell in made if cell.asset.endswith("/ranking")]
    assert not [cell for cell in made if cell.asset.endswith(("/model", "/evaluation"))]
    planner = planner_of(archive)
    assert planner.verdict(planner.graph["view/enrich/evaluation"], "8|0").is_blocked
    with contextlib.suppress(FileNotFoundError):
        assert not [*(archive.home / "store" / "artefacts" / "view" / "enrich" / "model").rglob("*.safetensors")]
