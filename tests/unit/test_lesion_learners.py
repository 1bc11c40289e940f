"""Learners of lesions: every patient counts once, and the maximum or mean of the lesions speaks for the patient."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from simulated_tables import draw_outcome

from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels, make_outcome
from radiomics_crlm.modelling.boosted import XGBoostCox, XGBoostLogistic
from radiomics_crlm.modelling.cox import PartialLikelihood, risk_sets
from radiomics_crlm.modelling.lesion_learners import (
    LesionLearner,
    LesionRidgeCox,
    LesionRidgeLogistic,
    LesionXGBoostCox,
    LesionXGBoostLogistic,
    WeightedLikelihood,
    calibrating_shift,
)
from radiomics_crlm.modelling.lesions import pack
from radiomics_crlm.modelling.linear import RidgeCox, RidgeLogistic

SLOTS = 5


def patients(n: int = 90, p: int = 4, seed: int = 0) -> tuple[Floats, Outcome]:
    X = np.random.default_rng(seed).normal(size=(n, p))
    return X, draw_outcome(X[:, 0] - 0.5 * X[:, 1], seed)


def repeated(X: Floats, seed: int = 1) -> Floats:
    """Packed inputs of patients whose lesions are all alike."""
    count = np.random.default_rng(seed).integers(1, SLOTS + 1, len(X))
    return pack(np.repeat(X, count, axis=0), np.repeat(np.arange(len(X)), count), len(X), SLOTS)


PAIRS = [
    (LesionRidgeCox(penalty=0.1), RidgeCox(0.1), (1e-7, 1e-7)),
    (LesionRidgeLogistic(24.0, penalty=0.1), RidgeLogistic(24.0, 0.1), (1e-7, 1e-7)),
    # Trees take the diagonal of the second derivative, which is not quite the same for lesions that move together.
    (LesionXGBoostCox(rounds=15), XGBoostCox(rounds=15), (1e-5, 1e-2)),
    (LesionXGBoostLogistic(24.0, rounds=15), XGBoostLogistic(24.0, rounds=15), (1e-5, 1e-4)),
]


@pytest.mark.parametrize(("of_lesions", "of_patients", "tolerance"), PAIRS)
@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_lesions_that_are_all_alike_count_as_one(
    of_lesions: LesionLearner, of_patients: LesionLearner, tolerance: tuple[float, float], aggregate: str
) -> None:
    """The oracle is the learner of patients; the boosted hazard is xgboost's own, up to a constant."""
    X, y = patients()
    plain = of_patients.fit(X, y).risk(X)
    for slots, inputs, gap in ((0, X, tolerance[0]), (SLOTS, repeated(X), tolerance[1])):
        mine = of_lesions.set_params(slots=slots, aggregate=aggregate).fit(inputs, y)
        risk = mine.risk(inputs)
        np.testing.assert_allclose(risk - risk.mean(), plain - plain.mean(), atol=gap)
        assert mine.probability(inputs, (12.0, 24.0)).shape == (len(X), 2)


@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_patients_get_the_aggregate_of_their_lesions(aggregate: str) -> None:
    X, y = patients(60)
    mine = LesionRidgeCox(slots=SLOTS, aggregate=aggregate).fit(repeated(X), y)  # type: ignore[arg-type]
    lesions = np.random.default_rng(4).normal(size=(5, 4))
    packed = pack(lesions, np.array([0, 0, 1, 1, 1]), 2, SLOTS)
    each = lesions @ mine.coef_
    expected = [getattr(np, aggregate)(each[:2]), getattr(np, aggregate)(each[2:])]
    np.testing.assert_allclose(mine.risk(packed), expected, atol=1e-12)
    np.testing.assert_array_equal(mine.risk(packed[1:]), mine.risk(packed)[1:])
    assert mine.risk(packed[:0]).shape == (0,)


def test_probabilities_at_the_horizon_are_right_on_average() -> None:
    generator = np.random.default_rng(7)
    count = generator.integers(1, SLOTS + 1, 120)
    owner = np.repeat(np.arange(120), count)
    lesions = generator.normal(size=(owner.size, 3))
    y = draw_outcome(generator.normal(size=120), 3)
    X = pack(lesions, owner, 120, SLOTS)
    label, weight = horizon_labels(y, 24.0)
    for learner in (LesionRidgeLogistic(24.0, 0.01, SLOTS), LesionXGBoostLogistic(24.0, rounds=20, slots=SLOTS)):
        probability = learner.fit(X, y).probability(X, (24.0,))[:, 0]
        assert weight @ probability / weight.sum() == pytest.approx(weight @ label / weight.sum(), abs=1e-9)


def test_weighted_likelihood_is_that_of_cox_without_weights_and_ties() -> None:
    X, y = patients(40)
    sets = risk_sets(y)
    linear = (X @ [0.5, -0.2, 0.1, 0.0])[sets.order]
    mine, plain = WeightedLikelihood(sets, np.ones(40), linear), PartialLikelihood(sets, linear)
    assert mine.value == pytest.approx(plain.value, abs=1e-12)
    np.testing.assert_allclose(mine.residual, plain.residual, atol=1e-12)
    np.testing.assert_allclose(mine.hessian(X[sets.order]), plain.hessian(X[sets.order]), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_of_the_weighted_likelihood(seed: int) -> None:
    generator = np.random.default_rng(seed)
    y = make_outcome(generator.integers(0, 3, 25), generator.integers(1, 9, 25).astype(float))  # many ties
    sets, weight, X = risk_sets(y), generator.uniform(0.2, 1, 25), generator.normal(size=(25, 3))
    beta = generator.normal(size=3)

    def value(b: Floats) -> float:
        return WeightedLikelihood(sets, weight, X @ b).value

    def slope(b: Floats) -> Floats:
        return X.T @ WeightedLikelihood(sets, weight, X @ b).residual

    point = WeightedLikelihood(sets, weight, X @ beta)
    np.testing.assert_allclose(slope(beta), approx_fprime(beta, value, 1e-7), atol=1e-6)
    np.testing.assert_allclose(point.hessian(X), approx_fprime(beta, slope, 1e-7), atol=1e-6)
    by_row = approx_fprime(point.linear, lambda linear: WeightedLikelihood(sets, weight, linear).gradient, 1e-7)
    np.testing.assert_allclose(point.curvature, np.diag(by_row), atol=1e-5)


def test_shift_makes_the_mean_right() -> None:
    generator = np.random.default_rng(0)
    risk, label, weight = generator.normal(0, 3, 50), generator.random(50) < 0.2, generator.uniform(0.5, 2, 50)
    shifted = 1 / (1 + np.exp(-(risk + calibrating_shift(risk, label.astype(float), weight))))
    assert weight @ shifted == pytest.approx(weight @ label, abs=1e-9)
