"""Selection of inputs by the outcome, inside the training fold: univariate, mRMR, stability selection.

All keep a number of leading inputs besides (those that ``FeatureFilter`` puts first), choose the same inputs whatever
the order of rows, and leave the order of the inputs as it is.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lars_path
from sklearn.utils.validation import check_is_fitted, validate_data

from radiomics_crlm.evaluation.discrimination import endpoint_pairs
from radiomics_crlm.evaluation.incidence import risk_table, step_at
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome, check_outcome, horizon_labels
from radiomics_crlm.modelling.inner_folds import draw_inner_folds, stratum
from radiomics_crlm.modelling.learner import UnusableInputsError, canonical_order, check_share
from radiomics_crlm.modelling.transformers import univariate_concordance

Positions = npt.NDArray[np.intp]
Relevance = Literal["concordance", "f_statistic"]


class OutcomeSelector(TransformerMixin, BaseEstimator):
    """Base: ``fit(X, y)`` chooses at most ``k`` of the inputs after the first ``keep``; ``selected_`` are positions."""

    k: int
    kind: Kind
    horizon: float | None
    keep: int

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Choose on the training rows.

        Raises
        ------
        InputError
            For settings out of range, an outcome that is none or is constant, inputs that are not finite.
        """
        if y is None:
            raise UnusableInputsError("requires y to be passed, but the target y is None", where=type(self).__name__)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if self.k < 1 or not 0 <= self.keep <= X.shape[1]:
            raise UnusableInputsError(
                "the number of inputs to select is out of range", expected=f"k >= 1, keep from 0 to {X.shape[1]}",
                got=f"k = {self.k}, keep = {self.keep}",
            )  # fmt: skip
        check_outcome(y, horizon=self.horizon, min_events=1)
        if len(y) != len(X):
            raise UnusableInputsError(
                "inputs and outcome have different lengths", expected=str(len(X)), got=str(len(y))
            )
        chosen = self._choose(X, y) if self.keep < X.shape[1] else np.empty(0, dtype=np.intp)
        self.selected_: Positions = np.concatenate((np.arange(self.keep), np.sort(chosen))).astype(np.intp)
        return self

    def transform(self, X: Floats) -> Floats:
        """The chosen inputs, in their own order."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64, ensure_min_samples=0)
        return np.asarray(X[:, self.selected_])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names of the chosen inputs."""
        check_is_fitted(self)
        if input_features is None:
            input_features = getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        return np.asarray(input_features, dtype=object)[self.selected_]

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: an outcome is required."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _choose(self, X: Floats, y: Outcome) -> Positions:
        """Positions (from ``keep`` up) of the chosen inputs."""
        raise NotImplementedError


class MRMRSelector(OutcomeSelector):
    """Greedy choice of inputs that tell much about the outcome and little that those chosen before did not tell.

    Each step takes the input with the largest relevance minus redundancy. Redundancy is the mean absolute Spearman
    correlation with the inputs chosen so far, those kept besides included.

    Parameters
    ----------
    k
        Inputs to choose.
    kind, horizon
        What the outcome is; months of a label.
    keep
        Leading inputs that are kept besides.
    relevance
        ``concordance``: twice the distance of the input's own concordance (Harrell's C, or the censoring-weighted AUC)
        from one half, from 0 to 1. ``f_statistic``: the share of variance explained (F over F + n - 2) of the residuals
        of a model without inputs, from 0 to 1.

    References
    ----------
    Peng, Long, Ding 2005, doi:10.1109/TPAMI.2005.159 (the difference scheme).
    """

    def __init__(
        self, k: int = 12, kind: Kind = "time_to_event", horizon: float | None = None, keep: int = 0,
        relevance: Relevance = "concordance",
    ) -> None:  # fmt: skip
        self.k = k
        self.kind = kind
        self.horizon = horizon
        self.keep = keep
        self.relevance = relevance

    def _choose(self, X: Floats, y: Outcome) -> Positions:
        relevance = self._relevance(X[:, self.keep :], y)
        ranks = _standardised(rankdata(X, axis=0))
        ours = ranks[:, self.keep :]
        # Sum of absolute correlations with what was chosen so far.
        shared = np.abs(ours.T @ ranks[:, : self.keep]).sum(axis=1)
        chosen: list[int] = []
        for count in range(self.keep, self.keep + min(self.k, ours.shape[1])):
            # Rounded, so that of equals the left one is taken on every machine.
            score = np.round(relevance - shared / max(count, 1), 12)
            score[chosen] = -np.inf
            best = int(np.argmax(score))
            chosen.append(best)
            shared += np.abs(ours.T @ ours[:, best])
        return np.array(chosen, dtype=np.intp) + self.keep

    def _relevance(self, X: Floats, y: Outcome) -> Floats:
        if self.relevance == "concordance":
            pairs = endpoint_pairs(y, self.kind, self.horizon)
            # Without two patients who can be compared nothing is relevant.
            return 2.0 * np.abs(univariate_concordance(X, pairs) - 0.5) if pairs.any() else np.zeros(X.shape[1])
        residual, weight = null_residuals(y, self.kind, self.horizon)
        root = np.sqrt(weight)[:, None]
        centred = root * (X - weight @ X / weight.sum())
        norm = np.sqrt((centred**2).sum(axis=0) * (weight @ residual**2))
        product = (centred * root * residual[:, None]).sum(axis=0)
        return np.divide(product, norm, out=np.zeros_like(product), where=norm > 0) ** 2


