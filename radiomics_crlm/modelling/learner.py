"""What all learners share: the protocol, the checks before a fit, and scikit-learn's conventions.

A learner takes a numeric matrix and an outcome array (``evaluation.outcome``); after fitting it has ``risk(X)`` (higher
= event more likely or sooner) and ``probability(X, months)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import concordance, endpoint_pairs
from radiomics_crlm.evaluation.outcome import Floats, Outcome, check_outcome
from radiomics_crlm.modelling.inputs import UnusableInputsError as UnusableInputsError
from radiomics_crlm.modelling.inputs import fitted_inputs, training_inputs


class RiskLearner(BaseEstimator):
    """Base of the learners: ``fit(X, y)``, ``risk(X)`` and ``probability(X, months)``.

    ``predict`` is scikit-learn's name for ``risk``, and ``score`` is the concordance, so that learners also work in
    scikit-learn's own tools.
    """

    not_deliverable: ClassVar[str] = ""
    """Why a fitted learner cannot be frozen into plain numbers, if it cannot."""

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs and n outcomes."""
        raise NotImplementedError

    def risk(self, X: Floats) -> Floats:
        """Risk of n rows; higher = event more likely or sooner."""
        raise NotImplementedError

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN where the learner does not speak."""
        raise NotImplementedError

    def predict(self, X: Floats) -> Floats:
        """The same as ``risk``."""
        return self.risk(X)

    def score(self, X: Floats, y: Outcome) -> float:
        """Harrell's C, or at a horizon the censoring-weighted AUC; NaN if no two patients can be compared."""
        horizon = getattr(self, "horizon", None)
        return concordance(endpoint_pairs(y, "time_to_event" if horizon is None else "binary", horizon), self.risk(X))

    def check(self, y: Outcome) -> None:
        """Refuse, before any fit, outcomes that this learner cannot learn from."""

    @classmethod
    def risks_of(cls, candidates: Sequence[Any], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
        """Risk of test rows from each candidate of this class fitted on the training rows.

        Learners override it to share work among candidates; the risks are those of separate fits.
        """
        return [clone(candidate).fit(X, y).risk(X_test) for candidate in candidates]

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: an outcome is required."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _inputs(self, X: Floats) -> Floats:
        """Inputs of a fitted learner, checked to be as many as it was fitted on."""
        return fitted_inputs(self, X)

    def _training(self, X: Floats, y: Outcome, horizon: float | None) -> Floats:
        """Inputs and outcome before a fit.

        Raises
        ------
        InputError
            For an outcome that is none or is constant, lengths that differ, values that are not finite.
        ValueError
            By scikit-learn, for what is no numeric matrix with at least two rows and one column.
        """
        if y is None:
            raise UnusableInputsError("requires y to be passed, but the target y is None", where=type(self).__name__)
        X = training_inputs(self, X, min_rows=2)
        check_outcome(y, horizon=horizon, min_events=1)
        if X.shape[0] != y.size:
            raise UnusableInputsError(
                "inputs and outcome do not fit together", expected=f"{y.size} rows", got=str(X.shape)
            )
        return X


def check_positive(**settings: float) -> None:
    """Refuse settings that are not > 0.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for name, value in settings.items():
        if not value > 0:
            raise InputError("a learner setting is out of range", where=name, expected="> 0", got=str(value))


def check_share(**settings: float) -> None:
    """Refuse settings that are not between 0 and 1.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for name, value in settings.items():
        if not 0 <= value <= 1:
            raise InputError("a learner setting is out of range", where=name, expected="0 to 1", got=str(value))


def canonical_order(X: Floats, y: Outcome) -> np.ndarray:
    """Positions that sort the rows by time (at equal times events come first) and then by inputs.

    A learner to which the order of rows matters, such as one that draws rows at random, works on the sorted ones, so
    that the order of the table does not matter.
    """
    return np.lexsort((*X.T[::-1], y["event"], y["event"] != 1, y["months"]))
