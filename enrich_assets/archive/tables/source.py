"""What the published tables are made of: every value that is current, and the history of what was replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from enrich_assets.archive.curation import Panels
from enrich_assets.archive.frames import Frames, Split
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.sources import History
from enrich_assets.archive.values import Value
from enrich_assets.settings import Profile
from enrich_assets.store.receipts import Cell, Receipt

Tables = dict[str, pd.DataFrame | pa.Table]
ByTask = Mapping[str, Value]
ByEmbedding = Mapping[tuple[str, str], Value]  # (task, embedding)
ByArm = Mapping[tuple[str, str], Value]  # (task, arm)


@dataclass(frozen=True)
class Everything:
    """Everything of an archive that is published; what was not made yet is empty."""

    profile: Profile
    history: History
    studies: Value
    frames: Frames
    split: Split
    labels: Labels
    archive_redundancy: Value
    archive_panels: Panels
    leaks: Value
    redundancy: ByEmbedding
    panels: Mapping[tuple[str, str], Panels]  # (task, embedding)
    health: Value
    comparisons: ByTask
    worklists: ByTask
    rankings: ByArm
    subsets: ByArm
    evaluations: ByArm
    checks: Mapping[Cell, Receipt]
    sites: Value | None = None  # None where the profile names none


def concat(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one after the other; of nothing, a table without columns."""
    kept = [table for table in tables if len(table)]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()


def time(text: pd.Series | str) -> pd.Series | pd.Timestamp:
    """ISO 8601 text as UTC times."""
    return pd.to_datetime(text, utc=True, format="ISO8601")
