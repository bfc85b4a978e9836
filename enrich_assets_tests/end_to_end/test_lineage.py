"""A number leads back to its files, and a flipped byte anywhere on the way is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.cli import main
from enrich_assets.running.lineage import evaluations
from enrich_assets.store.receipts import DamagedStore, history_file
from enrich_assets_tests.made_home import file_of, make, opened, receipt

CELL = "10|0"
# One file of every kind of link between an AUC and its source files.
LINKS = [
    ("view/enrich/evaluation", CELL, "predictions.parquet"),
    ("view/enrich/model", CELL, "model.safetensors"),
    ("view/enrich/subset", CELL, "subset.parquet"),
    ("view/enrich/ranking", "0", "ranking.parquet"),
    ("view/similarity/vae", "first", "panel/histograms.npy"),
    ("view/pool", "first", "pool.parquet"),
    ("embeddings/vae", "first", "vectors.npy"),
    ("vae_weights", "", "vae.safetensors"),
    ("split", "first", "split.parquet"),
    ("labels", "first", "view.parquet"),
    ("frames", "first", "view/0000.npy"),
    ("studies", "first", "rows.parquet"),
]


def lineage(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["lineage", *arguments])
    return done.exit_code, done.output


def flip(path: Path, at: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(bytes(content))


def evaluation_id(home: Path) -> str:
    return str(receipt(opened(home), "view/enrich/evaluation", CELL).metrics["evaluation_id"])


def test_every_chain_of_a_clean_home_holds(small: Path) -> None:
    code, said = lineage("--all")
    assert code == 0, said
    assert "13 evaluations, every link holds" in said


def test_one_chain_names_every_link_down_to_the_files(small: Path) -> None:
    code, said = lineage(evaluation_id(small))
    assert code == 0
    for asset, _, _ in LINKS:
        assert f"  {asset}" in said, asset
    assert ".dcm" in said or ".png" in said or ".mp4" in said or ".avi" in said


@pytest.mark.parametrize(("asset", "partition", "name"), LINKS, ids=[link[0] for link in LINKS])
def test_a_flipped_byte_is_found_and_named(small: Path, asset: str, partition: str, name: str) -> None:
    flip(file_of(opened(small), asset, partition, name))
    code, said = lineage(evaluation_id(small))
    assert code == 1
    assert f"{name} changed" in said


def test_a_flipped_byte_in_a_source_file_is_found(small: Path) -> None:
    archive = opened(small)
    path = Path(Catalogue(archive).frame_table()["path"].iloc[0])
    before = path.read_bytes()
    try:
        flip(path, at=len(before) // 2)
        code, said = lineage("--all")
    finally:
        path.write_bytes(before)
    assert code == 1
    assert f"{path}: the source file changed" in said


def test_a_flipped_byte_in_a_mask_breaks_the_scores_of_its_task_alone(small: Path) -> None:
    archive = opened(small)
    path = Path(Catalogue(archive).labels().of_task("chambers")["mask_path"].dropna().iloc[0])
    before = path.read_bytes()
    try:
        flip(path, at=len(before) // 2)
        code, said = lineage("--all")
    finally:
        path.write_bytes(before)
    assert code == 1
    assert f"{path}: the source file changed" in said
    states = {(line.split()[1], "BROKEN" in line) for line in said.splitlines() if "links:" in line}
    assert states == {("view", False), ("chambers", True)}


def test_a_value_that_does_not_follow_from_its_predictions_is_found(small: Path) -> None:
    archive = opened(small)
    evaluation = receipt(archive, "view/enrich/evaluation", CELL)
    for name in (history_file(evaluation.cell, evaluation.name), f"receipts/{evaluation.cell.folder}.json"):
        path = small / "store" / name
        written = json.loads(path.read_text())
        written["metrics"]["value"] += 0.01
        del written["checksum"]  # as somebody would who knows how receipts are kept
        path.write_text(json.dumps(written))
    code, said = lineage("--all")
    assert code == 1
    assert "its predictions give" in said


def test_a_digit_changed_in_a_receipt_is_found(small: Path) -> None:
    evaluation = receipt(opened(small), "view/enrich/evaluation", CELL)
    path = small / "store" / history_file(evaluation.cell, evaluation.name)
    value = json.dumps(evaluation.metrics["value"])
    path.write_text(path.read_text().replace(value, value[:-1] + ("1" if value[-1] != "1" else "2"), 1))
    code, said = lineage("--all")
    assert code == 1
    assert f"{history_file(evaluation.cell, evaluation.name)}: not a receipt any more" in said


def test_the_beginning_of_an_id_is_enough_where_it_is_of_one(small: Path) -> None:
    whole = evaluation_id(small)
    assert lineage(whole[:8]) == lineage(whole)
    assert f"enrich frames {whole}" in lineage(whole)[1]
    ids = [r.metrics["evaluation_id"] for r in evaluations(opened(small))]
    shared = next(letter for letter in "0123456789abcdef" if sum(one.startswith(letter) for one in ids) > 1)
    code, said = lineage(shared)
    assert code == 1
    assert f"evaluations begin with {shared}" in said


def test_an_unknown_evaluation_is_said_to_be_unknown(small: Path) -> None:
    code, said = lineage("nonesuch")
    assert code == 1
    assert "no evaluation nonesuch" in said


def test_a_training_refuses_a_subset_whose_pixels_changed(small: Path) -> None:
    path = file_of(opened(small), "frames", "first", "view/0000.npy")
    content = bytearray(path.read_bytes())
    content[-4000:] = bytes(4000)
    content[200:60000] = bytes(59800)
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedStore, match=r"view/0000\.npy is not what frames\[first\] wrote.*enrich repair"):
        make(opened(small), "view/all/model", "all|0")
