"""All pairs: what one pass finds is what a slow count finds, exactly, for any block and thread count."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.fixed_point import least_product, to_fixed_point
from enrich_assets.method.pairs import compiled, plain
from enrich_assets.method.pairs.panel import PanelRequest
from enrich_assets.method.pairs.similarity import (
    BIN_EDGES,
    PairLists,
    Panel,
    all_pairs,
    matrix_blocks,
    pair_matrix,
    similarity_histogram,
    sum_panels,
)
from enrich_assets_tests.method import slow_reference as slow

few = settings(max_examples=25, derandomize=True, deadline=None)


@st.composite
def pools(draw: Any, most: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, clips and patients; sorted by clip or in no order."""
    n, d = draw(st.integers(2, most)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    clips = np.sort(rng.integers(0, draw(st.integers(1, n)), n))
    if draw(st.booleans()):
        rng.shuffle(clips)
    return slow.pool(draw(st.sampled_from(slow.KINDS)), n, d, seed), clips, clips // draw(st.integers(1, 4))


def same(a: Panel, b: Panel) -> None:
    for name, value in a.arrays().items():
        np.testing.assert_array_equal(value, b.arrays()[name], err_msg=name)


@pytest.mark.parametrize("pass_", [plain, compiled])
@pytest.mark.parametrize("kind", slow.KINDS)
@pytest.mark.parametrize("n_earlier", [0, 31])
def test_a_panel_holds_what_a_slow_count_finds(pass_: Any, kind: str, n_earlier: int) -> None:
    q = slow.pool(kind, 75, 9, seed=3)
    clips = (np.arange(75) // 6 % 11).astype(np.int32)  # the first clips come back at the end
    patients, near = clips // 3, least_product(0.6)
    panel: Panel = pass_.panel(q, clips, patients, PanelRequest(n_earlier, 4, near, 50))
    np.testing.assert_array_equal(panel.histograms, slow.by_relation(q, clips, patients, n_earlier))
    for neighbours, similarity, known in (
        (panel.neighbours, panel.neighbour_similarity, slow.neighbours(q, 4, n_earlier)),
        (panel.outside_neighbours, panel.outside_similarity, slow.neighbours(q, 4, n_earlier, clips)),
    ):
        listed = [
            [(int(j), int(s)) for j, s in zip(*row, strict=True) if j >= 0]
            for row in zip(neighbours, similarity, strict=True)
        ]
        assert listed == known
    close = slow.near_duplicates(q, near, n_earlier)
    similarity = panel.near_duplicate_similarity.tolist()
    pairs = [(i, j, s) for (i, j), s in zip(panel.near_duplicates.tolist(), similarity, strict=True)]
    assert pairs == close[:50]
    assert panel.near_duplicates_left_out == len(close) - len(pairs)
    assert panel.n_pairs == panel.histograms.sum()


@few
@given(pools(), st.data())
def test_the_compiled_pass_equals_the_plain_one(pool: tuple[np.ndarray, ...], data: st.DataObject) -> None:
    q, clips, patients = pool
    request = PanelRequest(
        n_earlier=data.draw(st.integers(0, len(q))),
        n_neighbours=data.draw(st.integers(0, 6)),
        near_duplicate=data.draw(st.integers(-(2**25), 2**25)),
        max_near_duplicates=data.draw(st.integers(0, 200)),
        sides=data.draw(st.sampled_from([None, (patients % 3 == 1).astype(np.int32)])),
        between_patients=data.draw(st.booleans()),
    )
    frames = q, clips.astype(np.int32), patients.astype(np.int32), request
    threads, block = data.draw(st.integers(2, 4)), data.draw(st.sampled_from([48, 96, 336]))
    same(plain.panel(*frames), compiled.panel(*frames, threads=1))
    same(plain.panel(*frames), compiled.panel(*frames, threads=threads, block=block))


@pytest.mark.parametrize("pass_", [plain, compiled])
@pytest.mark.parametrize("n_earlier", [0, 31])
def test_pairs_are_counted_by_the_sides_of_the_split_and_near_ones_listed_between_patients(
    pass_: Any, n_earlier: int
) -> None:
    q = slow.pool("duplicates", 75, 9, seed=3)
    clips = (np.arange(75) // 6 % 11).astype(np.int32)
    patients, near = clips // 3, least_product(0.6)
    sides = (patients % 2).astype(np.int32)
    request = PanelRequest(n_earlier, 0, near, 50, sides=sides, between_patients=True)
    panel: Panel = pass_.panel(q, clips, patients, request)
    assert panel.by_sides is not None
    assert panel.near_by_sides is not None
    np.testing.assert_array_equal(panel.by_sides, slow.by_sides(q, clips, patients, sides, n_earlier))
    np.testing.assert_array_equal(panel.by_sides.sum(axis=0), panel.histograms)
    close = [p for p in slow.near_duplicates(q, near, n_earlier) if patients[p[0]] != patients[p[1]]]
    similarity = panel.near_duplicate_similarity.tolist()
    assert [(i, j, s) for (i, j), s in zip(panel.near_duplicates.tolist(), similarity, strict=True)] == close[:50]
    assert panel.near_duplicates_left_out == len(close) - 50 > 0
    across = [p for p in close if sides[p[0]] != sides[p[1]]]
    assert panel.near_by_sides[1].tolist() == [0, 0, len(across)]
    assert panel.near_by_sides.sum() == len(slow.near_duplicates(q, near, n_earlier))


@few
@given(pools(), st.lists(st.integers(0, 150), max_size=3), st.sampled_from([plain, compiled]))
def test_panels_by_sides_add_up(pool: tuple[np.ndarray, ...], cuts: list[int], pass_: Any) -> None:
    q, clips, patients = pool[0], pool[1].astype(np.int32), pool[2].astype(np.int32)
    sides, near = (patients % 2).astype(np.int32), least_product(0.8)

    def panel(begin: int, end: int) -> Panel:
        request = PanelRequest(begin, 0, near, 20, sides=sides[:end], between_patients=True)
        found: Panel = pass_.panel(q[:end], clips[:end], patients[:end], request)
        return found

    ends = [*sorted(min(c, len(q)) for c in cuts), len(q)]
    same(panel(0, len(q)), sum_panels(panel(*span) for span in zip([0, *ends[:-1]], ends, strict=True)))
    train = sides == 0
    counts = panel(0, len(q)).by_sides
    assert counts is not None
    of_train: Panel = pass_.panel(q[train], clips[train], patients[train], PanelRequest(0, 0, near, 20))
    np.testing.assert_array_equal(counts[0], of_train.histograms)  # one pass over all holds that over a side


def test_panels_with_and_without_sides_do_not_add_up() -> None:
    q, codes = slow.pool("gauss", 20, 8, 0), np.arange(20) // 5
    first = all_pairs(q[:10], clips=codes[:10], patients=codes[:10], sides=codes[:10] % 2)
    second = all_pairs(q, clips=codes, patients=codes, n_earlier=10)
    with pytest.raises(ValueError, match="some count pairs by the sides of the split, and some do not"):
        sum_panels([first, second])


@pytest.mark.parametrize("sides", [[0, 1], [0, 2, 0, 0], [0.5, 0, 0, 0]])
def test_sides_are_one_code_per_frame(sides: list[float]) -> None:
    with pytest.raises(ValueError, match="sides must"):
        all_pairs(slow.pool("gauss", 4, 8, 0), clips=range(4), patients=range(4), sides=sides)


@few
@given(pools(), st.lists(st.integers(0, 150), max_size=5), st.sampled_from([plain, compiled]))
def test_panels_add_up_to_one_pass_over_everything(pool: tuple[np.ndarray, ...], cuts: list[int], pass_: Any) -> None:
    q, clips, patients = pool[0], pool[1].astype(np.int32), pool[2].astype(np.int32)
    ends = [*sorted(min(c, len(q)) for c in cuts), len(q)]
    begins = [0, *ends[:-1]]  # batches of any size, empty ones too
    near = least_product(0.8)
    panels = [
        pass_.panel(q[:end], clips[:end], patients[:end], PanelRequest(begin, 3, near, 20))
        for begin, end in zip(begins, ends, strict=True)
    ]
    whole = plain.panel(q, clips, patients, PanelRequest(0, 3, near, 20))
    same(whole, sum_panels(panels))
    same(whole, sum_panels(panels[::-1]))
    if len(panels) > 1:
        same(whole, sum_panels([sum_panels(panels[:2]), *panels[2:]]))


@few
@given(pools(), st.lists(st.integers(0, 150), max_size=3), st.sampled_from([0, 10**9]))
def test_panels_add_up_when_each_knows_those_before_it(
    pool: tuple[np.ndarray, ...], cuts: list[int], small: int
) -> None:
    q, clips, patients = pool
    so_far, lists = None, PairLists(neighbours=3, near_duplicate=0.8, max_near_duplicates=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("enrich_assets.method.pairs.similarity.SMALL", small)
        for begin, end in itertools.pairwise([0, *sorted(min(c, len(q)) for c in cuts), len(q)]):
            known = {"clips": clips[:end], "patients": patients[:end], "n_earlier": begin, "so_far": so_far}
            panel = all_pairs(q[:end], **known, lists=lists)
            so_far = panel if so_far is None else sum_panels([so_far, panel])
    assert so_far is not None
    same(so_far, all_pairs(q, clips=clips, patients=patients, lists=lists))


@pytest.mark.parametrize("kind", slow.KINDS)
def test_a_panel_that_knows_those_before_it_is_the_same_in_every_way(kind: str) -> None:
    """An earlier frame's list used to hold whatever came along before its partner's list asked for more."""
    q, clips = slow.pool(kind, 400, 12, 8), (np.arange(400) // 7).astype(np.int32)
    before = plain.panel(q[:300], clips[:300], clips[:300] // 3, PanelRequest(0, 3, least_product(0.9), 30))
    request = PanelRequest(300, 3, least_product(0.9), 30, so_far=before)
    known = plain.panel(q, clips, clips // 3, request)
    for threads, block in ((1, 2016), (2, 48), (3, 96)):
        same(known, compiled.panel(q, clips, clips // 3, request, threads=threads, block=block))


def test_panels_that_do_not_follow_on_one_another_are_refused() -> None:
    q = slow.pool("gauss", 30, 8, 0)
    code = np.zeros(30, int)
    first = all_pairs(q[:10], clips=code[:10], patients=code[:10])
    third = all_pairs(q, clips=code, patients=code, n_earlier=20)
    with pytest.raises(ValueError, match="not adjacent"):
        sum_panels([first, third])
    with pytest.raises(ValueError, match="different n_neighbours"):
        sum_panels([first, all_pairs(q, clips=code, patients=code, n_earlier=10, lists=PairLists(3))])


def test_a_panel_kept_as_arrays_comes_back_whole() -> None:
    q = slow.pool("clips", 30, 8, 0)
    panel = all_pairs(q, clips=np.arange(30) // 5, patients=np.arange(30) // 10, lists=PairLists(near_duplicate=0.9))
    same(panel, Panel.from_arrays(panel.arrays()))


def test_the_share_over_a_threshold_follows_from_the_bins() -> None:
    q = slow.pool("clips", 60, 8, 1)
    panel = all_pairs(q, clips=np.arange(60) // 5, patients=np.arange(60) // 10)
    cosines = slow.products(q)[np.triu_indices(60, 1)] / 4000**2
    for threshold in (0.5, 0.7, 0.9):
        assert panel.share_over(threshold) == (cosines >= threshold).mean()
    assert np.isin([0.5, 0.7, 0.9], BIN_EDGES).all()


EDGES = {
    "uniform": np.linspace(-1.001, 1.001, 401),
    "closed at one": np.array([0.5, 0.7, 0.9, 1.0]),
    "out of range": np.array([-5.0, -1.0, 0.99, 1.0, 7.0]),
    "not uniform, twice the same": np.array([-0.3, 0.0, 0.0, 0.1, 0.5, 0.50001, 0.5000101, 0.50002, 0.9]),
    "closer than products": 0.5 + np.arange(40) * 1e-8,
    "within the range alone": np.array([0.1, 0.2]),
}


@pytest.mark.parametrize("pass_", [plain, compiled])
@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("kind", slow.KINDS)
def test_a_histogram_is_numpys(pass_: Any, edges: np.ndarray, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrich_assets.method.pairs.similarity.SMALL", 0 if pass_ is compiled else 10**9)
    q = slow.pool(kind, 130, 12, seed=5)
    np.testing.assert_array_equal(similarity_histogram(q, edges), slow.histogram(q, edges))


def test_edges_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="never decrease"):
        similarity_histogram(slow.pool("gauss", 5, 4, 0), [0.5, 0.4])


def test_the_pass_is_the_same_for_one_thread_and_two(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("enrich_assets.method.pairs.similarity.SMALL", 0)
    q, clips = slow.pool("clips", 900, 24, 2), np.arange(900) // 12
    lists = PairLists(near_duplicate=0.95, max_near_duplicates=100)
    before, panels = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            panels.append(all_pairs(q, clips=clips, patients=clips // 3, lists=lists))
    finally:
        torch.set_num_threads(before)
    same(*panels)


@pytest.mark.parametrize("small", [0, 10**9])
def test_progress_ends_at_the_whole(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrich_assets.method.pairs.similarity.SMALL", small)
    reports: list[tuple[int, int]] = []
    similarity_histogram(slow.pool("gauss", 300, 8, 0), [0, 1], progress=lambda done, of, _: reports.append((done, of)))
    assert reports[-1][0] == reports[-1][1]
    assert reports == sorted(reports)


def test_a_clip_of_two_patients_is_refused() -> None:
    with pytest.raises(ValueError, match="two patients"):
        all_pairs(slow.pool("gauss", 3, 4, 0), clips=[0, 0, 1], patients=[0, 1, 1])


@few
@given(pools(60), st.integers(0, 60), st.integers(1, 30))
def test_matrix_blocks_tile_the_panel(pool: tuple[np.ndarray, ...], n_earlier: int, block: int) -> None:
    q = pool[0]
    n_earlier = min(n_earlier, len(q))
    matrix = np.full((len(q) - n_earlier, len(q)), 2**30, np.int64)
    for rows, columns, products in matrix_blocks(q, n_earlier=n_earlier, block=block):
        assert products.dtype == np.int32
        matrix[rows, columns] = products
    np.testing.assert_array_equal(matrix, slow.products(q)[n_earlier:])
    np.testing.assert_array_equal(pair_matrix(q), slow.products(q))


def test_redundant_archives_stay_bounded() -> None:
    """A collapsed VAE makes every pair a near-duplicate: the list is bounded, the count honest."""
    q, codes = to_fixed_point(np.ones((300, 6))), np.zeros(300, np.int32)
    panel = compiled.panel(q, codes, codes, PanelRequest(0, 3, least_product(0.98), 10))
    assert panel.near_duplicates.tolist() == [[0, j] for j in range(1, 11)]
    assert panel.near_duplicates_left_out == 300 * 299 // 2 - 10
    assert panel.neighbours[5].tolist() == [0, 1, 2]
    assert (panel.outside_neighbours == -1).all()
