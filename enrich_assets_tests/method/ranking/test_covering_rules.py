"""TypiClust, ProbCover, MaxHerding and k-medoids, each against its definition written out slowly, and against scikit-activeml."""

import math
from decimal import Decimal, localcontext
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.ranking import covering
from enrich_assets.method.ranking.clusters import direction, k_means
from enrich_assets.method.ranking.covering import Covering
from enrich_assets.method.ranking.kernels import Kernel, ball, gaussian, similarity_itself
from enrich_assets.method.ranking.quota import Quota
from enrich_assets.method.ranking.rules import Candidates, rank_frames
from enrich_assets.method.ranking.rules.probcover import pure_radius
from enrich_assets_tests.method import slow_reference as slow

few = settings(max_examples=12, derandomize=True, deadline=None)
kinds = st.sampled_from(slow.KINDS)
seeds = st.integers(0, 10**6)
SQUARE = 4000**2


# ------------------------------------------------------------------------------------------------ the definitions, slowly


def slow_k_means(q: np.ndarray, k: int, seed: int) -> list[int]:
    """Spherical k-means with Python's own whole numbers."""
    rows = [[int(v) for v in row] for row in q]
    dot = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))  # noqa: E731
    by_hash = lambda total, at: int.from_bytes(sha256(f"k-means:{seed}:{k}:{at}".encode()).digest(), "big") % total  # noqa: E731
    picks = [by_hash(len(rows), 0)]
    while len(picks) < k:
        room = [
            0 if i in picks else max(0, min(SQUARE - dot(row, rows[c]) for c in picks)) for i, row in enumerate(rows)
        ]
        if not sum(room):
            picks.append(min(i for i in range(len(rows)) if i not in picks))
            continue
        height = by_hash(sum(room), len(picks))
        for i, r in enumerate(room):
            height -= r
            if height < 0:
                picks.append(i)
                break
    centres = [rows[c] for c in picks]

    def assign() -> list[int]:
        return [max(range(k), key=lambda c: (dot(row, centres[c]), -c)) for row in rows]

    cluster = assign()
    for _ in range(50):
        for c in range(k):
            total = [
                sum(column) for column in zip(*(r for r, at in zip(rows, cluster, strict=True) if at == c), strict=True)
            ]
            if any(total):
                length = math.isqrt(sum(v * v for v in total))
                centres[c] = [(8000 * v + length) // (2 * length) for v in total]
        moved = assign()
        if moved == cluster:
            break
        cluster = moved
    return cluster


def slow_typiclust(q: np.ndarray, start: list[int], steps: list[int], seed: int) -> list[int]:
    s, order = slow.products(q), list(start)
    for size in steps:
        cluster = slow_k_means(q, min(size, 500), seed)
        count = lambda c, of: sum(1 for i in of if cluster[i] == c)  # noqa: B023, E731
        of_all = {c: count(c, range(len(q))) for c in set(cluster)}
        turn = [c for c in of_all if of_all[c] > 5] or list(of_all)
        turn.sort(key=lambda c: (count(c, order), -of_all[c], c))
        at = 0
        while len(order) < size:
            left = {c: [i for i in range(len(q)) if cluster[i] == c and i not in order] for c in of_all}
            if any(left[c] for c in turn):
                while not left[turn[at % len(turn)]]:
                    at += 1
                members = left[turn[at % len(turn)]]
            else:
                members = left[max(left, key=lambda c: (len(left[c]), -c))]
            at += 1
            k = min(20, len(members) // 2)

            def distance(i: int) -> int:
                near = sorted(2 * SQUARE - 2 * int(s[i, j]) for j in members if j != i)[:k]  # noqa: B023
                return sum(near)

            order.append(min(members, key=lambda i: (distance(i), i)))
    return order


def slow_cover(kernel: np.ndarray, start: list[int], size: int, nothing: int) -> list[int]:
    """Greedy coverage of a given (n, n) matrix of kernels, while anything is gained."""
    order = list(start)
    while len(order) < size:
        served = kernel[order].max(axis=0, initial=nothing) if order else np.full(len(kernel), nothing)
        gain = {x: int(np.maximum(kernel[x] - served, 0).sum()) for x in range(len(kernel)) if x not in order}
        best = min(gain, key=lambda x: (-gain[x], x))
        if not gain[best]:
            break
        order.append(best)
    return order


def gaussian_by_decimal(product: int, sigma: str = "1") -> int:
    """exp(-(2 - 2 cos) / sigma^2) of the lower end of the product's step, in units of 2^-22, by 40 decimal digits."""
    lower = min(((int(product) + 2**24) // 512) * 512 - 2**24, SQUARE)
    with localcontext() as context:
        context.prec = 40
        exponent = -(2 - 2 * Decimal(lower) / SQUARE) / Decimal(sigma) ** 2
        return int((exponent.exp() * 2**22 + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR"))


def slow_k_medoids(q: np.ndarray, start: list[int], steps: list[int]) -> list[int]:
    s, order = slow.products(q), list(start)
    for size in steps:
        held = len(order)
        medoids = slow_cover(s, order, size, -(2**24))
        for _ in range(20):
            home = [medoids.index(i) if i in medoids else max(range(len(medoids)), key=lambda m: (s[i, medoids[m]], -m))
                    for i in range(len(q))]  # fmt: skip
            moved = list(medoids)
            for m in range(held, len(medoids)):
                members = [i for i in range(len(q)) if home[i] == m]
                far = {i: sum(SQUARE - int(s[i, j]) for j in members) for i in members}
                best = min(members, key=lambda i: (far[i], i))
                if far[best] < far[medoids[m]]:
                    moved[m] = best
            if moved == medoids:
                break
            medoids = moved
        order = medoids
    return order


# --------------------------------------------------------------------------------------------------------- equality


def ranked(rule: str, q: np.ndarray, start: list[int], steps: tuple[int, ...], seed: int = 0) -> list[int]:
    candidates = Candidates(embeddings=q, budgets=steps, n_classes=3)
    return rank_frames(rule, "cosine", candidates, start, len(q), seed=seed).order.tolist()


@few
@given(kinds, seeds, st.integers(1, 12))
def test_k_means_on_whole_numbers_is_its_definition(kind: str, seed: int, k: int) -> None:
    q = slow.pool(kind, 30, 5, seed)
    assert k_means(q, k, seed).tolist() == slow_k_means(q, k, seed)


def test_a_centre_has_the_direction_of_its_sum() -> None:
    total = np.array([3, -4, 0], np.int64) * 10**8
    assert direction(total).tolist() == [2400, -3200, 0]
    assert direction(np.zeros(3, np.int64)).tolist() == [0, 0, 0]


@few
@given(kinds, seeds)
def test_typiclust_takes_the_most_typical_of_each_cluster_in_turn(kind: str, seed: int) -> None:
    q = slow.pool(kind, 36, 5, seed)
    found = ranked("typiclust", q, [7, 2], (5, 12, 24), seed)
    assert found[:24] == slow_typiclust(q, [7, 2], [5, 12, 24], seed)
    assert sorted(found) == list(range(36))


@few
@given(kinds, seeds)
def test_probcover_covers_most_and_its_radius_is_the_greatest_pure_one(kind: str, seed: int) -> None:
    q = slow.pool(kind, 40, 5, seed)
    s, cluster = slow.products(q), np.array(slow_k_means(q, 3, seed))
    share = {
        t: np.mean([len(set(cluster[np.flatnonzero(s[i] >= t)]) - {cluster[i]}) == 0 for i in range(40)])
        for t in sorted({*(s.ravel() + 1).tolist(), -(2**24) + 1})
    }
    radius = min(t for t in share if share[t] >= 0.95)
    assert pure_radius(q, cluster) == radius
    known = slow_cover((s >= radius).astype(np.int64), [3], 25, 0)
    found = ranked("probcover", q, [3], (25,), seed)
    assert found[: len(known)] == known
    assert found == slow.k_centre(s, np.array(known), 40)[0], "what covers nothing more follows by k-center-greedy"


@few
@given(kinds, seeds)
def test_maxherding_takes_the_greatest_gain_of_the_kernel(kind: str, seed: int) -> None:
    q = slow.pool(kind, 30, 5, seed)
    kernel = np.vectorize(gaussian_by_decimal)(slow.products(q))
    known = slow_cover(kernel, [3], 20, 0)
    assert ranked("maxherding", q, [3], (10, 20), seed)[: len(known)] == known


@few
@given(kinds, seeds)
def test_k_medoids_is_build_and_alternation_budget_by_budget(kind: str, seed: int) -> None:
    q = slow.pool(kind, 36, 5, seed)
    known = slow_k_medoids(q, [4], [6, 15])
    assert ranked("k-medoids", q, [4], (6, 15), seed)[: len(known)] == known


def test_the_kernel_of_maxherding_is_the_gaussian() -> None:
    products = np.linspace(-(2**24) + 1, 2**24 - 1, 400).astype(np.int64)
    for sigma in ("1", "0.5", "3"):
        assert gaussian(float(sigma)).of(products).tolist() == [gaussian_by_decimal(int(p), sigma) for p in products]
    assert gaussian(1.0).of(np.array([SQUARE]))[0] == 2**22
    with pytest.raises(ValueError, match="positive"):
        gaussian(0.0)


@pytest.mark.parametrize(
    "kernel", [gaussian(1.0), ball(12_000_000), similarity_itself()], ids=["table", "ball", "product"]
)
def test_the_compiled_gains_are_those_of_their_definition(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covering, "SMALL", 0)
    monkeypatch.setattr(covering, "ROWS", 32)
    monkeypatch.setattr("enrich_assets.method.ranking.gains.WORTH_A_THREAD", 1000)
    q = slow.pool("clips", 600, 11, 0)
    known = kernel.of(slow.products(q))
    found = Covering(q, kernel, np.array([5, 9]))
    for frame in (500, 11, 12):
        found.take(frame)
    chosen = [5, 9, 500, 11, 12]
    served = known[chosen].max(axis=0)
    assert found.served.tolist() == served.tolist()
    assert found.gains.tolist() == np.maximum(known - served, 0).sum(axis=1).tolist()


# --------------------------------------------------------------------------------------------------------- what holds


@pytest.mark.parametrize("rule", ["typiclust", "probcover", "maxherding", "k-medoids"])
def test_budgets_are_nested_and_a_greater_one_moves_no_smaller_one(rule: str) -> None:
    q = slow.pool("clips", 80, 8, 1)
    start = [5, 40, 11]
    one, two = ranked(rule, q, start, (10,)), ranked(rule, q, start, (10, 30))
    assert one[:3] == two[:3] == start
    assert one[:10] == two[:10]
    assert two == ranked(rule, q, start, (10, 30)), "the same each time"
    resumed = rank_frames(rule, "cosine", Candidates(embeddings=q, budgets=(10, 30), n_classes=3), one[:10], 80)
    if rule != "probcover":  # its radius is of the pool and the seed, not of the budgets: it holds there too
        assert resumed.order[:10].tolist() == one[:10]
    assert resumed.order[:30].tolist() == two[:30]


@pytest.mark.parametrize("rule", ["typiclust", "probcover"])
def test_the_seed_draws_the_clusters(rule: str) -> None:
    q = slow.pool("gauss", 120, 6, 2)
    assert len({tuple(ranked(rule, q, [1], (40,), seed)) for seed in range(6)}) > 1


@pytest.mark.parametrize("rule", ["typiclust", "probcover", "maxherding", "k-medoids"])
def test_a_rule_of_vectors_takes_pixels_and_refuses_ssim(rule: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 8, 8)).astype(np.uint8)
    order = rank_frames(rule, "pixels", Candidates(frames=frames, budgets=(8,)), [2], 20).order
    assert sorted(order) == list(range(20))
    with pytest.raises(ValueError, match="ssim has no vectors"):
        rank_frames(rule, "ssim", Candidates(frames=frames), [2], 20)


@pytest.mark.parametrize("rule", ["typiclust", "probcover", "maxherding", "k-medoids"])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_smallest_pools_are_put_in_order(rule: str, n: int) -> None:
    q = slow.pool("gauss", n, 4, 0)
    for start in ([], [0]):
        assert sorted(ranked(rule, q, start, (1, 2, 3, 6))) == list(range(n))


@few
@given(kinds, seeds, st.integers(1, 4))
def test_a_quota_holds_layer_by_layer_under_every_rule(kind: str, seed: int, most: int) -> None:
    """Nobody gives the next frame while another patient that has frames left has given fewer than the layer allows."""
    q, patients = slow.pool(kind, 40, 5, seed), np.random.default_rng(seed).integers(0, 5, 40)
    candidates = Candidates(
        embeddings=q, frame_ids=[str(i) for i in range(40)], budgets=(10, 25), quota=Quota(patients, most)
    )
    for rule in ("typiclust", "probcover", "maxherding", "k-medoids", "max", "mean", "facility-location", "random"):
        order = rank_frames(rule, "cosine", candidates, [3], 40, seed=seed).order
        assert sorted(order) == list(range(40)), rule
        for at in range(1, 40):
            used = np.bincount(patients[order[:at]], minlength=5)
            left = np.bincount(patients[order[at:]], minlength=5) > 0
            layer = (used[left] // most).min()
            assert used[patients[order[at]]] // most == layer, (rule, at)


@few
@given(kinds, seeds)
def test_k_center_under_a_quota_is_the_least_similar_admissible_frame(kind: str, seed: int) -> None:
    q, patients = slow.pool(kind, 30, 5, seed), np.arange(30) % 4
    s, order = slow.products(q), [2]
    while len(order) < 30:
        left = [i for i in range(30) if i not in order]
        used = lambda i: sum(1 for c in order if patients[c] == patients[i]) // 2  # noqa: E731
        layer = min(map(used, left))
        order.append(min((i for i in left if used(i) == layer), key=lambda i: (max(s[i, c] for c in order), i)))
    found = rank_frames("max", "cosine", Candidates(embeddings=q, quota=Quota(patients, 2)), [2], 30)
    assert found.order.tolist() == order
    assert found.similarity_to_chosen[1:].tolist() == [s[order[t], order[:t]].max() for t in range(1, 30)]


def test_a_quota_that_lets_everybody_in_changes_nothing() -> None:
    q, everyone = slow.pool("clips", 60, 8, 4), np.zeros(60, np.int64)
    for rule in ("typiclust", "probcover", "maxherding", "k-medoids", "max", "mean", "facility-location"):
        free = Candidates(embeddings=q, budgets=(12, 30))
        bound = Candidates(embeddings=q, budgets=(12, 30), quota=Quota(everyone, 60))
        assert (
            rank_frames(rule, "cosine", free, [3], 60).order.tolist()
            == rank_frames(rule, "cosine", bound, [3], 60).order.tolist()
        ), rule


def test_a_quota_of_nothing_or_of_another_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Quota(np.zeros(3, np.int64), 0)
    q = slow.pool("gauss", 5, 4, 0)
    with pytest.raises(ValueError, match="the pool has 5 frames"):
        rank_frames("max", "cosine", Candidates(embeddings=q, quota=Quota(np.zeros(3, np.int64), 1)), [], 5)


# ---------------------------------------------------------------------------------------------------- scikit-activeml


def labels(n: int, chosen: list[int]) -> np.ndarray:
    y = np.full(n, np.nan)
    y[chosen] = 0
    return y


@pytest.mark.filterwarnings("ignore:The maximum purity was:UserWarning")  # it was given a radius, not asked for one
@pytest.mark.parametrize("kind", ["gauss", "clips"])
def test_probcover_is_that_of_scikit_activeml(kind: str) -> None:
    """Given the radius: each of our picks has the greatest out-degree that scikit-activeml finds (it draws among ties)."""
    from skactiveml.pool import ProbCover

    q = slow.pool(kind, 120, 8, 3)
    radius = pure_radius(q, k_means(q, 3, 0))
    distances = (2.0 * SQUARE - 2 * slow.products(q)).clip(0)
    theirs = ProbCover(deltas=[2.0 * SQUARE - 2 * radius], distance_func=lambda _: distances, random_state=0)
    order = ranked("probcover", q, [3, 70], (14,))[:14]
    for at in range(2, 14):
        _, [utility] = theirs.query(q, labels(120, order[:at]), return_utilities=True, update=True)
        assert order[at] == np.flatnonzero(utility == np.nanmax(utility))[0]


def test_maxherding_is_that_of_scikit_activeml() -> None:
    """The same picks on structureless vectors; in clips of near-duplicates picks that are worth the same to what fixed point
    can tell (1e-4 of a cosine for each frame that a pick serves)."""
    from skactiveml.pool import MaxHerding

    theirs = MaxHerding(metric_dict={"gamma": 1.0}, random_state=0)
    q = slow.pool("gauss", 120, 8, 3)
    picks = theirs.query(q.astype(float), labels(120, [3, 70]), batch_size=18)
    assert ranked("maxherding", q, [3, 70], (20,))[2:20] == picks.tolist()
    q = slow.pool("clips", 120, 8, 3)
    order = ranked("maxherding", q, [3, 70], (20,))[:20]
    for at in range(2, 20):
        _, [worth] = theirs.query(q.astype(float), labels(120, order[:at]), return_utilities=True)
        assert 120 * (np.nanmax(worth) - worth[order[at]]) < 0.004, "of a frame's whole worth of 1"


def test_typiclust_goes_through_the_clusters_as_scikit_activeml_does() -> None:
    """Largest first among those without a label. Which frame is typical is measured otherwise there (means of distances
    over 5 neighbours, where the authors' code takes squared distances over up to 20)."""
    from skactiveml.pool import TypiClust
    from sklearn.base import BaseEstimator, ClusterMixin

    q = to_fixed_point(
        np.repeat(np.eye(8), [30, 26, 22, 18, 14, 12, 10, 8], axis=0) * 9 + slow.pool("gauss", 140, 8, 5) / 4000
    )
    cluster = k_means(q, 6, 0)

    class Ours(ClusterMixin, BaseEstimator):
        def __init__(self, n_clusters: int = 6) -> None:
            self.n_clusters = n_clusters

        def fit_predict(self, X: np.ndarray, y: None = None) -> np.ndarray:
            return cluster

    order = ranked("typiclust", q, [0], (6,))[:6]
    theirs = TypiClust(cluster_algo=Ours, random_state=0).query(q.astype(float), labels(140, [0]), batch_size=5)
    free = sorted({*cluster.tolist()} - {int(cluster[0])}, key=lambda c: -(cluster == c).sum())
    assert cluster[theirs][: len(free)].tolist() == free[:5]
    assert cluster[order[1:]][: len(free)].tolist() == free[:5]


def test_large_clusters_are_compared_portion_by_portion_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    q = slow.pool("clips", 90, 8, 6)
    known = ranked("typiclust", q, [1], (4, 30))
    monkeypatch.setattr("enrich_assets.method.ranking.rules.typiclust._MATRIX", 3)
    monkeypatch.setattr("enrich_assets.method.ranking.rules.typiclust._ROWS", 7)
    assert ranked("typiclust", q, [1], (4, 30)) == known
