"""Homes of any size, written without decoding or training: what `load` and `million` measure.

Receipts and artefacts are written by the store's own drafts, from what the planner says each cell reads. So the planner finds everything
fresh. Pictures have 4x4 pixels, vectors 8 numbers; panels, scores and checks are made up.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.archive.frames import Frames
from enrich_assets.core.making import write_output
from enrich_assets.core.planner import Inputs, Planner
from enrich_assets.core.reads import Read
from enrich_assets.core.stages import Goal, Outlook, stages
from enrich_assets.core.step import CellContext, Check, Declared, Step, StepOutput
from enrich_assets.defs.assets import graph_of
from enrich_assets.profiles import load_profile
from enrich_assets.store.identity import evaluation_id
from enrich_assets.store.receipts import Cell, Receipt, digest_of

TASK, EMBEDDING = "view", "pca"
VIEWS, SIDE, DIMENSIONS = ("similarity", TASK), 4, 8
PATIENTS_PER_BATCH, CLIPS_PER_PATIENT = 25, 4


@dataclass(frozen=True)
class Size:
    """How large a home is."""

    batches: int
    frames_per_batch: int
    labelled_per_batch: int
    seeds: int
    budgets: int

    @classmethod
    def of(cls, scale: float) -> Size:
        """Batches and evaluations shrink with the scale; a batch is as large at any from 0.1 on."""
        small = scale < 0.1
        return cls(
            batches=max(2, round(100 * scale)),
            frames_per_batch=200 if small else 10_000,
            labelled_per_batch=100,
            seeds=max(2, round(100 * scale)),
            budgets=2 if small else 20,
        )

    @property
    def evaluations(self) -> int:
        """Cells of the training grid: one arm, and the whole pool."""
        return self.seeds * (self.budgets + 1)


def profile_text(size: Size) -> str:
    """The profile of a home of that size."""
    budgets = [20 + 10 * k for k in range(size.budgets)]
    return f"""extends: demo
name: load
workers: 2
embeddings: {{{EMBEDDING}: {{kind: pca, dimensions: {DIMENSIONS}}}}}
similarity: {{max_pairs: 1}}
tasks:
  chambers: null
  {TASK}: {{size: 32, arms: {{random: null}}, initial_frames: 10, budgets: {budgets}, seeds: {size.seeds},
          training: {{epochs: 1, search: null}}}}
