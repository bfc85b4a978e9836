"""Two homes on one store: neither loses what the other ingests, makes a key of its own, or computes what the other has published."""

from __future__ import annotations

import uuid
from pathlib import Path

import pandas as pd
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.key import KEY_FILE, KeyLost
from enrich_assets.archive.products import Products
from enrich_assets.defs.assets import graph_of
from enrich_assets.profiles import load_profile, profile_source
from enrich_assets.settings import Profile
from enrich_assets.store.artefacts import Store
from enrich_assets.store.batches import Batches
from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import Cell
from enrich_assets.studies.sealed_paths import seal

ROWS, NONE = pd.DataFrame({"path": ["a.png"]}), pd.DataFrame({"path": [], "reason": []})


@pytest.fixture
def store() -> str:
    return f"memory://{uuid.uuid4().hex}/store"


def home(tmp_path: Path, name: str, store: str) -> Archive:
    (tmp_path / name).mkdir(exist_ok=True)
    return Archive(tmp_path / name, load_profile("archive"), store)


def digests(profile: Profile) -> dict[str, str]:
    graph = graph_of(profile)
    return {key: declared.settings_digest for key, declared in {**graph.steps, **graph.checks}.items()}


class Late(Batches):
    """Sees what was there before the other one wrote."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self.seen = super().all()

    def all(self) -> tuple:
        return self.seen


def test_two_arrivals_that_take_one_name_at_once_are_both_kept(store: str) -> None:
    register, late = Batches(Folder(store)), Late(Folder(store))
    first = register.add("batch-0001", "digest-1", "/one", ROWS, NONE, received_at="2026-01-01T00:00:00+00:00")
    late.add("batch-0001", "digest-2", "/two", ROWS.assign(path="b.png"), NONE, received_at="2026-01-01T00:00:01+00:00")
    kept = register.all()
    assert [batch.digest for batch in kept] == ["digest-1", "digest-2"]
    assert kept[0].name == first.name == "batch-0001"
    assert kept[1].name.startswith("batch-0001-")
    assert [register.rows(batch)["path"].tolist() for batch in kept] == [["a.png"], ["b.png"]]
    again = register.add(kept[1].name, "digest-3", "/two", ROWS.assign(path="c.png"), NONE)
    assert (again.revision, again.order) == (2, kept[1].order)
    assert [batch.digest for batch in register.all()] == ["digest-1", "digest-3"]


def test_the_same_files_that_arrive_twice_at_once_are_one_batch(store: str) -> None:
    late = Late(Folder(store))
    for _ in range(2):
        late.add("batch-0001", "digest", "/one", ROWS, NONE)
    assert len(Batches(Folder(store)).all()) == 1


def test_a_second_home_makes_no_key_of_its_own(tmp_path: Path, store: str) -> None:
    first, second = home(tmp_path, "first", store), home(tmp_path, "second", store)
    known = first.pseudonyms.patient("DOE")
    with pytest.raises(KeyLost, match="no key is made here: copy that of the home that ingests"):
        second.pseudonyms.patient("DOE")
    assert not (second.home / KEY_FILE).exists()
    first.key.backup(second.home / KEY_FILE)
    assert home(tmp_path, "second", store).pseudonyms.patient("DOE") == known


def test_who_reads_makes_no_key(tmp_path: Path, store: str) -> None:
    with pytest.raises(KeyLost, match="no key is made here"):
        home(tmp_path, "worker", store).known_pseudonyms.patient("DOE")
    assert not (tmp_path / "worker" / KEY_FILE).exists()


@pytest.mark.parametrize("by", ["file", "environment"])
def test_a_key_may_come_as_a_secret(tmp_path: Path, store: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, worker = home(tmp_path, "first", store), home(tmp_path, "worker", store)
    source = seal("/clinic/DOE_JANE", first.pseudonyms, is_folder=True)
    first.register.add("one", "one", source, ROWS, NONE)
    secret = tmp_path / "secret"
    secret.write_bytes((first.home / KEY_FILE).read_bytes())
    secret.chmod(0o444)
    if by == "file":
        monkeypatch.setenv("ENRICH_KEY_FILE", str(secret))
    else:
        monkeypatch.setenv("ENRICH_KEY", secret.read_text())
    assert worker.known_pseudonyms.patient("DOE") == first.pseudonyms.patient("DOE")
    assert worker.key.fingerprint() == first.key.fingerprint()
    assert not (worker.home / KEY_FILE).exists()
    assert secret.stat().st_mode & 0o777 == 0o444
    monkeypatch.setenv("ENRICH_KEY" if by == "environment" else "ENRICH_KEY_FILE", "0" * 64)
    with pytest.raises(KeyLost, match=r"is not the key that batch one was|cannot be read"):
        home(tmp_path, "worker", store).known_pseudonyms.patient("DOE")


def test_what_one_home_published_the_other_fetches(tmp_path: Path, store: str) -> None:
    first, second = home(tmp_path, "first", store), home(tmp_path, "second", store)
    first.published.write_bytes(b"a database")
    first.products.record("enrich.duckdb", "a" * 64)
    assert second.products.why_not_here("enrich.duckdb", "a" * 64) == "enrich.duckdb is not in this home"
    assert not second.products.fetch("enrich.duckdb", "b" * 64)
    assert second.products.fetch("enrich.duckdb", "a" * 64)
    assert second.published.read_bytes() == b"a database"
    assert second.products.why_not_here("enrich.duckdb", "a" * 64) is None
    Folder(store).write(f"published/{'a' * 16}/enrich.duckdb", b"damaged")
    second.published.unlink()
    assert not second.products.fetch("enrich.duckdb")
    assert not second.published.exists()


def test_a_home_with_a_store_of_its_own_publishes_nowhere_else(tmp_path: Path) -> None:
    archive = Archive(tmp_path, load_profile("archive"))
    archive.published.write_bytes(b"a database")
    archive.products.record("enrich.duckdb", "a" * 64)
    assert archive.owns_store
    assert not (tmp_path / "store" / "published").exists()
    assert not Products(tmp_path).fetch("enrich.duckdb")


@pytest.mark.parametrize("name", ["archive", "demo", "paper"])
def test_the_profile_is_read_from_the_store(
    tmp_path: Path, store: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path / "first", load_profile(name), store)
    archive.home.mkdir()
    archive.profile_kept.keep(archive.profile, name)
    monkeypatch.setenv("ENRICH_STORE", store)
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    source = profile_source(tmp_path / "second")
    assert source == f"{store}/profile.yaml"
    assert digests(load_profile(source)) == digests(archive.profile)  # so nothing is made again under it


def test_two_makers_of_one_cell_leave_one_content(store: str) -> None:
    """No lock reaches from one machine to another: both write the same files under the same names."""
    receipts = []
    for _ in range(2):
        draft = Store(store).draft(Cell("frames", "one"), settings="s", inputs={"up": "1"})
        draft.write("part.bin", b"part")
        draft.done()
        draft.write("rest.bin", b"rest")
        receipts.append(draft)
    first = receipts[0].commit(run_id="first")
    with pytest.raises(FileNotFoundError):  # its draft is gone with the first one's commit: `core.making` looks again
        receipts[1].commit(run_id="second")
    assert Store(store).receipts.current(Cell("frames", "one")) == first
    assert Store(store).read(first, "part.bin") + Store(store).read(first, "rest.bin") == b"partrest"
    assert not list(Folder(store).files("drafts"))
