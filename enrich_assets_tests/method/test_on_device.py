"""An accelerator finds the same integers: its code on torch's CPU against the definitions, and on CUDA where there is one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.accelerator import accelerator_for
from enrich_assets.method.embeddings.fixed_point import least_product
from enrich_assets.method.pairs import cuda as device_pairs
from enrich_assets.method.pairs import plain as plain_pairs
from enrich_assets.method.pairs.panel import PanelRequest
from enrich_assets.method.pairs.similarity import PairLists, all_pairs, similarity_histogram, sum_panels
from enrich_assets.method.ranking import cuda as device_ranking
from enrich_assets.method.ranking.coverage import coverage_at
from enrich_assets.method.ranking.greedy import rank
from enrich_assets_tests.method import slow_reference as slow

CPU = torch.device("cpu")
few = settings(max_examples=20, derandomize=True, deadline=None)
cuda = pytest.mark.cuda
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@few
@given(st.sampled_from(slow.KINDS), st.integers(2, 90), st.integers(0, 10**6), st.data())
def test_a_devices_panel_is_the_panel(kind: str, n: int, seed: int, data: st.DataObject) -> None:
    q = slow.pool(kind, n, 12, seed)
    clips = np.random.default_rng(seed).integers(0, 9, n).astype(np.int32)
    request = PanelRequest(
        n_earlier=data.draw(st.integers(0, n)),
        n_neighbours=data.draw(st.integers(0, 5)),
        near_duplicate=data.draw(st.integers(-(2**25), 2**25)),
        max_near_duplicates=data.draw(st.integers(0, 60)),
        sides=data.draw(st.sampled_from([None, (clips // 3 % 2).astype(np.int32)])),
        between_patients=data.draw(st.booleans()),
    )
    plain = plain_pairs.panel(q, clips, clips // 3, request)
    there = device_pairs.panel(q, clips, clips // 3, request, CPU, block=data.draw(st.sampled_from([7, 32, 8192])))
    for name, value in plain.arrays().items():
        np.testing.assert_array_equal(value, there.arrays()[name], err_msg=name)


def test_a_devices_panels_add_up_knowing_those_before() -> None:
    q, clips = slow.pool("clips", 80, 12, 0), (np.arange(80) // 7).astype(np.int32)
    near = least_product(0.9)
    request = PanelRequest(0, 4, near, 30)
    first = device_pairs.panel(q[:50], clips[:50], clips[:50] // 2, request, CPU, block=16)
    second = device_pairs.panel(q, clips, clips // 2, PanelRequest(50, 4, near, 30, first), CPU, block=16)
    alike = plain_pairs.panel(q, clips, clips // 2, PanelRequest(50, 4, near, 30, first)).arrays()
    for name, value in second.arrays().items():
        np.testing.assert_array_equal(value, alike[name], err_msg=name)
    whole = plain_pairs.panel(q, clips, clips // 2, request).arrays()
    for name, value in sum_panels([first, second]).arrays().items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


@few
@given(st.sampled_from(slow.KINDS), st.lists(st.integers(-(2**25), 2**25), min_size=2, max_size=9))
def test_a_devices_histogram_is_the_histogram(kind: str, thresholds: list[int]) -> None:
    q, t = slow.pool(kind, 70, 12, 3), np.sort(np.array(thresholds, np.int64))
    np.testing.assert_array_equal(device_pairs.histogram(q, t, CPU, block=32), plain_pairs.histogram(q, t))


@few
@given(st.sampled_from(slow.KINDS), st.integers(1, 80), st.integers(0, 10**6))
def test_a_devices_order_is_the_order(kind: str, n: int, seed: int) -> None:
    q = slow.pool(kind, n, 12, seed)
    start = np.random.default_rng(seed).choice(n, min(n, seed % 5), replace=False)
    plain = rank(q, start, n)
    order, values = device_ranking.rank(q, start, n, np.empty(0, np.int32), CPU)
    np.testing.assert_array_equal(order, plain.order)
    np.testing.assert_array_equal(values, plain.similarity_to_chosen)


def test_precision_is_exact_inside_and_as_before_outside() -> None:
    place = torch.backends.cuda.matmul
    before = place.fp32_precision
    try:
        place.fp32_precision = "tf32"
        with device_pairs.exact_float32():
            assert place.fp32_precision == "ieee"
        assert place.fp32_precision == "tf32"
    finally:
        place.fp32_precision = before


def test_small_pools_and_other_devices_stay_on_the_cpu() -> None:
    assert accelerator_for(100, None) is None
    assert accelerator_for(10**6, "cpu") is None


@cuda
@needs_cuda
@pytest.mark.parametrize("kind", slow.KINDS)
def test_cuda_finds_what_the_cpu_finds_even_where_tf32_is_allowed(kind: str) -> None:
    q, clips = slow.pool(kind, 3000, 128, 1), np.arange(3000) // 20
    edges, lists = np.linspace(-1.001, 1.001, 401), PairLists(near_duplicate=0.9)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        for device in ("cuda", "cpu"):
            found = (
                similarity_histogram(q, edges, device=device),
                *all_pairs(q, clips=clips, patients=clips // 3, lists=lists, device=device).arrays().values(),
                rank(q, [5, 7], 3000, device=device).order,
                *coverage_at(q, np.arange(3000), [20, 700], device=device).values(),
            )
            if device == "cuda":
                on_cuda = found
    finally:
        torch.set_float32_matmul_precision(before)
    for there, here in zip(on_cuda, found, strict=True):
        np.testing.assert_array_equal(there, here)
