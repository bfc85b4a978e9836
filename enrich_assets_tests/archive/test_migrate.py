"""A home of the layout before this one is refused in a sentence, never misread; `enrich migrate` keeps what people did.

`fixtures/earlier_home` was written by the last version of that layout: two batches (zulu, then alpha), a label imported since, a
drop, one receipt. Its files named their source where it lay then; here it lies beside the home.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from enrich_assets.archive import Archive, ForeignHome
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.drops import DropRegister
from enrich_assets.archive.home import LAYOUT, LAYOUT_FILE
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.migrate import migrate
from enrich_assets.cli import main
from enrich_assets.profiles import load_profile
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.made_home import decode

FIXTURE = Path(__file__).with_name("fixtures") / "earlier_home"
SMALL = Path(__file__).parents[1] / "small.yaml"
SOURCE_THEN = "/tmp/earlier/source"


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    shutil.copytree(FIXTURE, home)
    (home / "source").rename(tmp_path / "source")
    for rows in (home / "store" / "arrivals").rglob("rows.parquet"):
        table = pd.read_parquet(io.BytesIO(rows.read_bytes()))
        table["path"] = table["path"].str.replace(SOURCE_THEN, str(tmp_path / "source"))
        table.to_parquet(rows, index=False)
    (home / "enrich.yaml").write_text(SMALL.read_text(encoding="utf-8"), encoding="utf-8")
    (home / "enrich.duckdb").write_bytes(b"published by the earlier version")
    monkeypatch.setenv("ENRICH_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    return home


def unchecked(home: Path) -> Archive:
    return Archive(home, load_profile(str(home / "enrich.yaml")))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_refused_with_what_to_do_and_nothing_is_changed(earlier: Path) -> None:
    before = contents(earlier)
    with pytest.raises(
        ForeignHome, match=r"before layout 2.*Nothing was changed.*`enrich migrate`.*another ENRICH_HOME"
    ):
        Archive.open()
    for command in (["run"], ["plan"], ["sql", "SELECT 1"], ["lineage", "--all"], ["prune", "--yes"]):
        refused = CliRunner().invoke(main, command)
        assert refused.exit_code == 1, command
        assert "`enrich migrate`" in refused.output, command
        assert "Traceback" not in refused.output
    assert contents(earlier) == before


def test_a_later_layout_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / LAYOUT_FILE).write_text(json.dumps({"layout": LAYOUT + 1}))
    with pytest.raises(ForeignHome, match=f"has layout {LAYOUT + 1}, this program writes layout {LAYOUT}"):
        Archive.open(str(tmp_path), str(SMALL))


def test_an_empty_home_and_a_new_one_are_opened(tmp_path: Path) -> None:
    assert Archive.open(str(tmp_path / "empty"), str(SMALL)).batches == []
    archive = Archive.open(str(tmp_path / "new"), str(SMALL))
    ingest(archive, str(FIXTURE / "source" / "zulu"), "zulu")
    assert Archive.open(str(tmp_path / "new"), str(SMALL)).batches == ["zulu"]


def test_batches_keep_their_order_rows_and_dates(earlier: Path) -> None:
    register = json.loads((earlier / "store" / "arrivals" / "register.json").read_text())
    rows = pd.read_parquet(io.BytesIO((earlier / "store" / "arrivals" / "alpha" / "rows.parquet").read_bytes()))
    migrated = migrate(unchecked(earlier))
    assert (migrated.n_batches, migrated.n_drops) == (2, 1)
    archive = Archive.open()
    assert archive.batches == ["zulu", "alpha"], "in the order in which they came, not of the alphabet"
    for entry, batch in zip(register, archive.pinned, strict=True):
        assert (batch.digest, batch.source, batch.received_at) == (
            entry["digest"],
            entry["source"],
            entry["received_at"],
        )
    pd.testing.assert_frame_equal(archive.register.rows(archive.batch("alpha")), rows)
    assert archive.register.refused(archive.batch("alpha")).empty


def test_the_same_files_again_are_known(earlier: Path, tmp_path: Path) -> None:
    migrate(unchecked(earlier))
    again = ingest(Archive.open(), str(tmp_path / "source" / "zulu"))
    assert not again.is_new
    assert again.batch.name == "zulu"


def test_drops_and_the_key_are_kept(earlier: Path) -> None:
    key = (earlier / "pseudonym.key").read_bytes()
    migrate(unchecked(earlier))
    drops = DropRegister(Archive.open())
    assert drops.entries == {"D123": {"fingerprint": "f" * 16, "batch": "zulu"}}
    assert (earlier / "pseudonym.key").read_bytes() == key


def test_imported_labels_are_kept_and_hold(earlier: Path) -> None:
    migrate(unchecked(earlier))
    archive = Archive.open()
    decode(archive)
    labels = Catalogue(archive).labels().of_task("view").set_index("frame_id")
    assert len(labels) == 6
    (imported,) = labels.index[labels["source"].str.contains("l.csv", regex=False)]
    assert labels.loc[imported, "label"] == "A4C"
    rows = archive.register.rows(archive.batch("zulu"))
    assert rows["label"].tolist() == ["NT", "A4C", "NT"], "what the manifest said is not touched"


def test_what_can_be_computed_again_is_set_aside_and_nothing_is_removed(earlier: Path) -> None:
    before = contents(earlier / "store")
    migrate(unchecked(earlier))
    archive = Archive.open()
    assert archive.store.receipts.current(Cell("studies", "zulu")) is None
    after = contents(earlier / "store")
    for name, content in before.items():
        kept = name if name.startswith("annotations/") else f"earlier-layout/{name}"
        assert after[kept] == content, name
    assert (earlier / "earlier-enrich.duckdb").read_bytes() == b"published by the earlier version"
    assert not (earlier / "enrich.duckdb").exists()


def test_interrupted_it_goes_on_where_it_stopped(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = unchecked(earlier)
    add, added = archive.register.add, []

    def interrupted(*given: object, **named: object) -> object:
        if added:
            raise KeyboardInterrupt
        added.append(given[0])
        return add(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(archive.register, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        migrate(archive)
    with pytest.raises(ForeignHome):
        Archive.open()
    assert migrate(unchecked(earlier)).n_batches == 2
    assert Archive.open().batches == ["zulu", "alpha"]
    assert [batch.revision for batch in Archive.open().pinned] == [1, 1]


def test_the_command_says_what_was_kept_and_migrates_once(earlier: Path) -> None:
    done = CliRunner().invoke(main, ["migrate"])
    assert done.exit_code == 0, done.output
    assert "2 batches and 1 drops kept; next: `enrich run`" in done.output
    again = CliRunner().invoke(main, ["migrate"])
    assert again.exit_code == 1
    assert "has the layout of this version already" in again.output


def test_every_patient_keeps_the_side_it_was_given(earlier: Path) -> None:
    """The earlier version split by a hash of each patient; drawn again by quota, they would move."""
    store, sides = earlier / "store", {}
    for batch, side in (("zulu", "test"), ("alpha", "train")):
        rows = pd.read_parquet(io.BytesIO((store / "arrivals" / batch / "rows.parquet").read_bytes()))
        sides |= dict.fromkeys(sorted(set(rows["patient_id"])), side)
        digest = "ab" * 32
        (store / "receipts" / "split").mkdir(exist_ok=True)
        (store / "receipts" / "split" / f"{batch}.json").write_text(json.dumps({"digest": digest}))
        table = pd.DataFrame({"patient_id": sorted(set(rows["patient_id"])), "split": side, "decided_by": "hash"})
        folder = store / "artefacts" / "split" / batch / digest[:16]
        folder.mkdir(parents=True)
        table.to_parquet(folder / "split.parquet", index=False)
    migrate(unchecked(earlier))
    archive = Archive.open()
    decode(archive)
    assert dict(Catalogue(archive).split().sides.items()) == sides
