"""Patients unlike those of the training: distance of their learner inputs from the training's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from radiomics_crlm.modelling.frozen import FrozenModel
from radiomics_crlm.modelling.novelty import NoveltyFit, fit_novelty, squared_distance
from radiomics_crlm.scoring.bundle import BundleContent
from radiomics_crlm.scoring.reference import MOST_DIRECTIONS, Novelty

FLAG = "out_of_distribution"


def describe_novelty(model: FrozenModel, table: pd.DataFrame, *, seed: int) -> Novelty | None:
    """What a bundle keeps of the place of its training patients (`modelling.novelty`); None if there are too few."""
    fit = fit_novelty(model.transform(table).to_numpy(), most_directions=MOST_DIRECTIONS, seed=seed)
    if fit is None:
        return None
    return Novelty(
        mean=_short(fit.mean),
        directions=tuple(_short(direction) for direction in fit.directions),
        variances=_short(fit.variances),
        residual=None if fit.residual is None else _short(np.array([fit.residual]))[0],
        limit=_short(np.array([fit.limit]))[0],
    )


def out_of_distribution(content: BundleContent, model: FrozenModel, table: pd.DataFrame) -> np.ndarray:
    """Whether each row lies outside of the training distribution.

    Parameters
    ----------
    content, model
        The bundle and its model.
    table
        Predictors of n rows; categories that the model does not know count as missing.

    Returns
    -------
    n booleans, each by the row alone: further from the training than about 99 % of patients of the same kind. All false
    for a bundle that does not know.
    """
    known = content.novelty
    if known is None:
        return np.zeros(len(table), dtype=bool)
    fit = NoveltyFit(
        np.array(known.mean), np.array(known.directions), np.array(known.variances), known.residual, known.limit
    )
    with np.errstate(all="ignore"):  # absurd values are infinitely far
        return ~(squared_distance(model.transform(table).to_numpy(), fit) <= fit.limit)


def _short(values: np.ndarray) -> tuple[float, ...]:
    """Six significant digits: more would only make the bundle larger."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())
