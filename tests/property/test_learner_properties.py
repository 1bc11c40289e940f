"""What holds for every learner on any data: order of rows, useless inputs, separation, few events, odd scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated_tables import draw_outcome, noise_table
from sklearn.base import clone

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import harrell_c
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.estimators import (
    ElasticNetCox,
    ElasticNetLogistic,
    FineGray,
    ForestAtHorizon,
    ForestIncidence,
    LateFusionCox,
    LateFusionLogistic,
    RidgeCox,
    RidgeLogistic,
    StackingCox,
    StackingLogistic,
    XGBoostAFT,
    XGBoostCox,
    XGBoostLogistic,
)

BLOCKS = ("radiomics", "clinical", "clinical")
CONVEX = [
    RidgeLogistic(24.0),
    RidgeCox(),
    FineGray(),
    ElasticNetLogistic(24.0, 0.02),
    ElasticNetCox(0.02),
    LateFusionLogistic(24.0, blocks=BLOCKS),
    LateFusionCox(blocks=BLOCKS),
]
OTHERS = [
    XGBoostLogistic(24.0, rounds=20),
    XGBoostCox(rounds=20),
    XGBoostAFT(rounds=20),
    ForestAtHorizon(24.0, trees=20),
    ForestIncidence(trees=20),
    StackingLogistic(24.0, blocks=BLOCKS),
    StackingCox(blocks=BLOCKS),
]
EVERY = CONVEX + OTHERS
MONTHS = (12.0, 24.0, 36.0)


def _name(learner: object) -> str:
    return type(learner).__name__


def _data(seed: int, n: int = 120) -> tuple[np.ndarray, Outcome]:
    X = noise_table(n, 3, seed).to_numpy()
    y = draw_outcome(X[:, 0] + 0.5 * X[:, 1], seed)
    y["months"] = np.ceil(y["months"])  # with ties
    return X, y


@pytest.mark.parametrize("learner", EVERY, ids=_name)
def test_the_order_of_patients_does_not_matter(learner: object) -> None:
    X, y = _data(0)
    rows = np.random.default_rng(0).permutation(len(X))
    one, other = clone(learner).fit(X, y), clone(learner).fit(X[rows], y[rows])
    np.testing.assert_allclose(one.risk(X), other.risk(X), atol=1e-5)
    np.testing.assert_allclose(one.probability(X, MONTHS), other.probability(X, MONTHS), atol=1e-5)


@pytest.mark.parametrize("learner", CONVEX, ids=_name)
def test_constant_inputs_change_nothing(learner: object) -> None:
    X, y = _data(1)
    wider = np.column_stack((X, np.zeros(len(X))))
    plain = clone(learner).fit(X, y)
    more = clone(learner)
    if "blocks" in more.get_params():
        more.set_params(blocks=(*BLOCKS, "radiomics"))
    more.fit(wider, y)
    np.testing.assert_allclose(more.risk(wider), plain.risk(X), atol=1e-6)
    assert more.coef_[3] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("learner", EVERY, ids=_name)
def test_nothing_but_constant_inputs(learner: object) -> None:
    """Everybody gets the same risk, and it is the incidence."""
    X, y = _data(2)
    fitted = clone(learner).fit(np.zeros_like(X), y)
    risk, p = fitted.risk(X * 0), fitted.probability(X * 0, MONTHS)[:, 1]
    assert np.isfinite(risk).all()
    assert np.ptp(risk) == 0
    assert 0.3 < p[0] < 0.8


@pytest.mark.parametrize("learner", EVERY, ids=_name)
def test_perfect_separation_stays_finite(learner: object) -> None:
    X = np.linspace(-2, 2, 90)[:, None] * np.ones(3)
    y = make_outcome(np.ones(90), np.linspace(60, 0, 90))
    fitted = clone(learner).fit(X, y)
    assert np.isfinite(fitted.risk(X)).all()
    assert harrell_c(y, fitted.risk(X)) > 0.7
    p = fitted.probability(X, MONTHS)[:, 1]
    assert ((p >= 0) & (p <= 1)).all()
    assert p[-1] > 0.5 > p[0]


@pytest.mark.parametrize("learner", EVERY, ids=_name)
def test_few_events(learner: object) -> None:
    """Three events among sixty patients: a cautious model, or a refusal that says so; never a crash."""
    X, y = _data(3, n=60)
    y["event"] = 0
    y["event"][np.argsort(y["months"])[[5, 15, 25]]] = 1
    y["months"][0], y["event"][0] = 50.0, 0
    fitted = clone(learner).fit(X, y)
    p = fitted.probability(X, MONTHS)[:, 1]
    assert np.isfinite(fitted.risk(X)).all()
    assert ((p >= 0) & (p <= 1)).all()
    assert p.mean() < 0.3


@pytest.mark.parametrize("learner", EVERY, ids=_name)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_data_give_numbers_or_a_refusal(learner: object, data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    n = data.draw(st.integers(2, 50))
    X = generator.normal(size=(n, 3)) * 10.0 ** np.array(data.draw(st.tuples(*[st.integers(-3, 2)] * 3)))
    if data.draw(st.booleans()):
        X[:, 2] = X[:, 1]
    codes = data.draw(st.sampled_from([(1,), (0, 1), (1, 2), (0, 1, 2)]))
    months = generator.exponential(30, n)
    y = make_outcome(generator.choice(codes, n), np.ceil(months) if data.draw(st.booleans()) else months)
    try:
        fitted = clone(learner).fit(X, y)
    except InputError:
        return
    assert np.isfinite(fitted.risk(X)).all()
    p = fitted.probability(X, MONTHS)
    known = np.isfinite(p)
    assert ((p[known] >= 0) & (p[known] <= 1)).all()
    assert (np.diff(p[:, known.all(axis=0)], axis=1) >= -1e-12).all()
