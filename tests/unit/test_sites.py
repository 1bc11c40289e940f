"""Sites and covariates of patients, from the clinical table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from radiomics_crlm.cohort.clinical import clean_clinical
from radiomics_crlm.config import ExperimentConfig, parse_config
from radiomics_crlm.errors import ConfigError, LeakError
from radiomics_crlm.modelling.design import availability
from radiomics_crlm.resources import resource
from radiomics_crlm.schema import load_schema
from radiomics_crlm.study.plans import check_learners
from radiomics_crlm.study.sites import harmonisation_of, site_table

KNOWN = availability(load_schema("clinical"), {})


def experiment(**changes: object) -> ExperimentConfig:
    content = yaml.safe_load(resource("experiments/demo.yaml").read_text(encoding="utf-8"))
    return parse_config(ExperimentConfig, {**content, **changes}, where="test")


def charts() -> pd.DataFrame:
    columns = {
        "patient_id": ["a", "b", "c", "d"],
        "centre": ["north", "", "south", "north"],
        "cea_ng_ml": ["0", "9", "", "2"],
        "primary_site": ["rectum", "left_colon", "right_colon", ""],
        "os_months": ["1", "2", "3", "4"],
    }
    return clean_clinical(pd.DataFrame(columns, dtype="object")).table


def test_labels_and_covariates():
    asked = experiment(harmonisation={"column": "centre", "covariates": ["cea_ng_ml", "primary_site"]}, deliver={})
    made = site_table(asked, charts(), KNOWN, speaks_at="baseline")
    assert made.labels.tolist() == ["north", "", "south", "north"]
    np.testing.assert_allclose(made.covariates[:, 0], np.log1p([0, 9, np.nan, 2]))
    # Right colon is the reference of the other two.
    np.testing.assert_array_equal(made.covariates[:, 1:], [[0, 1], [1, 0], [0, 0], [np.nan, np.nan]])
    labels, covariates = made.of(pd.Index(["c", "a"]))
    assert labels.tolist() == ["south", "north"]
    assert covariates.shape == (2, 3)


def test_what_recipes_get():
    assert harmonisation_of(experiment(), charts(), KNOWN, speaks_at="baseline") is None
    asked = experiment(harmonisation={"column": "centre", "unseen": "reference", "reference": "north"}, deliver={})
    made = harmonisation_of(asked, charts(), KNOWN, speaks_at="baseline")
    assert (made.unseen, made.reference, made.min_patients) == ("reference", "north", 5)


def test_refusals():
    with pytest.raises(ConfigError, match="lacks the column of the site.*expected scanner"):
        site_table(experiment(harmonisation={"column": "scanner"}, deliver={}), charts(), KNOWN, speaks_at="baseline")
    late = experiment(harmonisation={"column": "centre", "covariates": ["os_months"]}, deliver={})
    with pytest.raises(LeakError, match="os_months"):
        site_table(late, charts(), KNOWN, speaks_at="baseline")
    with pytest.raises(ConfigError, match="a reference site is named exactly"):
        experiment(harmonisation={"column": "centre", "unseen": "reference"})
    with pytest.raises(ConfigError, match="cannot be delivered.*harmonised between sites"):
        check_learners(experiment(harmonisation={"column": "centre"}))
    with pytest.raises(ConfigError, match="cannot be delivered.*recalibrated inside the fold"):
        check_learners(experiment(operating={"calibration": "isotonic"}))
    design = {"kind": "temporal", "column": "operation_year", "seed": 1}
    with pytest.raises(ConfigError, match="would see later patients"):
        experiment(design=design, rule_forms=["recalibrated"])
