"""The sample-size panel: published numbers, properties, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulated_tables import draw_outcome

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.sample_size import (
    Anticipation,
    expected_shrinkage,
    n_for_optimism,
    n_for_rate,
    n_for_risk,
    n_for_shrinkage,
    r2_max_binary,
    r2_max_survival,
    risk_interval,
    sample_size,
)


def test_binary_example_of_pmsampsize():
    """Help page of the R package pmsampsize: 24 parameters, prevalence 0.174, R2 0.288; criteria 623, 662, 221."""
    r2_max = r2_max_binary(0.174)
    assert (n_for_shrinkage(24, 0.288, 0.9), n_for_optimism(24, 0.288, r2_max), n_for_risk(0.174)) == (623, 662, 221)


@pytest.mark.parametrize(
    ("parameters", "r2", "rate", "first", "second"),
    [(25, 0.051, 0.065, 4286, 866), (25, 0.065, 0.065, 3335, 859), (50, 0.051, 0.065, 8572, 1731),
     (25, 0.051, 0.1, 4286, 731), (30, 0.051, 0.065, 5143, 1039)],
)  # fmt: skip
def test_survival_examples_of_pmsampsize(parameters, r2, rate, first, second):
    """Tests 3.1 to 3.4 of the R package pmsampsize 1.1.3 (tests/testthat/test_surv.R), and its help page; follow-up
    2.07 years."""
    r2_max = r2_max_survival(math.ceil(rate * 2.07 * 10000) / 10000)
    assert (n_for_shrinkage(parameters, r2, 0.9), n_for_optimism(parameters, r2, r2_max)) == (first, second)


def test_overall_risk_of_the_survival_example():
    """Help page of pmsampsize: with 5143 patients the risk at 2 years is 0.122 (0.113 to 0.130)."""
    found = risk_interval(0.065, 2.07 * 5143, 2)
    assert [round(value, 3) for value in found] == [0.122, 0.113, 0.130]


def test_binary_example_of_the_python_package():
    """pmsampsize (Python): 10 parameters, prevalence 0.5, 15 % of the largest R2: 749."""
    r2_max = r2_max_binary(0.5)
    assert r2_max == pytest.approx(0.75)
    assert max(n_for_shrinkage(10, 0.15 * r2_max, 0.9), n_for_optimism(10, 0.15 * r2_max, r2_max)) == 749


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.2])
def test_precision_is_reached_and_one_patient_fewer_misses_it(rate):
    n = n_for_rate(rate, 30, 24)
    for patients, enough in ((n, True), (n - 1, False)):
        risk, lower, upper = risk_interval(rate, patients * 30, 24)
        assert (max(risk - lower, upper - risk) <= 0.05) == enough


@pytest.mark.parametrize(("parameters", "r2"), [(5, 0.1), (30, 0.05), (12, 0.3)])
def test_expected_shrinkage_inverts_the_criterion(parameters, r2):
    for wanted in (0.6, 0.8, 0.9, 0.95):
        n = n_for_shrinkage(parameters, r2, wanted)
        assert expected_shrinkage(n, parameters, r2) == pytest.approx(wanted, abs=0.02)
        assert expected_shrinkage(n, parameters, r2) >= wanted - 1e-9
    shrinkages = [expected_shrinkage(n, parameters, r2) for n in (50, 200, 800, 3200)]
    assert shrinkages == sorted(shrinkages)


@pytest.mark.parametrize(("kind", "horizon"), [("binary", 24.0), ("time_to_event", None)])
def test_panel(kind, horizon):
    y = draw_outcome(np.random.default_rng(1).normal(size=200), 1)
    panel = sample_size(y, 10, kind=kind, horizon=horizon)
    incidence = float(aalen_johansen(y["event"], y["months"]).at([24])[0])
    assert panel.overall_risk == pytest.approx(incidence)
    assert panel.events_per_parameter == panel.events / 10
    assert panel.r2_anticipated == pytest.approx(0.15 * panel.r2_max)
    assert panel.n_required == max(panel.n_shrinkage, panel.n_optimism, panel.n_precision)
    assert panel.sufficient == (panel.n_required <= 200)
    more = sample_size(y, 20, kind=kind, horizon=horizon)
    assert abs(more.n_shrinkage - 2 * panel.n_shrinkage) <= 1
    assert more.n_precision == panel.n_precision
    better = sample_size(y, 10, kind=kind, horizon=horizon, anticipation=Anticipation(r2_share=0.5))
    assert better.n_required < panel.n_required
    assert better.shrinkage_expected > panel.shrinkage_expected


def test_refusals():
    y = make_outcome([1, 0, 0], [5, 30, 40])
    with pytest.raises(InputError, match="no candidate inputs"):
        sample_size(y, 0, kind="binary", horizon=12)
    with pytest.raises(InputError, match="overall risk is out of range"):
        sample_size(make_outcome([0, 0], [30, 40]), 3, kind="binary", horizon=12)
    with pytest.raises(InputError, match="share of patients with the event"):
        sample_size(make_outcome([0, 0], [30, 40]), 3, kind="time_to_event", horizon=None)
    with pytest.raises(InputError, match="above the largest possible"):
        n_for_optimism(10, 0.5, 0.3)
    with pytest.raises(InputError, match="not below the shrinkage"):
        n_for_shrinkage(10, 0.95, 0.9)
    with pytest.raises(InputError, match="must be positive"):
        n_for_rate(0, 30, 24)
    with pytest.raises(ConfigError, match="what is anticipated"):
        Anticipation(r2_share=1.5)
