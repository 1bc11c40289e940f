"""Perturbed features on their way from the experiment file to the models that choose stable ones by them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from radiomics_crlm.config import EndpointConfig, ExperimentConfig, FeatureSetConfig
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import Predictors
from radiomics_crlm.modelling.robustness import Robustness, check_same_features, ratings_of
from radiomics_crlm.provenance.tables import read_table

# Aggregates of lesion features; burden is counted on masks, and organs are not perturbed.
_RATED = ("largest__", "weighted__", "dispersion__")


def read_perturbed(experiment: ExperimentConfig, data: Path | None) -> dict[str, pd.DataFrame]:
    """Tables ``perturbed_patients`` that feature sets of an experiment name, by the name that they give.

    Raises
    ------
    InputError
        If one is absent or breaks its schema.
    """
    selections = [wanted for feature_set in experiment.feature_sets.values() for wanted in feature_set.selections]
    named = [wanted.robustness.table for wanted in selections if wanted.robustness]
    root = Path() if data is None else data
    return {name: read_table(root / name, "perturbed_patients") for name in dict.fromkeys(named)}


def robustness_for(
    feature_set: FeatureSetConfig,
    predictors: Predictors,
    endpoint: EndpointConfig,
    perturbed: Mapping[str, pd.DataFrame],
) -> Robustness | None:
    """What a recipe needs to choose stable features, or None if the feature set does not ask for it.

    Raises
    ------
    ConfigError, InputError
        If the table and the features of the study do not belong together.
    """
    wanted = next((selection.robustness for selection in feature_set.selections), None)
    if wanted is None or predictors.scans is None:
        return None
    columns = tuple(
        ColumnSpec(spec.name, spec.kind, log=spec.log)
        for spec in predictors.inputs
        if spec.source == "radiomics" and spec.name.startswith(_RATED)
    )
    if not columns:
        raise ConfigError(
            "the feature set asks for stable features and has none that perturbations can judge",
            where=f"feature set {feature_set.title!r}", expected="columns " + ", ".join(f"{p}*" for p in _RATED),
        )  # fmt: skip
    ratings = ratings_of(
        perturbed[wanted.table], columns, predictors.scans, speaks_at=endpoint.prediction_time, raters=wanted.raters
    )
    check_same_features(ratings, predictors.table, columns)
    return Robustness(ratings, wanted.minimum)
