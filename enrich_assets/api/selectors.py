"""The rules as scikit-learn estimators: `KCenterSelector(n).fit(X).ranking_`. They choose rows and look at no label."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from enrich_assets.api.vectors import ranking_of


class _Selector(BaseEstimator):
    """What the selectors share.

    Parameters
    ----------
    n : int, optional
        How many rows to put in order; all without it.
    start : (s,) int, optional
        Positions chosen beforehand; they come first.

    Attributes
    ----------
    ranking_ : (n,) int64
        Positions in X, in the order in which to label.
    similarity_ : (n,) float64
        Of each the greatest cosine with a row before it; NaN for those of `start` and for the first.
    n_features_in_ : int
        Columns of X.
    """

    rule: ClassVar[str]

    def __init__(self, n: int | None = None, start: ArrayLike | None = None) -> None:
        self.n = n
        self.start = start

    def fit(self, X: ArrayLike, y: object = None) -> _Selector:
        """Put rows in order.

        Parameters
        ----------
        X : (m, d) float
            A vector a row; only its direction counts, so a row of zeros is refused.
        y : ignored
            No label is looked at.

        Raises
        ------
        ValueError
            For vectors without direction, and for an n or start that does not fit X.
        """
        rows = validate_data(self, X, dtype=[np.float64, np.float32])
        n = len(rows) if self.n is None else self.n
        chosen = ranking_of(rows, n, self.start, rule=self.rule, seed=self._seed)
        self.ranking_: NDArray[np.int64] = chosen.order
        self.similarity_: NDArray[np.float64] = chosen.cosine_to_chosen()
        return self

    def fit_select(self, X: ArrayLike, y: object = None) -> NDArray[np.float64]:
        """The chosen rows of X, (n, d), in their order."""
        return np.asarray(X)[self.fit(X, y).ranking_]

    @property
    def _seed(self) -> int:
        """Of rules that draw."""
        return 0


class KCenterSelector(_Selector):
    """Greedy k-centre, the rule of ENRICH: each next row is the least similar to all before it.

    `KCenterSelector(200).fit(X).ranking_` are the positions of 200 rows of X, the first to label first.
    """

    rule = "k-center-greedy"


class MeanSelector(_Selector):
    """Each next row has the least mean similarity to those before it."""

    rule = "mean"


class FacilityLocationSelector(_Selector):
    """Each next row adds the most to how well all rows are represented by their nearest chosen one."""

    rule = "facility-location"


class RandomSelector(_Selector):
    """By chance, the same for the same seed: what every other rule must beat.

    Parameters
    ----------
    n, start
        As of the others.
    seed : int
        Another seed, another order.
    """

    rule = "random"

    def __init__(self, n: int | None = None, start: ArrayLike | None = None, seed: int = 0) -> None:
        super().__init__(n, start)
        self.seed = seed

    @property
    def _seed(self) -> int:
        return self.seed
