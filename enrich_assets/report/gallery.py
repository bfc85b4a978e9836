"""Frames to look at: chosen ones, left-out ones beside the chosen frame that stands for them, suspect labels.

Here: which frames are shown and what is said under them, and pictures small enough to live in the page. Not
here: where pixels come from (the caller's `images`), layout.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.report import numbers

Images = Callable[[str], "bytes | NDArray[np.uint8] | None"]


class Pictures:
    """Data URIs of frames, at most `side` pixels wide and `limit` bytes in all; None for a frame that
    cannot be shown.
    """

    def __init__(self, images: Images, *, side: int = 112, limit: int = 4_000_000) -> None:
        self._images, self._side, self._left = images, side, limit
        self._made: dict[str, str | None] = {}

    def uri(self, frame_id: str) -> str | None:
        """The frame as a data URI; None when it is gone or the page is full."""
        if frame_id not in self._made:
            self._made[frame_id] = self._encode(frame_id)
        uri = self._made[frame_id]
        if uri is None or len(uri) > self._left:
            return None
        self._left -= len(uri)
        return uri

    def _encode(self, frame_id: str) -> str | None:
        try:
            given = self._images(frame_id)
        except (
            KeyError,
            LookupError,
            OSError,
        ):  # a frame whose pixels are gone must not cost the whole report
            return None
        if given is None:
            return None
        picture = Image.open(io.BytesIO(given)) if isinstance(given, bytes) else Image.fromarray(np.asarray(given))
        picture = picture.convert("RGB" if picture.mode in ("RGB", "RGBA", "P") else "L")
        picture.thumbnail((self._side, self._side))
        out = io.BytesIO()
        picture.save(out, format="WEBP", quality=80, method=4)
        return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def png_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


@dataclass(frozen=True)
class Shown:
    """A frame and its picture; `caption` is one short line."""

    frame_id: str
    uri: str | None
    caption: str


@dataclass(frozen=True)
class Pair:
    """Two frames side by side, and what is said of both."""

    left: Shown
    right: Shown
    caption: str


@dataclass(frozen=True)
class Gallery:
    """What one subset took and what it left. `said` tells which subset, and out of how many frames these
    were taken.
    """

    arm: str
    budget: int
    seed: int
    chosen: tuple[Shown, ...]
    left_out: tuple[Pair, ...]
    said: str


def gallery(
    task: str, tables: dict[str, pd.DataFrame], pictures: Pictures, *, budget: int | None, most: int = 12
) -> Gallery | None:
    """Chosen and left-out frames of one subset: the first arm (ENRICH where there is), least seed, `budget`
    or the smallest; None where there are no subsets.

    tables: rows of this task. The nearest chosen frame comes from `nearest_chosen` (frame_id, chosen_id,
    similarity) where given, which is complete; else from `neighbours`, which knows it only when it is among
    a frame's nearest few.
    """
    subsets = numbers.current(tables["subsets"])
    subsets = subsets[subsets["arm"] != "all"] if len(subsets) else subsets
    if subsets.empty:
        return None
    arm = min(subsets["arm"].unique(), key=numbers.arm_order)
    mine = subsets[subsets["arm"] == arm].sort_values(["seed", "budget"])
    mine = mine[mine["seed"] == mine["seed"].min()]
    one = mine[mine["budget"] == budget] if budget is not None else mine.head(1)
    subset = (one if len(one) else mine).iloc[0]
    members = tables["subset_frames"]
    members = members[members["subset_id"] == subset["subset_id"]].sort_values("position")
    taken = list(members["frame_id"])
    nearest, said = _nearest_chosen(tables, set(taken))
    return Gallery(
        str(arm),
        int(subset["budget"]),
        int(subset["seed"]),
        tuple(_chosen(tables, str(arm), int(subset["seed"]), taken, pictures, most)),
        tuple(
            Pair(
                Shown(r.frame_id, pictures.uri(r.frame_id), "left out"),
                Shown(r.chosen_id, pictures.uri(r.chosen_id), "nearest chosen"),
                f"similarity {numbers.similarity(r.similarity)}",
            )
            for r in _spread(nearest, most).itertuples()
        ),
        said,
    )


def _chosen(
    tables: dict[str, pd.DataFrame], arm: str, seed: int, taken: list[str], pictures: Pictures, most: int
) -> list[Shown]:
    ranking = numbers.current(tables["rankings"])
    if len(ranking):
        ranking = ranking[(ranking["arm"] == arm) & (ranking["seed"] == seed)].sort_values("position")
        ranking = ranking[(ranking["position"] < len(taken)) & ranking["similarity_to_chosen"].notna()].head(most)
    if ranking.empty:
        return [Shown(f, pictures.uri(f), f"no. {i + 1}") for i, f in enumerate(taken[:most])]
    return [
        Shown(
            r.frame_id,
            pictures.uri(r.frame_id),
            f"no. {r.position + 1}, {numbers.similarity(r.similarity_to_chosen)}",
        )
        for r in ranking.itertuples()
    ]


def _nearest_chosen(tables: dict[str, pd.DataFrame], taken: set[str]) -> tuple[pd.DataFrame, str]:
    given = tables["nearest_chosen"]
    if len(given):
        left = given[~given["frame_id"].isin(taken) & given["chosen_id"].isin(taken)]
        return left, f"{numbers.count(len(left))} frames were left out"
    neighbours = tables["neighbours"]
    if neighbours.empty:
        return pd.DataFrame(columns=["frame_id", "chosen_id", "similarity"]), "no neighbours are known"
    left = neighbours[~neighbours["frame_id"].isin(taken)]
    known = left[left["neighbour_id"].isin(taken)].sort_values(["similarity", "neighbour_id"], ascending=[False, True])
    known = known.drop_duplicates("frame_id").rename(columns={"neighbour_id": "chosen_id"})
    return known, (
        f"{numbers.count(left['frame_id'].nunique())} frames were left out, {numbers.count(len(known))} of them with a "
        "chosen frame among their nearest few; shown are some of these"
    )


def _spread(nearest: pd.DataFrame, most: int) -> pd.DataFrame:
    """From the most to the least redundant, evenly."""
    ordered = nearest.sort_values(["similarity", "frame_id"], ascending=[False, True])
    if len(ordered) <= most:
        return ordered
    return ordered.iloc[np.linspace(0, len(ordered) - 1, most).round().astype(int)]


def conflicts(
    near_duplicates: pd.DataFrame, labels: pd.DataFrame, pictures: Pictures, *, most: int = 12
) -> tuple[list[Pair], int]:
    """Near-duplicates that carry different labels, most alike first, and how many there are in all."""
    if near_duplicates.empty:
        return [], 0
    rows = near_duplicates[near_duplicates["labels_conflict"].fillna(False).astype(bool)]
    current = numbers.current(labels)
    given: dict[str, Any] = dict(zip(current["frame_id"], current["label"], strict=True)) if len(current) else {}

    def shown(frame_id: str) -> Shown:
        label = given.get(frame_id)
        return Shown(frame_id, pictures.uri(frame_id), "?" if numbers.is_missing(label) else str(label))

    ordered = rows.sort_values(["similarity", "frame_id"], ascending=[False, True]).head(most)
    pairs = [
        Pair(
            shown(r.frame_id),
            shown(r.other_id),
            f"similarity {numbers.similarity(r.similarity)}, {r.relation}",
        )
        for r in ordered.itertuples()
    ]
    return pairs, len(rows)