"""


class Builder:
    """Writes the cells of a home, one after the other, as the planner orders them."""

    def __init__(self, home: Path, size: Size) -> None:
        self.size = size
        home.mkdir(parents=True, exist_ok=True)
        (home / "enrich.yaml").write_text(self.profile(), encoding="utf-8")
        self.archive = Archive(home, load_profile(str(home / "enrich.yaml")))
        self.archive.make_home()
        self.archive.mark_layout()
        self.random = np.random.default_rng(0)
        for number in range(size.batches):
            name = f"batch-{number + 1:04d}"
            rows = self._manifest(name)
            nothing = pd.DataFrame({"path": [], "reason": []}, dtype="string")
            self.archive.register.add(name, digest_of(name), f"/made/{name}", rows, nothing)
        self.planner = _Remembering(self.archive, size)
        self.made: dict[str, Callable[[CellContext, Mapping[str, Any]], StepOutput]] = {
            "frames": self._frames,
            f"{EMBEDDING}_weights": self._weights,
            "embeddings": self._vectors,
            "similarity": self._panel,
            "redundancy": self._redundancy,
            "leaks": self._leaks,
            "embedding_health": self._health,
            "ranking": self._ranking,
            "model": self._model,
            "evaluation": self._evaluation,
            "worklist": self._worklist,
            "comparison": self._comparison,
        }

    def profile(self) -> str:
        """What the home's `enrich.yaml` says."""
        return profile_text(self.size)

    def build(self) -> None:
        """Every cell but what is published."""
        for stage in stages(Outlook(self.planner), Goal()):
            for group in stage.groups:
                for declared in group.members:
                    if declared.key.partition("@")[0] not in ("results", "report"):
                        self._write(declared, group.partition)
        self._record()

    def _record(self) -> None:
        """The runs of the evaluations in MLflow's database, as far as `enrich run` looks for them."""
        runs = [
            receipt.metrics["mlflow_run_id"]
            for key in self.planner.graph.steps
            if key.endswith("/evaluation")
            for receipt in self.planner.held(key).values()
        ]
        experiment = self.archive.tracking(TASK).prepare()
        with contextlib.closing(sqlite3.connect(self.archive.home / "mlflow.db")) as database:
            database.executemany(
                "INSERT INTO runs (run_uuid, name, experiment_id, status, lifecycle_stage, start_time, end_time) "
                "VALUES (?, 'made up', ?, 'FINISHED', 'active', 0, 0)",
                [(run, experiment) for run in runs],
            )
            database.commit()

    def _write(self, declared: Declared, partition: str) -> None:
        inputs = self.planner.inputs(declared, partition)
        cell, store = declared.cell(partition), self.archive.store
        draft = store.draft(cell, settings=declared.settings_digest, inputs=inputs.counted)
        draft.read_from = inputs.read
        if isinstance(declared, Check):
            facts = {"passed": True, "description": "made up"}
            draft.commit(digest=digest_of(facts), blocking=declared.blocking, **facts)
            return
        assert isinstance(declared, Step)
        context = CellContext(cell, declared.where, declared.settings, draft, "", None, self.archive.tracking)
        made_up = self.made.get(declared.name if not declared.key.startswith("embeddings/") else "embeddings")
        values = self.planner.values(declared, partition, inputs)
        output = declared.function(context, **values) if made_up is None else made_up(context, values)
        write_output(draft, output)
        draft.commit(digest=output.digest, **{"seconds": 1.0, **output.metrics})

    # -------------------------------------------------------------------------------------------- what is made up

    def _manifest(self, batch: str) -> pd.DataFrame:
        rows = []
        for patient in range(PATIENTS_PER_BATCH):
            for clip in range(CLIPS_PER_PATIENT):
                name = f"{batch}-p{patient:02d}"
                rows.append(
                    {
                        "path": f"/made/{batch}/{patient}-{clip}.mp4",
                        "sha256": digest_of([batch, patient, clip]),
                        "n_bytes": 1000,
                        "patient_id": name,
                        "study_id": f"{name}-s",
                        "clip_id": f"{name}-s/c{clip}",
                        "frame_index": None,
                        "split": "train" if patient % 3 else "test",
                    }
                )
        table = pd.DataFrame(rows).astype({"frame_index": "Int64"})
        labelled = []  # single frames of each clip carry a label, not all
        per_clip = self.size.labelled_per_batch // len(table)
        for number, row in enumerate(table.to_dict("records")):
            labelled += [{**row, "frame_index": k, "label": ("NT", "A4C")[number % 2]} for k in range(per_clip)]
        return pd.concat([table, pd.DataFrame(labelled)], ignore_index=True).astype({"frame_index": "Int64"})

    def _frames(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        files = values["studies"].table("rows").drop_duplicates("path").reset_index(drop=True)
        per_clip = self.size.frames_per_batch // len(files)
        at = np.repeat(np.arange(len(files)), per_clip)
        table = files.loc[at, ["study_id", "clip_id", "patient_id", "path"]].reset_index(drop=True)
        table["frame_index"] = np.tile(np.arange(per_clip), len(files))
        table.insert(0, "frame_id", table["clip_id"] + "/" + table["frame_index"].astype(str))
        table["batch"], table["part"], table["row"] = cell.partition, 0, np.arange(len(table))
        pixels = self.random.integers(0, 255, (len(table), SIDE, SIDE), dtype=np.uint8)
        for view in VIEWS:
            table[f"digest_{view}"] = [one.tobytes().hex() * 2 for one in pixels]
        clips = files[["study_id", "clip_id", "patient_id", "path"]].assign(
            file_sha256=files["sha256"], n_frames=per_clip, height=60, width=60, warnings="", deidentification=""
        )
        for view in VIEWS:
            clips[f"box_{view}"] = [[0, 0, 60]] * len(clips)
        refused = pd.DataFrame({"path": [], "reason": []}, dtype="string")
        arrays = {f"{view}/0000": pixels for view in VIEWS}
        metrics = {"frames": len(table), "clips": len(clips), "files_refused": 0, "files_with_warnings": 0}
        return StepOutput({"frames": table, "clips": clips, "refused": refused}, arrays, metrics=metrics)

    def _weights(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        return StepOutput(arrays={"components": np.eye(DIMENSIONS)}, metrics={"train_batches": [], "train_frames": 1})

    def _vectors(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        from enrich_assets.method.embeddings.fixed_point import to_fixed_point

        ids = values["frames"].table[["frame_id"]]
        vectors = to_fixed_point(self.random.normal(size=(len(ids), DIMENSIONS)))
        return StepOutput({"frames": ids}, {"vectors": vectors}, metrics={"frames": len(ids), "dimensions": DIMENSIONS})

    def _panel(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        metrics = {"frames": 1, "frames_before": 0, "pairs": 10, "is_estimate": True}
        return StepOutput({"estimate": _estimate()}, metrics=metrics)

    def _redundancy(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        from enrich_assets.store.panels import estimated_table

        table = estimated_table(_estimate())
        metrics = {"near_duplicates": 0, "near_duplicates_listed": 0, "is_estimate": True}
        if cell.where.task:
            tables = {"redundancy": table, "neighbours": pd.DataFrame(), "near_duplicates": pd.DataFrame()}
        else:
            tables = {"redundancy": pd.concat([table.assign(whole=name) for name in ("archive", "train")])}
        return StepOutput(tables, metrics=metrics)

    def _leaks(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        from enrich_assets.archive.tables.leaks import find_leaks

        frames = values["frames"].table.head(1).assign(split="train")
        found = find_leaks(frames, np.zeros((1, DIMENSIONS), np.int16), None, {}, near_duplicate=0.95, most=10)
        return StepOutput({"leaks": found.table}, metrics=found.metrics)

    def _health(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        from enrich_assets.defs.assets.embedding_health import COLUMNS

        row = pd.DataFrame([[EMBEDDING, "cosines between patients", 0.0, None, 1, "ok", ""]], columns=COLUMNS)
        return StepOutput({"health": row}, metrics={"seconds_per_1000_frames": {EMBEDDING: 1.0}})

    def _ranking(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        from enrich_assets.defs.assets.ranking import RANKED, budget_sizes, way_of

        pool = values["pool"]
        seed = digest_of([cell.where.arm if cell.where.arm != "random" else "", cell.partition])
        order = np.random.default_rng(int(seed[:8], 16)).permutation(len(pool))
        table = pool.frames.loc[order, RANKED].reset_index(drop=True).assign(similarity_to_chosen=0.5)
        budgets, affordable = budget_sizes(cell.where, len(pool))
        coverage = pd.DataFrame({"budget": affordable, "coverage_p05": 0.1, "coverage_p50": 0.5, "coverage_min": 0.0})
        metrics = {
            "frames": len(pool),
            "start": 10,
            "way": way_of(cell.where),
            "sees_labels": False,
            "budgets": budgets,
        }
        return StepOutput({"ranking": table, "coverage": coverage}, metrics=metrics)

    def _model(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        history = pd.DataFrame({"loss": np.linspace(1, 0, 10), "accuracy": np.linspace(0, 1, 10)})
        metrics = {
            "device": "cpu",
            "n_train": values["subset"].metrics["frames"],
            "classes": list(values["classes"].value),
            "steps": 10,
            "loss_fall_share": 0.0,
            "presented": 100,
        }
        weights = {"model": {"w": np.array([self.random.random()])}}
        return StepOutput(weights=weights, note_tables={"history": history}, metrics=metrics)

    def _evaluation(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        test, model, subset = values["test_set"].table("test_set"), values["model"], values["subset"]
        budget, _, seed = cell.partition.partition("|")
        name = evaluation_id(TASK, cell.where.arm, budget, int(seed), model.receipt.digest, "", cell.draft.settings)
        chance = self.random.random(len(test)).round(4)
        truth = (test["label"].astype(str) == "A4C").astype(int)
        predictions = pd.DataFrame({"frame_id": test["frame_id"], "class": "A4C", "truth": truth, "score": chance})
        metrics = {
            "evaluation_id": name,
            "kind": "classification",
            "metric": "auc",
            "value": 0.5 + float(chance[0]) / 10,
            "ci_low": 0.4,
            "ci_high": 0.6,
            "n_train": model.metrics["n_train"],
            "n_test": len(test),
            "subset_id": subset.metrics["subset_id"],
            "model_digest": model.receipt.digest,
            "device": "cpu",
            "train_seconds": 1.0,
            "steps": 10,
            "mlflow_run_id": name[:32],
            "mlflow_model_id": name[:32],
        }
        return StepOutput({"predictions": predictions}, metrics=metrics)

    def _worklist(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        ids = values["vectors"].table("frames")["frame_id"].head(1000)
        rows = pd.DataFrame(
            {"position": np.arange(len(ids)), "frame_id": ids, "path": "", "similarity_to_labelled": 0.5}
        )
        rows["nearest_labelled_id"] = rows["frame_id"]
        return StepOutput({"worklist": rows, "test_worklist": rows.head(0)}, metrics={"frames": 1000, "advice": "none"})

    def _comparison(self, cell: CellContext, values: Mapping[str, Any]) -> StepOutput:
        nothing = {name: pd.DataFrame() for name in ("comparison", "sufficient", "adequacy")}
        return StepOutput(nothing, metrics={"evaluations": 1, "n_test": 1})


def _estimate() -> pd.DataFrame:
    rows = [
        {"relation": r, "lower": -1.0 + k / 10, "upper": -0.9 + k / 10, "pairs": 5.0, "share": 0.05}
        for r in ("all", "within clip", "within patient", "between patients")
        for k in range(20)
    ]
    return pd.DataFrame(rows).assign(is_estimate=True, ci_low=0.0, ci_high=1.0)


class _Remembering(Planner):
    """A planner that keeps the frame tables in memory: of a part it names the digest that any planner names, only sooner."""

    def __init__(self, archive: Archive, size: Size) -> None:
        super().__init__(archive, graph_of(archive.profile))
        self.size = size
        self._parts: dict[Any, Any] = {}
        self._tables: dict[str, pd.DataFrame] = {}

    def _value(self, declared: Declared, name: str, partition: str, inputs: Inputs, values: dict[str, Any]) -> Any:
        read = declared.reads[name]
        if name in values or read.part_of is None or read.of:
            return super()._value(declared, name, partition, inputs, values)
        cells = tuple(inputs.by_read[name])
        key = (read.part_of, declared.where.task, cells[0] if cells else None, len(cells))
        if key not in self._parts:
            self._parts = {k: v for k, v in self._parts.items() if k[0] is not read.part_of or k[3] < 2 or v is None}
            self._parts[key] = super()._value(declared, name, partition, inputs, values)
        values[name] = self._parts[key]
        return values[name]

    def _whole(self, declared: Declared, read: Read, receipts: Mapping[Cell, Receipt]) -> Any:
        value = super()._whole(declared, read, receipts)
        if isinstance(value, Frames) and "frame_table" not in value.__dict__ and len(value.receipts) > 1:
            for batch, receipt in value.receipts.items():
                if batch not in self._tables:
                    self._tables[batch] = self.archive.store.table(receipt, "frames")
            value.__dict__["frame_table"] = pd.concat([self._tables[b] for b in value.receipts], ignore_index=True)
        if isinstance(value, Frames) and read.of and read.asset == "frames":  # only labelled frames are ever chosen
            few = self.size.labelled_per_batch // (PATIENTS_PER_BATCH * CLIPS_PER_PATIENT)
            if "labelled" not in value.__dict__:
                labelled = Frames(value.store, value.receipts)
                table = value.frame_table
                labelled.__dict__["frame_table"] = table[table["frame_index"] < few].reset_index(drop=True)
                value.__dict__["labelled"] = labelled
            return value.__dict__["labelled"]
        return value
