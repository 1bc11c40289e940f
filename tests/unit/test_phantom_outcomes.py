"""The data-generating model: oracle discrimination, independence when effects are off, coefficients found again."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from radiomics_crlm.config import parse_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.phantom.outcomes import (
    CONVERSION_COEFFICIENTS,
    HAZARDS,
    RECURRENCE_COEFFICIENTS,
    log_diameter_ratio,
    simulate_outcomes,
    true_risks,
)
from radiomics_crlm.phantom.patients import draw_plan
from radiomics_crlm.phantom.settings import SimulationConfig

LARGE = 4000
# A deviation of this many standard errors happens by chance about once in 16 000 checks.
FOUR_SIGMA = 4.0


@pytest.fixture(scope="module")
def default_truth() -> pd.DataFrame:
    return simulate_outcomes(SimulationConfig(patients=LARGE))


@pytest.fixture(scope="module")
def no_texture() -> pd.DataFrame:
    return simulate_outcomes(SimulationConfig(patients=LARGE, texture_effect=0.0))


@pytest.fixture(scope="module")
def no_effects() -> pd.DataFrame:
    return simulate_outcomes(SimulationConfig(patients=LARGE, texture_effect=0.0, clinical_effect=0.0))


def resected(truth: pd.DataFrame) -> pd.DataFrame:
    chosen = truth[truth["resected"]].copy()
    return chosen.astype({"recurrence": bool, "rfs_event": bool, "liver_recurrence": bool, "liver_rfs_event": bool})


def known_at_24_months(truth: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Resected patients whose status at 24 months is known, and whether they recurred by then."""
    table = resected(truth)
    table = table[table["rfs_event"] | (table["rfs_months"] > 24)]
    return table, (table["recurrence"] & (table["rfs_months"] <= 24)).to_numpy()


