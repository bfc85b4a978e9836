"""The whole chain on a small archive: what holds of the store and the published tables after `enrich run`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.core.stages import Goal
from enrich_assets.core.where import arms_of
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.profiles import load_profile
from enrich_assets.store.receipts import Cell
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.made_home import file_of, finished, held, make, opened, receipt, run, sql, verdict


@pytest.fixture(scope="module")
def archive(small_home: Path) -> Archive:
    return opened(small_home)


def test_every_cell_of_the_grid_is_evaluated_once(archive: Archive) -> None:
    found = sql(archive, "SELECT task, arm, budget, seed FROM evaluations WHERE current")
    assert not found.duplicated().any()
    assert len(found) == 2 * (2 * 2 + 1) + 1 * (2 * 1 + 1)


def test_no_patient_stands_on_both_sides(archive: Archive) -> None:
    frames = Catalogue(archive).frame_table()
    assert frames.groupby("patient_id")["split"].nunique().max() == 1
    assert set(frames["split"]) == {"train", "test"}


def test_subsets_of_a_seed_are_nested(archive: Archive) -> None:
    for arm in ("enrich", "random"):
        small, large = (
            list(archive.store.table(receipt(archive, f"view/{arm}/subset", f"{budget}|1"), "subset")["frame_id"])
            for budget in (10, 20)
        )
        assert large[:10] == small


def test_both_arms_start_from_the_same_random_frames(archive: Archive) -> None:
    first = [
        list(archive.store.table(receipt(archive, f"view/{arm}/ranking", "0"), "ranking")["frame_id"])[:6]
        for arm in ("enrich", "random")
    ]
    assert first[0] == first[1]


def test_subsets_hold_train_frames_only(archive: Archive) -> None:
    wrong = sql(archive, "SELECT count(*) n FROM subset_frames JOIN frames USING (frame_id) WHERE split <> 'train'")
    assert wrong["n"].item() == 0


def test_embeddings_are_unit_vectors_in_fixed_point(archive: Archive) -> None:
    catalogue = Catalogue(archive)
    vectors = catalogue.vectors().of(catalogue.frame_table())
    assert vectors.dtype == np.int16
    lengths = np.sqrt((vectors.astype(np.int64) ** 2).sum(axis=1)) / SCALE
    assert np.abs(lengths - 1).max() < 2e-3


def test_scores_follow_from_predictions_in_sql(archive: Archive) -> None:
    found = sql(archive, "SELECT metric, value, value_by_sql FROM recomputed")
    assert len(found) == sql(archive, "SELECT count(*) n FROM evaluations")["n"].item()
    auc = found["metric"] == "auc"  # a quotient of whole and half numbers: the same to the last bit
    assert (found.loc[auc, "value"] == found.loc[auc, "value_by_sql"]).all()
    jaccard = found[~auc]  # a mean of means, which SQL adds up in another order
    assert (jaccard["value"] - jaccard["value_by_sql"]).abs().max() < 1e-12


def test_lineage_has_a_row_with_every_digest_for_each_evaluation(archive: Archive) -> None:
    lineage = sql(archive, "SELECT * FROM lineage")
    assert len(lineage) == sql(archive, "SELECT count(*) n FROM evaluations")["n"].item()
    empty = lineage.columns[lineage.isna().any()].tolist()
    # Of the embeddings here only the VAE is fitted, and its weights have a column of their own.
    assert empty == ["embedding_weights_digest"], "a column that is empty everywhere is a digest that was lost"
    for column in ("mlflow_run_id", "mlflow_model_id", "dagster_run_id", "subset_id"):
        assert lineage[column].notna().all(), column


def test_an_auc_leads_to_its_source_files(archive: Archive) -> None:
    one = sql(archive, "SELECT evaluation_id FROM evaluations WHERE task = 'view' LIMIT 1")["evaluation_id"].item()
    files = sql(archive, f"SELECT * FROM source_files WHERE evaluation_id = '{one}'")
    assert len(files)
    assert files["sha256"].str.len().eq(64).all()


def test_mlflow_and_the_database_name_each_other(archive: Archive) -> None:
    found = sql(archive, "SELECT evaluation_id, mlflow_run_id, value FROM evaluations WHERE task = 'view'")
    tracking = archive.tracking("view")
    for row in found.itertuples():
        assert tracking.find_run(row.evaluation_id).run_id == row.mlflow_run_id


def test_a_second_run_does_nothing(small: Path) -> None:
    archive = opened(small)
    before = len(list(small.rglob("*")))
    outcome = run(archive)
    assert outcome.runs == 0
    assert len(list(small.rglob("*"))) <= before + 5  # locks and sqlite journals


def test_a_run_leaves_no_half_written_file_and_no_draft(small: Path) -> None:
    """`Folder.write` writes `.<name>.<hex>` beside the name; a draft lies in `drafts/` until its cell is made."""
    archive = opened(small)
    archive.store.receipts.forget(Cell("view/enrich/model", "10|0"))
    finished(archive)
    (small / "store" / "receipts" / ".some.json.0123abcd").touch()
    hidden = [path.name for path in (small / "store").rglob(".*")]
    assert hidden == [".some.json.0123abcd"], "the search finds what it looks for, and nothing else"
    assert [path for path in (small / "store").rglob("*") if "drafts" in path.parts and path.is_file()] == []


def test_the_same_files_again_make_no_batch(small: Path) -> None:
    archive = opened(small)
    again = ingest(archive, str(small / "phantom"))
    assert not again.is_new
    assert again.batch.name == "first"
    assert archive.batches == ["first"]


def test_a_second_batch_touches_only_its_own_partitions(small: Path) -> None:
    archive = opened(small)
    batch_assets = ("studies", "frames", "split", "labels", "label_presence", "embeddings/vae", "view/pool")
    panels = ("view/similarity/vae", "chambers/similarity/vae")
    before = {asset: receipt(archive, asset, "first") for asset in (*batch_assets, *panels)}
    vae = receipt(archive, "vae_weights")
    bought = archive.store.table(receipt(archive, "view/enrich/ranking", "0"), "ranking")
    models = held(archive, "view/enrich/model")
    write_phantom(str(small / "later"), patients=2, first_patient=8, scale=0.15)
    ingest(archive, str(small / "later"), "second")
    finished(archive)
    for asset, was in before.items():
        assert held(archive, asset)["first"] == was, asset
        assert "second" in held(archive, asset)
    assert receipt(archive, "vae_weights") == vae
    again = archive.store.table(receipt(archive, "view/enrich/ranking", "0"), "ranking")
    assert list(again["frame_id"][:20]) == list(bought["frame_id"][:20]), "labels already bought stay"
    assert held(archive, "view/enrich/model") == models, "no model of a bought subset is trained again"
    assert len(again) > len(bought)
    history = sql(archive, "SELECT current, count(*) n FROM evaluations GROUP BY 1 ORDER BY 1")
    assert set(history["current"]) == {False, True}, "earlier evaluations stay, marked not current"


def test_arms_of_a_task_include_the_whole_pool(archive: Archive) -> None:
    assert list(arms_of(archive.profile.tasks["view"])) == ["enrich", "random", "all"]


def test_a_damaged_table_blocks_its_cells_by_name_and_the_rest_goes_on(small: Path) -> None:
    archive = opened(small)
    receipts = archive.store.receipts
    for partition in ("10|0", "10|1"):
        receipts.forget(Cell("view/enrich/model", partition))
    damaged = file_of(archive, "view/enrich/subset", "10|0", "subset.parquet")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    outcome = run(archive)
    assert f"{damaged} is not what view/enrich/subset[10|0] wrote" in outcome.blocked["view/enrich/model[10|0]"]
    assert receipts.current(Cell("view/enrich/model", "10|1")) is not None


def with_view(home: Path, **changes: object) -> Archive:
    """The archive under other settings of the task `view`."""
    profile = load_profile(str(home / "enrich.yaml"))
    view = profile.tasks["view"].model_copy(update=changes)
    return Archive(home, profile.model_copy(update={"tasks": {**profile.tasks, "view": view}}))


def test_another_positive_class_is_another_evaluation(small: Path) -> None:
    was = receipt(opened(small), "view/enrich/evaluation", "10|0")
    archive = with_view(small, positive="NT")
    now = make(archive, "view/enrich/evaluation", "10|0").receipt
    make(archive, "results")
    assert now.metrics["evaluation_id"] != was.metrics["evaluation_id"]
    of_cell = f"evaluation_id IN ('{was.metrics['evaluation_id']}', '{now.metrics['evaluation_id']}')"
    scored = f"SELECT DISTINCT current, class FROM evaluations JOIN predictions USING (evaluation_id) WHERE {of_cell}"
    assert set(sql(archive, scored).itertuples(index=False, name=None)) == {(False, "A4C"), (True, "NT")}


def test_an_evaluation_made_again_leads_to_its_newest_mlflow_run(small: Path) -> None:
    archive = opened(small)
    was = receipt(archive, "view/enrich/evaluation", "10|0")
    now = make(archive, "view/enrich/evaluation", "10|0").receipt
    assert now.digest == was.digest
    assert now.metrics["mlflow_run_id"] != was.metrics["mlflow_run_id"]
    assert verdict(archive, "results").why == "changed: runs"
    make(archive, "results")
    shown = f"SELECT mlflow_run_id FROM lineage WHERE evaluation_id = '{now.metrics['evaluation_id']}'"
    assert sql(archive, shown)["mlflow_run_id"].item() == now.metrics["mlflow_run_id"]


def test_current_is_what_the_profile_asks_for(small: Path) -> None:
    archive = with_view(small, budgets=("10",), seeds=1)
    for asset in ("view/comparison", "results"):
        make(archive, asset)
    for table in ("evaluations", "subsets"):
        found = sql(archive, f"SELECT arm, budget, seed FROM {table} WHERE current AND task = 'view' ORDER BY arm")
        assert found["seed"].eq(0).all(), table
        assert found.loc[found["arm"] != "all", "budget"].tolist() == [10, 10], table
    assert sql(archive, "SELECT DISTINCT budget FROM comparisons WHERE task = 'view'")["budget"].tolist() == [10]


def test_two_budgets_of_one_size_are_one_in_the_comparison(small: Path) -> None:
    pool = len(Catalogue(opened(small)).pool("view"))
    share = f"{100 * 10 / pool:.4f}%"
    archive = with_view(small, budgets=("10", share))
    assert not run(archive, Goal(task="view")).failed
    assert sql(archive, "SELECT DISTINCT budget FROM comparisons WHERE task = 'view'")["budget"].tolist() == [10]
    assert not sql(archive, "SELECT task, arm, budget, seed FROM evaluations WHERE current").duplicated().any()


def test_the_advice_follows_the_evaluations(small: Path) -> None:
    archive = opened(small)
    assert verdict(archive, "view/worklist").is_fresh
    archive.store.receipts.forget(Cell("view/enrich/evaluation", "20|0"))
    assert verdict(archive, "view/worklist").why == "changed: evaluations"
