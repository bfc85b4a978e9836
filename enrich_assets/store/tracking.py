"""The MLflow recorder: one run per trained cell, tied natively to its model, its subset and its Dagster run.

Here: what of a trained cell goes into MLflow, and how to find it again. Nothing of Dagster, and nothing
global: a client per recorder, no active run, no autologging, no telemetry. MLflow takes seconds to import, so
it is imported inside functions. Nothing is pickled: weights are the safetensors file that the store already
holds.

    run    parameters, curves by epoch, scores, a note, tags (evaluation, subset, Dagster run and asset)
    model  a LoggedModel with the weights file; the run's output
    data   the subset (training) and the test set (evaluation) as dataset inputs under our digests (MLflow takes 36 characters: 32;
           all 64 as a tag)
    score  logged with the test set as its dataset and the model's id, the time of training with the subset, so that the UI joins them
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from enrich_assets.store.cell_record import CellRecord, Recorded, dotted, last_epoch, mlmodel, slices
from enrich_assets.store.remote.patience import may_pass_behind, patiently

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["CellRecord", "Recorded", "Tracking"]

DIGEST_CHARACTERS = 32
# What MLflow accepts in one batch.
MOST_METRICS, MOST_PARAMS = 1000, 100

EVALUATION, SUBSET, SUPERSEDED_BY = "enrich.evaluation_id", "enrich.subset_id", "enrich.superseded_by"
DAGSTER_RUN, ASSET, PARTITION = "dagster.run_id", "dagster.asset_key", "dagster.partition"

OF_TRAINING = frozenset({"train_seconds"})  # metrics that are about the subset, not about the test set
KIND, CLASSIC = "mlflow.experimentKind", "custom_model_development"
# Without it in the address a browser that is new to MLflow 3.17 opens the view for language models, whatever the kind says (seen).
VIEW = "workflowType=machine_learning"
DEFAULT_EXPERIMENT = "0"

_Dataset = tuple[str, str]  # name, digest


class Tracking:
    """Records cells in an MLflow, in one experiment.

    Parameters
    ----------
    uri
        `sqlite:///...`, or a server.
    experiment_name
        Made where it is missing.
    artifacts
        Where files go; without it a folder `mlflow` beside a sqlite file, or what the server decides.
    dagster_url, mlflow_url
        Bases of the links in notes and metadata, where configured.
    """

    def __init__(
        self,
        uri: str,
        experiment_name: str,
        *,
        artifacts: str | None = None,
        dagster_url: str | None = None,
        mlflow_url: str | None = None,
    ) -> None:
        self.uri = uri
        self.experiment_name = experiment_name
        self.artifacts = artifacts
        self.dagster_url = dagster_url
        self.mlflow_url = mlflow_url
        self._client: MlflowClient | None = None
        self._experiment_id = ""

    def prepare(self) -> str:
        """Create the database and the experiment where they are missing.

        One process at a time: the first start builds the tables step by step, and two at once break each
        other.

        Returns
        -------
        str
            Id of the experiment.
        """
        self._connect()
        return self._experiment_id

    def record_cell(self, cell: CellRecord) -> Recorded:
        """Write one cell; earlier runs of the same asset and partition are tagged as superseded by it.

        The run counts as KILLED until its last line is written, so that a process that dies half-way leaves
        no run that seems to go on for ever; an error leaves it FAILED. Into a sqlite file one process writes at a time.

        Returns
        -------
        Recorded
            Ids of the run and of the logged model.
        """
        client = self._connect()
        with self._one_at_a_time():
            # A run that was cut off stays KILLED or FAILED, and counts for nothing: the cell is written once more, as a whole.
            return patiently(lambda: self._record(client, cell), "MLflow", passes=self._passes)

    def _record(self, client: MlflowClient, cell: CellRecord) -> Recorded:
        from mlflow.entities import LoggedModelOutput

        started = _milliseconds(cell.started_at)
        ended = _milliseconds(cell.ended_at)
        name = f"{cell.task} {cell.arm} {cell.budget} seed {cell.seed}"
        tags = self._tags(cell)
        run_id = client.create_run(self._experiment_id, start_time=started, tags=tags, run_name=name).info.run_id
        client.set_terminated(run_id, "KILLED", ended)
        model_id = ""
        try:
            model_id = self._log_model(client, cell, run_id, name)
            subset, test_set = self._log_datasets(client, cell, run_id)
            client.log_outputs(run_id, [LoggedModelOutput(model_id, step=last_epoch(cell))])
            self._log_numbers(client, cell, run_id, model_id, (subset, test_set), ended)
            for folder, picture in cell.pictures.items():
                client.log_artifact(run_id, str(picture), folder or None)
            client.finalize_logged_model(model_id, "READY")
            client.set_terminated(run_id, "FINISHED", ended)
        except BaseException as error:
            with contextlib.suppress(Exception):
                client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
                if model_id:
                    client.finalize_logged_model(model_id, "FAILED")
            raise
        self._supersede(client, cell, run_id)
        return Recorded(run_id, model_id)

    def find_run(self, evaluation_id: str) -> Recorded | None:
        """The newest finished run of an evaluation, or None."""
        runs = self._search(f"tags.`{EVALUATION}` = {_quoted(evaluation_id)}")
        for run in sorted(runs, key=lambda run: SUPERSEDED_BY in run.data.tags):
            models = run.outputs.model_outputs if run.outputs else []
            return Recorded(run.info.run_id, models[0].model_id if models else "")
        return None

    def run_url(self, run_id: str) -> str | None:
        """The run's page; None where no address of an MLflow UI is configured."""
        if not self.mlflow_url:
            return None
        self._connect()
        return f"{self.mlflow_url.rstrip('/')}/#/experiments/{self._experiment_id}/runs/{run_id}?{VIEW}"

    def experiment_url(self, address: str) -> str:
        """The experiment's page, of an MLflow UI at an address."""
        self._connect()
        return f"{address.rstrip('/')}/#/experiments/{self._experiment_id}/runs?{VIEW}"

    # --- parts of a record ---

    def _tags(self, cell: CellRecord) -> dict[str, str]:
        tags = {
            EVALUATION: cell.evaluation_id,
            SUBSET: cell.subset_id,
            DAGSTER_RUN: cell.dagster_run_id,
            ASSET: cell.asset_key,
            PARTITION: cell.partition,
            "enrich.task": cell.task,
            "enrich.arm": cell.arm,
            "enrich.budget": str(cell.budget),
            "enrich.seed": str(cell.seed),
            "enrich.model_digest": cell.model_digest,
            "mlflow.note.content": self._note(cell),
            "mlflow.source.name": "enrich",
            **cell.tags,
        }
        return {key: value for key, value in tags.items() if value}

    def _note(self, cell: CellRecord) -> str:
        lines = [
            f"Evaluation `{cell.evaluation_id}`: {cell.task}, {cell.arm}, {cell.n_train} frames.",
            f"Its frames: `SELECT frame_id FROM subset_frames WHERE subset_id = '{cell.subset_id}'`",  # nosec B608: words for the user
            f"The whole chain: `enrich lineage {cell.evaluation_id}`",
        ]
        if cell.dagster_run_id:
            run = f"`{cell.dagster_run_id}`"
            if self.dagster_url:
                run = f"[{cell.dagster_run_id}]({self.dagster_url.rstrip('/')}/runs/{cell.dagster_run_id})"
            lines.append(f"Dagster run: {run}, asset `{cell.asset_key}`, partition `{cell.partition}`")
        return "\n\n".join(lines)

    def _log_model(self, client: MlflowClient, cell: CellRecord, run_id: str, name: str) -> str:
        tags = {
            EVALUATION: cell.evaluation_id,
            SUBSET: cell.subset_id,
            "enrich.model_digest": cell.model_digest,
        }
        model = client.create_logged_model(
            self._experiment_id,
            name=name.replace(" ", "-").replace("/", "-"),
            source_run_id=run_id,
            tags={key: value for key, value in tags.items() if value},
            params={"task": cell.task, "arm": cell.arm, "budget": str(cell.budget), "seed": str(cell.seed)},
            model_type=cell.model_type or None,
        )
        if cell.weights is not None:
            weights = Path(cell.weights)
            client.log_model_artifact(model.model_id, str(weights))
            with tempfile.TemporaryDirectory() as folder:
                described = Path(folder) / "MLmodel"
                described.write_text(mlmodel(cell, run_id, model.model_id, weights.name), encoding="utf-8")
                client.log_model_artifact(model.model_id, str(described))
        return model.model_id

    def _log_datasets(self, client: MlflowClient, cell: CellRecord, run_id: str) -> tuple[_Dataset, _Dataset]:
        """The subset that was learned from and the test set that was scored on (the subset again where that is not known)."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest = f"{cell.task}/{cell.arm}/subset", cell.subset_id[:DIGEST_CHARACTERS]
        source = {
            "subset_id": cell.subset_id,
            "uri": cell.subset_source,
            "budget": cell.budget,
            "seed": cell.seed,
        }
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type="enrich_subset",
            source=json.dumps(source),
            profile=json.dumps({"num_rows": cell.n_train}),
        )
        tags = [InputTag("mlflow.data.context", "training"), InputTag(SUBSET, cell.subset_id)]
        inputs = [DatasetInput(dataset, tags)]
        subset = test_set = (name, digest)
        if cell.test_set_digest:
            test_set = (f"{cell.task}/test_set", cell.test_set_digest[:DIGEST_CHARACTERS])
            scored_on = Dataset(
                name=test_set[0],
                digest=test_set[1],
                source_type="enrich_test_set",
                source=json.dumps({"test_set_digest": cell.test_set_digest}),
                profile=json.dumps({"num_rows": cell.n_test}),
            )
            inputs.append(DatasetInput(scored_on, [InputTag("mlflow.data.context", "evaluation")]))
        client.log_inputs(run_id, inputs)
        return subset, test_set

    def _log_numbers(
        self,
        client: MlflowClient,
        cell: CellRecord,
        run_id: str,
        model_id: str,
        datasets: tuple[_Dataset, _Dataset],
        ended: int,
    ) -> None:
        from mlflow.entities import Metric, Param

        subset, test_set = datasets
        last = last_epoch(cell)
        metrics = [
            Metric(key, float(value), ended, last, model_id=model_id, dataset_name=name, dataset_digest=digest)
            for key, value in cell.metrics.items()
            for name, digest in [subset if key in OF_TRAINING else test_set]
        ]
        metrics += [
            Metric(key, float(value), ended, epoch)
            for key, values in cell.curves.items()
            for epoch, value in enumerate(values)
        ]
        own = {
            "task": cell.task,
            "arm": cell.arm,
            "budget": cell.budget,
            "seed": cell.seed,
            "n_train": cell.n_train,
        }
        params = [Param(key, str(value)) for key, value in {**dotted(cell.params), **own}.items()]
        for some in slices(params, MOST_PARAMS):
            client.log_batch(run_id, params=some)
        for several in slices(metrics, MOST_METRICS):
            client.log_batch(run_id, metrics=several)

    def _supersede(self, client: MlflowClient, cell: CellRecord, run_id: str) -> None:
        if not cell.asset_key:
            return
        same = f"tags.`{ASSET}` = {_quoted(cell.asset_key)} AND tags.`{PARTITION}` = {_quoted(cell.partition)}"
        for run in self._search(same):
            if run.info.run_id != run_id and SUPERSEDED_BY not in run.data.tags:
                client.set_tag(run.info.run_id, SUPERSEDED_BY, run_id)

    # --- connection ---

    def _search(self, condition: str) -> list[Any]:
        """Finished runs that meet the condition, newest first."""
        client = self._connect()
        return list(
            client.search_runs(
                [self._experiment_id],
                f"attributes.status = 'FINISHED' AND {condition}",
                order_by=["attributes.start_time DESC", "attributes.end_time DESC"],
            )
        )

    def _connect(self) -> MlflowClient:
        if self._client is None:
            client_class = _import_client()
            with self._one_at_a_time():
                client = client_class(tracking_uri=self.uri)
                self._experiment_id = patiently(lambda: self._experiment(client), "MLflow", passes=self._passes)
                self._let_readers_in()
            self._client = client
        return self._client

    def _experiment(self, client: MlflowClient) -> str:
        """Id of the experiment, which is made where it is missing; of two that make it at once, one does."""
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            try:
                tags = {KIND: CLASSIC}
                made = client.create_experiment(self.experiment_name, self._artifact_location(), tags=tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(self.experiment_name)
                assert experiment is not None
            else:
                self._put_default_away(client)
                return str(made)
        if KIND not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, KIND, CLASSIC)
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _passes(self, error: BaseException) -> bool:
        """Whether an error may pass by itself: of a server's database; not of a file."""
        return self._sqlite_file is None and may_pass_behind(error)

    def _put_default_away(self, client: MlflowClient) -> None:
        """MLflow makes an experiment `Default` in every new database; ours hold nothing in it."""
        if self._sqlite_file is None:
            return
        default = client.get_experiment(DEFAULT_EXPERIMENT)
        if default.lifecycle_stage == "active" and not client.search_runs([DEFAULT_EXPERIMENT], max_results=1):
            client.delete_experiment(DEFAULT_EXPERIMENT)

    @property
    def _sqlite_file(self) -> Path | None:
        return Path(self.uri.removeprefix("sqlite:///")).absolute() if self.uri.startswith("sqlite:///") else None

    def _artifact_location(self) -> str | None:
        if self.artifacts is not None:
            return f"{self.artifacts.rstrip('/')}/{self.experiment_name}"
        if self._sqlite_file is None:
            return None
        return (self._sqlite_file.parent / "mlflow").as_uri()

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if self._sqlite_file is None:
            yield
            return
        self._sqlite_file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._sqlite_file}.lock"):
            yield

    def _let_readers_in(self) -> None:
        """Write-ahead logging, once for the file: the MLflow UI reads while we write, and commits cost less."""
        if self._sqlite_file is not None:
            with contextlib.closing(sqlite3.connect(self._sqlite_file)) as database:
                database.execute("PRAGMA journal_mode = WAL")


def _import_client() -> type[MlflowClient]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from mlflow import MlflowClient

    for talkative in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    return MlflowClient


def _milliseconds(when: datetime | None) -> int:
    return int((time.time() if when is None else when.timestamp()) * 1000)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
