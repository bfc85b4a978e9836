"""The cells that `enrich plan` lists are the cells that `enrich run` then makes.

Exactly, but for two things that are not known beforehand. How many frames a batch has that was never read is estimated: a budget
between the estimate and the truth is listed and left out, or the other way round. And what a label that was imported changes is
known only once it is read: then the plan lists more than the run makes, never less.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.labelling.importing import import_labels
from enrich_assets.core.step import CHECK_SIGN
from enrich_assets.profiles import load_profile
from enrich_assets.running.forecast import Plan, make_plan
from enrich_assets.store.receipts import Cell, Receipts
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.made_home import finished, opened

pytestmark = pytest.mark.long

SMALL = Path(__file__).parents[1] / "small.yaml"
ONE_TASK = f"""extends: {SMALL}
tasks:
  chambers: null
  view: {{budgets: [6], seeds: 1}}
"""


def made_at(archive: Archive) -> dict[Cell, str]:
    """When each current cell of an asset was made."""
    folder = archive.store.folder
    found = [receipt for _, receipt in Receipts(folder).all_current() if receipt is not None]
    return {receipt.cell: receipt.created_at for receipt in found if CHECK_SIGN not in receipt.asset}


def planned_and_made(archive: Archive) -> tuple[Plan, set[Cell]]:
    """The plan, and what the run after it makes."""
    before = made_at(archive)
    plan = make_plan(archive)
    finished(archive)
    return plan, {cell for cell, when in made_at(archive).items() if before.get(cell) != when}


def new_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    home.mkdir()
    (home / "enrich.yaml").write_text(ONE_TASK, encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    return Archive(home, load_profile(str(home / "enrich.yaml")))


def test_of_a_fresh_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = new_home(tmp_path / "home", monkeypatch)
    write_phantom(str(tmp_path / "phantom"), patients=8, scale=0.15)
    ingest(archive, str(tmp_path / "phantom"), "first")
    plan, made = planned_and_made(archive)
    assert plan.cells == made
    assert Cell("view/all/evaluation", "all|0") in made
    assert make_plan(archive).cells == set()


def test_of_an_archive_without_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was priced with the whole grid, of which the run trains nothing; and of two new batches with the panels of the first alone."""
    archive = new_home(tmp_path / "home", monkeypatch)
    for first_patient, batch in ((0, "first"), (8, "second")):
        folder = tmp_path / batch
        write_phantom(str(folder), patients=8 - first_patient // 2, first_patient=first_patient, scale=0.15)
        table = pd.read_csv(folder / "manifest.csv", dtype=str).drop(columns=["label", "mask_path"])
        table.to_csv(folder / "manifest.csv", index=False)
        ingest(archive, str(folder), batch)
    plan, made = planned_and_made(archive)
    assert plan.cells == made
    assert not any(cell.asset.endswith(("/ranking", "/model", "/evaluation")) for cell in plan.cells)
    assert any("no train frame is labelled yet" in note for note in plan.notes)


def test_after_everything(small: Path) -> None:
    plan, made = planned_and_made(opened(small))
    assert plan.cells == made == set()
    assert plan.seconds == 0


def test_after_a_new_batch(small: Path) -> None:
    """It planned the whole grid; the run trains the whole pool again, and scores the rest on more test frames."""
    write_phantom(str(small / "later"), patients=2, first_patient=8, scale=0.15)
    ingest(opened(small), str(small / "later"), "second")
    plan, made = planned_and_made(opened(small))
    assert plan.cells == made
    trained = {cell.asset for cell in plan.cells if cell.asset.endswith("/model")}
    assert trained == {"view/all/model", "chambers/all/model"}
    assert Cell("view/enrich/evaluation", "10|0") in made


def test_of_budgets_beyond_the_pool_and_of_equal_size(small: Path) -> None:
    """They were counted; the run leaves them out."""
    pool = len(Catalogue(opened(small)).pool("view"))
    own = small / "enrich.yaml"
    budgets = f"budgets: [10, 20, 5000, {100 * 10 / pool:.4f}%, 15]"
    own.write_text(own.read_text(encoding="utf-8").replace("budgets: [10, 20]", budgets), encoding="utf-8")
    plan, made = planned_and_made(opened(small))
    assert plan.cells == made
    subsets = {cell.partition.partition("|")[0] for cell in plan.cells if cell.asset == "view/enrich/subset"}
    assert "15" in subsets
    assert not subsets & {"5000", f"{100 * 10 / pool:.4f}%"}
    assert any("5000" in note and "left out" in note for note in plan.notes)


@pytest.mark.parametrize("side", ["train", "test"])
def test_after_an_imported_label(small: Path, side: str) -> None:
    """Which subsets hold the frame is known beforehand, what else hangs on the label is not: the plan is the larger."""
    catalogue = Catalogue(opened(small))
    frames, labels = catalogue.frame_table(), catalogue.labels().of_task("view")
    of_side = labels.merge(frames.loc[frames["split"] == side, ["frame_id"]])
    one = of_side[of_side["label"] == "NT"].iloc[0]
    (small / "labels.csv").write_text(f"frame_id,label\n{one['frame_id']},A4C\n")
    assert import_labels(opened(small), str(small / "labels.csv"), "view").n_imported == 1
    plan, made = planned_and_made(opened(small))
    assert plan.cells >= made
    assert Cell("labels", "first") in made
    assert make_plan(opened(small)).cells == set()
