"""The table of answers: against the comparisons it is read from, a plain computation, and enumerated permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulated_tables import deal_folds, draw_outcome

from radiomics_crlm.evaluation.answer import ANSWERS, ARMS, Arm, answer_table, discrimination, permuted_account
from radiomics_crlm.evaluation.discrimination import harrell_c
from radiomics_crlm.evaluation.outcome import outcome_of
from radiomics_crlm.evaluation.summary import evaluate_predictions
from radiomics_crlm.schema import check_table

NOBODY = {arm: Arm("", f"no {arm} here") for arm in ARMS}
MODELS = {"clinical/ridge": 0.4, "radiomics/ridge": 0.2, "combined/ridge": 0.9, "negative_control/ridge": 0.35}
NAMED = {
    **NOBODY,
    "rules": Arm("fong_crs", "not assessable"),
    **{arm: Arm(f"{arm}/ridge", "not fitted") for arm in ("clinical", "radiomics", "combined", "negative_control")},
}


def evaluated(seed: int = 3, n: int = 90, *, models: dict[str, float] | None = None) -> tuple[pd.DataFrame, ...]:
    """Outcomes, folds, predictions, metrics and comparisons of models that see a share of the truth."""
    generator = np.random.default_rng(seed)
    patients = pd.Index([f"P{i:03d}" for i in range(n)], name="patient_id")
    signal = generator.normal(size=n)
    y = draw_outcome(signal, seed)
    outcomes = pd.DataFrame(
        {"patient_id": patients, "endpoint": "recurrence", "event": y["event"], "months": y["months"]}
    )
    folds = deal_folds(patients, folds=5, repeats=2, seed=seed)
    truth = dict(zip(patients, signal, strict=True))
    parts = []
    for name, share in (models or MODELS).items():
        risk = share * folds["patient_id"].map(truth) + generator.normal(scale=0.7, size=len(folds))
        chance = {f"probability_{m}m": 1 / (1 + np.exp(-risk)) for m in (12, 24, 36)}
        parts.append(folds.assign(endpoint="recurrence", model=name, risk=risk, **chance))
    predictions = pd.concat(parts, ignore_index=True)
    score = pd.Series(np.round(signal + generator.normal(size=n)), index=patients)
    score.iloc[:12] = np.nan
    rules = pd.DataFrame({"fong_crs": score})
    metrics, comparisons = evaluate_predictions(
        predictions, outcomes, folds, endpoint="recurrence", horizon=None, kind="time_to_event", seed=1, draws=150,
        rules=rules,
    )  # fmt: skip
    return outcomes, folds, predictions, metrics, comparisons


def answered(metrics: pd.DataFrame, comparisons: pd.DataFrame, permuted: pd.DataFrame | None = None) -> pd.DataFrame:
    table = answer_table(metrics, comparisons, permuted, endpoint="recurrence", metric="c_index", arms=NAMED)
    return check_table(table, "answers").set_index("arm")


def test_one_row_per_arm_in_the_order_of_the_arms():
    *_, metrics, comparisons = evaluated()
    table = answer_table(metrics, comparisons, None, endpoint="recurrence", metric="c_index", arms=NAMED)
    assert tuple(table["arm"]) == ARMS
    assert list(table.columns) == ANSWERS
    assert table["endpoint"].eq("recurrence").all()


def test_estimates_and_differences_are_those_of_the_tables():
    *_, metrics, comparisons = evaluated()
    table = answered(metrics, comparisons)
    own = metrics.set_index(["model", "metric"])
    pairs = comparisons.set_index(["model", "reference", "metric"])
    for arm, reference in (
        ("clinical", "fong_crs"),
        ("radiomics", "clinical/ridge"),
        ("combined", "clinical/ridge"),
        ("negative_control", "clinical/ridge"),
    ):
        row, source = table.loc[arm], own.loc[(f"{arm}/ridge", "c_index_folds")]
        for name in ("estimate", "lower", "upper", "n", "events"):
            assert row[name] == source[name]
        paired = pairs.loc[(f"{arm}/ridge", reference, "c_index_folds")]
        assert row["reference"] == reference
        assert (row["difference"], row["difference_lower"], row["difference_upper"], row["p_value"]) == tuple(
            paired[["difference", "lower", "upper", "p_value"]]
        )
        assert "Nadeau and Bengio" in row["method"]
    rule = own.loc[("fong_crs", "c_index")]
    assert table.loc["rules", "estimate"] == rule["estimate"]
    assert table.loc["rules", "n"] == 78
    assert table.loc["rules", "difference"] == pytest.approx(rule["estimate"] - 0.5)
    assert "in the 78 patients whom both assess" in table.loc["clinical", "method"]


def test_the_difference_is_the_corrected_resampled_t_of_fold_wise_c():
    """By hand: C in each fold, its differences, their mean and variance."""
    outcomes, folds, predictions, metrics, comparisons = evaluated()
    row = answered(metrics, comparisons).loc["combined"]
    found = []
    for (repeat, fold), members in folds.groupby(["repeat", "fold"]):
        here = list(members["patient_id"])
        y = outcome_of(outcomes[outcomes["patient_id"].isin(here)], "recurrence", here)
        both = []
        for model in ("combined/ridge", "clinical/ridge"):
            own = predictions[(predictions["model"] == model) & (predictions["repeat"] == repeat)]
            risk = own[own["fold"] == fold].set_index("patient_id").loc[here, "risk"].to_numpy()
            both.append(harrell_c(y, risk))
        found.append(both[0] - both[1])
    mean, count = np.mean(found), len(found)
    error = np.sqrt((1 / count + 18 / 72) * np.var(found, ddof=1))
    reach = stats.t.ppf(0.975, count - 1) * error
    assert count == 10
    np.testing.assert_allclose(
        row[["difference", "difference_lower", "difference_upper"]].astype(float), [mean, mean - reach, mean + reach]
    )
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(mean) / error, count - 1))


def test_a_difference_saved_the_other_way_round_is_turned():
    shares = dict(reversed(MODELS.items()))
    *_, metrics, comparisons = evaluated(models=shares)
    row = answered(metrics, comparisons).loc["combined"]
    saved = comparisons.set_index(["model", "reference", "metric"]).loc[
        ("clinical/ridge", "combined/ridge", "c_index_folds")
    ]
    assert row["difference"] == -saved["difference"]
    assert (row["difference_lower"], row["difference_upper"]) == (-saved["upper"], -saved["lower"])


def test_models_that_were_never_compared_have_no_difference():
    *_, metrics, comparisons = evaluated()
    pair = {"combined/ridge", "clinical/ridge"}
    kept = [
        not {model, other} <= pair for model, other in zip(comparisons["model"], comparisons["reference"], strict=True)
    ]
    row = answered(metrics, comparisons[kept]).loc["combined"]
    assert (row["verdict"], row["reference"]) == ("not_estimable", "clinical/ridge")
    assert row["reason"] == "the two models were not compared"
    assert row[["difference", "difference_lower", "difference_upper", "p_value"]].isna().all()
    assert row["estimate"] == answered(metrics, comparisons).loc["combined", "estimate"]


def test_without_random_folds_the_bootstrap_decides():
    *_, metrics, comparisons = evaluated()
    plain = [table[~table["metric"].str.endswith("_folds")] for table in (metrics, comparisons)]
    row = answered(*plain).loc["combined"]
    saved = comparisons.set_index(["model", "reference", "metric"]).loc[("combined/ridge", "clinical/ridge", "c_index")]
    assert (row["metric"], row["difference"]) == ("c_index", saved["difference"])
    assert row["p_value"] == saved["p_value"]
    assert "models held fixed" in row["method"]


@pytest.mark.parametrize(
    ("lower", "upper", "verdict"),
    [
        (0.01, 0.05, "adds"), (-0.03, 0.05, "no_evidence"), (-0.05, -0.01, "worse"), (0.0, 0.05, "no_evidence"),
        (-0.05, 0.0, "no_evidence"), (np.nan, np.nan, "not_estimable"),
    ],
)  # fmt: skip
def test_only_an_interval_without_zero_is_evidence(lower, upper, verdict):
    *_, metrics, comparisons = evaluated()
    chosen = (comparisons["model"] == "combined/ridge") & (comparisons["reference"] == "clinical/ridge")
    comparisons.loc[chosen, ["lower", "upper"]] = lower, upper
    row = answered(metrics, comparisons).loc["combined"]
    assert row["verdict"] == verdict
    assert pd.notna(row["reason"]) == (verdict == "not_estimable")


def test_what_is_not_there_is_absent_with_its_reason():
    *_, metrics, comparisons = evaluated(models={"radiomics/ridge": 0.3, "combined/ridge": 0.9})
    table = answered(metrics, comparisons)
    assert table.loc["clinical", "verdict"] == "absent"
    assert table.loc["clinical", "reason"] == "not fitted"
    assert table.loc["volume_only", "reason"] == "no volume_only here"
    assert table.loc["permuted_outcome", "reason"] == "no permuted_outcome here"
    assert table.loc[["clinical", "volume_only"], ["model", "estimate", "difference"]].isna().all(axis=None)
    # Without a clinical model the next best reference is the rules.
    assert table.loc["combined", "reference"] == "fong_crs"


def test_without_any_reference_an_arm_is_set_against_chance():
    *_, metrics, comparisons = evaluated(models={"clinical/ridge": 0.9})
    metrics = metrics[metrics["model"] != "fong_crs"]
    row = answered(metrics, comparisons).loc["clinical"]
    source = metrics.set_index(["model", "metric"]).loc[("clinical/ridge", "c_index_folds")]
    assert row["reference"] == "chance"
    assert row["difference_lower"] == pytest.approx(source["lower"] - 0.5)
    assert pd.isna(row["p_value"])
    assert row["verdict"] == ("adds" if source["lower"] > 0.5 else "no_evidence")


# --- permuted outcomes ---------------------------------------------------------------------------------------------


def shuffles(values: list[float], true: float) -> pd.DataFrame:
    rows = [("recurrence", "combined/ridge", k, "c_index", v) for k, v in enumerate([true, *values])]
    return check_table(
        pd.DataFrame(rows, columns=["endpoint", "model", "permutation", "metric", "estimate"]), "permuted_outcomes"
    )


def with_permuted(values: list[float], true: float = 0.7) -> pd.Series:
    *_, metrics, comparisons = evaluated()
    arms = NAMED | {"permuted_outcome": Arm("combined/ridge", "not permuted")}
    table = answer_table(
        metrics, comparisons, shuffles(values, true), endpoint="recurrence", metric="c_index", arms=arms
    )
    return check_table(table, "answers").set_index("arm").loc["permuted_outcome"]


def test_permuted_outcomes_are_set_against_chance():
    values = [0.48, 0.52, 0.55, 0.44, 0.50]
    row = with_permuted(values)
    assert row["estimate"] == pytest.approx(np.mean(values))
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values) - 0.5, scale=stats.sem(values))
    assert (row["difference_lower"], row["difference_upper"]) == pytest.approx((low, high))
    assert (row["reference"], row["verdict"]) == ("chance", "no_evidence")
    assert row["p_value"] == pytest.approx(1 / 6)
    assert row["n"] == 90
    assert "true outcome's 0.700" in row["method"]


def test_a_leak_shows_in_permuted_outcomes():
    assert with_permuted([0.62, 0.66, 0.64, 0.61])["verdict"] == "adds"


def test_p_counts_permutations_that_reach_the_true_outcome():
    assert permuted_account(np.array([0.4, 0.6, 0.7, 0.5]), 0.6)[2] == pytest.approx(3 / 5)
    assert np.isnan(permuted_account(np.array([0.4, np.nan]), 0.6)[2])


def test_one_permutation_is_no_interval():
    row = with_permuted([0.5])
    assert row["verdict"] == "not_estimable"
    assert row["reason"] == "too few permutations for an interval"


@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 20.0)])
def test_permuting_within_folds_has_a_mean_of_exactly_one_half(kind, horizon):
    """All permutations of a small study, censored and with competing events: what the arm of chance rests on."""
    generator = np.random.default_rng(4)
    patients = list("abcdefgh")
    predictions = pd.DataFrame(
        {"patient_id": patients, "fold": [0, 0, 0, 0, 1, 1, 1, 1], "risk": generator.normal(size=8).round(1)}
    )
    event, months = np.array([1, 0, 1, 2, 1, 1, 0, 2]), np.array([5.0, 12, 18, 30, 3, 25, 8, 16])
    found = []
    for first in itertools.permutations(range(4)):
        for second in itertools.permutations(range(4, 8)):
            order = np.array([*first, *second])
            table = pd.DataFrame(
                {"patient_id": patients, "endpoint": "e", "event": event[order], "months": months[order]}
            )
            found.append(discrimination(predictions, table, endpoint="e", kind=kind, horizon=horizon))
    assert np.mean(found) == pytest.approx(0.5, abs=1e-12)
    assert np.std(found) > 0.05


def test_discrimination_equals_the_metric_of_the_table():
    outcomes, _, predictions, metrics, _ = evaluated()
    one = predictions[(predictions["model"] == "combined/ridge") & (predictions["repeat"] == 0)]
    value = discrimination(one, outcomes, endpoint="recurrence", kind="time_to_event", horizon=None)
    again, _ = evaluate_predictions(
        one, outcomes, one[["patient_id", "repeat", "fold"]], endpoint="recurrence", horizon=None,
        kind="time_to_event", seed=1, draws=100,
    )  # fmt: skip
    assert value == again.set_index("metric").loc["c_index", "estimate"]
    assert value != metrics.set_index(["model", "metric"]).loc[("combined/ridge", "c_index"), "estimate"]
