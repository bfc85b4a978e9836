"""Frames shown: as lines, as a table, as one page of pictures, or as a folder of them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.home import Archive
from enrich_assets.report.frames_page import FrameEntry, frames_page
from enrich_assets.report.gallery import Pictures
from enrich_assets.running.frames.chosen import COLUMNS, Chosen
from enrich_assets.studies.frame_names import image_name

MOST_ON_PAGE = 3000
SIDE_ON_PAGE = 96  # pixels
BYTES_OF_PAGE = 60_000_000


def show(archive: Archive, chosen: Chosen, out: Path) -> str:
    """Write the frames where `out` says.

    Parameters
    ----------
    archive, chosen
        Whose frames.
    out
        `.html`: one page; `.csv` or `.parquet`: a table; else a new folder of PNG files, as the model sees them, with `frames.csv`.

    Returns
    -------
    str
        What was written.

    Raises
    ------
    FileExistsError
        If something is there already.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already: name another place")
    table = chosen.table[list(COLUMNS)]
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        table.to_csv(out, index=False)
    elif out.suffix == ".parquet":
        table.to_parquet(out, index=False)
    elif out.suffix in (".html", ".htm"):
        out.write_text(_page(archive, chosen), encoding="utf-8")
    else:
        rows = chosen.there
        pixels = Catalogue(archive).frames().pixels(chosen.task, rows)
        out.mkdir()
        for frame_id, position, picture in zip(rows["frame_id"], rows["position"], pixels, strict=True):
            Image.fromarray(picture).save(out / image_name(str(frame_id), int(position)), compress_level=1)
        table.to_csv(out / "frames.csv", index=False)
    return f"{len(table):,} frames: {out}"


def _page(archive: Archive, chosen: Chosen) -> str:
    rows = chosen.there.head(MOST_ON_PAGE)
    pixels = Catalogue(archive).frames().pixels(chosen.task, rows)
    at = {frame_id: number for number, frame_id in enumerate(rows["frame_id"])}
    pictures = Pictures(lambda frame_id: pixels[at[frame_id]], side=SIDE_ON_PAGE, limit=BYTES_OF_PAGE)
    entries = [
        FrameEntry(
            int(row.position),
            str(row.frame_id),
            str(row.patient_id),
            "" if row.label is None or row.label != row.label else str(row.label),
            pictures.uri(str(row.frame_id)),
        )
        for row in rows.itertuples()
    ]
    left_out = len(chosen.table) - len(entries)
    notes = list(chosen.notes)
    if left_out > 0:
        notes.append(f"{left_out:,} more are not shown here; a folder (--out DIR) holds them all")
    return frames_page(chosen.title, {key: str(value) for key, value in chosen.facts.items()}, notes, entries)
