"""What `curation` measures: each subject prepares its input, and hands back the call that is timed.

Ours, the bare matrix product as the floor, plain numpy as anyone would write it, and libraries from PyPI. A subject whose
library is not installed raises ImportError.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich_assets_tests.benchmarks.archives import codes, start_set

Floats = NDArray[np.float32]
Call = Callable[[], object]
BLOCK = 4096


@dataclass(frozen=True)
class Subject:
    """One line of the table."""

    task: str
    says: str
    prepare: Callable[[Floats], Call]
    package: str | None = None
    repeats: int = 3
    most: int = 45_000  # frames beyond which it takes too long for one command
    kinds: tuple[str, ...] = ("clip-like", "gaussian")


PAIRS = "all pairs"
FIFTH = "choose a fifth of the frames (max rule)"
WHOLE = "order all frames (max rule)"
OTHER = "other rules"
BATCH = "a new batch of 1 %"
HUNDREDTH = "other rules: 1 % of the frames beside a start set of 2 %"
TENTH = "other rules: a tenth of the frames"
RULE_TASKS = (HUNDREDTH, TENTH)  # a section of their own


def _blocks(n: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(0, n, BLOCK) for j in range(i, n, BLOCK)]


def bare_product(x: Floats) -> Call:
    import torch

    f, out = torch.from_numpy(x), torch.empty(BLOCK, BLOCK)

    def call() -> None:
        for i, j in _blocks(len(f)):
            a, b = f[i : i + BLOCK], f[j : j + BLOCK]
            torch.mm(a, b.T, out=out[: len(a), : len(b)]) if len(a) == len(b) == BLOCK else a @ b.T

    return call


def our_histogram(x: Floats) -> Call:
    from enrich_assets.method.embeddings.fixed_point import to_fixed_point
    from enrich_assets.method.pairs.similarity import similarity_histogram

    q, edges = to_fixed_point(x), np.linspace(-1.001, 1.001, 401)
    similarity_histogram(q[:4100], edges)
    return lambda: similarity_histogram(q, edges)


def our_panel(x: Floats) -> Call:
    from enrich_assets.method.embeddings.fixed_point import to_fixed_point
    from enrich_assets.method.pairs.similarity import all_pairs

    q, (clips, patients) = to_fixed_point(x), codes(len(x))
    all_pairs(q[:4100], clips=clips[:4100], patients=patients[:4100])
    return lambda: all_pairs(q, clips=clips, patients=patients)


def our_batch(x: Floats) -> Call:
    from enrich_assets.method.embeddings.fixed_point import to_fixed_point
    from enrich_assets.method.pairs.similarity import all_pairs

    q, (clips, patients), old = to_fixed_point(x), codes(len(x)), len(x) - len(x) // 100
    so_far = all_pairs(q[:old], clips=clips[:old], patients=patients[:old])
    return lambda: all_pairs(q, clips=clips, patients=patients, n_earlier=old, so_far=so_far)


def our_batch_alone(x: Floats) -> Call:
    from enrich_assets.method.embeddings.fixed_point import to_fixed_point
    from enrich_assets.method.pairs.similarity import all_pairs

    q, (clips, patients), old = to_fixed_point(x), codes(len(x)), len(x) - len(x) // 100
    all_pairs(q, clips=clips, patients=patients, n_earlier=old)
    return lambda: all_pairs(q, clips=clips, patients=patients, n_earlier=old)


def numpy_thresholds(x: Floats) -> Call:
    def call() -> list[int]:
        over = [0, 0, 0]
        for i, j in _blocks(len(x)):
            s = x[i : i + BLOCK] @ x[j : j + BLOCK].T
            over = [n + int(np.count_nonzero(s > t)) for n, t in zip(over, (0.5, 0.7, 0.9), strict=True)]
        return over

    return call


def torch_histc(x: Floats) -> Call:
    import torch

    f = torch.from_numpy(x)

    def call() -> torch.Tensor:
        total = torch.zeros(400)
        for i, j in _blocks(len(f)):
            total += torch.histc(f[i : i + BLOCK] @ f[j : j + BLOCK].T, 400, -1.001, 1.001)
        return total

    return call


def sklearn_chunks(x: Floats) -> Call:
    from sklearn.metrics import pairwise_distances_chunked

    edges = np.linspace(-0.001, 2.001, 401)
    return lambda: sum(np.histogram(d, edges)[0] for d in pairwise_distances_chunked(x, metric="cosine"))


def faiss_range(x: Floats) -> Call:
    import faiss

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    return lambda: [index.range_search(x[at : at + 1000], 0.9)[0][-1] for at in range(0, len(x), 1000)]


def faiss_neighbours(x: Floats) -> Call:
    import faiss

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    return lambda: index.search(x, 11)


def our_ranking(share: float) -> Callable[[Floats], Call]:
    def prepare(x: Floats) -> Call:
        from enrich_assets.method.embeddings.fixed_point import to_fixed_point
        from enrich_assets.method.ranking.greedy import rank_by_max_similarity

        q, start = to_fixed_point(x), start_set(len(x))
        rank_by_max_similarity(q[:2100], start[start < 2100], 200)
        return lambda: rank_by_max_similarity(q, start, int(len(x) * share))

    return prepare


def numpy_ranking(x: Floats) -> Call:
    def call() -> None:
        start = start_set(len(x))
        best = (x @ x[start].T).max(axis=1)
        best[start] = np.inf
        for _ in range(len(x) // 5 - len(start)):
            pick = int(best.argmin())
            np.maximum(best, x @ x[pick], out=best)
            best[pick] = np.inf

    return call


def mundig(x: Floats) -> Call:
    from lightly_mundig import Selection

    start = [int(i) for i in start_set(len(x))]

    def call() -> None:
        selection = Selection()
        selection.add_diversifying_strategy(embeddings=x, strength=1.0, stopping_condition_minimum_distance=None)
        selection.run_selection(preselected_indices=start, n_total_samples=len(x), n_samples_to_select=len(x) // 5)

    return call


def skactiveml_core_set(x: Floats) -> Call:
    from skactiveml.pool import CoreSet
    from skactiveml.utils import MISSING_LABEL

    start = start_set(len(x))
    y = np.full(len(x), MISSING_LABEL)
    y[start] = 0
    return lambda: CoreSet(random_state=0).query(x, y, batch_size=len(x) // 5 - len(start))


def our_facility_location(x: Floats) -> Call:
    from enrich_assets.method.embeddings.fixed_point import to_fixed_point
    from enrich_assets.method.ranking.rules import rank_by_facility_location

    q = to_fixed_point(x)
    rank_by_facility_location(q[:4100], [], 10)
    return lambda: rank_by_facility_location(q, [], len(x) // 100)


def apricot_facility_location(x: Floats) -> Call:
    from apricot import FacilityLocationSelection

    return lambda: FacilityLocationSelection(len(x) // 100, metric="cosine", optimizer="lazy").fit(x)


def our_rule(rule: str, share: float) -> Callable[[Floats], Call]:
    """A rule up to the start set and a share of the frames, in one step; what follows is put in order by no rule."""

    def prepare(x: Floats) -> Call:
        from enrich_assets.method.embeddings.fixed_point import to_fixed_point
        from enrich_assets.method.ranking.rules import Candidates, rank_frames

        q, start = to_fixed_point(x), start_set(len(x))
        rank_frames(rule, "cosine", Candidates(embeddings=q[:2100]), start[start < 2100], 200)
        return lambda: rank_frames(rule, "cosine", Candidates(embeddings=q), start, len(start) + int(len(x) * share))

    return prepare


def _labels(n: int) -> NDArray[np.float64]:
    y = np.full(n, np.nan)
    y[start_set(n)] = 0
    return y


def skactiveml_rule(name: str, **options: object) -> Callable[[Floats], Call]:
    def prepare(x: Floats) -> Call:
        from skactiveml import pool

        strategy, y = getattr(pool, name)(random_state=0, **options), _labels(len(x))
        return lambda: strategy.query(x, y, batch_size=len(x) // 100)

    return prepare


def numpy_max_herding(x: Floats) -> Call:
    """As the authors' code does it: the matrix of kernels, and all of it looked at for each pick."""

    def call() -> None:
        kernel = np.exp(2 * (x @ x.T) - 2)
        served = kernel[start_set(len(x))].max(axis=0)
        for _ in range(len(x) // 100):
            gains = np.maximum(kernel - served, 0).mean(axis=1)
            np.maximum(served, kernel[gains.argmax()], out=served)

    return call


def numpy_prob_cover(x: Floats) -> Call:
    """As the authors' code does it, the radius given: edges in a table, those to covered frames dropped after each pick."""

    def call() -> None:
        source, target = np.nonzero(x @ x.T > 0.95)
        covered = np.unique(target[np.isin(source, start_set(len(x)))])
        keep = ~np.isin(target, covered)
        source, target = source[keep], target[keep]
        for _ in range(len(x) // 100):
            pick = np.bincount(source, minlength=len(x)).argmax()
            keep = ~np.isin(target, target[source == pick])
            source, target = source[keep], target[keep]

    return call


def sklearn_typiclust(x: Floats) -> Call:
    """As the authors' code does it: mini-batch k-means, neighbours within the clusters."""
    from sklearn.cluster import MiniBatchKMeans

    def call() -> None:
        start, size = start_set(len(x)), len(start_set(len(x))) + len(x) // 100
        cluster = MiniBatchKMeans(min(size, 500), batch_size=5000, random_state=0).fit_predict(x)
        sizes, held = np.bincount(cluster), np.bincount(cluster[start], minlength=cluster.max() + 1)
        turn = [c for c in np.lexsort((-sizes, held)) if sizes[c] > 5]
        cluster[start] = -1
        for at in range(size - len(start)):
            members = np.flatnonzero(cluster == turn[at % len(turn)])
            if len(members) < 2:
                continue
            k = min(20, len(members) // 2)
            distances = 2 - 2 * x[members] @ x[members].T
            cluster[members[np.partition(distances, k, axis=1)[:, : k + 1].sum(axis=1).argmin()]] = -1

    return call


SUBJECTS: dict[str, Subject] = {
    "floor": Subject(PAIRS, "the floor: bare float32 product of the same blocks (torch)", bare_product),
    "histogram": Subject(PAIRS, "**ours**: histogram of 400 bins, exact", our_histogram),
    "panel": Subject(PAIRS, "**ours**: histograms by relation, 2 x 10 neighbours, near-duplicates", our_panel),
    "numpy": Subject(PAIRS, "numpy blocks, three thresholds and nothing else", numpy_thresholds),
    "histc": Subject(PAIRS, "torch blocks with `histc`", torch_histc, kinds=("clip-like",)),
    "sklearn": Subject(PAIRS, "scikit-learn in chunks, histogram", sklearn_chunks, "scikit-learn", kinds=("clip-like",)),
    "faiss": Subject(PAIRS, "FAISS, pairs over 0.9", faiss_range, "faiss-cpu", kinds=("clip-like",)),
    "faiss-10": Subject(PAIRS, "FAISS, 10 neighbours", faiss_neighbours, "faiss-cpu", kinds=("clip-like",)),
    "batch": Subject(BATCH, "**ours**: its panel, knowing the neighbours so far", our_batch, kinds=("clip-like",)),
    "batch-alone": Subject(BATCH, "**ours**: its panel by itself", our_batch_alone, kinds=("clip-like",)),
    "fifth": Subject(FIFTH, "**ours**", our_ranking(0.2)),
    "incremental": Subject(FIFTH, "incremental numpy", numpy_ranking),
    "mundig": Subject(FIFTH, "Lightly's Rust engine", mundig, "lightly-mundig"),
    "coreset": Subject(FIFTH, "scikit-activeml `CoreSet`", skactiveml_core_set, "scikit-activeml", 3, 45_000, ("clip-like",)),
    "whole": Subject(WHOLE, "**ours**", our_ranking(1.0)),
    "facility": Subject(OTHER, "**ours**: facility location, 1 % of the frames", our_facility_location, None, 3, 45_000, ("clip-like",)),
    "apricot": Subject(OTHER, "apricot, facility location, 1 % of the frames", apricot_facility_location, "apricot-select", 3, 10_000, ("clip-like",)),
    **{f"{rule}-1": Subject(HUNDREDTH, f"**ours**: {rule}", our_rule(rule, 0.01)) for rule in ("typiclust", "probcover", "maxherding", "k-medoids")},
    "typiclust-numpy": Subject(HUNDREDTH, "TypiClust as the authors' code does it (scikit-learn's mini-batch k-means)", sklearn_typiclust, "scikit-learn", 3, 45_000, ("clip-like",)),
    "typiclust-skactiveml": Subject(HUNDREDTH, "scikit-activeml `TypiClust`", skactiveml_rule("TypiClust"), "scikit-activeml", 1, 10_000, ("clip-like",)),
    "probcover-numpy": Subject(HUNDREDTH, "ProbCover as the authors' code does it (numpy, radius given)", numpy_prob_cover, None, 1, 10_000, ("clip-like",)),
    "probcover-skactiveml": Subject(HUNDREDTH, "scikit-activeml `ProbCover` (radius given)", skactiveml_rule("ProbCover", deltas=[0.3]), "scikit-activeml", 1, 10_000, ("clip-like",)),
    "maxherding-numpy": Subject(HUNDREDTH, "MaxHerding as the authors' code does it (numpy)", numpy_max_herding, None, 1, 10_000, ("clip-like",)),
    "maxherding-skactiveml": Subject(HUNDREDTH, "scikit-activeml `MaxHerding`", skactiveml_rule("MaxHerding", metric_dict={"gamma": 1.0}), "scikit-activeml", 1, 10_000, ("clip-like",)),
    **{f"{rule}-10": Subject(TENTH, f"**ours**: {rule}", our_rule(rule, 0.1), None, 1) for rule in ("typiclust", "probcover", "maxherding", "k-medoids")},
}  # fmt: skip
