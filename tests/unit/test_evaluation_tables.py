"""All tables of an evaluation: schemas, what stands in them, and what is said where nothing can be computed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.bench import followed_to
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.evaluation.reclassification import CAUTION
from radiomics_crlm.evaluation.summary import evaluate_endpoint
from radiomics_crlm.schema import check_table

N = 110
X = noise_table(N, 3, 5)
Y = draw_outcome(1.2 * X["x0"].to_numpy(), 5)
FOLDS = deal_folds(X.index, folds=3, repeats=2, seed=0)
OUTCOMES = pd.DataFrame({"patient_id": X.index, "endpoint": "dfs", "event": Y["event"], "months": Y["months"]})
RULES = pd.DataFrame({"fong": (X["x0"] * 2).round()})
LEVELS = pd.DataFrame({"sex": np.where(X["x1"] > 0, "female", "male")}, index=X.index)
PROBABILITIES = ["probability_12m", "probability_24m", "probability_36m"]


def _rows(model: str, risk: pd.Series, folds: pd.DataFrame = FOLDS) -> pd.DataFrame:
    part = folds.assign(endpoint="dfs", model=model, risk=folds["patient_id"].map(risk).to_numpy())
    p = 1 / (1 + np.exp(-part["risk"]))
    return part.assign(**dict(zip(PROBABILITIES, (0.5 * p, 0.8 * p, p), strict=True)))


MODELS = pd.concat([_rows("s/a", X["x0"]), _rows("s/b", X["x0"] + X["x2"])])
RULE_MODELS = _rows("fong (recalibrated)", RULES["fong"] / 2)


def _evaluate(**change: object) -> dict[str, pd.DataFrame]:
    settings: dict[str, object] = {
        "predictions": MODELS, "outcomes": OUTCOMES, "folds": FOLDS, "endpoint": "dfs", "horizon": None,
        "kind": "time_to_event", "seed": 1, "draws": 60, "rules": RULES, "rule_models": RULE_MODELS,
    }  # fmt: skip
    return evaluate_endpoint(**(settings | change))


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return _evaluate(levels=LEVELS, categories=(0.3, 0.6))


@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 24.0)])
def test_all_tables_obey_their_schemas(kind: str, horizon: float | None) -> None:
    found = _evaluate(kind=kind, horizon=horizon, levels=LEVELS, categories=(0.3, 0.6))
    assert list(found) == [
        "metrics", "comparisons", "horizon_metrics", "decision_curves", "calibration_curves", "subgroups",
        "reclassification",
    ]  # fmt: skip
    for name, table in found.items():
        assert len(check_table(table, name)) == len(table) > 0
    for name in ("subgroups", "reclassification"):
        check_table(_evaluate(kind=kind, horizon=horizon)[name], name)


def test_metrics_at_the_horizon_are_those_of_the_other_table(tables: dict[str, pd.DataFrame]) -> None:
    typed = {name: check_table(tables[name], name) for name in ("horizon_metrics", "metrics")}
    own = typed["horizon_metrics"].query("horizon_months == 24").set_index(["model", "metric"])
    copied = typed["metrics"].set_index(["model", "metric"]).loc[own.index]
    pd.testing.assert_frame_equal(own, copied)
    assert set(tables["horizon_metrics"]["horizon_months"]) == {12.0, 24.0, 36.0}


def test_curves_hold_models_rules_and_the_two_extremes(tables: dict[str, pd.DataFrame]) -> None:
    curves = tables["decision_curves"]
    everyone = {"treat_all", "treat_none", "s/a", "s/b", "fong (recalibrated)"}
    for months in (12.0, 24.0, 36.0):
        assert set(curves.loc[curves["horizon_months"] == months, "model"]) == everyone
    assert set(tables["calibration_curves"]["model"]) == {"s/a", "s/b", "fong (recalibrated)"}
    assert (curves["net_benefit"].dropna() <= 1).all()


def test_rules_with_probabilities_are_compared_by_the_brier_score_only(tables: dict[str, pd.DataFrame]) -> None:
    comparisons = tables["comparisons"]
    own = comparisons[comparisons["reference"] == "fong (recalibrated)"]
    assert own["metric"].tolist() == ["brier", "brier"]
    metrics = tables["metrics"].set_index(["model", "metric"])["estimate"]
    first = own.set_index("model").loc["s/a"]
    expected = metrics["s/a", "brier"] - metrics["fong (recalibrated)", "brier"]
    assert first["difference"] == pytest.approx(expected)


def test_holm_counts_the_comparisons_of_one_metric(tables: dict[str, pd.DataFrame]) -> None:
    for metric, rows in tables["comparisons"].groupby("metric"):
        p = rows["p_value"] if metric.endswith("_folds") else rows["p_permutation"]
        smallest = p.idxmin()
        assert rows.loc[smallest, "p_holm"] == pytest.approx(min(1.0, len(rows) * p[smallest]))
        assert (rows["p_holm"] >= p - 1e-12).all()


def test_reclassification_carries_its_caution(tables: dict[str, pd.DataFrame]) -> None:
    found = tables["reclassification"]
    assert set(found["caution"]) == {CAUTION}
    pairs = set(zip(found["model"], found["reference"], strict=True))
    assert pairs == {("s/b", "s/a"), ("s/a", "fong (recalibrated)"), ("s/b", "fong (recalibrated)")}


def test_the_same_seed_gives_the_same_tables(tables: dict[str, pd.DataFrame]) -> None:
    shuffled = MODELS.sample(frac=1, random_state=0).sort_values("model", kind="stable")
    again = _evaluate(predictions=shuffled, levels=LEVELS.iloc[::-1], categories=(0.3, 0.6))
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, again[name])


def test_nobody_followed_to_a_horizon_is_said() -> None:
    """Follow-up ends at 30 months: nothing is said of 36."""
    short = OUTCOMES.copy()
    late = short["months"] > 30
    short.loc[late, ["event", "months"]] = (0, 30.0)
    found = _evaluate(outcomes=short)
    rows = found["horizon_metrics"].query("horizon_months == 36")
    assert (rows["method"] == "not_computable").all()
    assert set(rows["note"]) == {"nobody is followed for 36 months"}
    check_table(found["horizon_metrics"], "horizon_metrics")
    assert set(found["decision_curves"]["horizon_months"]) == {12.0, 24.0}
    integrated = found["metrics"].set_index(["model", "metric"]).loc[("s/a", "brier_integrated")]
    assert integrated["horizon_months"] == 24.0


def test_nothing_is_reclassified_where_nobody_is_followed() -> None:
    short = OUTCOMES.copy()
    short.loc[short["months"] > 20, ["event", "months"]] = (0, 20.0)
    found = _evaluate(outcomes=short, categories=(0.3, 0.6))
    assert len(found["reclassification"]) == 0
    assert len(_evaluate(categories=(0.3, 0.6))["reclassification"])


def test_a_horizon_before_the_first_events_has_no_calibration_curve() -> None:
    late = OUTCOMES.assign(months=OUTCOMES["months"].clip(lower=12.5))
    found = _evaluate(outcomes=late)
    assert set(found["calibration_curves"]["horizon_months"]) == {24.0, 36.0}
    rows = found["horizon_metrics"].query("horizon_months == 12 and model == 's/a'").set_index("metric")
    assert set(rows.loc[["ici", "e50", "e90"], "method"]) == {"not_computable"}
    assert rows.loc["brier", "method"] == "out_of_fold"


def test_followed_to() -> None:
    assert followed_to(make_outcome([1, 0], [3, 12]), 12.0)
    assert not followed_to(make_outcome([1, 0], [3, 9]), 12.0)
    assert followed_to(make_outcome([0, 1], [3, 9]), 12.0)
    assert not followed_to(make_outcome([1, 0], [9, 9]), 12.0)


def test_folds_that_are_no_random_parts_have_no_mean() -> None:
    """Centres, blocks of time, and cohorts tested as a whole."""
    one = FOLDS[FOLDS["repeat"] == 0].assign(fold=0)
    whole = {"predictions": _rows("s/a", X["x0"], one), "folds": one, "rule_models": None}
    for change in (whole, {"random_folds": False}):
        found = _evaluate(**change)
        for name in ("metrics", "comparisons"):
            assert not found[name]["metric"].str.endswith("_folds").any()


def test_average_precision_says_what_chance_is() -> None:
    rows = _evaluate(kind="binary", horizon=24.0)["metrics"].query("metric == 'average_precision'")
    assert rows["note"].str.startswith("chance is the incidence, 0.").all()


def test_rule_models_need_names_of_their_own() -> None:
    with pytest.raises(InputError, match="fong: a model and a rule have the same name"):
        _evaluate(rule_models=RULE_MODELS.assign(model="fong"))
