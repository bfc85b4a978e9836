"""Greedy k-centre on a large pool, exact and lazy: most frames are looked at seldom, and then against many at once.

A frame's greatest similarity to the chosen set only grows, so a value that is out of date is a lower bound. A frame
need not be compared with new picks until its old value is among the least; then all that was chosen since is taken at
once, as a small matrix product. How much is spared is decided by the data: on redundant pools nearly everything, on
structureless ones at worst each pick is compared with each frame once, by the rate of a matrix product.

One round: the frames of the least values (all at most `level`) are brought up to date, as far as they do not rise
above `level`; then picks are made among them alone, as long as the least is at most `level`, since every other frame
lies above. The order is that of the plain rule in `ranking`, ties included.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.pairs.tiles import COLUMNS, ROWS, as_rows, compiled, raise_by_one, raise_by_six
from enrich_assets.method.threads import n_threads

Progress = Callable[[int, int, dict[str, float]], None]
TAKEN = 2 * EXACT
NOT_COMPARED = -2 * EXACT
STRIDE = 16 * ROWS  # chosen frames between two looks whether a frame has risen out of reach
WORTH_A_THREAD = 200_000  # products, some 0.3 ms


@compiled
def _gather(rows, frames, first, panels, panel):
    """The 16 frames from frames[first] on as one of panels (p, n_pairs, 16); the last one fills what is left."""
    for at in range(COLUMNS):
        frame = frames[min(first + at, frames.shape[0] - 1)]
        for k in range(rows.shape[1]):
            panels[panel, k, at] = rows[frame, k]


@compiled
def _bring_up(rows, frames, best, seen, chosen, n_chosen, level, panel, held):
    """Raise best[frames] to their greatest product with chosen[:n_chosen], not looking at the first seen[frame] again.

    Stops early, and says so in `seen`, where 16 frames are all above `level`. Returns the products made.
    """
    n_pairs = rows.shape[1]
    n = frames.shape[0]
    made = 0
    for first in range(0, n, COLUMNS):
        begin = n_chosen
        for at in range(COLUMNS):
            frame = frames[min(first + at, n - 1)]
            held[at] = best[frame]
            begin = min(begin, seen[frame])
        if begin == n_chosen:
            continue
        _gather(rows, frames, first, panel, 0)
        at = begin
        while at < n_chosen:
            until = min(at + STRIDE, n_chosen)
            while at + ROWS <= until:
                raise_by_six(chosen, at, panel, 0, n_pairs, held, 0)
                at += ROWS
            while at < until:
                raise_by_one(chosen, at, panel, 0, n_pairs, held, 0)
                at += 1
            least = held[0]
            for i in range(1, COLUMNS):
                least = min(least, held[i])
            if least > level:
                break
        made += (at - begin) * COLUMNS
        for i in range(min(COLUMNS, n - first)):
            frame = frames[first + i]
            best[frame] = held[i]
            seen[frame] = max(seen[frame], at)
    return made


@compiled
def _pick(rows, frames, best, seen, chosen, order, similarity, n_chosen, budget, level, barrier, panels, held):
    """Choose among `frames`, whose values are up to date, while the least is in reach; how many are chosen then."""
    n_pairs = rows.shape[1]
    n = frames.shape[0]
    n_panels = panels.shape[0]
    for p in range(n_panels):
        _gather(rows, frames, p * COLUMNS, panels, p)
    for at in range(n):
        held[at] = best[frames[at]]
    while n_chosen < budget:
        value, pick = np.int32(TAKEN), 0
        for at in range(n):
            if held[at] < value:
                value, pick = held[at], at
        # Frames are in ascending order, so this is the lowest of the least. Another frame may stand at `level` too,
        # from `barrier` on, that was not brought here.
        if value > level or (value == level and frames[pick] >= barrier):
            break
        frame = frames[pick]
        order[n_chosen] = frame
        similarity[n_chosen] = value
        for k in range(n_pairs):
            chosen[n_chosen, k] = rows[frame, k]
        for p in range(n_panels):
            raise_by_one(chosen, n_chosen, panels, p, n_pairs, held, p * COLUMNS)
        held[pick] = TAKEN
        n_chosen += 1
    for at in range(n):
        best[frames[at]] = held[at]
        seen[frames[at]] = n_chosen
    return n_chosen


class Catching:
    """Catching up with the chosen set, by several threads where it is much; use it as a context.

    rows, chosen: of `as_rows`; best (n,) int32, seen (n,) int64: what is known of each frame, changed in place.
    """

    def __init__(
        self, rows: NDArray[np.int32], best: NDArray[np.int32], seen: NDArray[np.int64], chosen: NDArray[np.int32],
        workers: int,
    ) -> None:  # fmt: skip
        self.rows, self.best, self.seen, self.chosen = rows, best, seen, chosen
        self.workers = workers
        self.team = ThreadPoolExecutor(workers)

    def __enter__(self) -> Catching:
        return self

    def __exit__(self, *_: object) -> None:
        self.team.shutdown()

    def up(self, frames: NDArray[np.int64], n_chosen: int, level: int) -> int:
        """Bring `frames` up to chosen[:n_chosen], or above `level`; returns the products made."""

        def bring(piece: NDArray[np.int64]) -> int:
            panel, held = np.empty((1, self.rows.shape[1], COLUMNS), np.int32), np.empty(COLUMNS, np.int32)
            return int(_bring_up(self.rows, piece, self.best, self.seen, self.chosen, n_chosen, level, panel, held))

        behind = int(n_chosen * len(frames) - self.seen[frames].sum())
        parts = min(self.workers, 1 + behind // WORTH_A_THREAD)
        if parts == 1:
            return bring(frames)
        # Several pieces for each thread, as they differ in work; none so long that the others wait for it.
        size = min(4096, max(1, len(frames) // (4 * parts * COLUMNS)) * COLUMNS)
        return sum(self.team.map(bring, [frames[at : at + size] for at in range(0, len(frames), size)]))


def rank(
    q: NDArray[np.int16], start: NDArray[np.int64], budget: int,
    known: NDArray[np.int32], progress: Progress | None = None,
    *, threads: int | None = None, width: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, float]]:  # fmt: skip
    """Order, similarity to those before (NOT_COMPARED for the start), and how much work it was.

    q: (n, d) checked int16.   start: checked.   known: (n_old,) greatest product of the first frames with any of
    `start`. width: frames looked at in a round.
    """
    n, m = len(q), len(start)
    rows = as_rows(q)
    # A round costs a look at all n values and, for each pick, one at its own frames: balanced near the root of n.
    width = width or max(256, round(2 * n**0.5))
    best = np.full(n, NOT_COMPARED, np.int32)
    seen = np.zeros(n, np.int64)
    order, similarity = np.empty(budget, np.int64), np.full(budget, NOT_COMPARED, np.int64)
    chosen = np.zeros((budget + ROWS, rows.shape[1]), np.int32)
    order[:m], chosen[:m] = start, rows[start]
    best[: len(known)], seen[: len(known)] = known, m
    best[start], seen[start] = TAKEN, m
    n_chosen, rounds, made = m, 0, 0.0
    workers = threads or n_threads()
    with Catching(rows, best, seen, chosen, workers) as catching:
        made += catching.up(np.flatnonzero(seen < m), m, TAKEN)
        while n_chosen < budget:
            size = min(width, n - n_chosen)
            level = int(np.partition(best, size - 1)[size - 1])
            near = np.flatnonzero(best <= level)
            barrier = n
            if len(near) > 2 * size:  # many at the very level: the first of them will do
                at_level = near[best[near] == level]
                kept = size - int((best[near] < level).sum())
                barrier = int(at_level[kept])
                near = near[(best[near] < level) | (near < barrier)]
            made += catching.up(near[np.argsort(seen[near], kind="stable")], n_chosen, level)
            near = near[best[near] <= level]
            if len(near):
                before, n_panels = n_chosen, -(-len(near) // COLUMNS)
                n_chosen = _pick(
                    rows, near, best, seen, chosen, order, similarity, n_chosen, budget, level, barrier,
                    np.empty((n_panels, rows.shape[1], COLUMNS), np.int32), np.empty(n_panels * COLUMNS, np.int32),
                )  # fmt: skip
                made += (n_chosen - before) * len(near)
            rounds += 1
            if progress:
                progress(n_chosen, budget, {})
    return order, similarity, {"rounds": rounds, "products": made, "products_of_all": float(n) * budget}
