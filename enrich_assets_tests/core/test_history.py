"""A chain leads through what was really read: after a batch was ingested the past is as it was, and a forged edge is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sources import source_files
from enrich_assets.core.keys import BATCH_ASSETS, archive_assets, similarity_assets, summary_assets
from enrich_assets.core.partitions import Partitions
from enrich_assets.defs.assets import graph_of
from enrich_assets.profiles import load_profile
from enrich_assets.store.integrity import CHECKSUM
from enrich_assets.store.lineage import Lineage, Link
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell, Origin, Receipt, history_file
from enrich_assets_tests.defs.made_archive import bring_up_to_date, is_fresh, write_stills

EVALUATION = Cell("view/enrich/evaluation", "10|0")
MODEL, SUBSET = (Cell(f"view/enrich/{asset}", "10|0") for asset in ("model", "subset"))
RANKING = Cell("view/enrich/ranking", "0")


def current(archive: Archive, cell: Cell) -> Receipt:
    return archive.store.receipts.require(cell)


@pytest.fixture(scope="module")
def before(small_home: Path) -> dict[Cell, Receipt]:
    """The receipts of the chain before the second batch."""
    archive = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    return {cell: current(archive, cell) for cell in (EVALUATION, MODEL, SUBSET, RANKING)}


@pytest.fixture(scope="module")
def grown_home(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small home after a second batch, of train patients, was ingested and everything made again but what is trained."""
    home = tmp_path_factory.mktemp("grown") / "home"
    shutil.copytree(small_home, home)
    archive = Archive(home, load_profile(str(home / "enrich.yaml")))
    rows: list[dict[str, object]] = [
        {"patient_id": f"new{i}", "clip_id": "c", "split": "train", "label": label}
        for i, label in enumerate(["NT", "A4C"] * 3)
    ]
    labels = sorted(archive.store.receipts.require(Cell("labels", "first")).metrics["classes"]["view"])
    column = archive.profile.tasks["view"].label
    for i, row in enumerate(rows):
        row.pop("label")
        row[column] = labels[i % len(labels)]
    ingest(archive, str(write_stills(home / "more", rows, side=120)), "second")
    for batch in archive.batches:
        bring_up_to_date(archive, batch, *BATCH_ASSETS)
    for batch in archive.batches:
        bring_up_to_date(archive, batch, *similarity_assets(archive.profile))
    sums = [key for task in ("view", "chambers") for key in summary_assets(archive.profile, task)]
    bring_up_to_date(archive, "", *archive_assets(archive.profile), *sums)
    for seed in ("0", "1"):
        bring_up_to_date(archive, seed, "view/enrich/ranking")
    bring_up_to_date(archive, "10|0", SUBSET.asset)
    bring_up_to_date(archive, "", "results")
    return home


@pytest.fixture
def grown(grown_home: Path) -> Archive:
    return Archive(grown_home, load_profile(str(grown_home / "enrich.yaml")))


@pytest.fixture
def copied(grown_home: Path, tmp_path: Path) -> Archive:
    """One to do with as one likes."""
    shutil.copytree(grown_home, tmp_path / "home")
    return Archive(tmp_path / "home", load_profile(str(grown_home / "enrich.yaml")))


def lineage_of(archive: Archive) -> Lineage:
    return Lineage(archive.store, source_files(archive).digest_of)


def batches_of_chain(archive: Archive, receipt: Receipt) -> set[str]:
    graph = graph_of(archive.profile)
    return {
        cell.partition
        for cell, _, _ in lineage_of(archive).chain(receipt)
        if graph.steps[cell.asset].partitions is Partitions.BATCH
    }


def wrong(archive: Archive, receipt: Receipt) -> dict[str, Link]:
    return {link.what: link for link in lineage_of(archive).verify(receipt, sources=False) if link.state != "holds"}


# ------------------------------------------------------------------------------------------------------ after a batch came


def test_a_subset_of_the_same_frames_from_another_ranking_has_another_receipt(
    grown: Archive, before: dict[Cell, Receipt]
) -> None:
    old, new = before[SUBSET], current(grown, SUBSET)
    assert new.digest == old.digest, "the labels bought are kept"
    assert new.name != old.name
    assert old.origin(RANKING) == Origin(before[RANKING].digest, before[RANKING].name)
    ranking = current(grown, RANKING)
    assert new.origin(RANKING) == Origin(ranking.digest, ranking.name) != old.origin(RANKING)
    kept = grown.store.receipts.earlier(SUBSET, old.name)
    assert kept == old
    assert is_fresh(grown, *MODEL), "the same frames: nothing is trained again"


def test_an_old_evaluation_walks_only_through_batches_it_used(grown: Archive, before: dict[Cell, Receipt]) -> None:
    assert grown.batches == ["first", "second"]
    assert batches_of_chain(grown, before[EVALUATION]) == {"first"}
    assert batches_of_chain(grown, current(grown, SUBSET)) == {"first", "second"}
    names = {(cell, origin.receipt) for cell, origin, _ in lineage_of(grown).chain(before[EVALUATION])}
    assert (SUBSET, before[SUBSET].name) in names
    assert (RANKING, before[RANKING].name) in names
    assert (SUBSET, current(grown, SUBSET).name) not in names


