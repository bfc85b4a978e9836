"""Batches of which little or nothing can be used: told by name, and no trouble to the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.defs.driver import Driver, Outcome
from enrich_assets.defs.instance import open_instance
from enrich_assets.store.published import query
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.defs.made_archive import opened


def run(archive: Archive) -> Outcome:
    with open_instance(archive) as instance:
        return Driver(archive, instance, print, train=False).run()


def undecodable(folder: Path) -> Path:
    (folder / "junk").mkdir()
    (folder / "junk" / "z.png").write_bytes(b"junk")
    (folder / "junk" / "manifest.csv").write_text("path,patient_id,label\nz.png,pz,NT\n")
    return folder / "junk"


def absent(folder: Path) -> Path:
    (folder / "wrong").mkdir()
    (folder / "wrong" / "manifest.csv").write_text("path,patient_id,label\nnowhere/i0.png,p,NT\n")
    return folder / "wrong"


Broken = Callable[[Path], Path]


@pytest.mark.parametrize("bad", [undecodable, absent])
@pytest.mark.parametrize("bad_comes_first", [True, False])
def test_a_batch_without_a_frame_stops_nothing(tmp_path: Path, bad: Broken, bad_comes_first: bool) -> None:
    archive = opened(tmp_path / "home")
    write_phantom(str(tmp_path / "phantom"), patients=8, scale=0.15)
    folders = [bad(tmp_path), tmp_path / "phantom"]
    for folder in folders if bad_comes_first else folders[::-1]:
        archive.ingest(str(folder))
    outcome = run(archive)
    assert not outcome.failed
    assert not outcome.blocked
    assert query(str(archive.published), "SELECT count(*) n FROM frames")["n"].item() > 50
    (refused,) = query(str(archive.published), "SELECT * FROM refused").itertuples()
    assert refused.path.startswith(str(folders[0]))
    assert run(archive).runs == 0
