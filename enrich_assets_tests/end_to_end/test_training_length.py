"""The number of training steps follows from the data once, is the same for every cell, and is kept until someone asks for another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.cli import main
from enrich_assets.core.stages import Goal
from enrich_assets.defs.assets.training import AT_HALF
from enrich_assets.running.forecast import make_plan
from enrich_assets.store.receipts import Cell
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.defs.made_archive import extended
from enrich_assets_tests.made_home import finished, held, make, opened, planner, receipt, verdict

pytestmark = pytest.mark.long

LENGTH = "view/training_length"
ARMS = ("enrich", "random", "all")


def steps_of_models(archive: Archive) -> set[int]:
    return {r.metrics["steps"] for arm in ARMS for r in held(archive, f"view/{arm}/model").values()}


def test_every_cell_takes_the_steps_that_were_found_on_train_patients_alone(small_home: Path) -> None:
    archive = opened(small_home)
    found = receipt(archive, LENGTH)
    assert steps_of_models(archive) == {found.metrics["steps"]}
    assert {r.metrics["steps"] for arm in ARMS for r in held(archive, f"view/{arm}/evaluation").values()} == {
        found.metrics["steps"]
    }
    assert archive.store.table(found, "length")["steps"].tolist() == [found.metrics["steps"]]
    curve = archive.store.table(found, "curve")
    assert curve["step"].tolist()[-1] == found.metrics["steps_searched"] <= 12
    pool = sum(r.metrics["labelled"] for r in held(archive, "view/pool").values())
    assert found.metrics["labelled_frames"] == pool, "all of the pool, and no test frame"
    assert "chambers/training_length" not in planner(archive).graph.steps, "epochs are named: nothing is searched"


def test_the_whole_pool_says_how_good_half_the_training_is_and_whether_its_loss_settled(small_home: Path) -> None:
    archive = opened(small_home)
    for task in ("view", "chambers"):
        for partition, model in held(archive, f"{task}/all/model").items():
            assert model.metrics["loss_fall_share"] is None or model.metrics["loss_fall_share"] <= 1
            full, half = archive.store.weights(model, "model"), archive.store.weights(model, AT_HALF)
            assert any(not np.array_equal(full[name], half[name]) for name in full)
            score = receipt(archive, f"{task}/all/evaluation", partition).metrics
            assert 0 <= score["value_at_half"] <= 1
        for score in held(archive, f"{task}/enrich/evaluation").values():
            assert "value_at_half" not in score.metrics


def test_studies_that_arrive_leave_the_length_as_it_is(small: Path) -> None:
    archive = opened(small)
    found, models = receipt(archive, LENGTH), held(archive, "view/random/model")
    write_phantom(str(small / "later"), patients=2, first_patient=8, scale=0.15)
    ingest(archive, str(small / "later"), "second")
    finished(archive, Goal(task="view", arm="random"))
    assert receipt(archive, LENGTH) == found
    assert verdict(archive, LENGTH).is_fresh
    for partition, was in models.items():
        now = held(archive, "view/random/model")[partition]
        assert now.metrics["steps"] == was.metrics["steps"]


def test_found_again_and_the_same_it_trains_nothing_again(small: Path) -> None:
    archive = opened(small)
    found = receipt(archive, LENGTH)
    archive.store.receipts.forget(Cell(LENGTH))
    assert verdict(archive, "view/all/model", "all|0").is_blocked
    assert make(archive, LENGTH).receipt.digest == found.digest
    assert verdict(archive, "view/all/model", "all|0").is_fresh


def test_another_length_trains_every_model_of_the_task_again_and_none_of_another(small: Path) -> None:
    archive = extended(
        small, small / "enrich.yaml", "tasks: {view: {training: {min_steps: 26, search: {max_steps: 26}}}}"
    )
    assert verdict(archive, LENGTH).why == "its settings changed"
    make(archive, LENGTH)
    assert receipt(archive, LENGTH).metrics["steps"] == 26
    for arm in ARMS:
        partition = "all|1" if arm == "all" else "20|1"
        assert verdict(archive, f"view/{arm}/model", partition).is_stale
    assert verdict(archive, "chambers/all/model", "all|0").is_fresh


def test_how_it_is_searched_for_is_no_part_of_a_model(small: Path) -> None:
    archive = extended(small, small / "enrich.yaml", "tasks: {view: {training: {search: {patience: 9}}}}")
    assert verdict(archive, LENGTH).why == "its settings changed"
    assert verdict(archive, "view/enrich/model", "10|0").is_fresh


def test_the_plan_states_the_bound_before_and_the_steps_after(small: Path) -> None:
    archive = opened(small)
    found = receipt(archive, LENGTH).metrics["steps"]
    archive.store.receipts.forget(Cell("view/all/model", "all|0"))
    assert f", {found} steps each" in notes(archive)["view: training"]
    archive.store.receipts.forget(Cell(LENGTH))
    planned = notes(archive)
    assert planned["view: training length"] == "at most 12 steps"
    assert planned["view: training"].endswith(", at most 24 steps each")


def notes(archive: Archive) -> dict[str, str]:
    return {stage.name: stage.note for stage in make_plan(archive).stages}


def test_a_length_cut_off_at_its_bound_or_outgrown_is_a_warning(small: Path) -> None:
    archive = opened(small)
    found = receipt(archive, LENGTH)
    tampered = found.metrics | {"stopped": False, "labelled_frames": 1}
    draft = archive.store.draft(Cell(LENGTH), settings=found.settings, inputs=found.inputs)
    draft.table("length", archive.store.table(found, "length"))
    draft.commit(run_id="", **tampered)
    for check, words in (("stopped_improving", "raise training.search.max_steps"), ("fits_the_pool", "--renew-length")):
        outcome = make(archive, f"{LENGTH}@{check}").receipt.metrics
        assert not outcome["passed"]
        assert not outcome["blocking"]
        assert words in outcome["description"]


def test_it_is_renewed_on_purpose(small: Path) -> None:
    before = receipt(opened(small), LENGTH)
    done = CliRunner().invoke(main, ["run", "--renew-length", "--task", "view"])
    assert done.exit_code == 0, done.output
    after = receipt(opened(small), LENGTH)
    assert after.digest == before.digest
    assert after.created_at > before.created_at
    assert f"view training length: {after.metrics['steps']} steps for every model" in done.output
    assert "view training 10" not in done.output, "the same number of steps: no model is trained again"
