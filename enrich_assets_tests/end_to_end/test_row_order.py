"""The order of a manifest's rows changes nothing: not the split, the VAE, the panels, the rankings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from enrich_assets.archive.ingest import ingest
from enrich_assets.core.keys import BATCH_ASSETS, similarity_assets
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import make_cells
from enrich_assets_tests.made_home import opened


def test_a_shuffled_manifest_gives_the_same_split_vae_panels_and_rankings(small_home: Path, tmp_path: Path) -> None:
    before, home = opened(small_home), tmp_path / "home"
    rows = pd.read_csv(small_home / "phantom" / "manifest.csv", dtype=str)
    for column in ("path", "mask_path"):
        rows[column] = [value if pd.isna(value) else str(small_home / "phantom" / value) for value in rows[column]]
    shuffled = rows.sample(frac=1, random_state=1)
    assert list(shuffled["path"]) != list(rows["path"])
    drop = tmp_path / "drop"
    drop.mkdir()
    shuffled.to_csv(drop / "manifest.csv", index=False)
    home.mkdir()
    (home / "enrich.yaml").write_text((small_home / "enrich.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    archive = opened(home)
    ingest(archive, str(drop), "first")
    assert archive.batch("first").digest == before.batch("first").digest
    pd.testing.assert_frame_equal(
        archive.register.rows(archive.batch("first")), before.register.rows(before.batch("first"))
    )
    per_batch = [key for key in similarity_assets(archive.profile) if not key.startswith("chambers/")]
    made = {
        "first": (*BATCH_ASSETS, *per_batch),
        "": ("vae_weights", "view/redundancy/vae"),
        "0": ("view/enrich/ranking", "view/random/ranking"),
    }
    for partition, keys in (("first", BATCH_ASSETS), ("", ["vae_weights"]), ("first", per_batch), ("0", made["0"])):
        make_cells(archive, partition, *keys)
    make_cells(archive, "", "view/redundancy/vae")
    for partition, keys in made.items():
        for key in keys:
            now, then = (home.store.receipts.require(Cell(key, partition)) for home in (archive, before))
            assert now.digest == then.digest, now.cell
