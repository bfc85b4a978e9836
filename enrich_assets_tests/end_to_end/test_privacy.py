"""Names planted in every text attribute, in pixels and in folder names are nowhere in home afterwards: tables, logs, databases."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.frames import SIMILARITY
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.labelling.importing import Pictures
from enrich_assets.archive.sources import source_files
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.method.images.crop import Box, crop
from enrich_assets.method.images.resize import resize
from enrich_assets.profiles import load_profile
from enrich_assets.store.published import read_tables
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.studies.made_dicom import dataset, save, sector

PLANTED = "QUETZALBAUM"  # stands nowhere else
BURNED = PLANTED[:8]
DAY = "19871103"
SHOWN = f"{DAY[:4]}-{DAY[4:6]}-{DAY[6:]}"
TEXT = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
LEFT_ALONE = ("Modality", "PhotometricInterpretation", "SpecificCharacterSet", "BurnedInAnnotation")


def exam(patient: int) -> Dataset:
    """An ultrasound loop with the name in every text attribute of the standard, in private ones, in sequences and pixels."""
    made = dataset(sector(4, text=BURNED), modality="US")
    for tag, (representation, multiplicity, *_) in DicomDictionary.items():
        keyword = keyword_for_tag(tag)
        if (
            representation in TEXT
            and keyword
            and keyword not in LEFT_ALONE
            and multiplicity[0] == "1"
            and tag >> 16 > 2
        ):
            setattr(made, keyword, f"{PLANTED} {patient}"[:16])
    made.PatientName = f"{PLANTED}^{patient}"
    made.PatientID = f"{PLANTED}{patient}"
    made.PatientBirthDate = made.StudyDate = made.SeriesDate = made.AcquisitionDate = DAY
    inner = Dataset()
    inner.PatientName = f"{PLANTED}^Inner"
    made.ReferencedPatientSequence = [inner]
    made.private_block(0x0099, f"{PLANTED} MAKER", create=True).add_new(0x01, "LO", f"{PLANTED} private")
    made.file_meta.SourceApplicationEntityTitle = PLANTED
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home into which a folder of such exams was ingested through Dagster, folders named after the patients, and published."""
    base = tmp_path_factory.mktemp("privacy")
    home = base / "home"
    export = home / "incoming" / f"{PLANTED}_EXPORT"
    for patient in range(3):
        save(exam(patient), export / f"{PLANTED}_{patient}" / "IM0001.dcm")
    shutil.copytree(export / f"{PLANTED}_0", export / "copy")
    (export / "notes.txt").write_text(f"{PLANTED} is no image")
    (export / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + PLANTED.encode())
    whole = load_profile(str(Path(__file__).parents[1] / "small.yaml"))
    profile = whole.model_copy(update={"tasks": {"view": whole.tasks["view"]}})
    archive = Archive(home, profile)
    assert ingest(archive, str(export)).n_refused >= 2
    definitions = build_definitions(profile, ArchiveResource.of(archive))
    with open_instance(archive) as instance:
        for job, partition in (("decode_batch", "batch-0001"), ("publish", None)):
            selection = None if partition else [dg.AssetKey("results")]
            result = definitions.resolve_job_def(job).execute_in_process(
                instance=instance, partition_key=partition, asset_selection=selection, raise_on_error=True
            )
            assert result.success
    return home


