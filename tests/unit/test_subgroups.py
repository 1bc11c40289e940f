"""Subgroups: levels, suppression, and that a cell is what its patients alone would give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.evaluation.subgroups import cell_counts, small_cell, subgroup_levels
from radiomics_crlm.evaluation.summary import evaluate_endpoint
from radiomics_crlm.schema import check_table

N = 160
X = noise_table(N, 3, 3)
Y = draw_outcome(1.2 * X["x0"].to_numpy(), 3)
FOLDS = deal_folds(X.index, folds=3, repeats=2, seed=0)
OUTCOMES = pd.DataFrame({"patient_id": X.index, "endpoint": "dfs", "event": Y["event"], "months": Y["months"]})
CLINICAL = pd.DataFrame(
    {
        "age_years": 60 + 10 * X["x1"],
        "synchronous": pd.array(X["x2"] > 0, dtype="boolean"),
        "site": np.where(np.arange(N) < 8, "rare", "common"),
    },
    index=X.index,
)


def _tables(
    kind: str = "time_to_event", keep: pd.Index | None = None, outcomes: pd.DataFrame = OUTCOMES, **change: object
) -> dict[str, pd.DataFrame]:
    part = FOLDS.assign(endpoint="dfs", model="s/m", risk=FOLDS["patient_id"].map(X["x0"]).to_numpy())
    p = 1 / (1 + np.exp(-part["risk"]))
    part = part.assign(probability_12m=0.7 * p, probability_24m=p, probability_36m=np.nan)
    rules = pd.DataFrame({"fong": X["x0"].round()})
    if keep is not None:
        part, outcomes = part[part["patient_id"].isin(keep)], outcomes[outcomes["patient_id"].isin(keep)]
        rules = rules.loc[keep]
    horizon = 24.0 if kind == "binary" else None
    settings = {"endpoint": "dfs", "horizon": horizon, "kind": kind, "seed": 1, "draws": 100, "rules": rules}
    return evaluate_endpoint(part, outcomes, FOLDS, **(settings | change))


def _levels(**columns: list[float]) -> pd.DataFrame:
    return subgroup_levels(CLINICAL, columns)


@pytest.mark.parametrize(("kind", "metric"), [("time_to_event", "c_index"), ("binary", "auc")])
def test_a_level_is_what_its_patients_alone_give(kind: str, metric: str) -> None:
    levels = _levels(synchronous=[])
    found = _tables(kind, levels=levels)["subgroups"]
    check_table(found, "subgroups")
    rows = found.set_index(["model", "level", "metric"])
    yes = levels.index[levels["synchronous"] == "yes"]
    alone = _tables(kind, keep=yes)["metrics"].set_index(["model", "metric"])
    for model, name in (("s/m", metric), ("s/m", "brier"), ("s/m", "observed_expected"), ("fong", metric)):
        expected, row = alone.loc[(model, name)], rows.loc[(model, "yes", name)]
        assert row["estimate"] == pytest.approx(expected["estimate"])
        assert row["lower"] == pytest.approx(expected["lower"])
        assert (row["n"], row["events"], row["status"]) == (expected["n"], expected["events"], "ok")


def test_levels_add_up_to_the_cohort() -> None:
    found = _tables(levels=_levels(age_years=[50, 70], synchronous=[]))["subgroups"]
    whole = found[(found["model"] == "fong") & (found["metric"] == "c_index")].groupby("column")["n"].sum()
    assert whole.to_dict() == {"age_years": N, "synchronous": N}
    assert found["level"].unique().tolist() == ["50 to below 70", "70 and more", "below 50", "no", "yes"]


def test_small_cells_are_suppressed_with_the_reason() -> None:
    found = _tables(levels=_levels(site=[]))["subgroups"].set_index(["model", "level", "metric"])
    row = found.loc[("s/m", "rare", "c_index")]
    assert row["status"] == "suppressed"
    assert np.isnan(row["estimate"])
    assert row["reason"] == "fewer than 10 patients with and without the event"
    assert (row["n"], row["events"] + row["nonevents"]) == (8, 8)
    assert found.loc[("s/m", "common", "c_index"), "status"] == "ok"


def test_a_level_without_a_comparable_pair_is_told() -> None:
    """Enough events, but everybody else of the level left before the first of them, and these came all at once."""
    levels = pd.DataFrame({"group": np.where(np.arange(N) < 40, "lost", "kept")}, index=X.index)
    event, months = OUTCOMES["event"].to_numpy().copy(), OUTCOMES["months"].to_numpy().copy()
    event[:40], months[:40] = np.repeat([1, 0], 20), np.repeat([20.0, 5.0], 20)
    outcomes = OUTCOMES.assign(event=event, months=months)
    found = _tables(levels=levels, outcomes=outcomes)["subgroups"].set_index(["model", "level", "metric"])
    row = found.loc[("s/m", "lost", "c_index")]
    assert (row["status"], row["reason"]) == ("not_computable", "no comparable pair within a fold")
    assert (row["events"], row["nonevents"]) == (20, 20)
    assert row[["estimate", "lower", "upper"]].isna().all()
    assert found.loc[("s/m", "kept", "c_index"), "status"] == "ok"


def test_nothing_is_said_unless_asked() -> None:
    tables = _tables()
    assert len(tables["subgroups"]) == 0
    assert len(tables["reclassification"]) == 0


def test_counts_at_a_horizon_leave_out_the_unknown() -> None:
    y = make_outcome([1, 1, 2, 0, 0], [3, 30, 5, 6, 40])
    assert cell_counts(y, 12.0) == (1, 3)
    assert cell_counts(y, None) == (2, 3)
    assert small_cell(10, 10) == ""


def test_missing_values_are_a_level() -> None:
    table = CLINICAL.assign(age_years=CLINICAL["age_years"].where(X["x0"] > 0))
    assert set(subgroup_levels(table, {"age_years": [60]})["age_years"]) == {"below 60", "60 and more", "unknown"}


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"height": []}, "the cohort lacks columns of its subgroups"),
        ({"age_years": []}, "age_years.*expected cut points"),
        ({"synchronous": [1.0]}, "synchronous.*expected no cut points"),
        ({"age_years": [70.0, 50.0]}, "must increase"),
    ],
)
def test_refuses_columns(columns: dict[str, list[float]], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        subgroup_levels(CLINICAL, columns)
