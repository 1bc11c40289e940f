"""The tables metrics and comparisons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.comparison import compare
from radiomics_crlm.evaluation.discrimination import harrell_c
from radiomics_crlm.evaluation.summary import evaluate_predictions
from radiomics_crlm.schema import check_table

N = 90
X = noise_table(N, 3, 0)
Y = draw_outcome(1.2 * X["x0"].to_numpy(), 0)
FOLDS = deal_folds(X.index, folds=3, repeats=2, seed=0)
OUTCOMES = pd.DataFrame({"patient_id": X.index, "endpoint": "dfs", "event": Y["event"], "months": Y["months"]})
RULES = pd.DataFrame({"fong": (X["x0"] * 2).round(), "partial": X["x1"].where(X["x2"] > -0.5)})


def _predictions(**risks: str) -> pd.DataFrame:
    """A model named ``a`` that predicts column ``x0`` is given as a="x0"; probability is the logistic of the risk."""
    parts = []
    for name, column in risks.items():
        part = FOLDS.assign(endpoint="dfs", model=name, risk=FOLDS["patient_id"].map(X[column]).to_numpy())
        p = 1 / (1 + np.exp(-part["risk"]))
        parts.append(part.assign(probability_12m=np.nan, probability_24m=p, probability_36m=np.nan))
    return pd.concat(parts, ignore_index=True)


def _evaluate(predictions: pd.DataFrame, **change: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    settings = {"endpoint": "dfs", "horizon": None, "kind": "time_to_event", "seed": 1, "draws": 200, "rules": RULES}
    return evaluate_predictions(predictions, OUTCOMES, FOLDS, **(settings | change))


@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 24.0)])
def test_tables_obey_their_schemas(kind: str, horizon: float | None) -> None:
    metrics, comparisons = _evaluate(_predictions(a="x0", b="x1"), kind=kind, horizon=horizon)
    check_table(metrics, "metrics")
    check_table(comparisons, "comparisons")
    first = "auc" if kind == "binary" else "c_index"
    ranks = ["average_precision"] if kind == "binary" else ["c_index_uno", "c_index_competing"]
    at = [] if kind == "binary" else ["auc_horizon"]
    probabilities = ["brier", "brier_scaled", "log_loss", "observed_expected", "calibration_slope"]
    probabilities += ["calibration_intercept", "ici", "e50", "e90"]
    assert metrics.groupby("model")["metric"].apply(list).to_dict() == {
        "a": [first, *ranks, f"{first}_folds", *at, *probabilities],
        "b": [first, *ranks, f"{first}_folds", *at, *probabilities],
        "fong": [first, f"{first}_whole", *ranks, *at],
        "partial": [first, f"{first}_whole", *ranks, *at],
    }
    horizons = metrics.set_index(["model", "metric"])["horizon_months"]
    assert np.isnan(horizons["a", first]) == (kind == "time_to_event")
    assert horizons["a", "brier"] == 24.0
    ranked = comparisons[comparisons["metric"] == first]
    pairs = list(zip(ranked["model"], ranked["reference"], strict=True))
    models = [("b", "a"), ("a", "fong"), ("b", "fong"), ("a", "partial"), ("b", "partial")]
    assert pairs == [*models, ("partial", "fong")]
    folds = comparisons[comparisons["metric"] == f"{first}_folds"]
    assert list(zip(folds["model"], folds["reference"], strict=True)) == models
    assert comparisons.loc[comparisons["metric"] == "brier", "model"].tolist() == ["b"]


def test_rule_on_all_pairs_is_the_ordinary_index() -> None:
    metrics, _ = _evaluate(_predictions(a="x0"))
    row = metrics.set_index(["model", "metric"]).loc[("fong", "c_index_whole")]
    assert row["estimate"] == pytest.approx(harrell_c(Y, RULES["fong"]))
    assert row["method"] == "whole_sample"
    assert (row["n"], row["events"]) == (N, (Y["event"] == 1).sum())


def test_rule_counts_the_patients_it_assesses() -> None:
    metrics, comparisons = _evaluate(_predictions(a="x0"))
    known = RULES["partial"].notna().to_numpy()
    row = metrics.set_index(["model", "metric"]).loc[("partial", "c_index_whole")]
    assert (row["n"], row["events"]) == (known.sum(), (Y["event"][known] == 1).sum())
    assert row["estimate"] == pytest.approx(harrell_c(Y[known], RULES["partial"][known]))
    ours = comparisons[(comparisons["model"] == "a") & (comparisons["metric"] == "c_index")]
    assert ours.set_index("reference").loc["partial", "n"] == known.sum()


def test_comparison_is_that_of_compare() -> None:
    """The cached form gives the numbers of the plain function."""
    _, comparisons = _evaluate(_predictions(a="x0", b="x1"))
    fold = FOLDS.pivot(index="patient_id", columns="repeat", values="fold").loc[X.index].to_numpy()
    partial = np.repeat(RULES["partial"].to_numpy()[:, None], 2, axis=1)
    model = np.repeat(X["x1"].to_numpy()[:, None], 2, axis=1)
    expected = compare(Y, model, partial, fold, kind="time_to_event", horizon=None, seed=1, draws=200)
    chosen = (comparisons["model"] == "b") & (comparisons["reference"] == "partial")
    row = comparisons[chosen & (comparisons["metric"] == "c_index")].iloc[0]
    assert row["difference"] == pytest.approx(expected.difference.value)
    assert row["lower"] == pytest.approx(expected.difference.lower)
    assert row["p_value"] == expected.p_value
    assert row["p_permutation"] == expected.p_permutation


def test_good_beats_noise() -> None:
    _, comparisons = _evaluate(_predictions(noise="x1", good="x0"))
    row = comparisons.iloc[0]
    assert (row["model"], row["reference"]) == ("good", "noise")
    assert row["lower"] > 0


def test_order_of_rows_does_not_matter() -> None:
    predictions = _predictions(a="x0")
    shuffled = predictions.sample(frac=1, random_state=0)
    for before, after in zip(
        _evaluate(predictions), _evaluate(shuffled, rules=RULES.sample(frac=1, random_state=1)), strict=True
    ):
        pd.testing.assert_frame_equal(before, after)


def test_other_endpoints_and_absent_rules_are_ignored() -> None:
    predictions = _predictions(a="x0")
    other = predictions.assign(endpoint="os", risk=0.0)
    metrics, comparisons = _evaluate(pd.concat([other, predictions]), rules=None)
    assert set(metrics["model"]) == {"a"}
    assert len(comparisons) == 0


def test_model_of_another_horizon_is_not_calibrated_here() -> None:
    metrics, _ = _evaluate(_predictions(a="x0"), kind="binary", horizon=18.0)
    assert "brier" not in set(metrics["metric"])


@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 24.0)])
def test_rule_that_assesses_nobody_is_not_computable(kind: str, horizon: float | None) -> None:
    change = {"kind": kind, "horizon": horizon, "rules": RULES.assign(fong=np.nan)}
    metrics, comparisons = _evaluate(_predictions(a="x0"), **change)
    rows = metrics[metrics["model"] == "fong"]
    assert (rows["method"] == "not_computable").all()
    assert (rows["n"] == 0).all()
    assert (comparisons.loc[comparisons["reference"] == "fong", "method"] == "not_computable").all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda p: pd.concat([p, p.iloc[:1]]), "predicted more than once"),
        (lambda p: p.iloc[1:], "predicted in some repeats only"),
        (lambda p: p.assign(fold=0), "come from other folds"),
        (lambda p: p.replace({"patient_id": {"P0000": "Z"}}), "1 predicted patients have no outcome"),
        (lambda p: p.assign(model="fong"), "fong: a model and a rule have the same name"),
    ],
)
def test_refuses_predictions(change: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        _evaluate(change(_predictions(a="x0")))


def test_refuses_folds_rules_and_outcomes() -> None:
    predictions = _predictions(a="x0")
    with pytest.raises(InputError, match="more than one row of rule scores"):
        _evaluate(predictions, rules=pd.concat([RULES, RULES.iloc[:1]]))
    settings = {"endpoint": "dfs", "horizon": None, "kind": "time_to_event", "seed": 1}
    with pytest.raises(InputError, match="1 patients lack a fold"):
        evaluate_predictions(predictions, OUTCOMES, FOLDS[FOLDS["patient_id"] != "P0003"], **settings)
    with pytest.raises(InputError, match="more than one fold"):
        evaluate_predictions(predictions, OUTCOMES, pd.concat([FOLDS, FOLDS.iloc[:1]]), **settings)
    with pytest.raises(InputError, match="target is constant"):
        evaluate_predictions(predictions, OUTCOMES.assign(event=0), FOLDS, **settings)
