"""A panel in row ranges of equal work: one after the other with a place to go on from, or each by itself on another machine.

The frames from `n_earlier` to n are cut into ranges; each range is a panel of its own (`all_pairs(vectors[:b], n_earlier=a)`), and
their sum (`sum_panels`) is the panel of one pass, bit for bit. Where the cuts lie changes nothing.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.pairs.panel import PairLists, Panel, no_neighbours, sum_panels
from enrich_assets.method.pairs.similarity import DEFAULT_LISTS, Progress, all_pairs

if TYPE_CHECKING:
    import torch

PAIRS_OF_A_BLOCK = 10_000_000_000  # half a minute on two cores: what an interruption may cost
PAIRS_OF_A_PART = 1_000_000_000  # of a block on another machine: seconds, so that machines of unlike speed end together

# `spread(function, shared, items)`: `function(shared, *item)` for each item, wherever; the results, in the order of the items.
Spread = Callable[[Callable[..., "Panel"], Any, Sequence[tuple[int, int]]], Iterator["Panel"]]


def n_pairs(begin: int, end: int) -> int:
    """Pairs (i, j), i < j, with begin <= j < end."""
    return math.comb(end, 2) - math.comb(begin, 2)


def row_ranges(n_earlier: int, n: int, count: int) -> list[tuple[int, int]]:
    """Cut the frames of a batch into ranges of about equal work.

    Parameters
    ----------
    n_earlier, n : int
        The frames n_earlier..n - 1 are cut. Frame j costs j pairs.
    count : int
        How many ranges are asked for.

    Returns
    -------
    list of (int, int)
        Begin and end of each, one following on the other; at most `count`, none of them empty unless the batch is.

    Raises
    ------
    ValueError
        For less than one range, or n_earlier outside 0..n.
    """
    if count < 1:
        raise ValueError(f"a panel is cut into at least one range, not {count}")
    if not 0 <= n_earlier <= n:
        raise ValueError(f"n_earlier must lie in 0..{n}, not {n_earlier}")
    total, first = n_pairs(n_earlier, n), math.comb(n_earlier, 2)
    cuts = [n_earlier]
    for k in range(1, count):
        wanted = first + total * k // count  # the least b with comb(b, 2) >= wanted
        root = (1 + math.isqrt(1 + 8 * wanted)) // 2
        cut = root if math.comb(root, 2) >= wanted else root + 1
        if cuts[-1] < cut < n:
            cuts.append(cut)
    return list(zip(cuts, [*cuts[1:], n], strict=True))


def n_blocks(n_earlier: int, n: int, most_pairs: int | None = None) -> int:
    """How many ranges make blocks of about so many pairs at most; without it `PAIRS_OF_A_BLOCK`."""
    return max(1, -(-n_pairs(n_earlier, n) // (most_pairs or PAIRS_OF_A_BLOCK)))


def so_far_of_block(so_far: Panel | None, begin: int, running: Panel | None = None) -> Panel | None:
    """What a block that begins at frame `begin` may take for known, so that the sum of blocks is the panel of one pass.

    Parameters
    ----------
    so_far : Panel, optional
        Of the whole panel: the sum of all earlier batches.
    begin : int
        First frame of the block.
    running : Panel, optional
        The sum of the batch's blocks before this one; where blocks are worked off in order it spares work.

    Returns
    -------
    Panel or None
        For `all_pairs`: of each frame before `begin` the k neighbours that come last in `so_far` or in `running`, whichever asks
        for more. None where nothing is known.
    """
    known = so_far if so_far is not None else running
    if known is None or not known.n_neighbours:
        return None
    lists: dict[str, NDArray[np.int32]] = {}
    for index_name, name in (("neighbours", "neighbour_similarity"), ("outside_neighbours", "outside_similarity")):
        index, similarity = no_neighbours(begin, known.n_neighbours)
        for panel in (so_far, running):
            if panel is None:
                continue
            of_panel = getattr(panel, name)
            nearer = of_panel[:, -1] > similarity[: len(of_panel), -1]
            index[: len(of_panel)][nearer] = getattr(panel, index_name)[nearer]
            similarity[: len(of_panel)][nearer] = of_panel[nearer]
        lists |= {index_name: index, name: similarity}
    return replace(known, n_earlier=0, n=begin, **lists)  # type: ignore[arg-type]


def block_by_itself(shared: tuple[Any, ...], begin: int, end: int) -> Panel:
    """One range of a panel, without those before it: what another machine is asked for.

    Parameters
    ----------
    shared : tuple
        (embeddings, clips, patients, sides or None, lists, so_far or None, device) of the whole panel, as `all_pairs` takes them.
    begin, end : int
        The range.
    """
    embeddings, clips, patients, sides, lists, so_far, device = shared
    return all_pairs(
        embeddings[:end],
        clips=clips[:end],
        patients=patients[:end],
        sides=None if sides is None else sides[:end],
        n_earlier=begin,
        lists=lists,
        so_far=so_far_of_block(so_far, begin),
        device=device,
    )


def panel_in_blocks(  # twelve arguments: those of `all_pairs`, and how it is cut, kept and spread
    embeddings: NDArray[np.int16],
    *,
    clips: ArrayLike,
    patients: ArrayLike,
    sides: ArrayLike | None = None,
    n_earlier: int = 0,
    lists: PairLists = DEFAULT_LISTS,
    so_far: Panel | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    blocks: int | None = None,
    resume: bytes | None = None,
    save: Callable[[bytes], None] | None = None,
    spread: Spread | None = None,
) -> Panel:
    """The panel of `all_pairs`, block after block: the same bits, and after an interruption it goes on with the next block.

    Parameters
    ----------
    embeddings, clips, patients, sides, n_earlier, lists, so_far, device
        As `all_pairs` takes them.
    progress : callable, optional
        Called with (pairs done, pairs in all, {}); counted in rows of equal work, so that it runs evenly.
    blocks : int, optional
        Into how many; without it blocks of some `PAIRS_OF_A_BLOCK` pairs.
    resume : bytes, optional
        What `save` was last given by an attempt at the same panel.
    save : callable, optional
        Gets where the work stands after each block but the last (of small ones, after some), as bytes (`.npz`, nothing pickled).
    spread : callable, optional
        Computes blocks on other machines, at the same time; they are made smaller for that (`PAIRS_OF_A_PART`).

    Raises
    ------
    ValueError
        As `all_pairs`; for a `resume` of another panel.
    """
    n = len(embeddings)
    running = None if resume is None else _decoded(resume, n_earlier, n, lists)
    begin = n_earlier if running is None else running.n
    most_pairs = PAIRS_OF_A_BLOCK if spread is None else PAIRS_OF_A_PART
    count = n_blocks(begin, n, most_pairs) if blocks is None else blocks
    clip, patient = np.asarray(clips), np.asarray(patients)
    side = None if sides is None else np.asarray(sides)
    ranges = row_ranges(begin, n, count)
    shared = (embeddings, clip, patient, side, lists, so_far, device)
    elsewhere = spread(block_by_itself, shared, ranges) if spread is not None and count > 1 else None
    unsaved = 0
    for a, b in ranges:
        advance = _within(progress, n_earlier, a, b, n)
        if elsewhere is not None:
            block = next(elsewhere)
            if advance is not None:
                advance(1, 1, {})
        else:
            block = all_pairs(
                embeddings[:b],
                clips=clip[:b],
                patients=patient[:b],
                sides=None if side is None else side[:b],
                n_earlier=a,
                lists=lists,
                so_far=so_far_of_block(so_far, a, running),
                device=device,
                progress=advance,
            )
        running = block if running is None else sum_panels([running, block])
        unsaved += n_pairs(a, b)
        if save is not None and b < n and (blocks is not None or elsewhere is None or unsaved >= PAIRS_OF_A_BLOCK):
            unsaved = 0
            save(_encoded(running))
    assert running is not None
    return running


def _within(progress: Progress | None, n_earlier: int, a: int, b: int, n: int) -> Progress | None:
    """Progress of a block as progress of the panel, in pairs."""
    if progress is None:
        return None
    before, of_block, total = n_pairs(n_earlier, a), n_pairs(a, b), n_pairs(n_earlier, n)

    def advance(done: int, of: int, values: dict[str, float]) -> None:
        progress(before + of_block * done // max(of, 1), total, values)

    return advance


def _encoded(panel: Panel) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **panel.arrays())  # type: ignore[arg-type]
    return buffer.getvalue()


def _decoded(content: bytes, n_earlier: int, n: int, lists: PairLists) -> Panel:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        panel = Panel.from_arrays(dict(arrays))
    if (panel.n_earlier, panel.n_neighbours, panel.max_near_duplicates) != (
        n_earlier,
        lists.neighbours,
        lists.max_near_duplicates,
    ) or not n_earlier < panel.n <= n:
        raise ValueError(
            f"the blocks that were kept are of frames {panel.n_earlier}..{panel.n} with {panel.n_neighbours} neighbours, not of a "
            f"panel of {n_earlier}..{n} with {lists.neighbours}"
        )
    return panel
