"""Refits of a delivered model on bootstrap samples: what is fitted, and on whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from simulated_tables import MIXED_COLUMNS, deal_folds, draw_outcome, mixed_table

from radiomics_crlm.config import DesignConfig
from radiomics_crlm.evaluation.instability import bootstrap_samples
from radiomics_crlm.evaluation.outcome import horizon_labels
from radiomics_crlm.modelling.outer import CvDesign
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import cv_design, fit_final, pipeline_probability
from radiomics_crlm.study.cross_validation import cross_validate
from radiomics_crlm.study.refits import refit, samples_of

X = mixed_table(80, 3)
Y = draw_outcome(1.2 * X["x1"].to_numpy(), 3)
SETTINGS: dict[str, Any] = {"endpoint": "dfs", "horizon": 24.0, "inner_folds": 3, "seed": 5}


def design(kind: str = "time_to_event", **changes: Any) -> CvDesign:
    recipe = Recipe("all", MIXED_COLUMNS, "ridge", kind, **changes)
    return cv_design(X, Y, deal_folds(X.index, folds=3, repeats=2, seed=0), recipe, **SETTINGS)


@pytest.mark.parametrize("kind", ["time_to_event", "binary"])
def test_a_refit_is_the_model_of_the_sample(kind: str) -> None:
    """Without tuning nothing is drawn, so the final model of the same rows under other names is the same."""
    plain = design(kind, penalties=(1.0,), fixed=True)
    rows = samples_of(plain, 1)[0]
    (found,) = cross_validate([refit(plain, rows, 0)])
    sample = X.iloc[rows].set_axis(pd.Index([f"row {n}" for n in range(len(rows))], name=X.index.name))
    model = fit_final(sample, Y[rows], plain.recipe, **SETTINGS)
    expected = pipeline_probability(model, X, (24.0,))[:, 0]
    np.testing.assert_allclose(found.predictions["probability_24m"], expected, rtol=1e-12)


def test_copies_of_a_patient_stay_in_one_inner_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    from radiomics_crlm.modelling import train

    seen = []
    drawn = train.folds_of_patients

    def spy(patients: pd.Index, *rest: Any) -> Any:
        fold = drawn(patients, *rest)
        seen.append(pd.Series(fold).groupby(np.asarray(patients)).nunique().max())
        return fold

    monkeypatch.setattr(train, "folds_of_patients", spy)
    plain = design()
    cross_validate([refit(plain, rows, n) for n, rows in enumerate(samples_of(plain, 3))])
    assert seen == [1, 1, 1]


def test_the_original_cohort_as_its_own_sample_is_no_leak() -> None:
    """Its patients are fitted and predicted, under other keys; nobody else is."""
    one = refit(design(), np.arange(80), 4)
    assert one.folds.columns.tolist() == [4]
    assert one.X.index.is_unique
    (task,) = one.tasks()
    assert (task.repeat, task.fold) == (4, 1)


@pytest.mark.parametrize("horizon", [None, 24.0])
def test_samples_can_be_tuned(horizon: float | None) -> None:
    """A rare event is in every sample often enough, and samples that need no second draw are those of the bootstrap."""
    plain = replace(design(), horizon=horizon)
    common = samples_of(plain, 5)
    assert all((a == b).all() for a, b in zip(common, bootstrap_samples(80, draws=5, seed=5), strict=True))
    rare = np.array(Y)
    rare["event"] = 0
    rare["event"][:4], rare["months"][:4] = 1, 5.0
    assert horizon_labels(rare, 24.0)[0].sum() == 4
    for rows in samples_of(replace(plain, y=rare), 40):
        assert np.unique(rows[rows < 4]).size >= 2


def test_one_refit_says_nothing() -> None:
    with pytest.raises(ValidationError, match="several refits"):
        DesignConfig(seed=1, refits=1)
