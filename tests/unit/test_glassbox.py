"""Explainable boosting: what it learns, and how it is refused where its package is absent."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_tables import draw_outcome, noise_table, number_columns
from sklearn.pipeline import Pipeline

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.discrimination import harrell_c
from radiomics_crlm.evaluation.outcome import horizon_labels
from radiomics_crlm.modelling import glassbox
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.glassbox import ExplainableBoosting
from radiomics_crlm.modelling.recipe import Recipe, candidates, not_deliverable, preprocessing

TABLE = noise_table(100, 3, 0)
X = TABLE.to_numpy()
Y = draw_outcome(1.5 * X[:, 0], 0)


def _learner() -> ExplainableBoosting:
    return ExplainableBoosting(24.0, bags=2, min_leaf=10)


def test_absent_package_is_refused_before_anything_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glassbox, "find_spec", lambda _: None)
    message = r"ebm needs a package that is not installed; expected interpret-core.*radiomics-crlm\[ebm\]"
    with pytest.raises(ConfigError, match=message):
        Recipe("s", number_columns(3), "ebm", "binary")
    with pytest.raises(ConfigError, match=message):
        _learner().fit(X, Y)


def test_is_not_for_time_to_event() -> None:
    with pytest.raises(ConfigError, match="ebm is not for time-to-event endpoints"):
        Recipe("s", number_columns(3), "ebm", "time_to_event")


def test_learns_repeats_itself_and_ignores_unknown_labels() -> None:
    pytest.importorskip("interpret", reason="the extra ebm is not installed")
    fitted = _learner().fit(X, Y)
    unseen = noise_table(200, 3, 1).to_numpy()
    assert harrell_c(draw_outcome(1.5 * unseen[:, 0], 1), fitted.risk(unseen)) > 0.65
    p = fitted.probability(X, (12.0, 24.0))
    assert np.isnan(p[:, 0]).all()
    assert ((p[:, 1] > 0) & (p[:, 1] < 1)).all()
    other = X.copy()
    other[horizon_labels(Y, 24.0)[1] == 0] = 50.0
    rows = np.random.default_rng(0).permutation(len(X))
    assert (_learner().fit(X[rows], Y[rows]).risk(X) == fitted.risk(X)).all()
    assert (_learner().fit(other, Y).risk(X[:5]) == fitted.risk(X[:5])).all()


def test_cannot_be_delivered() -> None:
    pytest.importorskip("interpret", reason="the extra ebm is not installed")
    assert "interpret-core" in not_deliverable("ebm", "binary")
    recipe = Recipe("s", number_columns(3), "ebm", "binary")
    assert [c.min_leaf for c in candidates(recipe, 24.0)] == [20, 5]
    steps = preprocessing(recipe, 24.0)
    pipeline = Pipeline([*steps.steps, ("learner", _learner())]).fit(TABLE, Y)
    with pytest.raises(ConfigError, match="this learner cannot be frozen.*interpret-core"):
        freeze(pipeline)