class StabilitySelector(OutcomeSelector):
    """Inputs that enter a lasso early on most random halves of the patients.

    Halves come in complementary pairs that share the events evenly. On each, the first ``k`` inputs to enter the path
    of the lasso are noted. Inputs entering in at least ``threshold`` of the halves are chosen, the most frequent ``k``
    at most; if none does, the most frequent one. The expected number of inputs chosen in error is at most
    ``k^2 / ((2 threshold - 1) p)`` for p inputs.

    The lasso is that of the residuals of a model without inputs (martingale residuals of the cause-specific hazard, or
    weighted residuals of the label): the quadratic approximation of the L1-penalised likelihood where its path begins.
    Inputs that are kept besides are regressed out first.

    Parameters
    ----------
    k
        Inputs that enter on each half, and the most that are chosen.
    kind, horizon
        What the outcome is; months of a label.
    keep
        Leading inputs that are kept besides.
    threshold
        Smallest admissible frequency, above 0.5.
    pairs
        Pairs of halves.
    seed
        Of the halves.

    Attributes
    ----------
    frequency_
        Share of the halves on which each input (after the kept ones) entered.

    References
    ----------
    Meinshausen, Buehlmann 2010, doi:10.1111/j.1467-9868.2010.00740.x; complementary pairs: Shah, Samworth 2013,
    doi:10.1111/j.1467-9868.2011.01034.x.
    """

    def __init__(
        self, k: int = 12, kind: Kind = "time_to_event", horizon: float | None = None, keep: int = 0,
        threshold: float = 0.6, pairs: int = 25, seed: int = 0,
    ) -> None:  # fmt: skip
        self.k = k
        self.kind = kind
        self.horizon = horizon
        self.keep = keep
        self.threshold = threshold
        self.pairs = pairs
        self.seed = seed

    def _choose(self, X: Floats, y: Outcome) -> Positions:
        check_share(threshold=self.threshold)
        if self.threshold <= 0.5 or self.pairs < 1:
            raise UnusableInputsError(
                "settings of stability selection are out of range", expected="threshold above 0.5, pairs >= 1"
            )
        order = canonical_order(X, y)
        X, y = X[order], y[order]
        generator = np.random.default_rng(self.seed)
        codes = stratum(y, self.horizon if self.kind == "binary" else None)
        entered = np.zeros(X.shape[1] - self.keep)
        for _ in range(self.pairs):
            half = draw_inner_folds(codes, 2, generator)
            for part in (0, 1):
                entered[self._first(X[half == part], y[half == part])] += 1
        self.frequency_ = entered / (2 * self.pairs)
        by_frequency = np.argsort(-self.frequency_, kind="stable")[: self.k]
        stable = by_frequency[self.frequency_[by_frequency] >= self.threshold - 1e-12]
        return (stable if stable.size else by_frequency[:1]) + self.keep

    def _first(self, X: Floats, y: Outcome) -> Positions:
        """Inputs that enter the path first on one half; none if it has no event."""
        residual, weight = null_residuals(y, self.kind, self.horizon)
        if not (residual * weight).any():
            return np.empty(0, dtype=np.intp)
        root = np.sqrt(weight)
        inputs = _standardised(root[:, None] * (X - weight @ X / weight.sum()), centre=False)
        target = root * residual
        kept, ours = inputs[:, : self.keep], inputs[:, self.keep :]
        if self.keep:
            both = np.column_stack((target, ours))
            both -= kept @ np.linalg.lstsq(kept, both, rcond=None)[0]
            target, ours = both[:, 0], _standardised(both[:, 1:], centre=False)
        with warnings.catch_warnings():
            # A path that ends early, because half the patients are fitted exactly, is no fault.
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, active, _ = lars_path(ours, target, method="lasso", max_iter=self.k)
        return np.asarray(active, dtype=np.intp)[: self.k]


def null_residuals(y: Outcome, kind: Kind, horizon: float | None) -> tuple[Floats, Floats]:
    """Residual of each patient in a model without inputs, and the weight it has.

    Time to event: martingale residuals of the cause-specific hazard (event minus Nelson-Aalen hazard until the time),
    weight 1. Label: label minus its weighted mean, with the weights of ``outcome.horizon_labels``. The weighted sum of
    the residuals is 0.
    """
    if kind == "binary":
        label, weight = horizon_labels(y, float(horizon or 0.0))
        return np.where(weight > 0, label - weight @ label / weight.sum(), 0.0), weight
    table = risk_table(y["event"], y["months"])
    hazard = step_at(table.months, np.cumsum(table.events / table.at_risk), y["months"], initial=0.0)
    return (y["event"] == 1) - hazard, np.ones(y.size)


def _standardised(X: Floats, *, centre: bool = True) -> Floats:
    """Columns of length 1 (constant ones of length 0), by default centred."""
    centred = X - X.mean(axis=0) if centre else X
    norm = np.sqrt((centred**2).sum(axis=0))
    return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 1e-12)
