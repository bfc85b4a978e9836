"""Embeddings by name: an arm has its own, only what is needed is computed, what was there stays, and files are taken at their content."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.curation import Pool, Vectors
from enrich_assets.archive.ingest import ingest
from enrich_assets.core.planner import Planner
from enrich_assets.defs.assets import graph_of
from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.ranking import rank_by_max_similarity
from enrich_assets.profiles import ProfileError, load_profile
from enrich_assets.running.forecast import make_plan
from enrich_assets.settings import Profile
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.core.test_what_settings_change import half_silent, stale, with_settings
from enrich_assets_tests.defs.made_archive import (
    bring_up_to_date,
    make_cells,
    opened,
    planner_of,
    verdict,
    write_stills,
)
from enrich_assets_tests.method.embeddings.test_onnx import network

ARMS = "{enrich: {embedding: vae}, pca: {embedding: pca, rule: max}, random: {rule: random}}"
BESIDE = f"embeddings: {{vae: {{}}, pca: {{dimensions: 8}}}}\ntasks: {{view: {{arms: {ARMS}}}}}\n"


def profile(tmp_path: Path, text: str) -> Profile:
    own = tmp_path / "own.yaml"
    own.write_text(f"extends: demo\n{text}", encoding="utf-8")
    return load_profile(str(own))


# ------------------------------------------------------------------------------------------------------------ the graph


def test_only_what_some_arm_or_the_profile_needs_is_there(tmp_path: Path) -> None:
    beside = set(graph_of(profile(tmp_path, BESIDE)).steps)
    assert {"vae_weights", "pca_weights", "embeddings/vae", "embeddings/pca"} <= beside
    assert {"view/similarity/pca", "view/redundancy/pca", "view/similarity/vae"} <= beside
    assert "chambers/similarity/pca" not in beside, "no arm of that task compares by it"
    alone = set(graph_of(profile(tmp_path, "embeddings: {pca: {}, vae: null}\n")).steps)
    assert {"pca_weights", "embeddings/pca", "view/redundancy/pca", "chambers/similarity/pca"} <= alone
    assert not any("vae" in key for key in alone)
    graph = graph_of(profile(tmp_path, "embeddings: {pca: {}, vae: null}\n"))
    assert not any("vae" in key for key in graph.checks)


def test_an_arm_reads_the_vectors_and_panels_of_its_own_embedding(tmp_path: Path) -> None:
    graph = graph_of(profile(tmp_path, BESIDE))
    of = {arm: graph.upstream(graph[f"view/{arm}/ranking"]) for arm in ("enrich", "pca", "random", "all")}
    assert {"embeddings/pca", "view/similarity/pca"} <= of["pca"]
    assert "view/similarity/vae" not in of["pca"]
    for arm in ("enrich", "random", "all"):
        assert {"embeddings/vae", "view/similarity/vae"} <= of[arm]
        assert not {key for key in of[arm] if "pca" in key}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("embeddings: {dino: {}}", "embedding 'dino': say what it is"),
        ("embeddings: {pca: {dimension: 8}}", "embeddings.pca.dimension is no setting.*did you mean dimensions"),
        ("embeddings: {pca: {dimensions: 0}}", "embeddings.pca.dimensions"),
        ("embeddings: {dino: {onnx: x.onnx, mean: [0.5]}}", "mean: 1 numbers for 3 channels"),
        ("embeddings: {other: {kind: vae}}", "there is one VAE"),
        ("embeddings: {a__b: {kind: pca}}", "no two underscores"),
        ("tasks: {view: {arms: {enrich: {embedding: pcaa}}}}", "there is no embedding 'pcaa'; embeddings: vae"),
    ],
)
def test_a_profile_that_names_embeddings_wrongly_says_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ProfileError, match=why):
        profile(tmp_path, text)


# ------------------------------------------------------------------------------------------------- beside what was there


def test_a_second_embedding_leaves_all_that_was_there_as_it_is(small: Path) -> None:
    archive = with_settings(small, BESIDE)
    new = set(stale(archive))
    assert not {key for key in new if "vae" in key or "/enrich/" in key or "/random/" in key or "/all/" in key}
    assert {"pca_weights", "embeddings/pca", "view/similarity/pca", "view/pca/ranking"} <= new


def test_an_arm_of_principal_components_ranks_by_them_exactly(small: Path) -> None:
    archive = with_settings(small, BESIDE)
    bring_up_to_date(archive, "", "pca_weights")
    bring_up_to_date(archive, "first", "embeddings/pca", "view/similarity/pca")
    make_cells(archive, "0", "view/pca/ranking")
    planner = planner_of(archive)
    pool = archive.value(Pool, planner.held("view/pool"))
    vectors = archive.value(Vectors, planner.held("embeddings/pca")).of(pool.frames)
    assert vectors.shape[1] == 8
    assert np.abs(np.linalg.norm(vectors.astype(float), axis=1) / 4000 - 1).max() < 2e-3
    ranking = archive.store.table(archive.store.receipts.require(Cell("view/pca/ranking", "0")), "ranking")
    start = pool.positions(ranking["frame_id"].head(6))
    expected = rank_by_max_similarity(vectors, start, len(pool))
    assert ranking["frame_id"].tolist() == pool.ids[expected].tolist()
    receipt = archive.store.receipts.require(Cell("view/pca/ranking", "0"))
    assert receipt.metrics["way"] == "k-center-greedy rule, cosine similarity of pca"
    assert not archive.store.table(receipt, "coverage").empty


def test_components_are_fitted_once_and_a_new_study_changes_none(small: Path) -> None:
    archive = with_settings(small, BESIDE)
    bring_up_to_date(archive, "", "pca_weights")
    bring_up_to_date(archive, "first", "embeddings/pca")
    before = archive.store.receipts.require(Cell("pca_weights"))
    rows: list[dict[str, object]] = [{"patient_id": "new", "study_id": "s", "clip_id": f"c{i}"} for i in range(3)]
    ingest(archive, str(write_stills(small / "more", rows, side=120)), "second")
    archive.look_again()
    make_cells(archive, "second")
    assert verdict(archive, "pca_weights").is_fresh
    bring_up_to_date(archive, "second", "embeddings/pca")
    assert archive.store.receipts.require(Cell("pca_weights")) == before
    assert verdict(with_settings(small, BESIDE.replace("8", "4")), "pca_weights").why == "its settings changed"


def test_the_plan_prices_what_is_new_only(small: Path) -> None:
    cells = make_plan(with_settings(small, BESIDE)).cells
    assert Cell("pca_weights") in cells
    assert Cell("view/similarity/pca", "first") in cells
    assert Cell("view/pca/model", "10|0") in cells
    assert not {cell for cell in cells if "vae" in cell.asset or "/enrich/" in cell.asset}


# --------------------------------------------------------------------------------------------------------------- health


def test_a_block_is_overridden_on_purpose_and_every_place_says_so(small: Path) -> None:
    strict = "vae: {min_active_share: 0.6}\n"
    blocked = with_settings(small, strict)
    half_silent(blocked)
    bring_up_to_date(blocked, "", "vae_weights")
    outcome = blocked.store.receipts.require(Cell("vae_weights@health")).metrics
    assert not outcome["passed"]
    assert "embeddings: {vae: {despite_health: true}}" in outcome["description"]
    assert verdict(blocked, "embeddings/vae", "first").is_blocked
    going_on = with_settings(small, strict + "embeddings: {vae: {despite_health: true}}\n")
    bring_up_to_date(going_on, "", "vae_weights")
    outcome = going_on.store.receipts.require(Cell("vae_weights@health")).metrics
    assert outcome["passed"]
    assert outcome["description"].startswith("OVERRIDDEN by embeddings.vae.despite_health; only ")
    bring_up_to_date(going_on, "first", "embeddings/vae")
    bring_up_to_date(going_on, "", "embedding_health")
    health = going_on.store.receipts.require(Cell("embedding_health"))
    assert health.metrics["overridden"] == ["vae"]
    table = going_on.store.table(health, "health").set_index("measure")
    assert table.loc["active units", "verdict"] == "overridden"
    assert not going_on.store.receipts.require(Cell("embedding_health@nothing_to_warn_of")).metrics["passed"]


def test_a_blocked_vae_holds_up_no_arm_of_another_embedding(small: Path) -> None:
    archive = with_settings(small, BESIDE + "vae: {min_active_share: 0.6}\n")
    half_silent(archive)
    bring_up_to_date(archive, "", "vae_weights", "pca_weights")
    bring_up_to_date(archive, "first", "embeddings/pca", "view/similarity/pca")
    assert verdict(archive, "embeddings/vae", "first").is_blocked
    assert not verdict(archive, "view/pca/ranking", "0").is_blocked
    make_cells(archive, "0", "view/pca/ranking")


def test_health_of_each_embedding_stands_in_one_table(small: Path) -> None:
    archive = with_settings(small, BESIDE)
    bring_up_to_date(archive, "", "pca_weights")
    bring_up_to_date(archive, "first", "embeddings/pca")
    bring_up_to_date(archive, "", "embedding_health")
    receipt = archive.store.receipts.require(Cell("embedding_health"))
    table = archive.store.table(receipt, "health")
    of = {name: set(rows["measure"]) for name, rows in table.groupby("embedding")}
    every = {"same clip", "same patient", "same patient, another clip", "cosines between patients"}
    assert every | {"same label, another clip (view)"} == of["pca"]
    assert of["vae"] == of["pca"] | {"active units", "reconstruction"}
    labels = table[table["measure"].str.startswith("same label")]
    assert set(labels["verdict"]) <= {"for reading", "not measurable"}, "a label blocks nothing"
    assert set(receipt.metrics["seconds_per_1000_frames"]) == {"vae", "pca"}


# ------------------------------------------------------------------------------------------------------- files of others


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    """A home with six decoded stills of three patients."""
    rows: list[dict[str, object]] = [
        {"patient_id": f"p{i % 3}", "study_id": f"s{i % 3}", "clip_id": f"c{i}", "split": "train" if i % 3 else "test"}
        for i in range(6)
    ]
    home = tmp_path / "home"
    archive = opened(home)
    ingest(archive, str(write_stills(tmp_path / "drop", rows)), "first")
    make_cells(archive, "first")
    return home


def frame_ids(archive: Archive) -> list[str]:
    receipt = archive.store.receipts.require(Cell("frames", "first"))
    return archive.store.table(receipt, "frames")["frame_id"].tolist()


def test_an_onnx_file_is_taken_at_its_content(stills: Path) -> None:
    text = "embeddings: {own: {onnx: own.onnx, size: 16, channels: 1}}\n"
    archive = opened(stills, text)
    assert "decoded before pictures for own were asked for" in verdict(archive, "embeddings/own", "first").why
    (stills / "own.onnx").write_bytes(network(("n", 1, 16, 16)))
    make_cells(archive, "first")  # at the size the network takes
    receipt = make_cells(archive, "first", "embeddings/own")
    assert receipt.metrics["frames"] == 6
    assert (
        "there is no file"
        in verdict(opened(stills, text.replace("own.onnx", "no.onnx")), "embeddings/own", "first").why
    )
    assert verdict(archive, "embeddings/own", "first").is_fresh
    moved = opened(stills, text.replace("own.onnx", "moved.onnx"))
    (stills / "own.onnx").rename(stills / "moved.onnx")
    assert verdict(moved, "embeddings/own", "first").is_fresh, "where it lies does not matter"
    (stills / "moved.onnx").write_bytes(network(("n", 1, 16, 16)))
    assert verdict(moved, "embeddings/own", "first").is_fresh, "nor when it was written"
    import onnx

    other = onnx.load_from_string(network(("n", 1, 16, 16)))
    other.doc_string = "another"
    (stills / "moved.onnx").write_bytes(other.SerializeToString())
    assert verdict(moved, "embeddings/own", "first").why == "changed: model"


def test_an_onnx_file_that_does_not_fit_says_which_and_what_to_change(stills: Path) -> None:
    archive = opened(stills, "embeddings: {own: {onnx: own.onnx, size: 16}}\n")
    (stills / "own.onnx").write_bytes(network(("n", 1, 16, 16)))
    make_cells(archive, "first")
    with pytest.raises(
        LookupError, match=r"embeddings.own.onnx: .*own.onnx takes pictures of 1 channels, `channels` says 3"
    ):
        make_cells(archive, "first", "embeddings/own")


IMPORTED = "embeddings: {other: {imported: other.parquet}}\n"


def write(home: Path, ids: list[str], vectors: list[object], name: str = "other.parquet") -> None:
    pd.DataFrame({"frame_id": ids, "vector": vectors}).to_parquet(home / name)


def some(n: int, d: int = 5) -> list[object]:
    return list(np.random.default_rng(0).standard_normal((n, d)))


def test_imported_vectors_are_matched_by_frame_id(stills: Path) -> None:
    archive = opened(stills, IMPORTED)
    ids = frame_ids(archive)
    write(stills, [*reversed(ids), "of/another/archive"], some(7))
    receipt = make_cells(archive, "first", "embeddings/other")
    stored = archive.store.array(receipt, "vectors")
    assert np.array_equal(stored, to_fixed_point(np.array(some(7)))[:6][::-1])
    assert receipt.metrics["for_other_frames"] == 1


def test_vectors_of_further_frames_make_no_batch_stale_and_a_changed_one_does(stills: Path) -> None:
    archive = opened(stills, IMPORTED)
    ids = frame_ids(archive)
    write(stills, ids, some(6))
    make_cells(archive, "first", "embeddings/other")
    write(stills, [*ids, "x/y/0", "x/y/1"], [*some(6), *some(2)])
    assert verdict(archive, "embeddings/other", "first").is_fresh
    write(stills, ids, [*some(5), np.ones(5)])
    assert verdict(archive, "embeddings/other", "first").why == "changed: given"


def test_each_way_of_giving_vectors_gives_the_same(stills: Path) -> None:
    ids = frame_ids(opened(stills))
    vectors = np.array(some(6))
    write(stills, ids, list(vectors))
    pd.DataFrame(vectors, columns=[f"d{i}" for i in range(5)]).assign(frame_id=ids).to_parquet(stills / "wide.parquet")
    np.save(stills / "v.npy", vectors)
    (stills / "ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    np.save(stills / "ids.npy", np.array(ids))
    ways = ["{imported: other.parquet}", "{imported: wide.parquet}", "{imported: v.npy, ids: ids.txt}"]
    ways += ["{imported: v.npy, ids: ids.npy}", f"{{imported: 'file://{stills}/other.parquet', dimensions: 5}}"]
    digests = set()
    for way in ways:
        archive = opened(stills, f"embeddings: {{other: {way}}}\n")
        digests.add(make_cells(archive, "first", "embeddings/other").digest)
    assert len(digests) == 1


def bad(stills: Path, ids: list[str]) -> dict[str, str]:
    """Content of the profile -> what is said of it; writes the files."""
    write(stills, ids[:4], some(4), "missing.parquet")
    write(stills, [*ids, ids[1], ids[2]], some(8), "twice.parquet")
    write(stills, ids, [*some(4), np.array([1, np.nan, 0, 0, 0]), np.array([np.inf, 0, 0, 0, 0])], "nan.parquet")
    write(stills, ids, [*some(5), np.zeros(5)], "zero.parquet")
    write(stills, ids, [*some(5), np.ones(4)], "ragged.parquet")
    pd.DataFrame({"id": ids, "vector": some(6)}).to_parquet(stills / "nameless.parquet")
    pd.DataFrame({"frame_id": ids, "words": list("abcdef")}).to_parquet(stills / "words.parquet")
    (stills / "broken.parquet").write_bytes(b"PAR1 no")
    (stills / "broken.npy").write_bytes(b"no")
    (stills / "v.csv").write_text("frame_id,a\n", encoding="utf-8")
    np.save(stills / "v.npy", np.array(some(6)))
    (stills / "five.txt").write_text("\n".join(ids[:5]), encoding="utf-8")
    return {
        "imported: missing.parquet": rf"has no vector for 2 of the 6 frames of batch first \(first: {ids[4]}, {ids[5]}\)",
        "imported: twice.parquet": rf"more than one vector for 2 frames \(first: {ids[1]}, {ids[2]}\)",
        "imported: nan.parquet": rf"2 vectors that are not finite .*\(first: {ids[4]}, {ids[5]}\)",
        "imported: zero.parquet": rf"1 vectors that are zero and have no direction \(first: {ids[5]}\)",
        "imported: ragged.parquet": rf"1 vectors of another dimension than the usual 5 \(first: {ids[5]}\)",
        "imported: nameless.parquet": "has no column frame_id; columns: id, vector",
        "imported: words.parquet": "columns that are no numbers",
        "imported: broken.parquet": "is no Parquet file that can be read",
        "imported: broken.npy, ids: five.txt": "is no npy file that can be read",
        "imported: v.csv": "is neither .parquet nor .npy",
        "imported: v.npy": "name a file of their ids under `ids`",
        "imported: v.npy, ids: five.txt": "has 6 rows, but .*five.txt has 5 ids",
        "imported: gone.parquet": "there is no file",
        "imported: 'nowhere://x.parquet'": "cannot be reached",
        "imported: twice.parquet, dimensions: 4": "vectors of 5 dimensions, `dimensions` says 4",
    }


def test_vectors_that_cannot_be_used_block_with_the_first_frames_and_how_many(stills: Path) -> None:
    for text, why in bad(stills, frame_ids(opened(stills))).items():
        archive = opened(stills, f"embeddings: {{other: {{{text}}}}}\n")
        found = Planner(archive, graph_of(archive.profile)).verdict(
            graph_of(archive.profile)["embeddings/other"], "first"
        )
        assert found.is_blocked, text
        assert re.search(why, found.why), (text, found.why)
