"""Greedy k-centre on a large pool, exact and lazy: most frames are looked at seldom, and then against many at once.

A frame's greatest similarity to the chosen set only grows, so a value that is out of date is a lower bound. A frame
need not be compared with new picks until its old value is among the least; then all that was chosen since is taken at
once, as a small matrix product. How much is spared is decided by the data: on redundant pools nearly everything, on
structureless ones at worst each pick is compared with each frame once, by the rate of a matrix product.

Here: the rounds and the kernels they are made of. The order is that of the plain rule in `greedy`, ties included.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.pairs.tiles import COLUMNS, ROWS, as_rows, compiled, raise_by_one, raise_by_six
from enrich_assets.method.ranking.order import NOT_COMPARED
from enrich_assets.method.threads import n_threads

Progress = Callable[[int, int, dict[str, float]], None]
TAKEN = 2 * EXACT  # greater than any product: a chosen frame is never the least similar
STRIDE = 16 * ROWS  # chosen frames between two looks whether a frame has risen out of reach
WORTH_A_THREAD = 200_000  # products, some 0.3 ms


class Known(NamedTuple):
    """What is known of each frame; the kernels change it in place.

    Invariant: best[frame] is the greatest product of the frame with chosen[: seen[frame]], a lower bound of that with all
    chosen; TAKEN for those chosen themselves.
    """

    rows: NDArray[np.int32]  # (n', d' / 2) of `tiles.as_rows`
    best: NDArray[np.int32]  # (n,)
    seen: NDArray[np.int64]  # (n,)
    chosen: NDArray[np.int32]  # (budget + ROWS, d' / 2) rows of the chosen, in their order


class Picks(NamedTuple):
    """The order so far, and of each pick the greatest product with those before it: (budget,) int64 each."""

    order: NDArray[np.int64]
    similarity: NDArray[np.int64]


class Reach(NamedTuple):
    """How far picks can be made among the frames of a round: every other frame lies above."""

    level: int  # the greatest value among the frames of the round
    barrier: int  # at the level itself: from this frame on, frames may stand there that are not of the round


class Scratch(NamedTuple):
    """Frames gathered for the tiles, and their values."""

    panels: NDArray[np.int32]  # (p, d' / 2, 16)
    values: NDArray[np.int32]  # (16 p,)

    @classmethod
    def of(cls, n: int, n_pairs: int) -> Scratch:
        n_panels = -(-n // COLUMNS)
        return cls(np.empty((n_panels, n_pairs, COLUMNS), np.int32), np.empty(n_panels * COLUMNS, np.int32))


# ----------------------------------------------------------------------------------------------------------- compiled


@compiled
def _gather(rows, frames, first, panels, panel):
    """The 16 frames from frames[first] on as one of panels (p, n_pairs, 16); the last one fills what is left."""
    for at in range(COLUMNS):
        frame = frames[min(first + at, frames.shape[0] - 1)]
        for k in range(rows.shape[1]):
            panels[panel, k, at] = rows[frame, k]


@compiled
def _raise_values(chosen, begin, end, panels, n_pairs, values):
    """Raise the values of the first panel's 16 frames to their products with chosen[begin:end]."""
    at = begin
    while at + ROWS <= end:
        raise_by_six(chosen, at, panels, 0, n_pairs, values, 0)
        at += ROWS
    while at < end:
        raise_by_one(chosen, at, panels, 0, n_pairs, values, 0)
        at += 1


