"""Decision curves: limits that must hold, and what is not known."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.decision import TREAT_ALL, TREAT_NONE, decision_curve, reference_curves
from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome


def _outcome(n: int, seed: int) -> Outcome:
    generator = np.random.default_rng(seed)
    return make_outcome(generator.integers(0, 3, n), generator.exponential(15, n).round())


def test_a_risk_of_one_treats_all_and_a_risk_of_zero_none() -> None:
    y = _outcome(80, 0)
    references = reference_curves(y, 12.0)
    for risk, name in ((1.0, TREAT_ALL), (0.0, TREAT_NONE)):
        found = decision_curve(y, np.full(80, risk), 12.0)
        np.testing.assert_allclose(found.to_numpy(), references[name].to_numpy(), atol=1e-12)
    assert (references[TREAT_NONE]["net_benefit"] == 0).all()


def test_perfect_predictions_gain_the_incidence_at_every_threshold() -> None:
    y = _outcome(80, 1)
    y["months"][y["event"] == 0] = 40.0
    p = ((y["event"] == 1) & (y["months"] <= 12)).astype(float)
    found = decision_curve(y, p, 12.0)
    incidence = aalen_johansen(y["event"], y["months"]).at([12.0])[0]
    np.testing.assert_allclose(found["net_benefit"], incidence, atol=1e-12)
    assert (found["net_benefit"] >= reference_curves(y, 12.0)[TREAT_ALL]["net_benefit"] - 1e-12).all()
    assert (found["false_positive"] == 0).all()


def test_repeats_are_averaged() -> None:
    y, generator = _outcome(80, 2), np.random.default_rng(2)
    p = generator.random((80, 3))
    together = decision_curve(y, p, 12.0, [0.2, 0.5])
    alone = [decision_curve(y, p[:, k], 12.0, [0.2, 0.5]) for k in range(3)]
    np.testing.assert_allclose(together.to_numpy(), np.mean([part.to_numpy() for part in alone], axis=0))


def test_treated_who_are_not_followed_have_no_benefit() -> None:
    y = make_outcome([1, 0, 0, 0], [3, 5, 30, 30])
    p = np.array([0.9, 0.8, 0.2, 0.2])
    found = decision_curve(y, p, 12.0, [0.1, 0.5, 0.95]).set_index("threshold")
    assert np.isnan(found.loc[0.5, "net_benefit"])
    assert found.loc[0.5, "treated"] == 0.5
    assert np.isfinite(found.loc[0.1, "net_benefit"])
    assert found.loc[0.95, "net_benefit"] == 0.0


@pytest.mark.parametrize("threshold", [0.0, 1.0, np.nan])
def test_refuses_thresholds(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold of risk is out of range"):
        decision_curve(_outcome(20, 3), np.full(20, 0.4), 12.0, [threshold])


def test_refuses_probabilities() -> None:
    with pytest.raises(InputError, match="20 probabilities are missing or outside"):
        decision_curve(_outcome(20, 3), np.full(20, 1.4), 12.0)