def test_every_link_of_the_old_one_still_holds_and_says_what_was_replaced(
    grown: Archive, before: dict[Cell, Receipt]
) -> None:
    links = {link.what: link for link in lineage_of(grown).verify(before[EVALUATION])}
    assert {link.state for link in links.values()} == {"holds"}
    assert not links[str(RANKING)].is_current
    assert links[str(RANKING)].detail == "replaced since by a newer version"
    assert links[str(MODEL)].is_current


def test_the_published_lineage_names_the_subset_of_then(grown: Archive, before: dict[Cell, Receipt]) -> None:
    rows = query(
        str(grown.published),
        f"SELECT * FROM lineage WHERE evaluation_id = '{before[EVALUATION].metrics['evaluation_id']}'",
    )
    assert list(rows["subset_id"]) == [before[SUBSET].digest]


def test_the_shares_of_a_relation_sum_to_one_in_the_whole_and_in_each_batch(grown: Archive) -> None:
    sums = query(
        str(grown.published),
        "SELECT whole, task, relation, sum(share) AS total FROM redundancy GROUP BY ALL HAVING sum(pairs) > 0",
    )
    assert set(zip(sums["whole"], sums["task"].fillna(""), strict=True)) == {
        ("archive", ""),
        ("train", ""),
        ("pool", "view"),
        ("pool", "chambers"),
    }
    assert {"all", "within clip", "between patients"} <= set(sums["relation"])
    assert sums["total"].to_numpy() == pytest.approx(1)
    by_batch = query(
        str(grown.published),
        "SELECT whole, task, batch, relation, sum(share) AS total FROM panel_redundancy GROUP BY ALL HAVING sum(pairs) > 0",
    )
    assert set(by_batch["batch"]) == {"first", "second"}
    assert by_batch["total"].to_numpy() == pytest.approx(1)
    every = "SELECT whole, task, sum(pairs) AS n FROM {} WHERE relation = 'all' GROUP BY ALL ORDER BY ALL"
    whole, parts = (query(str(grown.published), every.format(name)) for name in ("redundancy", "panel_redundancy"))
    assert len(whole) == 4
    pd.testing.assert_frame_equal(whole, parts)
    n_frames = query(str(grown.published), "SELECT count(*) AS n FROM frames")["n"].item()
    assert whole.set_index("whole")["n"]["archive"] == n_frames * (n_frames - 1) // 2


# --------------------------------------------------------------------------------------------------------- forged edges


def edit(archive: Archive, cell: Cell, name: str, **changes: object) -> None:
    """Change fields of a receipt in history, under its old name, as somebody who wants another chain would."""
    path = Path(archive.store.folder.path(history_file(cell, name)))
    record = {**json.loads(path.read_text()), **changes}
    del record[CHECKSUM]  # as those of earlier versions had none: so nothing but the name gives the change away
    path.write_text(json.dumps(record))


def test_a_receipt_that_names_another_receipt_as_read_is_named(copied: Archive, before: dict[Cell, Receipt]) -> None:
    assert wrong(copied, before[EVALUATION]) == {}
    model, other = before[MODEL], current(copied, SUBSET)
    read = {**model.read, str(SUBSET): (other.digest, other.name)}
    edit(copied, MODEL, model.name, read={cell: list(origin) for cell, origin in read.items()})
    assert batches_of_chain(copied, before[EVALUATION]) == {"first", "second"}, "so the chain leads elsewhere"
    found = wrong(copied, before[EVALUATION])
    assert set(found) == {str(MODEL)}
    assert found[str(MODEL)].state == "changed"
    assert f"no longer what its name {model.name[:16]} says" in found[str(MODEL)].detail


def test_a_receipt_file_swapped_for_another_ones_is_named(copied: Archive, before: dict[Cell, Receipt]) -> None:
    old, new = before[SUBSET], current(copied, SUBSET)
    folder = copied.store.folder
    shutil.copy(folder.path(history_file(SUBSET, new.name)), folder.path(history_file(SUBSET, old.name)))
    found = wrong(copied, before[EVALUATION])
    assert set(found) == {str(SUBSET)}
    assert found[str(SUBSET)].state == "changed"


def test_a_receipt_of_another_cell_in_its_place_is_named(copied: Archive, before: dict[Cell, Receipt]) -> None:
    other = current(copied, Cell("view/random/subset", "10|0"))
    folder = copied.store.folder
    shutil.copy(
        folder.path(history_file(other.cell, other.name)), folder.path(history_file(SUBSET, before[SUBSET].name))
    )
    assert wrong(copied, before[EVALUATION])[str(SUBSET)].detail == "the receipt names another content"