@compiled
def _catch_up(known, frames, n_chosen, level, scratch):
    """Raise best[frames] to their greatest product with chosen[:n_chosen], as far as they have not seen them.

    16 frames at a time. Stops early, and says so in `seen`, where all 16 are above `level`: they are out of reach then.
    Returns the products made.
    """
    rows, best, seen, chosen = known
    panels, values = scratch
    n_pairs = rows.shape[1]
    n = frames.shape[0]
    made = 0
    for first in range(0, n, COLUMNS):
        begin = n_chosen
        for at in range(COLUMNS):
            frame = frames[min(first + at, n - 1)]
            values[at] = best[frame]
            begin = min(begin, seen[frame])
        if begin == n_chosen:
            continue
        _gather(rows, frames, first, panels, 0)
        at = begin
        while at < n_chosen:
            until = min(at + STRIDE, n_chosen)
            _raise_values(chosen, at, until, panels, n_pairs, values)
            at = until
            least = values[0]
            for i in range(1, COLUMNS):
                least = min(least, values[i])
            if least > level:
                break
        made += (at - begin) * COLUMNS
        for i in range(min(COLUMNS, n - first)):
            frame = frames[first + i]
            best[frame] = values[i]
            seen[frame] = max(seen[frame], at)
    return made


@compiled
def _first_of_the_least(values, n):
    """Place and value of the first of the least among values[:n]; (0, TAKEN) where all are taken."""
    value, place = np.int32(TAKEN), 0
    for at in range(n):
        if values[at] < value:
            value, place = values[at], at
    return place, value


@compiled
def _pick(known, frames, n_chosen, picks, reach, scratch):
    """Choose among `frames`, which are up to date and in ascending order, as long as the least is within reach.

    Returns how many are chosen then. Each step:

    1. The first of the least values. Frames ascend, so it is the one of lowest index.
    2. It is the pick of the plain rule if no other frame of the pool comes before it: all others are above the level,
       or at it from the barrier on.
    3. The values of all frames of the round are raised to their products with it.
    """
    rows, best, seen, chosen = known
    panels, values = scratch
    n_pairs = rows.shape[1]
    n = frames.shape[0]
    n_panels = panels.shape[0]
    for p in range(n_panels):
        _gather(rows, frames, p * COLUMNS, panels, p)
    for at in range(n):
        values[at] = best[frames[at]]
    while n_chosen < picks.order.shape[0]:
        place, value = _first_of_the_least(values, n)
        frame = frames[place]
        if value > reach.level or (value == reach.level and frame >= reach.barrier):
            break
        picks.order[n_chosen] = frame
        picks.similarity[n_chosen] = value
        for k in range(n_pairs):
            chosen[n_chosen, k] = rows[frame, k]
        for p in range(n_panels):
            raise_by_one(chosen, n_chosen, panels, p, n_pairs, values, p * COLUMNS)
        values[place] = TAKEN
        n_chosen += 1
    for at in range(n):
        best[frames[at]] = values[at]
        seen[frames[at]] = n_chosen
    return n_chosen


# ----------------------------------------------------------------------------------------------------------- the rounds


