"""Checks of a numeric matrix at the door of learners and transformers, by scikit-learn's conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats


class UnusableInputsError(InputError, ValueError):
    """Inputs that nothing can be learned from; also a ``ValueError``, as scikit-learn's conventions ask."""


def training_inputs(estimator: BaseEstimator, X: Floats, *, min_rows: int = 1) -> Floats:
    """Inputs of a fit, n x p, of which the estimator remembers the number (and the names, if they have any).

    Raises
    ------
    UnusableInputsError
        For values that are not finite.
    ValueError
        By scikit-learn, for what is no numeric matrix with rows and columns.
    """
    if _is_plain(estimator, X) and X.shape[0] >= min_rows and X.shape[1] >= 1:
        estimator.n_features_in_ = X.shape[1]
    else:
        X = validate_data(estimator, X, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=min_rows)
    _refuse_not_finite(X, estimator)
    return X


def fitted_inputs(estimator: BaseEstimator, X: Floats) -> Floats:
    """Inputs of a fitted estimator: as many as it was fitted on; no rows are fine.

    Raises
    ------
    UnusableInputsError, ValueError
        As :func:`training_inputs`.
    """
    check_is_fitted(estimator)
    if not (_is_plain(estimator, X) and X.shape[1] == estimator.n_features_in_):
        X = validate_data(estimator, X, reset=False, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=0)
    _refuse_not_finite(X, estimator)
    return X


def _is_plain(estimator: BaseEstimator, X: Any) -> bool:
    """Whether this is what pipelines hand over, which needs no costly validation."""
    plain = type(X) is np.ndarray and X.ndim == 2 and X.dtype == np.float64
    return plain and not hasattr(estimator, "feature_names_in_")


def _refuse_not_finite(X: Floats, estimator: BaseEstimator) -> None:
    if not np.isfinite(X).all():
        raise UnusableInputsError(
            f"{int((~np.isfinite(X)).sum())} inputs are not finite", where=type(estimator).__name__,
            got="NaN or infinity (inf)",
        )  # fmt: skip
