"""Flags beside a score: missing, out of the training range, another unit, never seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scoring_examples import CLINICAL, RADIOMICS

from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.scoring.bundle import InputSummary, TrainingSummary
from radiomics_crlm.scoring.flags import out_of_range, row_flags, unit_suspicion

TRAINING = TrainingSummary(
    patients=100,
    events=50,
    inputs={
        "cea_ng_ml": InputSummary(missing=0.1, low=1.0, high=200.0, tail=0.05),
        "largest_met_mm": InputSummary(missing=0.0, low=10.0, high=90.0, tail=0.05),
        "n_liver_mets": InputSummary(missing=0.0, low=1.0, high=8.0, tail=0.05),
        "bilobar": InputSummary(missing=0.0, share_true=0.4),
        "primary_site": InputSummary(missing=0.0, seen=("left_colon", "rectum")),
        "largest__original_glcm_Contrast": InputSummary(missing=0.0, low=10.0, high=30.0, tail=0.05),
    },
)
USUAL = {"cea_ng_ml": 20.0, "largest_met_mm": 30.0, "n_liver_mets": 2.0, "bilobar": True, "primary_site": "rectum"}


def flags(inputs: tuple[InputSpec, ...] = CLINICAL, training: TrainingSummary = TRAINING, **cells: object) -> list[str]:
    row = pd.DataFrame([USUAL | cells])
    row = row.astype({"bilobar": "boolean", "primary_site": "str"})
    return list(row_flags(row, inputs, training)[0])


def test_a_usual_patient_has_no_flag() -> None:
    assert flags() == []


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"cea_ng_ml": np.nan}, ["missing:1"]),
        ({"cea_ng_ml": np.nan, "bilobar": None}, ["missing:2"]),
        ({"cea_ng_ml": np.nan, "bilobar": None, "n_liver_mets": np.nan}, ["missing:3", "imputed_over_half"]),
        # Widened by a fifth of 199 ng/mL: up to 239.8.
        ({"cea_ng_ml": 239.0}, []),
        ({"cea_ng_ml": 240.0}, ["out_of_range:cea_ng_ml"]),
        ({"cea_ng_ml": 2000.0}, ["out_of_range:cea_ng_ml", "unit_suspicion:cea_ng_ml"]),
        # A count is far out, but has no unit to be confused.
        ({"n_liver_mets": 80.0}, ["out_of_range:n_liver_mets"]),
        (
            {"largest_met_mm": 900.0, "n_liver_mets": 2.0},
            ["out_of_range:largest_met_mm", "unit_suspicion:largest_met_mm"],
        ),
        ({"primary_site": "right_colon"}, ["unknown_category:primary_site"]),
        ({"primary_site": None}, ["missing:1"]),
    ],
)
def test_flags_of_one_patient(cells: dict[str, object], expected: list[str]) -> None:
    assert flags(**cells) == expected


def test_half_is_not_over_half() -> None:
    inputs = CLINICAL[:4]
    assert flags(inputs, cea_ng_ml=np.nan, bilobar=None) == ["missing:2"]


@pytest.mark.parametrize(
    ("share", "value", "flagged"),
    [
        (0.0, True, True),
        (0.0, False, False),
        (1.0, False, True),
        (0.5, True, False),
        (None, True, True),
        (None, None, False),
    ],
)
def test_truth_values_never_seen_in_training(share: float | None, value: bool | None, flagged: bool) -> None:
    training = TRAINING.model_copy(
        update={"inputs": {**TRAINING.inputs, "bilobar": InputSummary(missing=0.0, share_true=share)}}
    )
    assert ("unknown_category:bilobar" in flags(training=training, bilobar=value)) == flagged


def test_radiomics_have_ranges_but_no_units() -> None:
    inputs = (*CLINICAL, RADIOMICS[1])
    name = RADIOMICS[1].name
    assert flags(inputs, **{name: 400.0}) == [f"out_of_range:{name}"]


@pytest.mark.parametrize(
    ("low", "high", "value", "suspicious"),
    [
        (28.0, 50.0, 4.0, True),  # albumin in g/dL
        (28.0, 50.0, 400.0, True),
        (28.0, 50.0, 60.0, False),
        (28.0, 50.0, 7.0, False),  # ten times 7 is no albumin either
        (5.0, 200.0, 0.5, True),
        (5.0, 200.0, 0.51, False),
        (0.0, 60.0, 0.001, False),  # a range that starts at zero has no lower unit
        (0.0, 0.0, 5.0, False),
        (-5.0, -1.0, 5.0, False),
        (5.0, 200.0, np.nan, False),
    ],
)
def test_unit_suspicion(low: float, high: float, value: float, suspicious: bool) -> None:
    summary = InputSummary(missing=0.0, low=low, high=high)
    assert unit_suspicion(np.array([value]), summary).tolist() == [suspicious]


def test_without_a_training_range_nothing_is_judged() -> None:
    summary = InputSummary(missing=0.9)
    assert not out_of_range(np.array([1e9, np.nan]), summary).any()
    assert not unit_suspicion(np.array([1e9, np.nan]), summary).any()


def test_flags_of_a_patient_do_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "cea_ng_ml": np.exp(rng.normal(3, 3, 60)),
            "largest_met_mm": np.where(rng.random(60) < 0.3, np.nan, rng.uniform(0, 300, 60)),
            "n_liver_mets": rng.integers(1, 30, 60).astype(float),
            "bilobar": pd.array(rng.choice([True, False, None], 60), dtype="boolean"),
            "primary_site": pd.array(rng.choice(["right_colon", "left_colon", "rectum"], 60), dtype="str"),
        }
    )
    together = row_flags(table, CLINICAL, TRAINING)
    assert [row_flags(table.iloc[[i]], CLINICAL, TRAINING)[0] for i in range(60)] == together
    assert len(set(together)) > 10