class CatchUp:
    """Comparing frames with what was chosen since they were last looked at, by several threads where it is much.

    A context: its threads end with it.
    """

    def __init__(self, known: Known, workers: int) -> None:
        self.known = known
        self.workers = workers
        self.team = ThreadPoolExecutor(workers)

    def __enter__(self) -> CatchUp:
        return self

    def __exit__(self, *_: object) -> None:
        self.team.shutdown()

    def __call__(self, frames: NDArray[np.int64], n_chosen: int, level: int) -> int:
        """Bring `frames` up to chosen[:n_chosen], or above `level`; returns the products made."""

        def piece(part: NDArray[np.int64]) -> int:
            scratch = Scratch.of(COLUMNS, self.known.rows.shape[1])
            return int(_catch_up(self.known, part, n_chosen, level, scratch))

        behind = int(n_chosen * len(frames) - self.known.seen[frames].sum())
        parts = min(self.workers, 1 + behind // WORTH_A_THREAD)
        if parts == 1:
            return piece(frames)
        # Several pieces for each thread, as they differ in work; none so long that the others wait for it.
        size = min(4096, max(1, len(frames) // (4 * parts * COLUMNS)) * COLUMNS)
        return sum(self.team.map(piece, [frames[at : at + size] for at in range(0, len(frames), size)]))


def rank(
    q: NDArray[np.int16],
    start: NDArray[np.int64],
    budget: int,
    known: NDArray[np.int32],
    progress: Progress | None = None,
    *,
    threads: int | None = None,
    width: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, float]]:
    """The order, each pick's similarity to those before, and how much work it was.

    Parameters
    ----------
    q : (n, d) int16
    start : (m,) int64
    budget : int
        All as `greedy.rank` has checked them.
    known : (n_old,) int32
        Of the first n_old frames the greatest product with any of `start`.
    threads, width : int, optional
        How many threads, and how many frames to a round. The order does not depend on them.

    Returns
    -------
    order, similarity : (budget,) int64
        NOT_COMPARED for the start.
    work : dict
        rounds, products, and products_of_all: what the plain rule makes.

    Notes
    -----
    A round:

    1. The frames of the least values, out of date as they may be, and the level: the greatest of these values.
    2. They are brought up to date, as far as they do not rise above the level.
    3. Picks are made among those still at or below it, as long as the least is at or below it.

    Invariants, before each round:

    1. order[:n_chosen] is what the plain rule chooses.
    2. best is a lower bound of each frame's similarity to the chosen, so every frame outside the round lies above the
       level, or at it and not before the barrier.

    Examples
    --------
    Five frames with values 3, 5, 4, 8, 9 and rounds of three: the level is 5. Brought up to date they are 3, 7, 4. Frame
    0 (3) is picked, and raises frame 2 to 6. Nothing at or below 5 is left, so the round ends: frames 3 and 4 may have
    risen too, but nobody needed to know.
    """
    n, m = len(q), len(start)
    state, picks = _begin(q, start, budget, known)
    # A round costs a look at all n values and, for each pick, one at its own frames: balanced near the root of n.
    width = width or max(256, round(2 * n**0.5))
    n_chosen, rounds, products = m, 0, 0.0
    with CatchUp(state, threads or n_threads()) as catch_up:
        products += catch_up(np.flatnonzero(state.seen < m), m, TAKEN)
        while n_chosen < budget:
            frames, reach = _least(state.best, min(width, n - n_chosen))
            by_what_they_lack = frames[np.argsort(state.seen[frames], kind="stable")]
            products += catch_up(by_what_they_lack, n_chosen, reach.level)
            frames = frames[state.best[frames] <= reach.level]
            if len(frames):
                before, scratch = n_chosen, Scratch.of(len(frames), state.rows.shape[1])
                n_chosen = _pick(state, frames, n_chosen, picks, reach, scratch)
                products += (n_chosen - before) * len(frames)
            rounds += 1
            if progress:
                progress(n_chosen, budget, {})
    work = {"rounds": rounds, "products": products, "products_of_all": float(n) * budget}
    return picks.order, picks.similarity, work


def _begin(
    q: NDArray[np.int16], start: NDArray[np.int64], budget: int, known: NDArray[np.int32]
) -> tuple[Known, Picks]:
    """The start set is chosen; of the other frames only what is `known` was compared with it."""
    n, m = len(q), len(start)
    rows = as_rows(q)
    best, seen = np.full(n, NOT_COMPARED, np.int32), np.zeros(n, np.int64)
    best[: len(known)], seen[: len(known)] = known, m
    best[start], seen[start] = TAKEN, m
    chosen = np.zeros((budget + ROWS, rows.shape[1]), np.int32)
    chosen[:m] = rows[start]
    picks = Picks(np.empty(budget, np.int64), np.full(budget, NOT_COMPARED, np.int64))
    picks.order[:m] = start
    return Known(rows, best, seen, chosen), picks


def _least(best: NDArray[np.int32], size: int) -> tuple[NDArray[np.int64], Reach]:
    """The frames of the `size` least values, ascending, and those that stand at the greatest of them, the level.

    Where those are many (on pools with many equal frames), only the first of them, and the barrier is the first that is
    left out.
    """
    level = int(np.partition(best, size - 1)[size - 1])
    frames = np.flatnonzero(best <= level)
    if len(frames) <= 2 * size:
        return frames, Reach(level, len(best))
    below = best[frames] < level
    barrier = int(frames[~below][size - int(below.sum())])
    return frames[below | (frames < barrier)], Reach(level, barrier)
