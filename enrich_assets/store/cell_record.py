"""What the MLflow recorder writes of a trained cell, and where that stands then. Writing it is `tracking.py`'s part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class CellRecord:
    """A trained and scored cell, as it is to stand in MLflow."""

    evaluation_id: str
    task: str
    arm: str
    budget: int
    seed: int
    subset_id: str  # sha256, 64 hex characters
    n_train: int
    metrics: Mapping[str, float]  # auc or jaccard, and what belongs to it
    params: Mapping[str, Any] = field(default_factory=dict)  # nested mappings become dotted names
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)  # name -> a value per epoch
    weights: str | Path | None = None  # a local safetensors file
    model_digest: str = ""
    model_type: str = ""  # resnet, unet
    asset_key: str = ""
    partition: str = ""
    dagster_run_id: str = ""
    subset_source: str = ""  # URL of the subset's frames
    test_set_digest: str = ""  # of the test frames and their labels; "": not known
    n_test: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    pictures: Mapping[str, str | Path] = field(default_factory=dict)  # folder in the run -> local file
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """Where a cell stands in MLflow."""

    run_id: str
    model_id: str


def mlmodel(cell: CellRecord, run_id: str, model_id: str, weights: str) -> str:
    """The MLmodel file: JSON, which is YAML. A flavour of our own, so that nothing tries to unpickle or import."""
    flavour = {
        "weights": weights,
        "format": "safetensors",
        "model_type": cell.model_type,
        "sha256": cell.model_digest,
    }
    return json.dumps(
        {
            "artifact_path": f"models:/{model_id}",
            "flavors": {"enrich": flavour},
            "model_id": model_id,
            "run_id": run_id,
            "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        },
        indent=1,
    )


def last_epoch(cell: CellRecord) -> int:
    """The step that scores are logged at: the last of the curves, from 0."""
    return max([1, *(len(values) for values in cell.curves.values())]) - 1


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def slices(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    """The items in their order, at most so many together."""
    for start in range(0, len(items), most):
        yield items[start : start + most]
