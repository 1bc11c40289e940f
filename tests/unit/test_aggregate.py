"""Aggregates against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.features.aggregate import aggregate_patients
from radiomics_crlm.schema import check_table

NAN = float("nan")


def tables(rows: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``features_lesion`` and the needed part of ``lesions`` from rows with id, lesion, v(olume), d(iameter), a, b."""
    base = pd.DataFrame(rows)
    key = pd.DataFrame(
        {
            "patient_id": base["id"],
            "timepoint": "baseline",
            "modality": "CT",
            "sequence": "portal_venous",
            "lesion": base["lesion"],
        }
    )
    features = key.assign(status=base.get("status", "ok"), lesion__x_a=base["a"], lesion__x_b=base["b"])
    return features, key.assign(volume_ml=base["v"], longest_axial_mm=base["d"])


def test_by_hand() -> None:
    features, lesions = tables(
        [
            {"id": "B", "lesion": 1, "v": 1.0, "d": 10.0, "a": 2.0, "b": 5.0},
            {"id": "B", "lesion": 2, "v": 3.0, "d": 30.0, "a": 6.0, "b": NAN},
            {"id": "A", "lesion": 1, "v": 4.0, "d": 20.0, "a": -1.0, "b": NAN},
        ]
    )
    table = aggregate_patients(features, lesions)
    assert table["patient_id"].tolist() == ["B", "A"]
    b, a = table.iloc[0], table.iloc[1]
    assert (b["largest__x_a"], b["weighted__x_a"], b["dispersion__x_a"]) == (6.0, 5.0, 2.0)
    assert np.isnan(b["largest__x_b"])  # the largest lesion has no value, and no other stands in for it
    assert (b["weighted__x_b"], b["dispersion__x_b"]) == (5.0, 0.0)
    assert (b["flags"], b["n_lesions_ok"]) == ("nan_ignored=1", 2)
    assert (a["largest__x_a"], a["weighted__x_a"], a["dispersion__x_a"]) == (-1.0, -1.0, 0.0)
    assert np.isnan([a["largest__x_b"], a["weighted__x_b"], a["dispersion__x_b"]]).all()
    assert a["flags"] == ""
    assert (b["burden__n_lesions"], b["burden__total_volume_ml"], b["burden__largest_axial_mm"]) == (2, 4.0, 30.0)
    assert b["burden__tbs"] == pytest.approx(np.sqrt(3.0**2 + 2**2))
    assert a["burden__tbs"] == pytest.approx(np.sqrt(2.0**2 + 1))
    assert np.isnan(a["burden__liver_volume_ml"])


def test_failed_lesions_count_as_burden_only() -> None:
    rows = [
        {"id": "A", "lesion": 1, "v": 9.0, "d": 40.0, "a": NAN, "b": NAN, "status": "failed"},
        {"id": "A", "lesion": 2, "v": 1.0, "d": 10.0, "a": 7.0, "b": 1.0, "status": "ok"},
        {"id": "B", "lesion": 1, "v": 0.1, "d": 3.0, "a": NAN, "b": NAN, "status": "failed"},
    ]
    table = aggregate_patients(*tables(rows)).set_index("patient_id")
    assert table.loc["A", "largest__x_a"] == 7.0
    assert table.loc["A", "flags"] == "largest_failed"
    assert table.loc["A", "burden__total_volume_ml"] == 10.0
    assert table.loc["B", "flags"] == "no_ok_lesion"
    assert table.loc["B", "n_lesions_ok"] == 0
    assert table.loc["B", "burden__n_lesions"] == 1
    assert table.loc["B"].filter(regex="__x_").isna().all()


def test_tie_of_volumes_goes_to_the_smaller_label_whatever_the_order() -> None:
    rows = [
        {"id": "A", "lesion": 5, "v": 2.0, "d": 10.0, "a": 5.0, "b": 1.0},
        {"id": "A", "lesion": 3, "v": 2.0, "d": 10.0, "a": 3.0, "b": 1.0},
        {"id": "A", "lesion": 4, "v": 1.0, "d": 10.0, "a": 4.0, "b": 1.0},
    ]
    first = aggregate_patients(*tables(rows))
    assert first.loc[0, "largest__x_a"] == 3.0
    features, lesions = tables(rows)
    turned = aggregate_patients(features.iloc[::-1].reset_index(drop=True), lesions)
    pd.testing.assert_frame_equal(first, turned, check_exact=True)


