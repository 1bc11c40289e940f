"""What the learner of a fitted pipeline is given: its inputs by name, in their own unit and in that of the learner."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.modelling.columns import ColumnSpec, encode, input_names
from radiomics_crlm.modelling.frozen import MISSING_SUFFIX
from radiomics_crlm.modelling.lesions import feature_of, lesion_of


def names_of_inputs(pipeline: Pipeline) -> list[str]:
    """Names of the inputs of the learner, in order; of a learner of lesions those of one lesion.

    They are those of a frozen model (``FrozenModel.input_names``), and exist for pipelines that cannot be frozen too.
    """
    steps = pipeline.named_steps
    names = input_names(steps["encode"].columns)
    if "lesions" in steps:
        lesions = steps["lesions"]
        positions = np.array(lesions.lesions, dtype=int)
        first = positions.max(axis=0)  # any lesion that has the feature: its name is the same
        names = [names[p] for p in lesions.patient] + [feature_of(names[p]) for p in first]
        steps = lesions.steps_.named_steps
    elif "stable" in steps:
        names = [names[k] for k in steps["stable"].selected_]
    names += [names[k] + MISSING_SUFFIX for k in steps["impute"].indicator_.features_]
    for step in ("filter", "select"):
        if step in steps:
            names = [names[k] for k in steps[step].selected_]
    return names


def readable_table(X: pd.DataFrame, columns: tuple[ColumnSpec, ...]) -> pd.DataFrame:
    """All inputs a model may see, in the unit of their columns (NaN where missing), and their missingness as 0/1.

    Features of lesions are shown as the mean over the lesions of the patient.
    """
    values, names = encode(X, columns, logs=False), input_names(columns)
    if any(lesion_of(name) for name in names):
        values, names = _mean_of_lesions(values, names)
    every = np.hstack((values, np.isnan(values).astype(float)))
    return pd.DataFrame(every, index=X.index, columns=[*names, *(name + MISSING_SUFFIX for name in names)])


def _mean_of_lesions(values: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    features = list(dict.fromkeys(feature_of(name) for name in names))
    out = np.full((len(values), len(features)), np.nan)
    for k, feature in enumerate(features):
        own = values[:, [n for n, name in enumerate(names) if feature_of(name) == feature]]
        known = ~np.isnan(own)
        count = known.sum(axis=1)
        np.divide(np.where(known, own, 0.0).sum(axis=1), count, out=out[:, k], where=count > 0)
    return out, features


def column_of(feature: str) -> str:
    """The column that an input is made from.

    >>> column_of("primary_site=rectum"), column_of("cea_ng_ml (missing)")
    ('primary_site', 'cea_ng_ml')
    """
    return feature.removesuffix(MISSING_SUFFIX).partition("=")[0]


def standardisation(pipeline: Pipeline) -> dict[str, tuple[int, float, float]]:
    """Position, mean and scale of each input of the learner: what it is given is (encoded - mean) / scale."""
    steps = (
        pipeline.named_steps["lesions"].steps_.named_steps
        if "lesions" in pipeline.named_steps
        else pipeline.named_steps
    )
    mean, scale = steps["scale"].mean_, steps["scale"].scale_
    if "select" in steps:
        chosen = steps["select"].selected_
        mean, scale = mean[chosen], scale[chosen]
    names = names_of_inputs(pipeline)
    return {name: (k, float(mean[k]), float(scale[k])) for k, name in enumerate(names)}
