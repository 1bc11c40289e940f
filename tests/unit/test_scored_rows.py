"""Blocks of scored rows: attributions add up, counts are those of the rows, flags come last and in order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scoring_examples import CLINICAL, bundle, clinical_raw, content, model, training_table

from radiomics_crlm.config import CohortNotes
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.admission import Imaging
from radiomics_crlm.scoring.batch import Options, score_cohort
from radiomics_crlm.scoring.bundle import Bundle
from radiomics_crlm.scoring.novelty import describe_novelty
from radiomics_crlm.scoring.parts import finish, table_of
from radiomics_crlm.scoring.rows import Account, Block, column_names, score_rows

EXPLAINED = Options(attributions=True)


def block(raw: pd.DataFrame, start: int = 0, chosen: Bundle | None = None) -> Block:
    return Block(
        chosen or bundle(), CohortNotes(), raw, start, np.zeros(len(raw), dtype=bool), Imaging(), attributions=True
    )


@pytest.mark.parametrize(
    ("learner", "horizon"), [("ridge", None), ("ridge", 24.0), ("xgboost", None), ("xgboost", 24.0)]
)
def test_attributions_and_base_value_sum_to_the_risk(tmp_path: Path, learner: str, horizon: float | None) -> None:
    raw = clinical_raw(80)
    raw.loc[[3, 9], "cea_ng_ml"] = "much"
    summary = score_cohort(bundle(learner=learner, horizon=horizon), raw, None, tmp_path, options=EXPLAINED)
    scores = read_table(tmp_path / "scores.parquet", "scores").set_index("row")
    found = read_table(tmp_path / "attributions.parquet", "score_attributions")
    scored = scores[scores["status"] == "scored"]
    assert summary.base_value is not None
    sums = found.groupby("row")["attribution"].sum() + summary.base_value
    assert sums.index.tolist() == scored.index.tolist()
    np.testing.assert_allclose(sums.to_numpy(), scored["risk"].to_numpy(), rtol=0, atol=1e-5)
    names = model(learner=learner, horizon=horizon).input_names()
    assert found["feature"].tolist() == names * len(scored)
    assert found["patient_id"].tolist() == np.repeat(scored["patient_id"].to_numpy(), len(names)).tolist()


def test_top_contributors_are_the_five_largest_in_words(tmp_path: Path) -> None:
    score_cohort(bundle(), clinical_raw(60), None, tmp_path, options=EXPLAINED)
    words = read_table(tmp_path / "scores.parquet", "scores").set_index("row")["top_contributors"]
    found = read_table(tmp_path / "attributions.parquet", "score_attributions")
    for row, part in found.groupby("row"):
        largest = sorted(part.itertuples(), key=lambda one: -abs(one.attribution))[:5]
        expected = [f"{one.feature} {one.attribution:+.2f}" for one in largest if abs(one.attribution) > 0.005]
        assert str(words[row]).split("; ") == expected


def test_nothing_to_explain(tmp_path: Path) -> None:
    raw = clinical_raw(3).assign(cea_ng_ml="much")
    summary = score_cohort(bundle(), raw, None, tmp_path, options=EXPLAINED)
    assert (summary.scored, summary.base_value) == (0, None)
    assert read_table(tmp_path / "attributions.parquet", "score_attributions").empty


def test_without_attributions_there_are_none(tmp_path: Path) -> None:
    summary = score_cohort(bundle(), clinical_raw(3), None, tmp_path)
    assert summary.base_value is None
    assert not (tmp_path / "attributions.parquet").exists()
    assert "top_contributors" not in read_table(tmp_path / "scores.parquet", "scores")


def test_blocks_add_up_to_the_whole() -> None:
    raw = clinical_raw(90)
    raw.loc[::7, "n_liver_mets"] = "several"
    whole = score_rows(block(raw))
    parts = [score_rows(block(raw.iloc[start : start + 20], start)) for start in range(0, 90, 20)]
    together = pd.concat([part.scores for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(together, whole.scores, check_exact=True)
    account = sum((part.account for part in parts), Account())
    assert account == whole.account
    assert Account.from_json(json.loads(json.dumps(account.to_json()))) == account
    assert account.codes.total() == (whole.scores["status"] == "abstained").sum() == 13
    flags = whole.scores["flags"].dropna().str.split(";").explode().str.split(":").str[0]
    assert dict(account.flags) == flags.value_counts().to_dict()


def test_columns_are_those_that_are_announced() -> None:
    chosen = bundle()
    made = finish(block(clinical_raw(5)))
    assert table_of(made.scores).column_names == column_names(chosen, attributions=True)
    assert made.spreadsheet.count(b"\n") == 5


def test_patients_unlike_the_training_are_flagged() -> None:
    frozen = model()
    novelty = describe_novelty(frozen, training_table(CLINICAL), seed=0)
    assert novelty is not None
    chosen = Bundle(content(novelty=novelty), frozen, "5" * 64)
    raw = clinical_raw(40)
    raw.loc[7, ["cea_ng_ml", "largest_met_mm", "n_liver_mets"]] = ["90000", "299", "150"]
    scores = score_rows(block(raw, chosen=chosen)).scores
    strange = scores["flags"].str.contains("out_of_distribution", na=False)
    assert strange[7]
    assert strange.sum() <= 4
    assert str(scores["flags"][7]).endswith("out_of_distribution")
