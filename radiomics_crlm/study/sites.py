"""Sites of patients, for the harmonisation of radiomic inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from radiomics_crlm.config import ExperimentConfig, FeatureSetConfig
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.modelling.columns import ColumnSpec, encode
from radiomics_crlm.modelling.design import assemble, plan_inputs
from radiomics_crlm.modelling.harmonisation import Harmonisation, SiteTable


def harmonisation_of(
    experiment: ExperimentConfig, clinical: pd.DataFrame, available_at: Mapping[str, str], *, speaks_at: str
) -> Harmonisation | None:
    """What the recipes of an endpoint ask for, or None.

    Raises
    ------
    ConfigError
        If the cohort lacks the column of the site or a covariate, or a covariate is no predictor.
    LeakError
        If a covariate becomes known only after the model speaks.
    """
    asked = experiment.harmonisation
    if asked is None:
        return None
    sites = site_table(experiment, clinical, available_at, speaks_at=speaks_at)
    return Harmonisation(sites, asked.unseen, asked.reference, asked.min_patients)


def site_table(
    experiment: ExperimentConfig, clinical: pd.DataFrame, available_at: Mapping[str, str], *, speaks_at: str
) -> SiteTable:
    """Site and covariates of each patient of a clinical table (refusals as in :func:`harmonisation_of`)."""
    asked = experiment.harmonisation
    if asked is None or asked.column not in clinical:
        raise ConfigError(
            "the cohort lacks the column of the site", where="harmonisation",
            expected="a column" if asked is None else asked.column, remedy="add it, or remove harmonisation",
        )  # fmt: skip
    named = clinical[asked.column]
    labels = named.astype("str").astype(object).where(named.notna(), "").to_numpy(dtype=object)
    patients = pd.Index(clinical["patient_id"].astype("str"))
    if not asked.covariates:
        return SiteTable(patients, labels, np.empty((len(clinical), 0)))
    inputs, _, _ = plan_inputs(
        FeatureSetConfig(title="covariates of harmonisation", columns=asked.covariates),
        clinical=clinical, features_patient=None, available_at=available_at, speaks_at=speaks_at, allow_leak=False,
    )  # fmt: skip
    table = assemble(clinical, None, inputs, None, speaks_at=speaks_at)
    columns = [ColumnSpec(spec.name, spec.kind, categories=spec.categories, log=spec.log) for spec in inputs]
    values = [_independent(encode(table, [column])) for column in columns]
    return SiteTable(patients, labels, np.hstack(values))


def _independent(values: np.ndarray) -> np.ndarray:
    """Of a category with an input each, all but the first: together they say nothing more, and sum to 1."""
    return values[:, 1:] if values.shape[1] > 1 else values