def test_time_points_and_sequences_stay_apart() -> None:
    features, lesions = tables(
        [{"id": "A", "lesion": 1, "v": 1.0, "d": 1.0, "a": float(k), "b": 0.0} for k in range(3)]
    )
    for table in (features, lesions):
        table["timepoint"] = ["baseline", "restaging", "baseline"]
        table["sequence"] = ["portal_venous", "portal_venous", "arterial"]
    result = aggregate_patients(features, lesions)
    assert result["largest__x_a"].tolist() == [0.0, 1.0, 2.0]
    assert len(result) == 3


def test_liver_volumes() -> None:
    features, lesions = tables([{"id": i, "lesion": 1, "v": 100.0, "d": 60.0, "a": 1.0, "b": 1.0} for i in "ABC"])
    scan = {"timepoint": "baseline", "modality": "CT", "sequence": "portal_venous"}
    anatomy = pd.DataFrame(
        [
            {
                "patient_id": "A",
                **scan,
                "liver_volume_ml": 1600.0,
                "remnant_volume_ml": 450.0,
                "tumour_volume_ml": 100.0,
            },
            {"patient_id": "B", **scan, "liver_volume_ml": 100.0, "remnant_volume_ml": 0.0, "tumour_volume_ml": 100.0},
        ]
    )
    table = aggregate_patients(features, lesions, anatomy).set_index("patient_id")
    assert table.loc["A", "burden__sflr_pct"] == pytest.approx(30.0)
    assert table.loc["A", "burden__liver_volume_ml"] == 1600.0
    assert np.isnan(table.loc["B", "burden__sflr_pct"])  # no healthy liver: undefined, not infinite
    assert np.isnan(table.loc["C", "burden__liver_volume_ml"])
    check_table(table.reset_index(), "features_patient")


def test_tables_must_hold_the_same_lesions() -> None:
    features, lesions = tables([{"id": "A", "lesion": k, "v": 1.0, "d": 1.0, "a": 1.0, "b": 0.0} for k in (1, 2)])
    with pytest.raises(InputError, match="1 unmatched"):
        aggregate_patients(features, lesions.iloc[:1])
    with pytest.raises(InputError, match="1 unmatched"):
        aggregate_patients(features.iloc[:1], lesions)


def test_empty_tables_give_an_empty_table() -> None:
    features, lesions = tables([{"id": "A", "lesion": 1, "v": 1.0, "d": 1.0, "a": 1.0, "b": 0.0}])
    result = aggregate_patients(features.iloc[:0], lesions.iloc[:0])
    assert result.empty
    assert "largest__x_a" in result


def test_organs_stand_beside_the_lesions() -> None:
    rows = [
        {"id": "B", "lesion": 1, "v": 1.0, "d": 10.0, "a": 2.0, "b": 5.0},
        {"id": "A", "lesion": 1, "v": 4.0, "d": 20.0, "a": -1.0, "b": NAN},
        {"id": "C", "lesion": 1, "v": 0.1, "d": 3.0, "a": NAN, "b": NAN, "status": "failed"},
    ]
    features, lesions = tables([{"status": "ok", **row} for row in rows])
    key = {"timepoint": "baseline", "modality": "CT", "sequence": "portal_venous"}
    organs = pd.DataFrame(
        [
            {"patient_id": "A", **key, "region": "liver", "status": "ok", "region__x_a": 7.0},
            {"patient_id": "A", **key, "region": "remnant", "status": "failed", "region__x_a": NAN},
            {"patient_id": "C", **key, "region": "remnant", "status": "failed", "region__x_a": NAN},
            {"patient_id": "B", **key, "region": "remnant", "status": "ok", "region__x_a": 9.0},
        ]
    )
    without = aggregate_patients(features, lesions)
    table = aggregate_patients(features, lesions, features_region=organs)
    assert table.columns.tolist() == [*without.columns, "liver__x_a", "remnant__x_a"]
    pd.testing.assert_frame_equal(table[without.columns].drop(columns="flags"), without.drop(columns="flags"))
    table = table.set_index("patient_id")
    assert table["flags"].to_dict() == {"B": "", "A": "remnant_failed", "C": "no_ok_lesion;remnant_failed"}
    assert table["remnant__x_a"].dropna().to_dict() == {"B": 9.0}
    assert table["liver__x_a"].dropna().to_dict() == {"A": 7.0}
    check_table(table.reset_index(), "features_patient")
    for wrong in (pd.concat([organs, organs.head(1)]), organs.assign(sequence="arterial")):
        with pytest.raises(InputError, match="organs and lesions do not fit"):
            aggregate_patients(features, lesions, features_region=wrong)
    nothing = aggregate_patients(features, lesions, features_region=organs.head(0))
    pd.testing.assert_frame_equal(nothing, without)
