"""What an experiment may say about its answer, and the words for each answer."""

from __future__ import annotations

import re
from typing import Any

import pytest
from run_folder import experiment

from radiomics_crlm.config import ExperimentConfig, parse_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.report.verdicts import answer_sentence

FULL = {"clinical": "clinical", "radiomics": "radiomics", "combined": "combined"}


def parsed(answer: dict[str, Any], **changes: Any) -> ExperimentConfig:
    return parse_config(ExperimentConfig, {**experiment(**changes), "answer": answer}, where="test")


def test_defaults():
    asked = parsed(FULL).answer
    assert asked is not None
    assert (asked.learner, asked.rule, asked.controls, asked.permutations) == (None, None, True, 20)
    assert asked.volume == ("burden__total_volume_ml",)
    assert asked.named() == FULL
    assert parse_config(ExperimentConfig, experiment(), where="test").answer is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "answer names no feature set"),
        ({"clinical": "charts"}, "answer names the feature set 'charts', which the experiment does not have"),
        ({"clinical": "combined"}, "the feature set 'combined' cannot be the arm 'clinical'"),
        ({"radiomics": "combined"}, "the feature set 'combined' cannot be the arm 'radiomics'"),
        ({"combined": "radiomics"}, "the feature set 'radiomics' cannot be the arm 'combined'"),
        (FULL | {"learner": "random_forest"}, "names the learner 'random_forest', which the experiment does not use"),
        (FULL | {"learner": "best"}, "answer.learner"),
        (FULL | {"rule": "tbs2018"}, "names the rule 'tbs2018', which is no comparator and no reported score"),
        (FULL | {"volume": []}, "answer.volume"),
        (FULL | {"permutations": -1}, "answer.permutations"),
        (FULL | {"seed": 3}, "answer.seed: Extra inputs are not permitted"),
    ],
)
def test_refused(answer, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        parsed(answer)


def test_the_pipeline_names_its_own_sets():
    sets = experiment()["feature_sets"]
    taken = sets | {"volume_only": {"title": "mine", "columns": ["age_years"]}}
    with pytest.raises(ConfigError, match="feature sets may not be named volume_only: the answer makes its own"):
        parsed(FULL, feature_sets=taken)


def test_clinical_and_combined_differ_in_radiomics_only():
    sets = experiment()["feature_sets"]
    fewer = sets | {"clinical": {"title": "Few", "columns": ["age_years"]}}
    with pytest.raises(ConfigError, match="clinical and combined need the same clinical columns"):
        parsed(FULL, feature_sets=fewer)
    assert parsed({"clinical": "clinical", "radiomics": "radiomics"}, feature_sets=fewer).answer is not None


# --- the sentence --------------------------------------------------------------------------------------------------

CLINICAL = {
    "arm": "clinical", "model": "clinical/ridge", "metric": "c_index_folds", "reference": "fong_crs",
    "difference": 0.06, "difference_lower": 0.02, "difference_upper": 0.1, "verdict": "adds", "reason": None,
}  # fmt: skip


def against(arm: str, lower: float | None, upper: float | None, verdict: str, **changes: Any) -> dict[str, Any]:
    middle = None if lower is None or upper is None else (lower + upper) / 2
    return {
        "arm": arm, "model": f"{arm}/ridge", "metric": "c_index_folds", "reference": "clinical/ridge",
        "difference": middle, "difference_lower": lower, "difference_upper": upper, "verdict": verdict, "reason": None,
    } | changes  # fmt: skip


def said(*rows: dict[str, Any]) -> str:
    return answer_sentence(rows).replace("\N{MINUS SIGN}", "-")


@pytest.mark.parametrize(
    ("lower", "upper", "verdict", "words"),
    [
        (-0.03, 0.05, "no_evidence",
         "Radiomics adds 0.010 (95 % interval -0.030 to 0.050) to the C of the clinical model: "
         "no evidence that it helps here."),
        (0.0002, 0.05, "adds",
         "Radiomics adds 0.0251 (95 % interval 0.0002 to 0.0500) to the C of the clinical model: "
         "evidence that it helps here."),
        (-0.05, -0.01, "worse",
         "Radiomics adds -0.030 (95 % interval -0.050 to -0.010) to the C of the clinical model: "
         "no evidence that it helps here, but evidence that it harms."),
    ],
)  # fmt: skip
def test_what_radiomics_adds_in_words(lower, upper, verdict, words):
    assert said(CLINICAL, against("combined", lower, upper, verdict)) == words


def test_a_binary_endpoint_is_judged_by_its_auc():
    row = against("combined", -0.03, 0.05, "no_evidence", metric="auc_folds")
    assert "to the AUC of the clinical model" in said(CLINICAL, row)


def test_what_cannot_be_estimated_is_said():
    row = against("combined", None, None, "not_estimable", reason="3 of 10 folds have no comparable pair")
    assert said(CLINICAL, row) == "Whether radiomics helps cannot be estimated: 3 of 10 folds have no comparable pair."


def test_without_a_combined_model_the_other_arms_speak():
    absent = {"arm": "combined", "verdict": "absent", "reason": "the experiment names no combined feature set"}
    assert said(CLINICAL, absent) == (
        "What radiomics adds is not known: the experiment names no combined feature set. The C of the clinical "
        "model differs by 0.060 (95 % interval 0.020 to 0.100) from that of the rules: evidence that it is better here."
    )
    alone = against("radiomics", -0.09, -0.01, "worse")
    assert said(CLINICAL, absent, alone).endswith(
        "The C of radiomics alone differs by -0.050 (95 % interval -0.090 to -0.010) from that of the clinical "
        "model: no evidence that it is better here, but evidence that it is worse."
    )
    assert said(absent) == "What radiomics adds is not known: the experiment names no combined feature set."


def test_without_a_clinical_model_nothing_is_added_to_it():
    gone = {
        "arm": "clinical",
        "verdict": "absent",
        "reason": "the learner late_fusion needs clinical and radiomic columns",
    }
    row = against("combined", 0.01, 0.05, "adds", reference="fong_crs")
    assert said(gone, row).startswith("What radiomics adds is not known: the learner late_fusion needs")


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (against("negative_control", 0.01, 0.03, "adds"), "Caution: radiomics of other patients add 0.020"),
        (against("permuted_outcome", 0.01, 0.03, "adds", reference="chance"), "0.030) better than chance: look for a"),
    ],
)  # fmt: skip
def test_alarms(control, words):
    row = against("combined", 0.01, 0.05, "adds")
    assert words in said(CLINICAL, row, control)
    assert "Caution" not in said(CLINICAL, row, control | {"verdict": "no_evidence"})
