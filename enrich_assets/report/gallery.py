"""Frames to look at: chosen ones, left-out ones beside the nearest chosen frame.

Here: which frames are shown, the captions under them, and pictures small enough to live in the page. Leaks stand in
`leaks.py`. Not here: where pixels come from (the caller's `images`), layout.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.report import numbers

Images = Callable[[str], "bytes | NDArray[np.uint8] | None"]


class Pictures:
    """Data URIs of frames, as many as the page has room for.

    Parameters
    ----------
    images : callable
        frame_id -> PNG bytes or (h, w[, 3]) uint8, or None; a LookupError or OSError counts as None.
    side : int
        Greatest width and height, in pixels.
    limit : int
        Greatest size of all URIs together, in bytes.
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
        except (LookupError, OSError):  # a frame whose pixels are gone must not cost the whole report
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
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


@dataclass(frozen=True)
class FramePicture:
    """A frame and its picture (a data URI, None where there is none); `caption` is one short line."""

    frame_id: str
    uri: str | None
    caption: str


@dataclass(frozen=True)
class Pair:
    """Two frames side by side, and one line about both."""

    left: FramePicture
    right: FramePicture
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Frames that one subset holds, and frames it leaves out; `summary` says out of how many these are drawn."""

    arm: str
    budget: int
    seed: int
    chosen: tuple[FramePicture, ...]
    left_out: tuple[Pair, ...]
    summary: str


def gallery(
    task: str, tables: dict[str, pd.DataFrame], pictures: Pictures, *, budget: int | None, most: int = 12
) -> Gallery | None:
    """Chosen and left-out frames of one subset: of the first arm (ENRICH where there is one) and the least seed.

    Parameters
    ----------
    task : str
        Its name.
    tables : dict of str to pandas.DataFrame
        Published tables, rows of this task. The nearest chosen frame comes from `nearest_chosen` (frame_id,
        chosen_id, similarity) where given, which is complete; else from `neighbours`, which has it only when it is
        among the few nearest of a frame.
    pictures : Pictures
        Where the frames' pictures come from.
    budget : int or None
        Of the subset; the smallest where None or where there is no such subset.
    most : int
        Greatest number of frames of each kind.

    Returns
    -------
    Gallery or None
        None where there are no subsets.
    """
    subsets = numbers.current(tables["subsets"])
    subsets = subsets[subsets["arm"] != "all"] if len(subsets) else subsets
    if subsets.empty:
        return None
    arm = min(subsets["arm"].unique(), key=numbers.arm_order)
    of_arm = subsets[subsets["arm"] == arm].sort_values(["seed", "budget"])
    of_seed = of_arm[of_arm["seed"] == of_arm["seed"].min()]
    of_budget = of_seed[of_seed["budget"] == budget] if budget is not None else of_seed.head(1)
    subset = (of_budget if len(of_budget) else of_seed).iloc[0]
    members = tables["subset_frames"]
    members = members[members["subset_id"] == subset["subset_id"]].sort_values("position")
    chosen = list(members["frame_id"])
    nearest, summary = _nearest_chosen(tables, set(chosen))
    return Gallery(
        str(arm),
        int(subset["budget"]),
        int(subset["seed"]),
        tuple(_chosen(tables, str(arm), int(subset["seed"]), chosen, pictures, most)),
        tuple(
            Pair(
                FramePicture(r.frame_id, pictures.uri(r.frame_id), "left out"),
                FramePicture(r.chosen_id, pictures.uri(r.chosen_id), "nearest chosen"),
                f"similarity {numbers.similarity(r.similarity)}",
            )
            for r in _spread(nearest, most).itertuples()
        ),
        summary,
    )


def _chosen(
    tables: dict[str, pd.DataFrame], arm: str, seed: int, chosen: list[str], pictures: Pictures, most: int
) -> list[FramePicture]:
    ranking = numbers.current(tables["rankings"])
    if len(ranking):
        ranking = ranking[(ranking["arm"] == arm) & (ranking["seed"] == seed)].sort_values("position")
        ranking = ranking[(ranking["position"] < len(chosen)) & ranking["similarity_to_chosen"].notna()].head(most)
    if ranking.empty:
        return [FramePicture(f, pictures.uri(f), f"no. {i + 1}") for i, f in enumerate(chosen[:most])]
    return [
        FramePicture(
            r.frame_id,
            pictures.uri(r.frame_id),
            f"no. {r.position + 1}, {numbers.similarity(r.similarity_to_chosen)}",
        )
        for r in ranking.itertuples()
    ]


def _nearest_chosen(tables: dict[str, pd.DataFrame], chosen: set[str]) -> tuple[pd.DataFrame, str]:
    given = tables["nearest_chosen"]
    if len(given):
        left = given[~given["frame_id"].isin(chosen) & given["chosen_id"].isin(chosen)]
        return left, f"{numbers.count(len(left))} frames were left out"
    neighbours = tables["neighbours"]
    if neighbours.empty:
        return pd.DataFrame(columns=["frame_id", "chosen_id", "similarity"]), "no neighbours are known"
    left = neighbours[~neighbours["frame_id"].isin(chosen)]
    known = left[left["neighbour_id"].isin(chosen)].sort_values(["similarity", "neighbour_id"], ascending=[False, True])
    known = known.drop_duplicates("frame_id").rename(columns={"neighbour_id": "chosen_id"})
    return known, (
        f"{numbers.count(left['frame_id'].nunique())} frames were left out, {numbers.count(len(known))} of them with a "
        "chosen frame among their nearest neighbours; some of these are shown"
    )


def _spread(nearest: pd.DataFrame, most: int) -> pd.DataFrame:
    """From the most to the least redundant, evenly."""
    ordered = nearest.sort_values(["similarity", "frame_id"], ascending=[False, True])
    if len(ordered) <= most:
        return ordered
    return ordered.iloc[np.linspace(0, len(ordered) - 1, most).round().astype(int)]
