"""What the MLflow recorder writes of a trained cell, and where that stands then. Writing it is `tracking.py`'s part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


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
    started_at: datetime | None = None
    ended_at: datetime | None = None
    pictures: Mapping[str, str | Path] = field(default_factory=dict)  # folder in the run -> local file
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """Where a cell stands in MLflow."""

    run_id: str
    model_id: str
