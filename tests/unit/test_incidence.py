"""Worked examples and refusals of the nonparametric curves; oracles are in tests/oracle."""

from __future__ import annotations

import numpy as np

from radiomics_crlm.evaluation.incidence import (
    aalen_johansen,
    censoring_survival,
    kaplan_meier,
    nelson_aalen,
    risk_table,
)

EVENT = np.array([1, 2, 0, 1, 0])
MONTHS = np.array([2.0, 3.0, 3.0, 5.0, 7.0])


def test_risk_table_counts() -> None:
    table = risk_table(EVENT, MONTHS)
    assert table.months.tolist() == [2, 3, 5, 7]
    assert table.at_risk.tolist() == [5, 4, 2, 1]
    assert table.events.tolist() == [1, 0, 1, 0]
    assert table.competing.tolist() == [0, 1, 0, 0]
    assert table.censored.tolist() == [0, 1, 0, 1]


def test_worked_aalen_johansen() -> None:
    """By hand: 1/5; then S(3) = 4/5 x 3/4 = 3/5; at 5 add 3/5 x 1/2."""
    curve = aalen_johansen(EVENT, MONTHS)
    np.testing.assert_allclose(curve.at([0, 1.99, 2, 4, 5, 99]), [0, 0, 0.2, 0.2, 0.5, 0.5])


def test_incidence_is_not_one_minus_kaplan_meier() -> None:
    assert aalen_johansen(EVENT, MONTHS).at([5])[0] < 1 - kaplan_meier(EVENT, MONTHS).at([5])[0]


def test_nelson_aalen_of_both_codes() -> None:
    np.testing.assert_allclose(nelson_aalen(EVENT, MONTHS).at([2, 5]), [0.2, 0.7])
    np.testing.assert_allclose(nelson_aalen(EVENT, MONTHS, 2).at([2, 3]), [0.0, 0.25])


def test_censoring_survival_is_a_left_limit() -> None:
    # At 3 the competing event leaves first: 3 exposed, 1 censored.
    np.testing.assert_allclose(censoring_survival(EVENT, MONTHS, [3, 3.01, 7]), [1, 2 / 3, 2 / 3])


def test_no_event_at_all() -> None:
    curve = aalen_johansen(np.zeros(40, dtype=int), np.full(40, 9.0))
    lower, upper = curve.limits_at([9.0])
    assert curve.at([9.0])[0] == lower[0] == 0.0
    np.testing.assert_allclose(upper, 1 - 0.025 ** (1 / 40))


def test_limits_enclose_and_stay_in_range() -> None:
    generator = np.random.default_rng(3)
    event, months = generator.integers(0, 3, 80), generator.exponential(20, 80).round()
    for curve in (kaplan_meier(event, months), aalen_johansen(event, months)):
        assert ((curve.lower <= curve.value) & (curve.value <= curve.upper)).all()
        assert ((curve.lower >= 0) & (curve.upper <= 1)).all()
