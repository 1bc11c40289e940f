"""Properties all learners share, and what is particular to each."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_tables import draw_outcome, noise_table
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import auc, harrell_c
from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import horizon_labels, make_outcome
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
    risks_of_candidates,
    row_space,
)

BLOCKS = ("clinical", "radiomics", "radiomics", "clinical")
AT_HORIZON = [
    RidgeLogistic(24.0),
    ElasticNetLogistic(24.0, 0.03),
    XGBoostLogistic(24.0),
    ForestAtHorizon(24.0, trees=50),
    LateFusionLogistic(24.0, blocks=BLOCKS),
    StackingLogistic(24.0, blocks=BLOCKS),
]
OVER_TIME = [
    RidgeCox(),
    ElasticNetCox(0.03),
    FineGray(),
    XGBoostCox(),
    XGBoostAFT(distribution="extreme"),  # times are drawn exponential
    ForestIncidence(trees=50),
    LateFusionCox(blocks=BLOCKS),
    StackingCox(blocks=BLOCKS),
]
LEARNERS = AT_HORIZON + OVER_TIME
MONTHS = (12.0, 24.0, 36.0)


def _data(seed: int, n: int = 150, p: int = 4, *, competing: bool = True) -> tuple:
    X = noise_table(n, p, seed).to_numpy()
    return X, draw_outcome(X[:, 0], seed, competing=competing)


@pytest.fixture(params=LEARNERS, ids=lambda learner: type(learner).__name__)
def learner(request: pytest.FixtureRequest) -> object:
    return clone(request.param)


def test_higher_risk_means_sooner(learner: object) -> None:
    X, y = _data(0)
    unseen, truth = _data(1)
    assert harrell_c(truth, learner.fit(X, y).risk(unseen)) > 0.62
    assert learner.score(unseen, truth) > 0.62
    assert (learner.predict(unseen) == learner.risk(unseen)).all()


def test_is_deterministic(learner: object) -> None:
    X, y = _data(0)
    first, second = clone(learner).fit(X, y), clone(learner).fit(X, y)
    assert (first.risk(X) == second.risk(X)).all()


def test_a_row_is_scored_by_itself(learner: object) -> None:
    X, y = _data(0)
    learner.fit(X, y)
    whole = learner.risk(X)
    assert [learner.risk(X[[row]])[0] for row in range(5)] == whole[:5].tolist()
    assert (learner.risk(np.asfortranarray(X)) == whole).all()


def test_inputs_and_outcome_are_not_modified(learner: object) -> None:
    X, y = _data(0)
    before = X.copy(), y.copy()
    learner.fit(X, y).probability(X, MONTHS)
    assert (before[0] == X).all()
    assert (y == before[1]).all()


def test_probabilities_follow_the_risk_and_match_on_average(learner: object) -> None:
    # An accelerated failure time knows no competing event.
    X, y = _data(0, n=400, competing=not isinstance(learner, XGBoostAFT))
    learner.fit(X, y)
    p = learner.probability(X, MONTHS)
    column = 1
    assert p.shape == (400, 3)
    # Of two risks that are equal up to rounding either may come first.
    assert (np.diff(p[np.argsort(learner.risk(X)), column]) >= -1e-12).all()
    assert p[:, column].mean() == pytest.approx(aalen_johansen(y["event"], y["months"]).at([24])[0], abs=0.03)


def test_binary_learners_speak_at_their_horizon_only() -> None:
    X, y = _data(0)
    for binary in AT_HORIZON:
        assert np.isnan(clone(binary).fit(X, y).probability(X, MONTHS)[:, [0, 2]]).all()


@pytest.mark.parametrize("learner", OVER_TIME, ids=lambda learner: type(learner).__name__)
def test_probabilities_are_in_range_and_rise_with_time(learner: object) -> None:
    X, y = _data(0)
    far = np.vstack((X, 30 * X))
    p = clone(learner).fit(X, y).probability(far, MONTHS)
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p, axis=1) >= 0).all()


def test_nobody_speaks_beyond_the_follow_up() -> None:
    X, y = _data(0)
    for learner in OVER_TIME:
        p = clone(learner).fit(X, y).probability(X[:2], (24.0, 70.0))
        assert np.isfinite(p[:, 0]).all()
        assert np.isnan(p[:, 1]).all()


def test_conventions(learner: object) -> None:
    assert clone(learner).get_params() == learner.get_params()
    with pytest.raises(NotFittedError):
        learner.risk(np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda X, y: (X[:-1], y), "inputs and outcome do not fit together"),
        (lambda X, _: (X, None), "the target y is None"),
        (lambda X, y: (np.where(X > 2, np.nan, X), y), "inputs are not finite"),
        (lambda X, _: (X, make_outcome(np.zeros(150), np.full(150, 9.0))), "target is constant"),
        (lambda X, y: (X, y["event"]), "no outcome array"),
    ],
)
def test_refuses_training_data(learner: object, change: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        learner.fit(*change(*_data(0)))


def test_refuses_no_inputs_and_no_matrix(learner: object) -> None:
    X, y = _data(0)
    for bad in (X[:, :0], X[:, 0], X[:1]):
        with pytest.raises(ValueError, match="feature|dimension|sample"):
            learner.fit(bad, y[: len(bad)])


@pytest.mark.parametrize(
    "bad",
    [
        RidgeCox(0.0),
        RidgeLogistic(24.0, -1.0),
        FineGray(0.0),
        ElasticNetCox(0.0),
        ElasticNetCox(0.1, 1.5),
        ElasticNetLogistic(24.0, 0.1, -0.1),
        XGBoostCox(rounds=0),
        XGBoostLogistic(24.0, depth=0),
        XGBoostAFT(rounds=0),
        XGBoostAFT(distribution="cauchy"),
        ForestAtHorizon(24.0, trees=0),
        ForestAtHorizon(24.0, leaves=1),
        ForestAtHorizon(24.0, leaves=200),
        ForestIncidence(min_leaf=0),
        ForestIncidence(months=(24.0, 12.0)),
        ForestIncidence(risk_month=18.0),
        LateFusionCox(0.0),
        LateFusionLogistic(24.0, 0.3, 0.0),
        StackingCox(penalty_stack=0.0),
        StackingCox(folds=1),
    ],
    ids=repr,
)
def test_refuses_settings(bad: object) -> None:
    with pytest.raises(InputError, match="learner setting is out of range"):
        bad.fit(*_data(0))


def test_unknown_labels_do_not_count() -> None:
    """Patients censored before the horizon change nothing but the weights: their inputs are irrelevant."""
    X, y = _data(2)
    unknown = horizon_labels(y, 24.0)[1] == 0
    assert unknown.any()
    other = X.copy()
    other[unknown] = 50.0
    for binary in (RidgeLogistic(24.0), XGBoostLogistic(24.0), ElasticNetLogistic(24.0), ForestAtHorizon(24.0)):
        assert (clone(binary).fit(X, y).risk(X[:5]) == clone(binary).fit(other, y).risk(X[:5])).all()


def test_early_leavers_are_neither_dropped_nor_called_event_free() -> None:
    """Censoring that depends on nothing must not move the mean probability; either shortcut would."""
    generator = np.random.default_rng(0)
    n = 4000
    X = generator.normal(size=(n, 1))
    event, censored = generator.exponential(30, n), generator.uniform(0, 40, n)
    y = make_outcome(event < censored, np.minimum(event, censored))
    fitted = RidgeLogistic(24.0).fit(X, y)
    assert fitted.probability(X, [24.0]).mean() == pytest.approx(1 - np.exp(-24 / 30), abs=0.03)


def test_event_at_month_zero_is_an_event() -> None:
    """The booster codes the event in the sign of the time, and zero has none."""
    X, y = _data(3)
    early = y.copy()
    early["months"][np.argmin(np.where(y["event"] == 1, y["months"], np.inf))] = 0.0
    earliest = np.argmin(early["months"])
    assert early["event"][earliest] == 1
    assert np.argmin(y["months"]) == earliest or (y["months"] > 0).all()
    shifted = early.copy()
    shifted["months"] += 1.0
    assert (XGBoostCox().fit(X, early).risk(X) == XGBoostCox().fit(X, shifted).risk(X)).all()


def test_more_inputs_than_patients() -> None:
    """The rotated problem is the same problem: its gradient vanishes in all inputs."""
    X, y = _data(4, n=60, p=200)
    cox = RidgeCox(0.5).fit(X, y)
    rotated, basis = row_space(X)
    assert rotated.shape == (60, 60)
    np.testing.assert_allclose(rotated @ basis.T, X, atol=1e-10)
    wide = np.hstack((X, np.zeros((60, 1))))
    np.testing.assert_allclose(RidgeCox(0.5).fit(wide, y).coef_[:-1], cox.coef_, atol=1e-7)
    logistic = RidgeLogistic(24.0, 0.5).fit(X, y)
    label, weight = horizon_labels(y, 24.0)
    residual = weight * (label - 1 / (1 + np.exp(-logistic.risk(X))))
    np.testing.assert_allclose(X.T @ residual / weight.sum(), 0.5 * logistic.coef_, atol=1e-5)


@pytest.mark.parametrize(
    "candidates",
    [
        [RidgeCox(3.0), RidgeCox(0.1)],
        [RidgeLogistic(24.0, 3.0), RidgeLogistic(24.0, 0.1)],
        [FineGray(3.0), FineGray(0.1)],
        [ElasticNetCox(a, r) for a in (0.3, 0.03) for r in (0.9, 0.2)],
        [ElasticNetLogistic(24.0, a, r) for a in (0.03, 0.3) for r in (0.9, 0.2)],
        [XGBoostCox(r, d) for d in (1, 2) for r in (10, 40)],
        [XGBoostLogistic(24.0, r, d) for d in (1, 2) for r in (10, 40)],
        [XGBoostAFT(r, d) for d in (1, 2) for r in (10, 40)],
        [ForestAtHorizon(24.0, 20, leaves) for leaves in (2, 9, 4)],
        [ForestIncidence(20, leaves) for leaves in (2, 9, 4)],
        [LateFusionCox(a, b) for a in (3.0, 0.1) for b in (3.0, 0.1)],
        [StackingLogistic(24.0, a, 0.3) for a in (3.0, 0.1)],
        [RidgeCox(3.0), XGBoostCox(10), RidgeCox(0.1)],
    ],
    ids=lambda candidates: f"{type(candidates[0]).__name__} {len(candidates)}",
)
@pytest.mark.parametrize("p", [4, 150])
def test_shared_work_gives_the_same_risks(candidates: list, p: int) -> None:
    X, y = _data(5, n=100, p=p)
    unseen, _ = _data(6, n=30, p=p)
    shared = risks_of_candidates(candidates, X, y, unseen)
    for candidate, risk in zip(candidates, shared, strict=True):
        np.testing.assert_allclose(risk, clone(candidate).fit(X, y).risk(unseen), atol=1e-6)


def test_binary_risk_is_about_the_horizon() -> None:
    """An input that matters before the horizon only is found by the label, in the direction of the label."""
    X, y = _data(7, n=300)
    label, weight = horizon_labels(y, 24.0)
    fitted = RidgeLogistic(24.0).fit(X, y)
    assert auc(label, fitted.risk(X), weight) > 0.65
