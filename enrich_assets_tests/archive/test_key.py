"""The key of a home: lost, replaced, copied and put back. No patient becomes a new one without a word."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from enrich_assets.archive import Archive
from enrich_assets.archive.key import KEY_FILE, Key, KeyLost
from enrich_assets.cli import main
from enrich_assets.profiles import load_profile
from enrich_assets.studies.sealed_paths import seal


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    return tmp_path / "home"


def opened(home: Path) -> Archive:
    return Archive(home, load_profile("archive"))


def sealed_batch(home: Path, name: str = "one") -> None:
    """A batch as a folder of DICOM files becomes one: its paths are sealed."""
    archive = opened(home)
    archive.mark_layout()
    source = seal("/clinic/DOE_JANE", archive.pseudonyms, is_folder=True)
    archive.register.add(name, name, source, pd.DataFrame({"path": [source]}), pd.DataFrame({"path": [], "reason": []}))


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_lost_key_is_never_replaced_while_batches_depend_on_it(home: Path) -> None:
    sealed_batch(home)
    (home / KEY_FILE).unlink()
    with pytest.raises(KeyLost, match=r"batch one was ingested with it.*enrich key restore FILE"):
        opened(home).pseudonyms.patient("X")
    assert not (home / KEY_FILE).exists()


def test_another_key_is_refused_also_by_a_store_that_kept_no_fingerprint(home: Path) -> None:
    sealed_batch(home)
    (home / KEY_FILE).write_text("0" * 64)
    for known in (True, False):
        if not known:
            (home / "store" / "key.json").unlink()
        with pytest.raises(KeyLost, match="is not the key that batch one was ingested with"):
            opened(home).pseudonyms.patient("X")


def test_where_nothing_depends_on_a_key_another_one_is_made(home: Path) -> None:
    first = opened(home).key.fingerprint() if (home / KEY_FILE).exists() else None
    assert first is None
    before = opened(home).pseudonyms.patient("X")
    (home / KEY_FILE).unlink()
    assert opened(home).pseudonyms.patient("X") != before


def test_a_copy_puts_everything_back(home: Path, tmp_path: Path) -> None:
    sealed_batch(home)
    before = opened(home).pseudonyms.patient("X")
    copy = tmp_path / "copy"
    assert enrich("key", "backup", str(copy)).exit_code == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    (home / KEY_FILE).unlink()
    assert enrich("key", "show-fingerprint").exit_code == 1
    assert enrich("key", "restore", str(copy)).exit_code == 0
    assert opened(home).pseudonyms.patient("X") == before
    assert stat.S_IMODE((home / KEY_FILE).stat().st_mode) == 0o600


def test_the_fingerprint_is_not_of_the_key_s_digits(home: Path) -> None:
    sealed_batch(home)
    seen = enrich("key", "show-fingerprint").output.strip()
    assert len(seen) == 16
    assert seen not in (home / KEY_FILE).read_text()


def test_a_backup_replaces_no_file_and_a_restore_takes_no_other_key(home: Path, tmp_path: Path) -> None:
    sealed_batch(home)
    other = tmp_path / "other"
    other.write_text("1" * 64 + "\n")
    assert "is there already" in enrich("key", "backup", str(other)).output
    assert other.read_text() == "1" * 64 + "\n"
    key = (home / KEY_FILE).read_bytes()
    refused = enrich("key", "restore", str(other))
    assert refused.exit_code == 1
    assert "is not the key that batch one was ingested with" in refused.output
    assert (home / KEY_FILE).read_bytes() == key
    other.write_text("no key")
    assert "holds no key" in enrich("key", "restore", str(other)).output


def test_a_wrong_key_is_kept_beside_the_right_one(home: Path, tmp_path: Path) -> None:
    sealed_batch(home)
    copy = tmp_path / "copy"
    opened(home).key.backup(copy)
    (home / KEY_FILE).write_text("0" * 64)
    Key(home, opened(home).store.folder).restore(copy)
    assert (home / f"{KEY_FILE}.replaced-1").read_text() == "0" * 64
    assert (home / KEY_FILE).read_bytes() == copy.read_bytes()


def test_a_home_is_made_for_its_owner_alone(home: Path) -> None:
    before = os.umask(0o022)
    try:
        opened(home).pseudonyms.patient("X")
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["q?", "p%41", "a::b", "back\\slash"])
def test_a_path_that_databases_take_for_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / name))
    refused = enrich("sql", "SELECT 1")
    assert refused.exit_code == 1
    assert "cannot be a home" in refused.output
    assert list(tmp_path.iterdir()) == []
