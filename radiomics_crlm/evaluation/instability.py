"""Prediction instability: how much would a patient's prediction change had the model been built on other patients?

Every bootstrap sample refits the whole pipeline, tuning included, and predicts the patients of the original sample.

References
----------
Riley and Collins 2023, doi:10.1002/bimj.202200302.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.calibration import check_probability
from radiomics_crlm.evaluation.outcome import Floats

FitPredict = Callable[[npt.NDArray[np.int64]], Floats]
INSTABILITY = ["patient", "prediction", "mean", "lower", "upper", "mape", "reclassified"]


@dataclass(frozen=True)
class Instability:
    """Instability per patient, and its mean over patients and refits.

    ``table`` has a row per patient: ``patient`` (position), ``prediction`` of the original model, ``mean``, ``lower``
    and ``upper`` (2.5 and 97.5 % quantiles) of the refitted models, ``mape`` (mean absolute difference of refitted and
    original prediction) and ``reclassified`` (share of refits that put the patient on the other side of the
    threshold; NaN without one).
    """

    table: pd.DataFrame
    mape: float
    draws: int


def prediction_instability(
    fit_predict: FitPredict, prediction: npt.ArrayLike, *, draws: int, seed: int, threshold: float | None = None
) -> Instability:
    """Refit on bootstrap samples of the patients and compare the predictions.

    Parameters
    ----------
    fit_predict
        Is given the positions (0 to n - 1, ascending, with repetition) of the patients of a bootstrap sample, fits
        everything anew on them and returns the predicted probability of all n patients. A patient who occurs several
        times must not be split between inner training and validation.
    prediction
        n probabilities of the model as delivered, apparent on its own development patients.
    draws
        Bootstrap samples; the cost is that many complete fits (Riley and Collins use 200 or more).
    seed
        Of the bootstrap.
    threshold
        Risk at which a decision would change.

    Raises
    ------
    InputError
        For fewer than two draws, or predictions that are missing or outside 0 to 1.
    """
    n = np.asarray(prediction).shape[0]
    if draws < 2:
        raise InputError("instability needs several refits", expected="2 or more draws", got=str(draws))
    refits = [check_probability(fit_predict(rows), n)[:, 0] for rows in bootstrap_samples(n, draws=draws, seed=seed)]
    return instability_of(np.array(refits), prediction, threshold=threshold)


def bootstrap_samples(n: int, *, draws: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Positions (0 to n - 1, ascending, with repetition) of the patients of each bootstrap sample."""
    generator = np.random.default_rng(seed)
    return [np.sort(generator.integers(0, n, size=n)) for _ in range(draws)]


def instability_of(refits: Floats, prediction: npt.ArrayLike, *, threshold: float | None = None) -> Instability:
    """Compare predictions of refitted models with those of the original one.

    Parameters
    ----------
    refits
        Probabilities, refits x patients; at least two refits.
    prediction, threshold
        As for :func:`prediction_instability`.

    Raises
    ------
    InputError
        For predictions that are missing or outside 0 to 1.
    """
    draws, n = refits.shape
    original = check_probability(prediction, n)[:, 0]
    distance = np.abs(refits - original)
    lower, upper = np.quantile(refits, (0.025, 0.975), axis=0)
    moved = np.full(n, np.nan)
    if threshold is not None:
        moved = ((refits >= threshold) != (original >= threshold)).mean(axis=0)
    columns = (np.arange(n), original, refits.mean(axis=0), lower, upper, distance.mean(axis=0), moved)
    return Instability(pd.DataFrame(dict(zip(INSTABILITY, columns, strict=True))), float(distance.mean()), draws)