def readable(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and of a compressed one what it holds."""
    content = path.read_bytes()
    yield content
    if path.suffix == ".parquet":
        yield pd.read_parquet(io.BytesIO(content)).to_csv().encode()
    if path.suffix == ".duckdb":
        for table in read_tables(str(path)).values():
            yield table.to_csv().encode()
    if path.suffix == ".db":
        yield "\n".join(sqlite3.connect(f"file:{path}?mode=ro", uri=True).iterdump()).encode()


def stored(home: Path) -> Iterator[Path]:
    """Every file in home but the raw ones, which are the user's own."""
    for path in sorted(home.rglob("*")):
        if path.is_file() and home / "incoming" not in path.parents:
            yield path


def test_no_planted_name_is_anywhere_in_home(home: Path) -> None:
    files = list(stored(home))
    kinds = {path.suffix for path in files}
    assert {".parquet", ".npy", ".json", ".db", ".duckdb"} <= kinds, "logs and databases are among what is searched"
    needles = [
        text.encode(code)
        for text in (PLANTED, PLANTED.lower(), PLANTED.title())
        for code in ("latin-1", "utf-16-le", "utf-16-be")
    ]
    found = [str(path.relative_to(home)) for path in files if any(n in c for c in readable(path) for n in needles)]
    named = [str(path) for path in files if PLANTED in str(path.relative_to(home))]
    assert found == []
    assert named == []


def test_no_true_date_is_anywhere_in_the_tables(home: Path) -> None:
    for path in stored(home):
        if path.suffix in (".parquet", ".json", ".duckdb"):
            for content in readable(path):
                assert DAY.encode() not in content, path
                assert SHOWN.encode() not in content, path


def test_the_search_finds_what_it_looks_for(home: Path, tmp_path: Path) -> None:
    """A search that cannot find would prove nothing."""
    pd.DataFrame({"name": [PLANTED] * 3}).to_parquet(tmp_path / "x.parquet", compression="zstd")
    assert any(PLANTED.encode() in content for content in readable(tmp_path / "x.parquet"))
    raw = list((home / "incoming").rglob("*.dcm"))
    assert all(PLANTED.encode() in path.read_bytes() for path in raw)


def test_text_burned_into_pixels_is_black(home: Path) -> None:
    archive = Archive(home, load_profile(str(Path(__file__).parents[1] / "small.yaml")))
    frames = Catalogue(archive).frames()
    table, clips = frames.frame_table, frames.clips
    assert len(table) == 12
    letters = ((sector(1)[0] != sector(1, text=BURNED)[0]) * 255).astype(np.uint8)
    for view in (SIMILARITY, "view"):
        top, left, side = map(int, clips[f"box_{view}"].iloc[0])
        pixels = frames.pixels(view, table)
        # Where in this view the letters would stand, had they been let through; the scan itself lies elsewhere.
        where = resize(crop(letters[None], Box(top, left, side)), pixels.shape[1])[0] > 0
        scan = resize(crop(sector(4), Box(top, left, side)), pixels.shape[1]).max(axis=0) > 0
        assert pixels.any()
        assert not pixels[:, where & ~scan].any()
    raw = sector(4, text=BURNED)
    assert raw[:, letters > 0].any(), "the letters are there in what came in"


def test_whole_pictures_for_labellers_are_black_where_the_name_stood(home: Path) -> None:
    archive = Archive(home, load_profile(str(Path(__file__).parents[1] / "small.yaml")))
    table = Catalogue(archive).frames().frame_table
    pictures = Pictures(archive, "view", table)
    letters = (sector(1)[0] != sector(1, text=BURNED)[0]) & (sector(1)[0] == 0)
    assert letters.sum() > 500
    for frame_id in table["frame_id"]:
        picture = pictures(frame_id)
        assert picture.shape == letters.shape, "sealed paths are opened for those who hold the key"
        assert picture[letters].max() == 0


def test_what_was_done_is_recorded_per_study(home: Path) -> None:
    studies = read_tables(str(home / "enrich.duckdb"))["studies"]
    assert len(studies) == 3
    for sentence in studies["deidentification"]:
        assert "basic profile" in sentence
        assert "keyed hashes" in sentence
        assert "dates shifted" in sentence
        assert "cone" in sentence


def test_the_key_is_private_and_stands_in_no_other_file(home: Path) -> None:
    key = home / "pseudonym.key"
    assert key.stat().st_mode & 0o777 == 0o600
    secret = key.read_bytes().strip()
    for path in stored(home):
        if path != key:
            assert secret not in path.read_bytes(), path


def test_sources_can_still_be_traced_by_those_who_hold_the_key(home: Path) -> None:
    archive = Archive(home, load_profile(str(Path(__file__).parents[1] / "small.yaml")))
    receipt = archive.store.receipts.require(Cell("studies", "batch-0001"))
    rows = archive.store.table(receipt, "rows")
    for path in rows["path"]:
        assert path.startswith("sealed:")
        assert Path(source_files(archive).address(path)).exists()
    other = Archive(home.parent / "other", archive.profile)
    with pytest.raises(LookupError, match=r"pseudonym\.key"):
        source_files(other).address(rows["path"].iloc[0])


def test_ids_of_a_manifest_are_taken_as_given(tmp_path: Path) -> None:
    """Whoever writes a manifest has chosen its ids (their own pseudonyms); the headers are still let through nowhere."""
    save(exam(0), tmp_path / "drop" / "a.dcm")
    (tmp_path / "drop" / "manifest.csv").write_text("path,patient_id,label\na.dcm,subject-7,NT\n")
    archive = Archive(tmp_path / "home", load_profile(str(Path(__file__).parents[1] / "small.yaml")))
    batch = ingest(archive, str(tmp_path / "drop"), "given").batch
    rows = archive.register.rows(batch)
    assert list(rows["patient_id"]) == ["subject-7"]
    assert PLANTED not in rows.to_csv()
    entry = tmp_path / "home" / "store" / batch.folder / "batch.json"
    assert json.loads(entry.read_text())["name"] == "given"
