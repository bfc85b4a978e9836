"""What curation makes, as values: pools, vectors, panels, rankings, subsets, evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from enrich_assets.archive.values import Value
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.pairs.panel import Panel, sum_panels
from enrich_assets.store.artefacts import Store
from enrich_assets.store.panels import read_panel
from enrich_assets.store.receipts import DamagedStore, Receipt, digest_of

if TYPE_CHECKING:
    from enrich_assets.method.statistics.by_patient import LeftOut


class Pool(Value):
    """Train frames that a task may choose from, batch after batch."""

    @cached_property
    def frames(self) -> pd.DataFrame:
        """A row per frame: frame_id, patient_id, study_id, clip_id, batch, part, row, pixel_digest."""
        return (
            self.table("pool")
            if self.receipts
            else pd.DataFrame(columns=["frame_id", "patient_id", "clip_id", "batch", "pixel_digest"])
        )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def ids(self) -> np.ndarray:
        """(n,) frame ids, in the order of the pool."""
        return self.frames["frame_id"].to_numpy()

    @cached_property
    def clips(self) -> np.ndarray:
        """(n,) int64: which clip each frame is of."""
        return pd.factorize(self.frames["clip_id"])[0].astype(np.int64)

    @cached_property
    def patients(self) -> np.ndarray:
        """(n,) int64: which patient each frame is of."""
        return pd.factorize(self.frames["patient_id"])[0].astype(np.int64)

    def n_before(self, batch: str) -> int:
        """How many frames come from earlier batches."""
        return len(self) - int((self.frames["batch"] == batch).sum())

    def positions(self, frame_ids: pd.Series) -> np.ndarray:
        """Where frames stand in the pool.

        Parameters
        ----------
        frame_ids : (m,) str

        Returns
        -------
        (m,) int64
            Rows of `frames`.

        Raises
        ------
        KeyError
            For a frame that is not in the pool.
        """
        return pd.Series(np.arange(len(self)), index=self.ids).loc[frame_ids].to_numpy()


class Vectors(Value):
    """Fixed-point embeddings, with the frames they are of."""

    def of(self, frames: pd.DataFrame) -> np.ndarray:
        """Vectors of some frames.

        Parameters
        ----------
        frames
            Rows of a frame table; columns batch, frame_id.

        Returns
        -------
        (n, d) int16
            In the order of the rows, fixed point (4000 = 1); (0, 128) for no rows.

        Raises
        ------
        KeyError
            For a batch or a frame that was not embedded.
        DamagedStore
            If a stored file is gone or changed.
        """
        out: np.ndarray | None = None
        ids = frames["frame_id"].to_numpy()
        for batch, members in frames.reset_index(drop=True).groupby("batch", sort=False).groups.items():
            stored, position = self._batch(str(batch))
            at = np.asarray(members)
            if out is None:
                out = np.empty((len(frames), stored.shape[1]), np.int16)
            out[at] = stored[position.loc[ids[at]].to_numpy()]
        return out if out is not None else np.empty((0, 128), np.int16)

    def _batch(self, batch: str) -> tuple[np.ndarray, pd.Series]:
        receipt = self.receipts[batch]
        if batch not in self._positions:
            ids = self.store.table(receipt, "frames")["frame_id"]
            self._positions[batch] = pd.Series(np.arange(len(ids)), index=ids)
        return self.store.array(receipt, "vectors"), self._positions[batch]

    @cached_property
    def _positions(self) -> dict[str, pd.Series]:
        return {}


class Panels(Value):
    """Panels of some batches: counted, or where that was too much, estimated from a sample."""

    @property
    def are_estimated(self) -> bool:
        """Whether any of them comes from a sample of its pairs."""
        return any(receipt.metrics["is_estimate"] for receipt in self.receipts.values())

    def total(self) -> Panel | None:
        """Their sum; None where there are none, or some are estimates."""
        if not self.receipts or self.are_estimated:
            return None
        return sum_panels([read_panel(self.store, receipt) for receipt in self.receipts.values()])

    def total_for(self, n_earlier: int, neighbours: int) -> Panel | None:
        """The sum, where it is over exactly the earlier frames; it spares work, and never changes it.

        Parameters
        ----------
        n_earlier
            Frames of the pool in earlier batches.
        neighbours
            Listed per frame.

        Returns
        -------
        Panel or None
            None where it is over other frames, lists another number of neighbours, or one of its files cannot be read.
        """
        try:
            total = self.total()
        except DamagedStore:
            return None
        return total if total is not None and (total.n, total.n_neighbours) == (n_earlier, neighbours) else None


@dataclass(frozen=True)
class Evaluations:
    """The evaluations that hold for the subsets of today: (arm, cell) -> receipt."""

    receipts: Mapping[tuple[str, str], Receipt]
    store: Store | None = None  # where their predictions are

    @property
    def digest(self) -> str:
        """Of which evaluation each cell holds."""
        return digest_of({f"{arm}|{cell}": receipt.digest for (arm, cell), receipt in self.receipts.items()})

    def table(self) -> pd.DataFrame:
        """A row per evaluation.

        Of two budget keys that come to the same number of frames (`60` and `25%`), the first holds.

        Returns
        -------
        pandas.DataFrame
            arm, budget (frames), budget_key, seed, value, evaluation_id, and what else the receipts hold.
        """
        rows = []
        for (arm, cell), receipt in self.receipts.items():
            budget_key, _, seed = cell.partition("|")
            row = {"arm": arm, "budget": receipt.metrics["n_train"], "budget_key": budget_key, "seed": int(seed)}
            rows.append({**receipt.metrics, **row})
        columns = ["arm", "budget", "budget_key", "seed", "value", "evaluation_id"]
        table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
        return table.drop_duplicates(["arm", "budget", "seed"], ignore_index=True)

    def by_patient(self, patients: pd.Series) -> dict[tuple[str, int, int], LeftOut]:
        """The score of each evaluation with each test patient left out.

        Parameters
        ----------
        patients : Series
            Patient by frame id, of the test frames.

        Returns
        -------
        dict
            (arm, budget, seed) -> `LeftOut`, as `method.statistics.compare` takes it. An evaluation that was scored on
            a frame which is no test frame any more is left out.

        Raises
        ------
        DamagedStore
            If predictions are gone or changed.
        """
        found: dict[tuple[str, int, int], LeftOut] = {}
        for row in self.table().itertuples():
            receipt = self.receipts[row.arm, f"{row.budget_key}|{row.seed}"]
            assert self.store is not None
            predictions = self.store.table(receipt, "predictions")
            owners = predictions["frame_id"].map(patients)
            if owners.notna().all():
                kind = kind_of(receipt.metrics["kind"])
                key = (str(row.arm), int(row.budget), int(row.seed))
                found[key] = kind.left_out(predictions, owners.to_numpy(dtype=object))
        return found


def current_evaluations(evaluations: Mapping[str, Value], subsets: Mapping[str, Value]) -> Evaluations:
    """Those evaluations whose subset is still the one the ranking gives.

    Parameters
    ----------
    evaluations, subsets
        By arm.
    """
    return Evaluations(
        {
            (arm, cell): receipt
            for arm, of_arm in evaluations.items()
            for cell, receipt in of_arm.receipts.items()
            if cell in subsets[arm].receipts
            and receipt.metrics["subset_id"] == subsets[arm].receipts[cell].metrics["subset_id"]
        },
        next((value.store for value in evaluations.values()), None),
    )
