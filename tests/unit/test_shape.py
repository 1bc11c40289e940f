"""Bins and categories of the training: five patients each, and no edge is the value of a patient."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scoring_examples import CLINICAL, content, model, training_table

from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.scoring.bundle import load_bundle, write_bundle
from radiomics_crlm.scoring.reference import InputShape, ShiftReference
from radiomics_crlm.scoring.shape import coded, count, describe_shift

NUMBER = InputSpec("age_years", "clinical", "number", (), False, "baseline")
SITE = InputSpec("primary_site", "clinical", "category", ("right_colon", "left_colon", "rectum"), False, "baseline")


def shape_of(cells: list[float]) -> InputShape:
    return describe_shift(pd.DataFrame({"age_years": cells}), [NUMBER]).inputs["age_years"]


@pytest.mark.parametrize("n", [10, 23, 40, 99, 200, 1001])
def test_bins_hold_five_patients_and_no_edge_is_a_value(n: int) -> None:
    values = np.random.default_rng(n).normal(60, 10, n).round(2)
    shape = shape_of([*values, np.nan, np.nan])
    assert shape.missing == 2
    assert min(shape.counts) >= 5
    assert sum(shape.counts) == n
    assert len(shape.counts) == min(10, n // 5)
    assert not np.isin(shape.edges, values).any()
    assert shape.middle == (pytest.approx(np.median(values), abs=1.5) if n >= 30 else None)


@pytest.mark.parametrize("values", [[1.0] * 50, [0.0] * 47 + [1.0] * 3, list(range(9))])
def test_what_cannot_be_divided_is_one_bin(values: list[float]) -> None:
    shape = shape_of([float(v) for v in values])
    assert shape.counts == (len(values),)
    assert count(pd.Series(values, dtype=float), shape) == (len(values),)


def test_ties_stay_together() -> None:
    shape = shape_of([1.0] * 30 + [2.0] * 30 + [3.0] * 4 + [4.0] * 6)
    assert shape.edges == (1.5, 2.5)
    assert shape.counts == (30, 30, 10)


def test_rare_categories_are_one() -> None:
    cells = ["rectum"] * 20 + ["left_colon"] * 6 + ["right_colon"] * 3 + [None]
    shape = describe_shift(pd.DataFrame({"primary_site": cells}), [SITE]).inputs["primary_site"]
    assert shape.levels == ("left_colon", "rectum")
    assert shape.counts == (6, 20, 3)
    assert shape.missing == 1
    assert count(pd.Series(["rectum", "elsewhere", None]), shape) == (0, 1, 1)


def test_only_rare_categories_are_only_counted() -> None:
    shape = describe_shift(pd.DataFrame({"primary_site": ["rectum", "left_colon", None]}), [SITE]).inputs[
        "primary_site"
    ]
    assert shape.counts == (2,)
    assert count(pd.Series(["rectum", None]), shape) == (1,)


def test_names_of_scanners_do_not_appear() -> None:
    table = training_table(CLINICAL)
    scans = pd.DataFrame({"scanner": ["Room 7"] * 100 + ["MEDIC-1"] * 50, "slice_thickness_mm": np.linspace(1, 5, 150)})
    found = describe_shift(table, CLINICAL, scans)
    assert set(found.scans) == {"scanner", "slice_thickness_mm"}
    text = found.model_dump_json()
    assert "Room" not in text
    assert "MEDIC" not in text
    assert sorted(found.scans["scanner"].counts) == [0, 50, 100]
    assert count(coded(scans["scanner"]), found.scans["scanner"]) == found.scans["scanner"].counts
    assert count(coded(pd.Series(["new", None])), found.scans["scanner"]) == (0, 0, 1)


def test_a_bundle_keeps_the_shape_and_refuses_that_of_others(tmp_path) -> None:
    known = describe_shift(training_table(CLINICAL), CLINICAL)
    inside = content(shift=known)
    write_bundle(tmp_path / "bundle", inside, model())
    assert load_bundle(tmp_path / "bundle").content.shift == known
    with pytest.raises(ValidationError, match="distribution of the training is of other inputs"):
        content(shift=ShiftReference(patients=5, inputs={}))
    swapped = dict(known.inputs, bilobar=known.inputs["cea_ng_ml"])
    with pytest.raises(ValidationError, match="no number has bins"):
        content(shift=ShiftReference(patients=150, inputs=swapped))
    swapped = dict(known.inputs, cea_ng_ml=known.inputs["bilobar"])
    with pytest.raises(ValidationError, match="a number has categories"):
        content(shift=ShiftReference(patients=150, inputs=swapped))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": (2.0, 1.0), "counts": (5, 5, 5)}, "ascend"),
        ({"counts": (5,)}, "do not fit"),
        ({"levels": ("a",)}, "fit"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(change, message) -> None:
    sound = {"missing": 0, "counts": (5, 5), "edges": (1.0,)}
    with pytest.raises(ValidationError, match=message):
        InputShape(**(sound | change))
