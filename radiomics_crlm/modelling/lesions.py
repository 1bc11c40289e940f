"""Lesions of patients as rows for learners of lesions (`lesion_learners`).

Folds, audit and predictions are by patient throughout: tables have one row per patient with columns for each of its
lesions, which are taken apart here, inside the pipeline.
"""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats

Ints = npt.NDArray[np.intp]
_SCAN_KEY = ["patient_id", "timepoint", "modality", "sequence"]


def lesion_column(number: int, feature: str) -> str:
    """Name of a feature of the lesion of a number (from 1) of a patient.

    >>> lesion_column(2, "lesion__original_shape_Sphericity")
    'lesion2:lesion__original_shape_Sphericity'
    """
    return f"lesion{number}:{feature}"


def lesion_of(column: str) -> int:
    """Number of the lesion that a column is about; 0 for a column about the patient."""
    head, colon, _ = column.partition(":")
    return int(head.removeprefix("lesion")) if colon and head.removeprefix("lesion").isdecimal() else 0


def feature_of(column: str) -> str:
    """The feature that a column is about, whichever lesion it is of.

    >>> feature_of("lesion2:lesion__original_shape_Sphericity"), feature_of("cea_ng_ml")
    ('lesion__original_shape_Sphericity', 'cea_ng_ml')
    """
    return column.partition(":")[2] if lesion_of(column) else column


def stack_lesions(features_lesion: pd.DataFrame, patterns: Collection[str], exclude: Collection[str]) -> pd.DataFrame:
    """Table ``features_lesion`` with one row per scan and columns for each of its lesions (by label, those with status
    ``ok``).

    Parameters
    ----------
    features_lesion
        Table of this name.
    patterns, exclude
        Shell patterns of feature columns.

    Returns
    -------
    DataFrame
        Columns of the key of a scan and ``lesionK:lesion__*``; null for lesions that a scan does not have.
    """
    names = [
        name
        for name in sorted(features_lesion.columns)
        if name.startswith("lesion__")
        and any(fnmatchcase(name, pattern) for pattern in patterns)
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    ]
    scans = features_lesion[_SCAN_KEY].drop_duplicates().reset_index(drop=True)
    usable = features_lesion[features_lesion["status"] == "ok"].sort_values([*_SCAN_KEY, "lesion"], kind="stable")
    number = usable.groupby(_SCAN_KEY, sort=False).cumcount() + 1
    order, parts = pd.MultiIndex.from_frame(scans), [scans]
    for slot in range(1, int(number.max()) + 1 if len(number) else 1):
        rows = usable[number == slot].set_index(_SCAN_KEY)[names].astype("Float64").astype("float64")
        rows = rows.set_axis([lesion_column(slot, name) for name in names], axis=1)
        parts.append(rows.reindex(order).reset_index(drop=True))
    return pd.concat(parts, axis=1)


class PerLesion(TransformerMixin, BaseEstimator):
    """Preprocessing of lesions: takes the rows of patients apart, fits its steps on the lesions, and packs what comes
    out as one row per patient again.

    A patient without any lesion stands as one whose features are all missing.

    Parameters
    ----------
    steps
        Unfitted steps for the lesions; they see the inputs of the patient first, then those of the lesion.
    patient
        Positions of the inputs of the patient.
    lesions
        Positions of the inputs of each lesion, in the same order of features for all; -1 where there is none.
    """

    def __init__(self, steps: Pipeline, patient: tuple[int, ...], lesions: tuple[tuple[int, ...], ...]) -> None:
        self.steps = steps
        self.patient = patient
        self.lesions = lesions

    def fit(self, X: Floats, y: Any) -> Self:
        """Fit the steps on the lesions of n patients."""
        rows, owner = self._apart(X)
        self.steps_ = clone(self.steps).fit(rows, y[owner])
        return self

    def transform(self, X: Floats) -> Floats:
        """Matrix n x (1 + slots x inputs): the number of lesions, and the inputs of each, 0 where there is none."""
        check_is_fitted(self)
        rows, owner = self._apart(X)
        return pack(self.steps_.transform(rows), owner, len(X), len(self.lesions))

    def _apart(self, X: Floats) -> tuple[Floats, Ints]:
        values, positions = np.asarray(X, dtype=float), np.array(self.lesions, dtype=np.intp)
        cube = np.where(positions >= 0, values[:, positions], np.nan)
        there = np.asarray(~np.isnan(cube).all(axis=2))
        there[~np.any(there, axis=1), 0] = True
        owner = np.nonzero(there)[0]
        return np.hstack((values[owner][:, list(self.patient)], cube[there])), owner


def pack(rows: Floats, owner: Ints, patients: int, slots: int) -> Floats:
    """Rows of lesions as rows of patients: their number, then their inputs, padded with 0.

    >>> pack(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 1, 1]), 2, 2).tolist()
    [[1.0, 1.0, 2.0, 0.0, 0.0], [2.0, 3.0, 4.0, 5.0, 6.0]]
    """
    count = np.bincount(owner, minlength=patients)
    cube = np.zeros((patients, slots, rows.shape[1]))
    cube[np.arange(slots) < count[:, None]] = rows
    return np.hstack((count[:, None].astype(float), cube.reshape(patients, -1)))


def unpack(X: Floats, slots: int) -> tuple[Floats, Ints]:
    """Rows of lesions and the position of the patient of each; with no slots the rows themselves, one of each patient.

    Raises
    ------
    InputError
        If the matrix is not one that :func:`pack` made with so many slots.
    """
    if slots < 1:
        return X, np.arange(len(X))
    count = X[:, 0].astype(int)
    if (X.shape[1] - 1) % slots or (count != X[:, 0]).any() or (count < 1).any() or (count > slots).any():
        raise InputError("inputs and lesions do not fit together", where="learner", expected=f"{slots} lesions at most")
    cube = X[:, 1:].reshape(len(X), slots, (X.shape[1] - 1) // slots)
    return cube[np.arange(slots) < count[:, None]], np.repeat(np.arange(len(X)), count)
