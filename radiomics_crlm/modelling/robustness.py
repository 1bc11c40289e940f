"""Only features that perturbations leave as they are: chosen inside each training fold, from its patients alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.agreement import FEWEST_SUBJECTS, icc
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.columns import ColumnSpec, encode
from radiomics_crlm.modelling.design import ScanSelection, choose_scans

Raters = Literal["perturbations", "readers"]
_SOURCE = {"perturbations": "perturbation", "readers": "reader"}
# Equal settings give equal features to the last digits; another scan or profile differs by far more.
_SAME = 1e-6
FEWEST_RATED = 10
"""Patients of a study with perturbed features, so that every inner training fold has some."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """The same features of the same patients, measured again and again.

    Parameters
    ----------
    patients
        n keys.
    raters
        k names, the scan as it is first.
    names
        p inputs of the model (as `columns.encode` makes them).
    values
        n x k x p; NaN is missing.
    """

    patients: pd.Index
    raters: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats

    def __deepcopy__(self, memo: dict[int, Any]) -> Ratings:
        """Itself: scikit-learn copies the parameters of what it clones, and this is large and never changed."""
        return self

    def of(self, patients: pd.Index) -> Floats:
        """Values of those of the patients who have any."""
        return self.values[self.patients.isin(patients)]


@dataclass(frozen=True)
class Robustness:
    """What a recipe asks for: inputs named in ``ratings`` need an ICC(2,1) whose lower 95 % limit reaches
    ``minimum``.

    Raises
    ------
    ConfigError
        If the minimum is not between 0 and 1.
    """

    ratings: Ratings
    minimum: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= 1:
            raise ConfigError("the minimum of an ICC is out of range", expected="from 0 to 1", got=f"{self.minimum:g}")


def ratings_of(
    perturbed: pd.DataFrame,
    columns: Sequence[ColumnSpec],
    scans: ScanSelection,
    *,
    speaks_at: str,
    raters: Raters = "perturbations",
) -> Ratings:
    """Ratings of the radiomic columns of a model.

    Parameters
    ----------
    perturbed
        Table ``perturbed_patients``.
    columns
        Radiomic columns of the model; logged here as there.
    scans, speaks_at
        Which scan of a patient counts (`design.choose_scans`).
    raters
        ``perturbations`` or ``readers``; the scan as it is belongs to both.

    Raises
    ------
    ConfigError
        If the table lacks a column of the model: it was made with other settings.
    InputError
        If it holds no perturbation, or no reader.
    """
    absent = [column.name for column in columns if column.name not in perturbed]
    if absent:
        raise ConfigError(
            f"the perturbed features lack {len(absent)} columns of the model", where="robustness", expected=absent[0],
            remedy="run 'crlm robustness' with the extraction profile of the experiment",
        )  # fmt: skip
    rows = perturbed[perturbed["source"].isin(["original", _SOURCE[raters]])]
    names = tuple(dict.fromkeys(rows["perturbation"]))
    tables = [choose_scans(rows[rows["perturbation"] == name], scans, speaks_at=speaks_at).table for name in names]
    if len(names) < 2 or "original" not in set(rows["source"]):
        raise InputError(
            f"the table of perturbed features holds no {raters}", where="robustness", expected="original and others"
        )
    patients = tables[0].index
    values = [encode(table.reindex(patients), columns) for table in tables]
    inputs = tuple(name for column in columns for name in column.inputs())
    stacked = np.stack(values, axis=1) if len(patients) else np.empty((0, len(names), len(inputs)))
    return Ratings(patients, names, inputs, stacked)


def check_same_features(ratings: Ratings, X: pd.DataFrame, columns: Sequence[ColumnSpec]) -> None:
    """Make sure that the unperturbed ratings are the features of the model.

    Raises
    ------
    InputError
        If fewer than ``FEWEST_RATED`` patients are in both, or features differ by more than a relative 1e-6.
    """
    both = X.index.intersection(ratings.patients, sort=False)
    if len(both) < FEWEST_RATED:
        raise InputError(
            "too few patients of the study have perturbed features", where="robustness",
            expected=f"at least {FEWEST_RATED}", got=str(len(both)),
        )  # fmt: skip
    mine = encode(X.loc[both], columns)
    theirs = ratings.values[ratings.patients.get_indexer(both), 0]
    same = np.isclose(mine, theirs, rtol=_SAME, atol=_SAME, equal_nan=True)
    if not same.all():
        raise InputError(
            f"{int((~same).any(axis=0).sum())} unperturbed features differ from those of the study in "
            f"{int((~same).any(axis=1).sum())} patients",
            where="robustness", expected="the same scans, masks and extraction profile",
            remedy="run 'crlm robustness' on this cohort with the profile of the experiment",
        )  # fmt: skip


class StableFeatures(TransformerMixin, BaseEstimator):
    """Keeps the inputs that perturbations hardly change, judged by ICC(2,1) on the training patients.

    The patients of a fit are those of the index of its table; perturbed features of anybody else have no influence. The
    outcome is not looked at. Inputs that the ratings do not name (clinical ones, missingness) always stay. If nothing
    were left, the most stable input stays.

    Parameters
    ----------
    names
        Inputs in the order of the matrix.
    ratings
        Perturbed features by patient.
    minimum
        Smallest admissible lower 95 % limit of ICC(2,1).
    keep
        Positions that come first in the output and are never dropped; the others follow in their own order.

    Attributes
    ----------
    lower_
        Lower limit of each rated input, in the order of ``ratings.names``; NaN where too few patients have all
        ratings.
    patients_
        Number of training patients with ratings.
    selected_
        Positions of the kept inputs.
    """

    def __init__(
        self, names: tuple[str, ...], ratings: Ratings, minimum: float = 0.75, keep: tuple[int, ...] = ()
    ) -> None:
        self.names = names
        self.ratings = ratings
        self.minimum = minimum
        self.keep = keep

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Judge the inputs on the patients of ``X``.

        Raises
        ------
        InputError
            If fewer than three of them have ratings, or ``X`` is no table with the given number of inputs.
        """
        if not isinstance(X, pd.DataFrame) or X.shape[1] != len(self.names):
            raise InputError("stable features need a table with one column per input", expected=f"{len(self.names)}")
        values = self.ratings.of(X.index)
        self.patients_ = len(values)
        if self.patients_ < FEWEST_SUBJECTS:
            raise InputError(
                "too few training patients have perturbed features", where="robustness",
                expected=f"at least {FEWEST_SUBJECTS}", got=str(self.patients_),
            )  # fmt: skip
        self.lower_ = icc(values, "agreement").lower
        lower = dict(zip(self.ratings.names, self.lower_.tolist(), strict=True))
        judged = np.array([lower.get(name, np.inf) for name in self.names])
        judged[list(self.keep)] = np.inf
        judged = np.where(np.isnan(judged), -np.inf, judged)
        stays = judged >= self.minimum
        if not stays.any():
            stays[int(np.argmax(judged))] = True
        others = np.setdiff1d(np.flatnonzero(stays), self.keep)
        self.selected_: npt.NDArray[np.intp] = np.concatenate((np.array(self.keep, dtype=np.intp), others))
        return self

    def transform(self, X: pd.DataFrame | Floats) -> Floats:
        """The kept inputs."""
        check_is_fitted(self)
        return np.asarray(X, dtype=float)[:, self.selected_]