def cox(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Cause-specific Cox model of recurrence (death censors)."""
    data = table[[*columns, "rfs_months", "recurrence"]]
    with warnings.catch_warnings():
        # lifelines calls pandas in a way that pandas 4 will refuse.
        warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
        return CoxPHFitter().fit(data, "rfs_months", "recurrence").summary


def logistic(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unpenalised coefficients (intercept last) and their standard errors from the Fisher information."""
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(X, y)
    design = np.column_stack([X, np.ones(len(X))])
    p = model.predict_proba(X)[:, 1]
    information = design.T @ (design * (p * (1 - p))[:, None])
    return np.append(model.coef_[0], model.intercept_), np.sqrt(np.diag(np.linalg.inv(information)))


def test_oracle_discrimination_of_recurrence_is_as_documented(default_truth: pd.DataFrame) -> None:
    table, event = known_at_24_months(default_truth)
    auc = {
        name: roc_auc_score(event, table[f"recurrence_{name}"]) for name in ("24m_risk", "lp_texture", "lp_clinical")
    }
    assert 0.87 < auc["24m_risk"] < 0.92
    assert 0.81 < auc["lp_texture"] < 0.86
    assert 0.63 < auc["lp_clinical"] < 0.70


def test_oracle_discrimination_of_conversion_is_as_documented(default_truth: pd.DataFrame) -> None:
    table = default_truth[~default_truth["initially_resectable"]]
    assert 0.45 < table["resected"].mean() < 0.55
    assert 0.82 < roc_auc_score(table["resected"], table["conversion_lp"]) < 0.88
    assert roc_auc_score(table["resected"], table["texture"]) < 0.25  # much texture, little conversion


def test_event_rates_are_as_documented(default_truth: pd.DataFrame) -> None:
    _, event = known_at_24_months(default_truth)
    assert 0.55 < event.mean() < 0.65
    table = resected(default_truth)
    assert 0.05 < (table["rfs_event"] & ~table["recurrence"]).mean() < 0.09
    assert (~table["rfs_event"] & (table["rfs_months"] < 24)).mean() < 0.05


def test_predicted_24_month_risk_is_calibrated(default_truth: pd.DataFrame) -> None:
    """The closed-form cumulative incidence is what is observed in fifths of the risk (few are lost before)."""
    table, event = known_at_24_months(default_truth)
    fifth = pd.qcut(table["recurrence_24m_risk"], 5, labels=False).to_numpy()
    for k in range(5):
        expected, observed = table["recurrence_24m_risk"][fifth == k].mean(), event[fifth == k].mean()
        assert observed == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("texture_effect", [0.0, 1.7])
def test_hazard_ratios_are_recovered(
    texture_effect: float, default_truth: pd.DataFrame, no_texture: pd.DataFrame
) -> None:
    truth = resected(default_truth if texture_effect else no_texture)
    summary = cox(truth, ["texture", *RECURRENCE_COEFFICIENTS])
    expected = pd.Series({"texture": texture_effect, **RECURRENCE_COEFFICIENTS})
    error = (summary["coef"] - expected.reindex(summary.index)) / summary["se(coef)"]
    assert error.abs().max() < FOUR_SIGMA
    assert summary["se(coef)"].max() < 0.1


def test_odds_ratios_of_conversion_are_recovered(default_truth: pd.DataFrame) -> None:
    table = default_truth[~default_truth["initially_resectable"]]
    names = ["texture", *CONVERSION_COEFFICIENTS]
    coefficients, errors = logistic(table[names].to_numpy(), table["resected"].to_numpy())
    expected = np.array([-SimulationConfig().texture_effect, *CONVERSION_COEFFICIENTS.values()])
    assert np.abs((coefficients[:-1] - expected) / errors[:-1]).max() < FOUR_SIGMA


def test_texture_carries_nothing_when_its_effect_is_off(no_texture: pd.DataFrame) -> None:
    table = resected(no_texture)
    assert abs(cox(table, ["texture"]).loc["texture", "z"]) < FOUR_SIGMA
    known, event = known_at_24_months(no_texture)
    assert roc_auc_score(event, known["texture"]) == pytest.approx(0.5, abs=0.04)
    unresectable = no_texture[~no_texture["initially_resectable"]]
    assert roc_auc_score(unresectable["resected"], unresectable["texture"]) == pytest.approx(0.5, abs=0.05)


def test_the_chart_carries_nothing_when_its_effect_is_off(no_effects: pd.DataFrame) -> None:
    summary = cox(resected(no_effects), ["texture", *RECURRENCE_COEFFICIENTS])
    assert summary["z"].abs().max() < FOUR_SIGMA
    assert set(no_effects["recurrence_lp"]) == {0.0}
    # Events per month at risk estimate the rate of an exponential time.
    rate = resected(no_effects)["recurrence"].sum() / resected(no_effects)["rfs_months"].sum()
    assert rate == pytest.approx(HAZARDS.recurrence, rel=0.06)


def test_the_latent_texture_is_standard_normal_and_independent_of_the_disease(default_truth: pd.DataFrame) -> None:
    texture = default_truth["texture"]
    assert texture.mean() == pytest.approx(0, abs=0.06)
    assert texture.std() == pytest.approx(1, abs=0.05)
    chart = default_truth[["log2_count", "log2_size", "log_cea", "age_years", "sflr_per_10"]]
    assert chart.corrwith(texture, method="spearman").abs().max() < 0.065


def test_times_and_events_agree(default_truth: pd.DataFrame) -> None:
    table = resected(default_truth)
    months_to_operation = table["operation_day"].astype(float) / 30.4375
    assert (table["rfs_months"] > 0).all()
    assert (table["rfs_months"] <= table["liver_rfs_months"]).all()
    assert (table["liver_rfs_months"] + months_to_operation <= table["os_months"] + 0.011).all()
    assert (table["rfs_event"] == (table["recurrence"] | (table["os_event"] & ~table["recurrence"]))).all()
    assert (table["liver_rfs_event"] == (table["liver_recurrence"] | table["os_event"])).all()
    assert not (table["liver_recurrence"] & ~table["recurrence"]).any()
    free = table[~table["recurrence"]]
    assert np.allclose(free["rfs_months"] + months_to_operation[free.index], free["os_months"], atol=0.011)


def test_the_never_resected_have_survival_only(default_truth: pd.DataFrame) -> None:
    table = default_truth[~default_truth["resected"]]
    assert len(table) > 500
    assert not table["initially_resectable"].any()
    assert table[["rfs_months", "recurrence", "rfs_event", "liver_rfs_months", "operation_day"]].isna().all(axis=None)
    assert table["os_months"].notna().all()


def test_follow_up_lies_between_the_stated_bounds(default_truth: pd.DataFrame) -> None:
    table = resected(default_truth)
    low, high = HAZARDS.administrative_months
    alive = table.loc[~table["os_event"]]
    follow_up = alive["os_months"] - alive["operation_day"].astype(float) / 30.4375
    assert follow_up.max() <= high + 0.02
    assert (follow_up < low).mean() < 0.2  # only the few who are lost


def test_better_odds_of_conversion_mean_more_shrinkage() -> None:
    config = SimulationConfig(unresectable_fraction=1.0)
    truths = [true_risks(config, draw_plan(config, number)) for number in range(300)]
    ratios = [log_diameter_ratio(np.random.default_rng(k), truth) for k, truth in enumerate(truths)]
    assert np.corrcoef([t.conversion for t in truths], ratios)[0, 1] < -0.4


def test_the_default_cohort_has_enough_patients_in_each_class() -> None:
    truth = simulate_outcomes(SimulationConfig())
    unresectable = truth[~truth["initially_resectable"]]
    _, event = known_at_24_months(truth)
    assert min(unresectable["resected"].sum(), (~unresectable["resected"]).sum()) >= 14
    assert event.sum() >= 22
    assert (~event).sum() >= 14


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patients": 0}, "patients"),
        ({"missing_fraction": 1.5}, "missing_fraction"),
        ({"texture_effects": 1.0}, "texture_effects: Extra inputs"),
        ({"clinical_effect": -1.0}, "clinical_effect"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(SimulationConfig, settings, where="simulation")
