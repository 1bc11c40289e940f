"""Scores as models: recalibration sees training patients only, and each policy does what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from radiomics_crlm.modelling.recalibration import Assessment, rule_model_predictions

N, FOLDS = 120, 4


def example(seed: int = 0, *, unknown: float = 0.2) -> tuple[Assessment, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    patients = pd.Index([f"P{k:03d}" for k in range(N)])
    points = rng.integers(0, 6, N).astype(float)
    score = pd.Series(np.where(rng.random(N) < unknown, np.nan, points), index=patients)
    lower, upper = score.fillna(pd.Series(np.maximum(points - 1, 0), patients)), score.fillna(5.0)
    months = rng.exponential(30 * np.exp(-0.3 * points)) + 0.1
    event = np.where(rng.random(N) < 0.8, 1, 0)
    outcome = pd.DataFrame({"event": event, "months": np.where(event == 0, months + 40, months)}, index=patients)
    folds = pd.DataFrame(
        {
            "patient_id": np.tile(patients, 2),
            "repeat": np.repeat([0, 1], N),
            "fold": np.tile(rng.integers(0, FOLDS, N), 2),
        }
    )
    return Assessment("score", score, lower, upper), outcome, folds


def run(assessed: Assessment, y: pd.DataFrame, folds: pd.DataFrame, **changes: object) -> pd.DataFrame:
    request = {"endpoint": "e", "kind": "binary", "horizon": 24.0, "form": "recalibrated", "policy": "complete_case"}
    return rule_model_predictions(assessed, y, folds, **{**request, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["complete_case", "bounds", "imputed"])
@pytest.mark.parametrize("kind", ["binary", "time_to_event"])
def test_the_outcome_of_a_test_patient_changes_nothing_in_its_fold(policy: str, kind: str) -> None:
    assessed, y, folds = example()
    horizon = 24.0 if kind == "binary" else None
    before = run(assessed, y, folds, policy=policy, kind=kind, horizon=horizon)
    tested = folds.loc[(folds["repeat"] == 0) & (folds["fold"] == 2), "patient_id"]
    changed = y.copy()
    changed.loc[tested, "event"], changed.loc[tested, "months"] = 1 - changed.loc[tested, "event"], 7.0
    after = run(assessed, changed, folds, policy=policy, kind=kind, horizon=horizon)
    same = before["fold"] == 2
    pd.testing.assert_frame_equal(before[same], after[same])
    assert not np.allclose(before.loc[~same, "risk"], after.loc[~same, "risk"])


def test_the_score_of_a_test_patient_does_not_move_the_others() -> None:
    assessed, y, folds = example()
    other = assessed.score.copy()
    patient = folds.loc[(folds["fold"] == 1), "patient_id"].iloc[0]
    other[patient] = 3.0
    before, after = (
        run(Assessment("score", s, assessed.lower, assessed.upper), y, folds, policy="imputed")
        for s in (assessed.score, other)
    )
    mine = (before["fold"] == 1) & (before["patient_id"] != patient)
    pd.testing.assert_frame_equal(before[mine], after[mine])


def test_the_binary_recalibration_is_logistic_regression_on_the_training_fold() -> None:
    assessed, y, folds = example(unknown=0.0)
    y["event"] = 1
    got = run(assessed, y, folds)
    fold = folds[folds["repeat"] == 0].set_index("patient_id")["fold"]
    train = fold[fold != 3].index
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(
        assessed.score.loc[train].to_numpy()[:, None], y.loc[train, "months"] <= 24
    )
    mine = got[(got["repeat"] == 0) & (got["fold"] == 3)]
    expected = model.predict_proba(assessed.score.loc[mine["patient_id"]].to_numpy()[:, None])[:, 1]
    np.testing.assert_allclose(mine["probability_24m"], expected, atol=2e-3)
    assert mine["probability_12m"].isna().all()


def test_time_to_event_gives_probabilities_that_rise_with_time_and_score() -> None:
    assessed, y, folds = example(unknown=0.0)
    got = run(assessed, y, folds, kind="time_to_event", horizon=None)
    columns = ["probability_12m", "probability_24m", "probability_36m"]
    assert (got[columns].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    one = got[(got["repeat"] == 0) & (got["fold"] == 0)].assign(
        score=lambda t: assessed.score.loc[t["patient_id"]].to_numpy()
    )
    assert one.groupby("score")["probability_24m"].first().is_monotonic_increasing


def test_complete_case_leaves_out_the_unassessable() -> None:
    assessed, y, folds = example()
    got = run(assessed, y, folds)
    assert set(got["patient_id"]) == set(assessed.score.dropna().index)
    assert set(got["model"]) == {"score (recalibrated)"}
    assert not got["imputed"].any()


def test_bounds_predict_everybody_twice_from_a_model_of_the_assessable() -> None:
    assessed, y, folds = example()
    got = run(assessed, y, folds, policy="bounds")
    assert set(got["model"]) == {"score (recalibrated, lower bound)", "score (recalibrated, upper bound)"}
    assert (got.groupby("model")["patient_id"].nunique() == N).all()
    wide = got.pivot(index=["patient_id", "repeat"], columns="model", values="probability_24m")
    low, high = wide.iloc[:, 0], wide.iloc[:, 1]
    known = wide.index.get_level_values(0).isin(assessed.score.dropna().index)
    np.testing.assert_array_equal(low[known], high[known])
    assert (low <= high).all()
    complete = run(assessed, y, folds).set_index(["patient_id", "repeat"])["probability_24m"]
    pd.testing.assert_series_equal(low.loc[complete.index], complete, check_names=False)


def test_an_unknown_bound_gives_no_prediction() -> None:
    assessed, y, folds = example()
    open_end = Assessment("score", assessed.score, assessed.lower, assessed.score)
    got = run(open_end, y, folds, policy="bounds")
    assert got.groupby("model")["patient_id"].nunique().to_dict() == {
        "score (recalibrated, lower bound)": N,
        "score (recalibrated, upper bound)": int(assessed.score.notna().sum()),
    }


def test_imputed_takes_the_median_of_the_training_fold_and_says_so() -> None:
    assessed, y, folds = example()
    got = run(assessed, y, folds, policy="imputed", form="rank")
    assert set(got["model"]) == {"score (imputed)"}
    assert len(got) == 2 * N
    assert set(got.loc[got["imputed"], "patient_id"]) == set(assessed.score.index[assessed.score.isna()])
    fold = folds[folds["repeat"] == 0].set_index("patient_id")["fold"]
    for number, rows in got[got["imputed"] & (got["repeat"] == 0)].groupby("fold"):
        assert set(rows["risk"]) == {float(assessed.score[fold[fold != number].index].median())}
    assert got["probability_24m"].isna().all()


def test_the_rank_of_a_good_event_turns() -> None:
    assessed, y, folds = example()
    up = run(assessed, y, folds, policy="bounds", form="rank")
    down = run(assessed, y, folds, policy="bounds", form="rank", higher_is_worse=False)
    np.testing.assert_array_equal(up["risk"], -down["risk"])


@pytest.mark.parametrize("fault", ["nobody assessable", "no event", "only events"])
def test_a_training_fold_that_does_not_suffice_gives_nothing(fault: str) -> None:
    assessed, y, folds = example()
    if fault == "nobody assessable":
        assessed = Assessment("score", assessed.score * np.nan, assessed.lower, assessed.upper)
    else:
        y = y.assign(event=int(fault == "only events"), months=5.0 if fault == "only events" else 50.0)
    assert run(assessed, y, folds).empty


def test_a_constant_score_gives_the_same_probability_to_all() -> None:
    assessed, y, folds = example(unknown=0.0)
    flat = Assessment("score", assessed.score * 0 + 2, assessed.lower, assessed.upper)
    got = run(flat, y, folds)
    assert (got.groupby(["repeat", "fold"])["probability_24m"].nunique() == 1).all()
