"""Preprocessing steps that are not in scikit-learn. Everything that learns from data does so in ``fit``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.utils.validation import check_is_fitted

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import endpoint_pairs
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome, check_outcome
from radiomics_crlm.modelling.columns import ColumnSpec, check_columns, encode, input_names
from radiomics_crlm.modelling.inputs import UnusableInputsError, fitted_inputs, training_inputs

_CELLS_AT_ONCE = 2_000_000


class TableEncoder(TransformerMixin, BaseEstimator):
    """Table to matrix (see ``columns.encode``); learns nothing.

    Parameters
    ----------
    columns
        What to read.
    """

    def __init__(self, columns: tuple[ColumnSpec, ...]) -> None:
        self.columns = columns

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Check the declaration."""
        check_columns(self.columns)
        self.n_outputs_ = len(input_names(self.columns))
        return self

    def transform(self, X: pd.DataFrame) -> Floats:
        """Matrix n x inputs with NaN where missing."""
        check_is_fitted(self)
        return encode(X, self.columns)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:  # noqa: ARG002 - as above
        """Names of the inputs."""
        return np.array(input_names(self.columns), dtype=object)


class SharedIndicatorImputer(SimpleImputer):
    """Imputation where inputs that are missing in the same training rows share one missingness indicator, that of the
    first: a scan that a patient lacks is one fact, not hundreds.

    Parameters are those of ``sklearn.impute.SimpleImputer``; ``indicator_.features_`` are the flagged inputs.
    """

    def fit(self, X: Floats | pd.DataFrame, y: Any = None) -> Self:
        """Learn the values to fill in, and find the patterns of missing values."""
        super().fit(X, y)
        flagged = self.indicator_.features_
        missing = np.isnan(np.asarray(X, dtype=float)[:, flagged])
        first = np.unique(missing, axis=1, return_index=True)[1]
        self.indicator_.features_ = flagged[np.sort(first)]
        return self


class FeatureFilter(TransformerMixin, BaseEstimator):
    """Drops inputs that hardly vary and one of each nearly redundant pair, without looking at the outcome.

    Of a redundant pair the one further left stays, so the result does not depend on chance. If nothing were left,
    the input that varies most stays.

    Parameters
    ----------
    max_constant
        Largest admissible share of rows with the same value.
    max_correlation
        Largest admissible absolute Spearman correlation.
    keep
        Positions that are never dropped; they come first in the output, others follow in their own order.
    """

    def __init__(self, max_constant: float = 0.95, max_correlation: float = 0.9, keep: tuple[int, ...] = ()) -> None:
        self.max_constant = max_constant
        self.max_correlation = max_correlation
        self.keep = keep

    def fit(self, X: Floats, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Find the inputs to keep."""
        X = training_inputs(self, X)
        share = most_common_share(X)
        share[list(self.keep)] = 2.0
        candidates = np.flatnonzero(share <= self.max_constant)
        if candidates.size + len(self.keep) == 0:
            candidates = np.array([np.argmin(share)])
        candidates = np.concatenate((np.array(self.keep, dtype=candidates.dtype), candidates))
        self.selected_ = candidates[non_redundant(X[:, candidates], self.max_correlation, len(self.keep))]
        return self

    def transform(self, X: Floats) -> Floats:
        """The kept inputs."""
        return fitted_inputs(self, X)[:, self.selected_]


class UnivariateSelector(TransformerMixin, BaseEstimator):
    """Keeps the k inputs whose own concordance with the outcome is furthest from one half.

    Parameters
    ----------
    k
        Inputs to choose.
    kind, horizon
        Harrell's C, or the censoring-weighted AUC at a horizon in months.
    keep
        Number of leading inputs that are kept besides (those ``FeatureFilter`` puts first).
    """

    def __init__(self, k: int, kind: Kind = "time_to_event", horizon: float | None = None, keep: int = 0) -> None:
        self.k = k
        self.kind = kind
        self.horizon = horizon
        self.keep = keep

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Score each input on the training rows."""
        if y is None:
            raise UnusableInputsError("requires y to be passed, but the target y is None", where=type(self).__name__)
        X = training_inputs(self, X, min_rows=2)
        if self.k < 1:
            raise InputError("the number of inputs to select is too small", expected=">= 1", got=str(self.k))
        check_outcome(y, horizon=self.horizon, min_events=1)
        distance = np.abs(univariate_concordance(X[:, self.keep :], endpoint_pairs(y, self.kind, self.horizon)) - 0.5)
        best = np.sort(np.argsort(-distance, kind="stable")[: self.k])
        self.selected_ = np.concatenate((np.arange(self.keep), best + self.keep))
        return self

    def transform(self, X: Floats) -> Floats:
        """The chosen inputs, in their own order."""
        return fitted_inputs(self, X)[:, self.selected_]

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: an outcome is required."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def most_common_share(X: Floats) -> Floats:
    """Share of rows that hold the most common value of each column.

    >>> most_common_share(np.array([[1.0, 1.0], [1.0, 2.0]])).tolist()
    [1.0, 0.5]
    """
    n = X.shape[0]
    ordered = np.sort(X, axis=0)
    start = np.vstack((np.ones((1, X.shape[1]), dtype=bool), ordered[1:] != ordered[:-1]))
    row = np.arange(n)[:, None]
    begin = np.maximum.accumulate(np.where(start, row, 0), axis=0)
    return np.asarray((row - begin + 1).max(axis=0) / n, dtype=float)


def non_redundant(X: Floats, max_correlation: float, protected: int = 0) -> npt.NDArray[np.intp]:
    """Positions of the columns, from left to right, that are not nearly redundant with one kept before.

    Parameters
    ----------
    X
        n x p; a constant column is redundant with nothing.
    max_correlation
        Largest admissible absolute Spearman correlation.
    protected
        Leading columns that stay whatever their correlation.
    """
    ranks = rankdata(X, axis=0)
    ranks -= ranks.mean(axis=0)
    norm = np.sqrt((ranks**2).sum(axis=0))
    scaled = np.divide(ranks, norm, out=np.zeros_like(ranks), where=norm > 0)
    # The tolerance keeps a perfect copy from slipping through by rounding when the limit is 1.
    redundant = np.abs(scaled.T @ scaled) > max_correlation - 1e-12
    redundant[:, :protected] = False
    alive = np.ones(X.shape[1], dtype=bool)
    for position in range(X.shape[1]):
        if alive[position]:
            alive[position + 1 :] &= ~redundant[position, position + 1 :]
    return np.flatnonzero(alive)


def univariate_concordance(X: Floats, pairs: Floats) -> Floats:
    """Concordance of each column taken as a risk, ties one half; ``pairs`` as in ``evaluation.discrimination``."""
    first, second = np.nonzero(pairs)
    weight = pairs[first, second]
    out = np.empty(X.shape[1])
    width = max(1, _CELLS_AT_ONCE // max(1, first.size))
    for begin in range(0, X.shape[1], width):
        block = X[:, begin : begin + width]
        out[begin : begin + width] = weight @ np.sign(block[first] - block[second])
    return 0.5 * (1.0 + out / weight.sum())
