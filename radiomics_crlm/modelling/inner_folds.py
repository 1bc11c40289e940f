"""Folds inside a training fold: for tuning, and for learners that stack."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels

Ints = npt.NDArray[np.int64]


def stratum(y: Outcome, horizon: float | None) -> Ints:
    """Code by which inner folds are stratified: the event code, or label / no label / unknown at the horizon."""
    if horizon is None:
        return y["event"].astype(np.int64)
    label, weight = horizon_labels(y, horizon)
    return np.where(weight > 0, label, 2).astype(np.int64)


def folds_of_patients(patients: pd.Index, codes: Ints, folds: int, generator: np.random.Generator) -> Ints:
    """Inner fold of each row; rows of one patient, as in a bootstrap sample, stay together.

    >>> rows = pd.Index(["a", "a", "b", "c", "c"])
    >>> fold = folds_of_patients(rows, np.zeros(5, dtype=np.int64), 3, np.random.default_rng(0))
    >>> bool(fold[0] == fold[1]), bool(fold[3] == fold[4]), len(set(fold.tolist()))
    (True, True, 3)
    """
    number, _ = pd.factorize(patients)
    first = np.flatnonzero(~patients.duplicated())
    return draw_inner_folds(codes[first], folds, generator)[number]


def draw_inner_folds(codes: Ints, folds: int, generator: np.random.Generator) -> Ints:
    """Fold of each row: shuffled, then dealt out stratum by stratum, so that sizes and strata differ by one at most.

    >>> sorted(draw_inner_folds(np.array([0, 0, 1, 1]), 2, np.random.default_rng(0)).tolist())
    [0, 0, 1, 1]
    """
    shuffled = generator.permutation(codes.size)
    dealt = shuffled[np.argsort(codes[shuffled], kind="stable")]
    out = np.empty(codes.size, dtype=np.int64)
    out[dealt] = np.arange(codes.size) % folds
    return out
