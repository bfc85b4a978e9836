"""A home read in a notebook: tables, frames and vectors, by name, and nothing in it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import enrich_assets as ea


def test_tables_frames_and_vectors_of_a_home(small_home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small_home.rglob("*") if path.is_file()}
    home = ea.open(small_home)
    frames = home.table("frames")
    assert {"evaluations", "frames", "lineage"} <= set(home.tables)
    assert home.arrow("frames").num_rows == len(frames)
    assert home.sql("SELECT count(*) AS n FROM frames")["n"].iloc[0] == len(frames)
    some = frames["frame_id"].iloc[[5, 2, 9]].tolist()
    pixels, vectors = home.frames(some), home.embeddings(some)
    assert (pixels.shape, pixels.dtype) == ((3, 64, 64), np.uint8)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    everything = home.frames()
    position = {frame: row for row, frame in enumerate(home._catalogue.frame_table()["frame_id"])}
    assert np.array_equal(pixels, everything[[position[frame] for frame in some]])
    assert home.frames(some, view="view").shape[1] != 64
    assert {path: path.stat().st_mtime_ns for path in small_home.rglob("*") if path.is_file()} == before


def test_what_is_not_there_is_named(small_home: Path, tmp_path: Path) -> None:
    home = ea.open(small_home)
    with pytest.raises(KeyError, match="no table 'scores'; there are"):
        home.table("scores")
    with pytest.raises(KeyError, match="1 frames are not in"):
        home.frames(["a/b/0"])
    with pytest.raises(KeyError, match="no view 'colour'; there are similarity"):
        home.frames(view="colour")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        ea.open(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="enrich run publishes it"):
        _ = ea.open(empty).tables
