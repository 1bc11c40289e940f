"""The outer folds of one model: what they share, what each of them gives, and the whole that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.modelling.checks import outer_test_folds, training_flags
from radiomics_crlm.modelling.recipe import Recipe


@dataclass(frozen=True)
class CvResult:
    """Outcome of a nested cross-validation.

    ``predictions`` and ``tuning`` are tables; ``models`` holds the fitted pipelines of repeat 0 by (repeat,
    fold); ``folds`` is patients x repeats; ``fits`` counts the audited fits.
    """

    endpoint: str
    recipe: Recipe
    predictions: pd.DataFrame
    tuning: pd.DataFrame
    models: dict[tuple[int, int], Pipeline]
    folds: pd.DataFrame
    fits: int
    forward: bool = False
    thresholds: pd.DataFrame = field(default_factory=pd.DataFrame)

    def tested(self) -> pd.Index:
        """Patients who were predicted, in the order of the table."""
        first = self.folds[self.folds.columns[0]].to_numpy()
        return self.folds.index[np.isin(first, outer_test_folds(first, forward=self.forward))]

    def trained(self, repeat: int, fold: int) -> pd.Index:
        """Patients of the model of a fold."""
        return self.folds.index[training_flags(self.folds[repeat].to_numpy(), fold, forward=self.forward)]


@dataclass(frozen=True, eq=False)
class CvDesign:
    """One model and its outer folds, checked: all that decides what the folds give.

    Parameters
    ----------
    X
        Predictors, one row per patient, indexed by patient: the columns of the recipe.
    y
        Outcomes in the order of ``X``.
    folds
        Patients x repeats, in the order of ``X``.
    recipe
        What to fit.
    endpoint
        Name of the endpoint, for the tables.
    horizon
        Months of a binary recipe; None for any other.
    inner_folds, seed
        Number and seed of the inner folds.
    forward
        See `modelling.train.nested_cv`.
    resampled
        Whether patients may occur several times, as in a bootstrap sample.
    """

    X: pd.DataFrame
    y: Outcome
    folds: pd.DataFrame
    recipe: Recipe
    endpoint: str
    horizon: float | None
    inner_folds: int
    seed: int
    forward: bool = False
    resampled: bool = False

    def tasks(self, *, models: bool = True) -> list[FoldTask]:
        """All outer folds, in order. Fitted models of the first repeat are wanted for ``models``, others never."""
        return [
            FoldTask(self, int(repeat), int(fold), models and repeat == self.folds.columns[0])
            for repeat in self.folds.columns
            for fold in outer_test_folds(self.folds[repeat].to_numpy(), forward=self.forward)
        ]

    def collect(self, done: Sequence[FoldResult]) -> CvResult:
        """The result of all outer folds, given in the order of the tasks."""
        endpoint, model = self.endpoint, self.recipe.name
        predictions = pd.concat([item.predictions for item in done], ignore_index=True)
        predictions.insert(0, "endpoint", endpoint)
        predictions.insert(1, "model", model)
        tuning = pd.concat([item.tuning for item in done], ignore_index=True).assign(endpoint=endpoint, model=model)
        tuning = tuning[["endpoint", "model", "repeat", "fold", "parameters", "concordance", "selected"]]
        thresholds = pd.concat([item.thresholds for item in done], ignore_index=True)
        thresholds = thresholds.assign(endpoint=endpoint, model=model)
        models = {(item.repeat, item.fold): item.model for item in done if item.model is not None}
        fits = sum(item.fits for item in done)
        return CvResult(
            endpoint, self.recipe, predictions, tuning, models, self.folds, fits, self.forward, thresholds
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FoldTask:
    """One outer fold to be done, here or by a worker elsewhere.

    ``keep_model`` asks for the fitted model; ``code`` is the `modelling.code_version.learner_code` that a worker must
    have, or empty where it cannot differ.
    """

    design: CvDesign
    repeat: int
    fold: int
    keep_model: bool
    code: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.design.endpoint}, {self.design.recipe.name}, repeat {self.repeat}, fold {self.fold}"


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one outer fold gives: tables, the number of audited fits, and the fitted model if it was asked for."""

    repeat: int
    fold: int
    predictions: pd.DataFrame
    tuning: pd.DataFrame
    thresholds: pd.DataFrame
    fits: int
    model: Pipeline | None = None
