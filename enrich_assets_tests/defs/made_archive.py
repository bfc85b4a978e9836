"""A handful of stills with a manifest, for tests that need an archive but no phantom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.defs.graph import Graph
from enrich_assets.settings import load_profile

ARRIVAL = ("studies", "frames", "split", "labelled", "labels")
SMALL = Path(__file__).parents[1] / "small.yaml"


def write_stills(folder: Path, rows: list[dict[str, object]], side: int = 60) -> Path:
    """A picture of noise for each row that has no `path` yet (`i0.png`, ...), and the manifest; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(folder.name.encode()))
    for number, row in enumerate(rows):
        row.setdefault("path", f"i{number}.png")
        Image.fromarray(rng.integers(0, 255, (side, side), dtype=np.uint8)).save(folder / str(row["path"]))
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


def opened(home: Path, text: str = "") -> Archive:
    """An archive in `home` under the small profile, with what `text` (YAML) says otherwise."""
    home.mkdir(parents=True, exist_ok=True)
    own = home / "mine.yaml"
    own.write_text(f"extends: {SMALL}\n{text}", encoding="utf-8")
    return Archive(home, load_profile(str(own)))


def make(archive: Archive, batch: str, *assets: str) -> None:
    graph = Graph(archive.profile)
    for asset in assets or ARRIVAL:
        graph.steps[asset].materialise(archive, batch)
