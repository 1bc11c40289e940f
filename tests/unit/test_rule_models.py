"""Rules as comparators: their numbers, bounds, published probabilities, and defaults that change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm import clinical
from radiomics_crlm.config import EndpointConfig, ExperimentConfig
from radiomics_crlm.schema import check_table
from radiomics_crlm.study.evaluate import rule_scores
from radiomics_crlm.study.rule_models import assessments, rule_predictions

COMPARATORS = ("fong_crs", "plato_fong", "iwatsuki1999", "jsccr_grade", "tbs2018")
N = 60


def config(**changes: Any) -> ExperimentConfig:
    body: dict[str, Any] = {
        "name": "x",
        "title": "x",
        "question": "x",
        "cohort": {"kind": "folder"},
        "endpoints": ("recurrence_24m",),
        "feature_sets": {"clinical": {"title": "x", "columns": "all"}},
        "learners": ("ridge",),
        "design": {"seed": 1},
        "rules": COMPARATORS,
        "comparators": COMPARATORS,
    }
    return ExperimentConfig.model_validate({**body, **changes})


def endpoint(**changes: Any) -> EndpointConfig:
    body: dict[str, Any] = {
        "title": "x", "kind": "binary", "event": "recurrence_any", "months": "rfs_months", "horizon_months": 24,
        "index_date": "x", "prediction_time": "preoperative",
    }  # fmt: skip
    return EndpointConfig.model_validate({**body, **changes})


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(3)
    some = pd.array(rng.random(N) < 0.5, dtype="boolean")
    table = pd.DataFrame(
        {
            "patient_id": [f"P{k:02d}" for k in range(N)],
            "node_positive_primary": some,
            "dfi_months": rng.choice([0.0, 15.0, 40.0], N),
            "n_liver_mets": pd.array(rng.integers(1, 9, N), dtype="Int64"),
            "largest_met_mm": rng.uniform(10, 100, N),
            "cea_ng_ml": np.where(rng.random(N) < 0.2, np.nan, rng.choice([5.0, 300.0], N)),
            "bilobar": pd.array(rng.random(N) < 0.5, dtype="boolean"),
            "extrahepatic_present": pd.array(rng.random(N) < 0.2, dtype="boolean"),
            "fong_score_reported": pd.array(rng.integers(0, 6, N), dtype="Int64"),
        }
    )
    table.loc[:4, "n_liver_mets"] = pd.NA
    folds = pd.DataFrame({"patient_id": table["patient_id"], "repeat": 0, "fold": np.arange(N) % 3})
    event = (rng.random(N) < 0.6).astype(int)
    outcome = pd.DataFrame({"patient_id": table["patient_id"], "event": event, "months": rng.uniform(1, 60, N)})
    rules = clinical.evaluate_table(table, list(COMPARATORS))
    return {"rules": rules, "clinical": table, "outcome": outcome, "folds": folds}


def predictions(tables: dict[str, pd.DataFrame], settings: ExperimentConfig, **changes: Any) -> pd.DataFrame:
    return rule_predictions(**tables, experiment=settings, endpoint=endpoint(**changes), name="e")


def test_by_default_nothing_but_the_plain_rank_remains(tables: dict[str, pd.DataFrame]) -> None:
    settings = config()
    assert (settings.rule_forms, settings.rule_policy) == (("rank",), "complete_case")
    assert predictions(tables, settings).empty


def test_numbers_of_rules_are_scores_values_grades_and_stages(tables: dict[str, pd.DataFrame]) -> None:
    scores = rule_scores(tables["rules"], tables["clinical"], config(reported_scores=("fong_score_reported",)))
    assert list(scores.columns) == [*COMPARATORS, "fong_score_reported"]
    for patient, row in tables["clinical"].set_index("patient_id", drop=False).iterrows():
        fong = clinical.evaluate("fong_crs", row.to_dict())
        assert scores.loc[patient, "fong_crs"] == fong.score or (
            fong.score is None and np.isnan(scores.loc[patient, "fong_crs"])
        )
        grade = clinical.evaluate("iwatsuki1999", row.to_dict())
        if grade.status == "ok":
            assert scores.loc[patient, "iwatsuki1999"] == int(str(grade.group)[-1]) - 1
        stage = clinical.evaluate("jsccr_grade", row.to_dict())
        if stage.status == "ok":
            assert scores.loc[patient, "jsccr_grade"] == "ABC".index(str(stage.group))


def test_bounds_hold_the_score(tables: dict[str, pd.DataFrame]) -> None:
    for one in assessments(tables["rules"], tables["clinical"], config()):
        known = one.score.notna()
        assert (one.lower[known] == one.score[known]).all()
        assert (one.upper[known] == one.score[known]).all()
        assert not (one.lower > one.upper).any()
    by_name = {one.name: one for one in assessments(tables["rules"], tables["clinical"], config())}
    open_ones = by_name["fong_crs"].score.isna()
    assert open_ones.any()
    assert (by_name["fong_crs"].lower[open_ones] < by_name["fong_crs"].upper[open_ones]).all()
    assert by_name["tbs2018"].upper.isna().any()
    assert by_name["plato_fong"].lower.isna().any()


@pytest.mark.parametrize("policy", ["complete_case", "bounds", "imputed"])
def test_the_table_fits_its_schema(tables: dict[str, pd.DataFrame], policy: str) -> None:
    settings = config(
        rule_forms=("rank", "recalibrated", "published"), rule_policy=policy, reported_scores=("fong_score_reported",)
    )
    got = predictions(tables, settings)
    check_table(got, "rule_predictions")
    assert "plato_fong (published)" in set(got["model"])
    assert "fong_score_reported (recalibrated)" in set(got["model"])  # complete: no policy is needed
    if policy == "bounds":
        assert {"fong_crs (lower bound)", "fong_crs (recalibrated, upper bound)"} <= set(got["model"])


def test_published_probabilities_are_those_of_the_rule(tables: dict[str, pd.DataFrame]) -> None:
    got = predictions(tables, config(rule_forms=("published",)))
    assert set(got["rule"]) == {"plato_fong"}
    rows = tables["clinical"].set_index("patient_id", drop=False)
    for _, row in got.iterrows():
        result = clinical.evaluate("plato_fong", rows.loc[row["patient_id"]].to_dict()).as_dict()
        assert [row[f"probability_{m}m"] for m in (12, 24, 36)] == [result[f"p_{y}y"] for y in (1, 2, 3)]
    assert set(got["patient_id"]) == set(tables["rules"].query("rule == 'plato_fong' and status == 'ok'")["patient_id"])


@pytest.mark.parametrize("event", ["os_event", "recurrence_liver"])
def test_published_probabilities_of_recurrence_say_nothing_on_another_event(
    tables: dict[str, pd.DataFrame], event: str
) -> None:
    assert predictions(tables, config(rule_forms=("published",)), event=event).empty
