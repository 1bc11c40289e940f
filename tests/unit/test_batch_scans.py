"""Batch scoring of cohorts with scans: which scan counts, what abstains, what is handed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scoring_examples import HOW_MADE, RADIOMICS, bundle, clinical_raw, content, features, model
from test_batch import ALL, KINDS, scored

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.errors import InputError
from radiomics_crlm.scoring.batch import score_cohort
from radiomics_crlm.scoring.bundle import Bundle


@pytest.mark.parametrize(("learner", "horizon"), KINDS)
def test_one_patient_alone_gets_the_same_bits(tmp_path: Path, learner: str, horizon: float | None) -> None:
    raw = clinical_raw(400)
    raw.loc[7, "cea_ng_ml"] = "high"
    images, lesions = features(raw)
    chosen = bundle(ALL, learner=learner, horizon=horizon)
    more = {"features_patient": images, "features_lesion": lesions}
    together, _ = scored(chosen, raw, tmp_path / "all", **more)
    for position in (0, 1, 7, 8, 200, 255, 256, 399):
        alone, _ = scored(chosen, raw.iloc[[position]], tmp_path / f"{position}", **more)
        pd.testing.assert_frame_equal(
            alone.drop(columns="row"),
            together.drop(columns="row").iloc[[position]].reset_index(drop=True),
            check_exact=True,
        )


def radiomic(tmp_path: Path, change: dict[str, object] | None = None, **more: object) -> pd.DataFrame:
    """Three patients with CT; the second one's scan is changed."""
    raw = clinical_raw(3).assign(cea_ng_ml="5")
    images, lesions = features(raw)
    for table in (images, lesions):
        for name, value in (change or {}).items():
            if name in table:
                table.loc[1, name] = value
    more = {"features_patient": images, "features_lesion": lesions} | more
    table, _ = scored(bundle(ALL), raw, tmp_path, **more)
    assert table["status"].tolist()[::2] == ["scored", "scored"]
    return table


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"settings_hash": "fedcba9876543210"}, "other_settings", "other settings"),
        ({"engine": "pyradiomics 3.0.1"}, "other_engine", "another engine"),
        ({"settings_hash": None}, "unknown_extraction", "not known"),
        ({"patient_id": "somebody"}, "no_scan", "no CT/portal_venous scan with features at preoperative or earlier"),
        ({"sequence": "arterial"}, "no_scan", "no CT/portal_venous scan"),
        ({"modality": "MR"}, "no_scan", "no CT/portal_venous scan"),
        (
            {"largest__original_glcm_Contrast": np.nan, "largest__original_shape_Sphericity": np.nan},
            "no_features",
            "no feature that the model reads",
        ),
        ({"burden__total_volume_ml": -1.0}, "out_of_range", "column burden__total_volume_ml.*>= 0"),
        ({"largest__original_glcm_Contrast": np.inf}, "out_of_range", "a finite number"),
    ],
)
def test_scans_that_cannot_be_used(tmp_path: Path, change: dict[str, object], code: str, words: str) -> None:
    table = radiomic(tmp_path, change)
    assert table.loc[1, "code"] == code
    assert pd.Series([table.loc[1, "reason"]]).str.contains(words).all()
    # The rules need no image and are shown all the same.
    assert isinstance(table.loc[1, "rule__fong_crs"], str)


def test_two_equally_late_scans_are_not_guessed_at(tmp_path: Path) -> None:
    raw = clinical_raw(2).assign(cea_ng_ml="5")
    images, lesions = features(raw)
    twice = pd.concat([images, images.iloc[[0]]], ignore_index=True)
    table, _ = scored(bundle(ALL), raw, tmp_path, features_patient=twice, features_lesion=lesions)
    assert table["code"].tolist()[0] == "ambiguous_scan"
    assert table["status"].tolist() == ["abstained", "scored"]


def test_scans_after_the_prediction_time_are_not_used(tmp_path: Path) -> None:
    raw = clinical_raw(2).assign(cea_ng_ml="5")
    images, lesions = features(raw)
    definition = load_endpoints()["recurrence"].model_copy(update={"prediction_time": "baseline"})
    inputs = tuple(type(s)(s.name, s.source, s.kind, s.categories, s.log, "baseline") for s in ALL)
    early = content(ALL).model_copy(update={"speaks_at": "baseline", "definition": definition, "inputs": inputs})
    for table in (images, lesions):
        table.loc[1, "timepoint"] = "baseline"
    found, _ = scored(
        Bundle(early, model(ALL), "2" * 64), raw, tmp_path, features_patient=images, features_lesion=lesions
    )
    assert found["code"].tolist()[0] == "later_scan"
    assert found.loc[0, "reason"] == "every CT/portal_venous scan was made after baseline, when the model speaks"
    assert found["status"].tolist() == ["abstained", "scored"]


def test_failed_extractions_are_named(tmp_path: Path) -> None:
    exclusions = pd.DataFrame({"patient_id": ["P0001"], "stage": ["extract"], "code": ["geometry"], "reason": ["x"]})
    table = radiomic(tmp_path, {"patient_id": "nobody"}, exclusions=exclusions)
    assert table.loc[1, "reason"].endswith("or earlier (geometry)")


def test_flags_of_the_scan_are_handed_on(tmp_path: Path) -> None:
    raw = clinical_raw(2).assign(cea_ng_ml="5")
    images, lesions = features(raw)
    images["flags"] = ["largest_failed;nan_ignored=3", None]
    table, _ = scored(bundle(ALL), raw, tmp_path, features_patient=images, features_lesion=lesions)
    assert table.loc[0, "flags"].endswith("scan:largest_failed;scan:nan_ignored=3")
    assert "scan:" not in str(table.loc[1, "flags"])


def test_features_of_unknown_make_are_refused(tmp_path: Path) -> None:
    raw = clinical_raw(2)
    images, lesions = features(raw)
    with pytest.raises(InputError, match="nothing says how the features were extracted"):
        score_cohort(bundle(ALL), raw, images, tmp_path)
    table, _ = scored(bundle(ALL), raw, tmp_path, features_patient=images.assign(**HOW_MADE))
    assert (table["status"] == "scored").all()
    with pytest.raises(InputError, match="lack 1 columns that the model needs"):
        score_cohort(bundle(ALL), raw, images.drop(columns=RADIOMICS[1].name), tmp_path, features_lesion=lesions)


def test_a_cohort_without_images_abstains_from_radiomics(tmp_path: Path) -> None:
    for learner in ("ridge", "xgboost"):
        _, summary = scored(bundle(ALL, learner=learner), clinical_raw(4), tmp_path / learner)
        assert summary.abstentions == {"no_scan": 4}


def test_an_input_beyond_single_precision_abstains_alone(tmp_path: Path) -> None:
    raw = clinical_raw(3).assign(cea_ng_ml="5")
    images, lesions = features(raw)
    images.loc[1, "largest__original_glcm_Contrast"] = 1e60
    for learner, codes in (("xgboost", [None, "no_result", None]), ("ridge", [None, "no_result", None])):
        chosen = bundle(ALL, learner=learner)
        table, _ = scored(chosen, raw, tmp_path / learner, features_patient=images, features_lesion=lesions)
        assert [None if pd.isna(code) else code for code in table["code"]] == codes
