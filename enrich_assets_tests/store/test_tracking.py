"""What a trained cell leaves in MLflow, read back by MLflow's own client and by SQL."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from enrich_assets.store.tracking import CellRecord, Tracking

SUBSET_ID = "ab" * 32


def cell(folder: Path, **changes: Any) -> CellRecord:
    from safetensors.numpy import save_file

    weights = folder / "model.safetensors"
    save_file({"w": np.arange(4, dtype=np.float32)}, weights)
    given: dict[str, Any] = {
        "evaluation_id": "e1",
        "task": "classification",
        "arm": "enrich",
        "budget": 300,
        "seed": 2,
        "subset_id": SUBSET_ID,
        "n_train": 300,
        "metrics": {"auc": 0.75, "auc_ci_low": 0.5},
        "params": {"training": {"epochs": 3, "learning_rate": 5e-4}, "device": "cpu"},
        "curves": {"loss": [0.9, 0.5, 0.25], "accuracy": [0.5, 0.6, float("nan")]},
        "weights": weights,
        "model_digest": "cd" * 32,
        "model_type": "resnet",
        "asset_key": "classification/enrich/model",
        "partition": "300|2",
        "dagster_run_id": "d-1",
        "subset_source": "store/artefacts/classification/enrich/subset",
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "ended_at": datetime(2026, 1, 2, 3, 4, 35, tzinfo=UTC),
    }
    return CellRecord(**(given | changes))


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    home = tmp_path_factory.mktemp("home")
    found = Tracking(f"sqlite:///{home}/mlflow.db", "enrich", dagster_url="http://localhost:3000/")
    found.prepare()
    return found


@pytest.fixture
def client(tracking: Tracking) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking.uri)


def test_a_cell_is_one_finished_run_with_its_numbers(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    recorded = tracking.record_cell(cell(tmp_path))
    run = client.get_run(recorded.run_id)
    assert (run.info.status, run.info.end_time - run.info.start_time) == ("FINISHED", 30_000)
    assert run.data.metrics["auc"] == 0.75
    assert run.data.params["training.learning_rate"] == "0.0005"
    assert run.data.params["n_train"] == "300"
    assert [m.value for m in client.get_metric_history(recorded.run_id, "loss")] == [0.9, 0.5, 0.25]
    assert [m.step for m in client.get_metric_history(recorded.run_id, "loss")] == [0, 1, 2]
    tags = run.data.tags
    assert (tags["enrich.evaluation_id"], tags["enrich.subset_id"]) == ("e1", SUBSET_ID)
    assert (tags["dagster.run_id"], tags["dagster.partition"]) == ("d-1", "300|2")
    assert "(http://localhost:3000/runs/d-1)" in tags["mlflow.note.content"]


def test_score_model_and_subset_are_tied_natively(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    recorded = tracking.record_cell(cell(tmp_path, evaluation_id="tied"))
    run, model = client.get_run(recorded.run_id), client.get_logged_model(recorded.model_id)
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.digest, len(dataset.digest)) == (SUBSET_ID[:32], 32)
    assert json.loads(dataset.source)["subset_id"] == SUBSET_ID
    assert {tag.key: tag.value for tag in run.inputs.dataset_inputs[0].tags}["enrich.subset_id"] == SUBSET_ID
    assert [output.model_id for output in run.outputs.model_outputs] == [recorded.model_id]
    assert (str(model.status), model.source_run_id) == ("READY", recorded.run_id)
    score = next(metric for metric in model.metrics if metric.key == "auc")
    assert (score.value, score.dataset_digest, score.run_id) == (0.75, SUBSET_ID[:32], recorded.run_id)
    found = client.search_logged_models([run.info.experiment_id], datasets=[{"dataset_name": dataset.name}],
                                        filter_string="metrics.auc > 0.7")  # fmt: skip
    assert recorded.model_id in {each.model_id for each in found}


def test_a_score_hangs_on_the_test_set_and_the_time_of_training_on_the_subset(
    tracking: Tracking, client: Any, tmp_path: Path
) -> None:
    test_set = "ef" * 32
    metrics = {"auc": 0.5, "train_seconds": 3.0}
    recorded = tracking.record_cell(cell(tmp_path, metrics=metrics, test_set_digest=test_set, n_test=77))
    run = client.get_run(recorded.run_id)
    context = {
        one.dataset.name: {tag.key: tag.value for tag in one.tags}["mlflow.data.context"]
        for one in run.inputs.dataset_inputs
    }
    assert context == {"classification/enrich/subset": "training", "classification/test_set": "evaluation"}
    model = client.get_logged_model(recorded.model_id)
    assert {metric.key: metric.dataset_digest for metric in model.metrics} == {
        "auc": test_set[:32],
        "train_seconds": SUBSET_ID[:32],
    }


def test_experiments_open_in_the_view_for_models_and_no_empty_one_stands_beside(
    tracking: Tracking, client: Any
) -> None:
    tracking.prepare()
    (only,) = client.search_experiments()
    assert only.name == "enrich"
    assert only.tags["mlflow.experimentKind"] == "custom_model_development"


def test_an_experiment_default_that_somebody_uses_stays(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    theirs = MlflowClient(tracking_uri=uri)
    theirs.create_run("0")
    Tracking(uri, "enrich").prepare()
    assert {one.name for one in theirs.search_experiments()} == {"Default", "enrich"}


def test_the_same_ties_are_there_in_sql(tracking: Tracking, tmp_path: Path) -> None:
    recorded = tracking.record_cell(cell(tmp_path, evaluation_id="by sql"))
    with sqlite3.connect(tracking.uri.removeprefix("sqlite:///")) as database:
        rows = database.execute(
            "SELECT model_id, dataset_digest, metric_value FROM logged_model_metrics "
            "WHERE run_id = ? AND metric_name = 'auc'",
            (recorded.run_id,),
        ).fetchall()
    assert rows == [(recorded.model_id, SUBSET_ID[:32], 0.75)]


def test_weights_are_kept_as_safetensors_and_nothing_is_pickled(
    tracking: Tracking, client: Any, tmp_path: Path
) -> None:
    from mlflow.models import Model
    from safetensors.numpy import load_file

    recorded = tracking.record_cell(cell(tmp_path))
    listed = client.list_logged_model_artifacts(recorded.model_id)
    assert sorted(file.path for file in listed) == ["MLmodel", "model.safetensors"]
    folder = Path(client.get_logged_model(recorded.model_id).artifact_location.removeprefix("file://"))
    assert folder.is_relative_to(Path(tracking.uri.removeprefix("sqlite:///")).parent)  # inside home
    assert load_file(folder / "model.safetensors")["w"].tolist() == [0, 1, 2, 3]
    described = Model.load(str(folder / "MLmodel"))
    assert described.flavors["enrich"]["weights"] == "model.safetensors"
    assert (described.run_id, described.model_id) == (recorded.run_id, recorded.model_id)


def test_pictures_are_kept_with_the_run(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(b"PNG")
    recorded = tracking.record_cell(cell(tmp_path, pictures={"masks": tmp_path / "frame.png"}))
    assert [file.path for file in client.list_artifacts(recorded.run_id, "masks")] == ["masks/frame.png"]


def test_an_evaluation_leads_to_its_newest_run_and_the_old_one_is_superseded(
    tracking: Tracking, client: Any, tmp_path: Path
) -> None:
    again = cell(tmp_path, evaluation_id="again", partition="400|0")
    other = tracking.record_cell(cell(tmp_path, evaluation_id="other", partition="400|1"))
    first = tracking.record_cell(again)
    second = tracking.record_cell(cell(tmp_path, evaluation_id="again", partition="400|0", ended_at=None))
    assert tracking.find_run("again") == second
    assert client.get_run(first.run_id).data.tags["enrich.superseded_by"] == second.run_id
    for kept in (second, other):
        assert "enrich.superseded_by" not in client.get_run(kept.run_id).data.tags
    assert tracking.find_run("never evaluated") is None


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_interrupted_record_does_not_run_for_ever(
    tracking: Tracking, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any, status: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise error("in the middle")

    monkeypatch.setattr(type(client), "log_batch", interrupted)
    with pytest.raises(error, match="in the middle"):
        tracking.record_cell(cell(tmp_path, evaluation_id=f"broken {status}"))
    experiment = client.get_experiment_by_name("enrich").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`enrich.evaluation_id` = 'broken {status}'")
    assert run.info.status == status
    (model,) = client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'")
    assert str(model.status) == "FAILED"
    assert tracking.find_run(f"broken {status}") is None


DIES = """
import os, sys
from pathlib import Path
from enrich_assets.store.tracking import Tracking
from enrich_assets_tests.store.test_tracking import cell
Tracking._log_datasets = lambda *_: os._exit(9)
Tracking(sys.argv[1], "enrich").record_cell(cell(Path(sys.argv[2]), evaluation_id="died"))
"""


def test_a_process_killed_half_way_leaves_a_killed_run(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", DIES, tracking.uri, str(tmp_path)], check=False)
    assert dead.returncode == 9
    experiment = client.get_experiment_by_name("enrich").experiment_id
    (run,) = client.search_runs([experiment], "tags.`enrich.evaluation_id` = 'died'")
    assert run.info.status == "KILLED"


def test_an_experiment_is_created_once_and_telemetry_is_off(tracking: Tracking, client: Any) -> None:
    again = Tracking(tracking.uri, "enrich")
    assert again.prepare() == tracking.prepare()
    assert [e.name for e in client.search_experiments()].count("enrich") == 1
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert Tracking(tracking.uri, "enrich", mlflow_url="http://localhost:5000").run_url("r") == (
        f"http://localhost:5000/#/experiments/{tracking.prepare()}/runs/r?workflowType=machine_learning"
    )


def test_importing_the_recorder_does_not_import_mlflow() -> None:
    code = "import sys, enrich_assets.store.tracking; print('mlflow' in sys.modules, 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told == "False False\n"