def test_an_input_that_counts_as_other_than_it_was_read_is_named(copied: Archive, before: dict[Cell, Receipt]) -> None:
    """A name that follows from the forged receipt does not help: what counted must be what was read."""
    old = before[SUBSET]
    forged = old.model_copy(update={"inputs": {str(RANKING): current(copied, RANKING).digest}})
    copied.store.receipts.write(forged)
    found = wrong(copied, forged)
    assert "was read as" in found[str(SUBSET)].detail


@pytest.mark.parametrize("settings", ["f" * 64])
def test_other_settings_in_a_receipt_are_named(copied: Archive, before: dict[Cell, Receipt], settings: str) -> None:
    edit(copied, RANKING, before[RANKING].name, settings=settings)
    assert set(wrong(copied, before[EVALUATION])) == {str(RANKING)}


def test_a_receipt_that_is_gone_is_named_with_its_file(copied: Archive, before: dict[Cell, Receipt]) -> None:
    file = history_file(RANKING, before[RANKING].name)
    copied.store.folder.remove(file)
    found = wrong(copied, before[EVALUATION])
    assert {what: link.state for what, link in found.items()} == {str(RANKING): "gone"}
    assert file in found[str(RANKING)].detail


def test_an_evaluation_whose_own_receipt_was_edited_is_named(copied: Archive, before: dict[Cell, Receipt]) -> None:
    path = Path(copied.store.folder.path(f"receipts/{EVALUATION.folder}.json"))
    value = before[EVALUATION].metrics["value"]
    content = json.loads(path.read_text())
    content["metrics"]["value"] = value + 0.1
    del content[CHECKSUM]
    path.write_text(json.dumps(content))
    copied.store.receipts.refresh()
    assert str(EVALUATION) in wrong(copied, current(copied, EVALUATION))


# -------------------------------------------------------------------------------------------- no ranking sees a label


def loaded(archive: Archive) -> Iterator[tuple[Cell, Receipt]]:
    """Everything that any ranking or subset was made from, whatever it is called."""
    for task in archive.profile.tasks:
        for arm in (*archive.profile.tasks[task].arms, "all"):
            for asset in ("ranking", "subset"):
                for receipt in archive.store.receipts.history(f"{task}/{arm}/{asset}"):
                    for cell, _, read in lineage_of(archive).chain(receipt):
                        assert read is not None
                        yield cell, read


def test_no_ranking_was_made_from_a_label(grown: Archive) -> None:
    assets = {cell.asset for cell, _ in loaded(grown)}
    assert {"view/pool", "chambers/pool", "embeddings/vae", "label_presence", "frames"} <= assets
    assert "labels" not in assets
    assert not {asset for asset in assets if asset.endswith(("/test_set", "/evaluation", "/model", "/comparison"))}
    inputs = {name for _, receipt in loaded(grown) for name in receipt.inputs}
    assert not {name for name in inputs if name.startswith("labels")}
    trained = {cell.asset for cell, _, _ in lineage_of(grown).chain(current(grown, MODEL))}
    assert "labels" in trained, "the walk would have seen it"


def test_what_rankings_see_of_labels_names_frames_and_nothing_else(grown: Archive) -> None:
    for cell, receipt in loaded(grown):
        if cell.asset == "label_presence":
            for name in grown.profile.tasks:
                assert list(grown.store.table(receipt, name).columns) == ["frame_id"]
        if cell.asset.endswith("/pool"):
            table = grown.store.table(receipt, "pool")
            assert not {"label", "mask_digest", "mask_row"} & set(table.columns)
            assert isinstance(table, pd.DataFrame)


def test_making_a_ranking_opens_no_label(copied: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened while everything between the frames and a subset is made, not what is declared."""
    folder = type(copied.store.folder)
    opened: list[str] = []

    def noting(name: str) -> None:
        real = getattr(folder, name)

        def note(self: object, path: str, *rest: object, **more: object) -> object:
            opened.append(path)
            return real(self, path, *rest, **more)

        monkeypatch.setattr(folder, name, note)

    for name in ("read", "local_path", "local_copy"):
        noting(name)
    cells = [
        Cell("view/pool", "second"),
        Cell("view/similarity/vae", "second"),
        Cell("view/redundancy/vae"),
        RANKING,
        SUBSET,
    ]
    for cell in cells:
        copied.store.receipts.forget(cell)
    steps = graph_of(copied.profile)
    from enrich_assets.core.making import make
    from enrich_assets.core.planner import Planner

    planner = Planner(copied, steps)
    for cell in cells:
        make(planner, steps.steps[cell.asset], cell.partition)
        for check in steps.checks_of(cell.asset):
            if check.check_name in (
                "panel_is_whole",
                "train_frames_once",
            ):  # the other two say what they look at: labels
                make(planner, check, cell.partition)
    artefacts = [path for path in opened if path.startswith("artefacts/")]
    assert any(path.startswith("artefacts/view/pool/") for path in artefacts)
    assert not [path for path in opened if path.startswith(("artefacts/labels/", "receipts/labels/", "annotations/"))]
    assert not [path for path in opened if path.endswith("/strata.parquet")], "which quota a patient counted for"
