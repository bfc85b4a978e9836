"""The method on anybody's vectors: floats in, positions and cosines out. No archive, no home, no Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

    from enrich_assets.method.ranking import Ranking

RULE = "k-center-greedy"


def rank(X: ArrayLike, n: int, start: ArrayLike | None = None, *, rule: str = RULE, seed: int = 0) -> NDArray[np.int64]:
    """The order in which to label: by the default rule each next row is the one least similar to all chosen before it.

    Parameters
    ----------
    X : (m, d) of any float type, or a DataFrame
        A vector a row; only its direction counts.
    n : int
        How many rows to put in order, those of `start` among them.
    start : (s,) int, optional
        Positions chosen beforehand; they come first. Without it the rule begins by itself (k-center-greedy: with row 0).
    rule : str
        Name of a rule (`enrich_assets.method.ranking.rule_names()`).
    seed : int
        Of rules that draw.

    Returns
    -------
    (n,) int64
        Positions in X. The same on every machine: similarities are exact integers (the cosine to within about 1e-4).

    Raises
    ------
    ValueError
        For vectors without direction (zero, NaN, infinite), naming the row; for a start or n that does not fit.

    References
    ----------
    Chinn et al. JAMIA 2023;30:1079, algorithm 1 (greedy k-centre).
    """
    return ranking_of(X, n, start, rule=rule, seed=seed).order


def ranking_of(X: ArrayLike, n: int, start: ArrayLike | None, *, rule: str, seed: int) -> Ranking:
    """As `rank`, with each row's similarity to those before it. Rows go by their numbers where a rule draws by name."""
    from enrich_assets.method.ranking import Candidates, rank_frames

    vectors = fixed(X)
    names = np.array([f"{row:012d}" for row in range(len(vectors))])
    chosen = np.empty(0, np.int64) if start is None else np.asarray(start)
    if not len(chosen) <= n <= len(vectors):
        raise ValueError(f"n must lie between the rows of start ({len(chosen)}) and all rows ({len(vectors)}), not {n}")
    return rank_frames(rule, "cosine", Candidates(vectors, frame_ids=names), chosen, n, seed=seed)


def redundancy(X: ArrayLike, groups: ArrayLike | None = None) -> pd.DataFrame:
    """How similar all pairs of rows are: a histogram of every pair's cosine, counted exactly.

    Parameters
    ----------
    X : (m, d) of any float type, or a DataFrame
        A vector a row.
    groups : (m,), optional
        What rows belong together (clip, patient, site). With it pairs within a group and between groups are told apart.

    Returns
    -------
    pandas.DataFrame
        A row per relation ("all", "within group", "between groups") and bin of 0.01: relation, lower, upper (cosines), pairs,
        share (of the pairs of the relation). Share of all pairs over 0.9:
        `t[(t.relation == "all") & (t.lower >= 0.9)].share.sum()`.

    Raises
    ------
    ValueError
        As `rank`, and where there is not one group per row.
    """
    import pandas as pd

    from enrich_assets.method.pairs.similarity import BIN_EDGES, PairLists, all_pairs

    vectors = fixed(X)
    codes = group_codes(groups, len(vectors))
    panel = all_pairs(vectors, clips=codes, patients=codes, lists=PairLists(0, 1.0, 0))
    counts = {"all": panel.histograms.sum(axis=0)}
    if groups is not None:
        counts |= {"within group": panel.histograms[0], "between groups": panel.histograms[1:].sum(axis=0)}
    parts = [
        pd.DataFrame(
            {
                "relation": name,
                "lower": BIN_EDGES[:-1],
                "upper": BIN_EDGES[1:],
                "pairs": pairs,
                "share": pairs / max(int(pairs.sum()), 1),
            }
        )
        for name, pairs in counts.items()
    ]
    return pd.concat(parts, ignore_index=True)


def near_duplicates(X: ArrayLike, threshold: float = 0.98, *, most: int = 100_000) -> pd.DataFrame:
    """Pairs of rows whose cosine reaches a threshold.

    Parameters
    ----------
    X : (m, d) of any float type, or a DataFrame
        A vector a row.
    threshold : float
        Least cosine of a pair.
    most : int
        So many pairs are listed, the nearest. `attrs["left_out"]` says how many others there are.

    Returns
    -------
    pandas.DataFrame
        first, second (positions in X, first < second), similarity (cosine); most similar first.

    Raises
    ------
    ValueError
        As `rank`.
    """
    import pandas as pd

    from enrich_assets.method.pairs.similarity import PairLists, all_pairs

    vectors = fixed(X)
    codes = np.arange(len(vectors))
    panel = all_pairs(vectors, clips=codes, patients=codes, lists=PairLists(0, threshold, most))
    first, second = panel.near_duplicates.astype(np.int64).T
    table = pd.DataFrame({"first": first, "second": second, "similarity": panel.cosines("near_duplicate_similarity")})
    table.attrs["left_out"] = panel.near_duplicates_left_out
    return table


def coverage(X: ArrayLike, chosen: ArrayLike) -> pd.DataFrame:
    """What a choice leaves out: of each row not chosen, the nearest chosen one.

    Parameters
    ----------
    X : (m, d) of any float type, or a DataFrame
        A vector a row.
    chosen : (k,) int
        Positions, at least one, each once.

    Returns
    -------
    pandas.DataFrame
        left_out, nearest (positions in X), similarity (cosine); in ascending order of left_out.

    Raises
    ------
    ValueError
        As `rank`; if nothing is chosen, or a position twice or outside X.
    """
    import pandas as pd

    from enrich_assets.method.ranking import coverage_of

    given = np.asarray(chosen)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ValueError(f"chosen must be a vector of positions, not {given.dtype} {given.shape}")
    found = coverage_of(fixed(X), given)
    return pd.DataFrame({"left_out": found.left_out, "nearest": found.nearest, "similarity": found.cosines()})


def fixed(X: ArrayLike) -> NDArray[np.int16]:
    """Rows as fixed-point unit vectors.

    Parameters
    ----------
    X : (m, d) of any float type, or a DataFrame

    Returns
    -------
    (m, d) int16

    Raises
    ------
    ValueError
        For another shape, for text, and for a row without direction.
    """
    from enrich_assets.method.embeddings.fixed_point import to_fixed_point

    values = np.asarray(X)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"vectors must be numbers, not {values.dtype}: leave out columns of names and labels")
    return to_fixed_point(values)


def group_codes(groups: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """(n,) int64 codes of groups; each row its own without them. Raises ValueError for another length."""
    if groups is None:
        return np.arange(n)
    given = np.asarray(groups)
    if given.shape != (n,):
        raise ValueError(f"groups must hold one value per row: ({n},), not {given.shape}")
    return np.unique(given.astype(str), return_inverse=True)[1].astype(np.int64)
