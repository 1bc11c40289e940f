"""The predictor table: which columns are admitted, which scan counts, and joins by key."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.config import FeatureSetConfig, RadiomicsSelection
from radiomics_crlm.errors import ConfigError, InputError, LeakError
from radiomics_crlm.modelling.design import (
    InputSpec,
    ScanSelection,
    assemble,
    availability,
    build_predictors,
    choose_scans,
    plan_inputs,
    select_scans,
)
from radiomics_crlm.schema import load_schema, parse_table

SCHEMA = load_schema("clinical")
WHEN = availability(SCHEMA, {})
CT = ScanSelection("CT", "portal_venous")
EVERYTHING = FeatureSetConfig(title="all clinical", columns="all")


def clinical() -> pd.DataFrame:
    raw = pd.DataFrame(
        {
            "patient_id": ["c", "a", "b"],
            "cea_ng_ml": ["5", "", "300"],
            "n_liver_mets": ["1", "3", "2"],
            "age_years": ["60", "60", "60"],
            "sex": ["male", "female", ""],
            "bilobar": ["yes", "", "no"],
            "albumin_g_l": ["", "", ""],
            "primary_resection_date": ["2020-01-01", "2020-02-01", "2020-03-01"],
            "resection_margin_mm": ["1", "2", "3"],
            "os_months": ["10", "20", "30"],
            "os_event": ["1", "0", "1"],
        }
    )
    return parse_table(raw, SCHEMA).table


def features() -> pd.DataFrame:
    rows = [
        ("a", "baseline", "CT", "portal_venous", 1.0, 10.0),
        ("a", "restaging", "CT", "portal_venous", 2.0, 20.0),
        ("a", "restaging", "CT", "arterial", 99.0, 99.0),
        ("b", "preoperative", "CT", "portal_venous", 3.0, 30.0),
        ("c", "baseline", "CT", "portal_venous", 4.0, 40.0),
        ("c", "baseline", "MR", "portal_venous", 98.0, 98.0),
    ]
    names = ["patient_id", "timepoint", "modality", "sequence", "largest__original_a", "burden__total_volume_ml"]
    return pd.DataFrame(rows, columns=names).assign(weighted__empty=np.nan, settings_hash="h", engine="e 1")


def plan(feature_set: FeatureSetConfig, *, speaks_at: str = "preoperative", allow_leak: bool = False, **more):
    return plan_inputs(
        feature_set,
        clinical=more.pop("table", clinical()),
        features_patient=more.pop("features_patient", None),
        available_at=more.pop("available_at", WHEN),
        speaks_at=speaks_at,
        allow_leak=allow_leak,
        **more,
    )


def radiomic(*patterns: str, columns: tuple[str, ...] = ()) -> FeatureSetConfig:
    return FeatureSetConfig(title="radiomics", columns=columns, radiomics=RadiomicsSelection(columns=patterns))


def names(inputs: tuple[InputSpec, ...]) -> list[str]:
    return [spec.name for spec in inputs]


def test_all_takes_varying_predictors_and_refuses_later_ones_by_name() -> None:
    inputs, refused, admitted = plan(EVERYTHING)
    # Constant age, empty albumin, the date and the key are no inputs; margin and outcomes are known too late.
    assert set(names(inputs)) == {"sex", "n_liver_mets", "bilobar", "cea_ng_ml"}
    assert [r.column for r in refused] == ["resection_margin_mm", "os_months", "os_event"]
    assert refused[0].sentence() == (
        "resection_margin_mm is known only at postoperative, but the model speaks at preoperative"
    )
    assert admitted == ()


def test_kinds_categories_and_logarithms() -> None:
    by_name = {spec.name: spec for spec in plan(EVERYTHING)[0]}
    assert by_name["cea_ng_ml"] == InputSpec("cea_ng_ml", "clinical", "number", (), True, "baseline")
    assert by_name["n_liver_mets"].kind == "number"
    assert not by_name["n_liver_mets"].log
    assert by_name["sex"].kind == "category"
    assert by_name["sex"].categories == ("male", "female")
    assert by_name["bilobar"].kind == "boolean"


def test_all_does_not_depend_on_the_order_of_columns() -> None:
    assert plan(EVERYTHING, table=clinical().iloc[:, ::-1])[0] == plan(EVERYTHING)[0]


def test_excluded_columns_stay_out() -> None:
    inputs, _, _ = plan(FeatureSetConfig(title="x", columns="all", exclude=("sex", "cea_ng_ml")))
    assert set(names(inputs)) == {"n_liver_mets", "bilobar"}


def test_leak_on_request_admits_all_but_the_endpoint_itself() -> None:
    inputs, refused, admitted = plan(EVERYTHING, allow_leak=True, never={"os_months", "os_event"})
    assert "resection_margin_mm" in names(inputs)
    assert [r.column for r in admitted] == ["resection_margin_mm"]
    assert [r.column for r in refused] == ["os_months", "os_event"]


def test_what_is_never_admitted_is_no_input_even_if_it_is_known_in_time() -> None:
    assert "bilobar" not in names(plan(EVERYTHING, never={"bilobar"})[0])


def test_explicit_list_keeps_its_order_and_its_constants() -> None:
    inputs, _, _ = plan(FeatureSetConfig(title="x", columns=("n_liver_mets", "age_years", "cea_ng_ml")))
    assert names(inputs) == ["n_liver_mets", "age_years", "cea_ng_ml"]


def test_explicit_later_column_is_a_leak_unless_allowed() -> None:
    wanted = FeatureSetConfig(title="x", columns=("cea_ng_ml", "resection_margin_mm"))
    with pytest.raises(LeakError, match="resection_margin_mm is known only at postoperative"):
        plan(wanted)
    inputs, refused, admitted = plan(wanted, allow_leak=True)
    assert names(inputs) == ["cea_ng_ml", "resection_margin_mm"]
    assert refused == ()
    assert [r.column for r in admitted] == ["resection_margin_mm"]


def test_cohort_may_declare_later() -> None:
    later = availability(SCHEMA, {"cea_ng_ml": "restaging"})
    _, refused, _ = plan(EVERYTHING, speaks_at="baseline", available_at=later)
    assert "cea_ng_ml" in {r.column for r in refused}


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        (("cea_ng_mll",), ConfigError, "perhaps 'cea_ng_ml'"),
        (("bmi_kg_m2",), ConfigError, "has no column 'bmi_kg_m2'"),
        (("primary_resection_date",), ConfigError, "is no predictor"),
        (("patient_id",), ConfigError, "is no predictor"),
        (("sex", "sex"), ConfigError, "listed twice"),
        (("os_event",), LeakError, "what the endpoint is made of"),
    ],
)
def test_explicit_lists_that_are_refused(columns: tuple[str, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        plan(FeatureSetConfig(title="x", columns=columns), allow_leak=True, never={"os_event"})


def test_availability_refuses_earlier_and_unknown() -> None:
    with pytest.raises(ConfigError, match=r"earlier than the vocabulary says.*expected postoperative or later"):
        availability(SCHEMA, {"resection_margin_mm": "baseline"})
    with pytest.raises(ConfigError, match="perhaps 'cea_ng_ml'"):
        availability(SCHEMA, {"cea_ngml": "outcome"})
    assert availability(SCHEMA, {"cea_ng_ml": "baseline"})["cea_ng_ml"] == "baseline"


def test_latest_scan_known_at_the_prediction_time() -> None:
    restaging = select_scans(features(), CT, speaks_at="restaging")["largest__original_a"].to_dict()
    assert restaging == {"a": 2.0, "c": 4.0}  # the only scan of b comes later
    assert select_scans(features(), CT, speaks_at="baseline")["largest__original_a"].to_dict() == {"a": 1.0, "c": 4.0}
    assert choose_scans(features(), CT, speaks_at="restaging").only_later == {"b"}


def test_scans_do_not_depend_on_row_order() -> None:
    shuffled = features().sample(frac=1, random_state=1)
    expected = select_scans(features(), CT, speaks_at="preoperative")
    pd.testing.assert_frame_equal(select_scans(shuffled, CT, speaks_at="preoperative"), expected)


def test_equally_late_scans_need_a_study_day() -> None:
    twice = pd.concat([features(), features().iloc[[1]].assign(largest__original_a=7.0)])
    with pytest.raises(
        InputError, match=r"patient a: 1 patients have several CT/portal_venous scans of one time point"
    ):
        select_scans(twice, CT, speaks_at="restaging")
    dated = twice.assign(study_day=range(len(twice)))
    assert select_scans(dated, CT, speaks_at="restaging").loc["a", "largest__original_a"] == 7.0


def test_radiomics_inputs_and_refused_scans() -> None:
    inputs, refused, _ = plan(
        radiomic("largest__*", "weighted__*", "burden__*", columns=("cea_ng_ml",)),
        features_patient=features(),
        speaks_at="restaging",
    )
    assert names(inputs) == ["cea_ng_ml", "burden__total_volume_ml", "largest__original_a"]  # weighted__empty is empty
    assert inputs[1] == InputSpec("burden__total_volume_ml", "radiomics", "number", (), True, "restaging")
    assert [r.column for r in refused] == ["scans CT/portal_venous at preoperative"]


def test_patterns_never_reach_bookkeeping_columns() -> None:
    inputs, _, _ = plan(radiomic("*"), features_patient=features())
    assert names(inputs) == ["burden__total_volume_ml", "largest__original_a"]


def test_radiomics_that_cannot_be_had() -> None:
    with pytest.raises(InputError, match="cohort has no features"):
        plan(radiomic("largest__*"))
    with pytest.raises(ConfigError, match=r"no radiomics column matches.*nothing__\*"):
        plan(radiomic("nothing__*"), features_patient=features())
    late = features().query("patient_id == 'b'")
    with pytest.raises(InputError, match="no scans CT/portal_venous known at the prediction time"):
        plan(radiomic("largest__*"), features_patient=late, speaks_at="baseline")
    # Later scans are refused even where a leak of clinical columns is being studied.
    with pytest.raises(InputError, match="known at the prediction time"):
        plan(radiomic("largest__*"), features_patient=late, speaks_at="baseline", allow_leak=True)


def test_assemble_joins_by_key_in_the_order_of_the_clinical_table() -> None:
    wanted = radiomic("largest__*", columns=("cea_ng_ml", "sex", "bilobar", "n_liver_mets"))
    found = build_predictors(
        wanted,
        clinical=clinical(),
        features_patient=features().iloc[::-1],
        available_at=WHEN,
        speaks_at="restaging",
    )
    assert found.scans == CT
    expected = pd.DataFrame(
        {
            "cea_ng_ml": [5.0, np.nan, 300.0],
            "sex": pd.array(["male", "female", np.nan], dtype="str"),
            "bilobar": pd.array([True, None, False], dtype="boolean"),
            "n_liver_mets": [1.0, 3.0, 2.0],
            "largest__original_a": [4.0, 2.0, np.nan],
        },
        index=pd.Index(["c", "a", "b"], name="patient_id", dtype="str"),
    )
    pd.testing.assert_frame_equal(found.table, expected)


def test_assemble_gives_each_patient_the_same_row_alone() -> None:
    inputs, _, _ = plan(radiomic("largest__*", columns=("cea_ng_ml", "sex", "bilobar")), features_patient=features())
    whole = assemble(clinical(), features(), inputs, CT, speaks_at="preoperative")
    for position in range(3):
        alone = assemble(clinical().iloc[[position]], features(), inputs, CT, speaks_at="preoperative")
        pd.testing.assert_frame_equal(alone, whole.iloc[[position]])


def test_assemble_fills_absent_clinical_columns_with_unknown() -> None:
    inputs, _, _ = plan(EVERYTHING)
    table = assemble(clinical()[["patient_id", "cea_ng_ml"]], None, inputs, None, speaks_at="preoperative")
    assert table[["sex", "bilobar", "n_liver_mets"]].isna().all(axis=None)
    assert table.dtypes.astype(str).to_dict() == {
        "sex": "str",
        "n_liver_mets": "float64",
        "bilobar": "boolean",
        "cea_ng_ml": "float64",
    }


def test_assemble_refuses_what_it_cannot_join() -> None:
    inputs, _, _ = plan(radiomic("largest__*"), features_patient=features())
    repeated = pd.concat([clinical(), clinical().iloc[[0]]])
    with pytest.raises(InputError, match="one row per patient"):
        assemble(repeated, features(), inputs, CT, speaks_at="preoperative")
    with pytest.raises(InputError, match=r"lack 1 columns.*largest__original_a"):
        assemble(clinical(), features().drop(columns="largest__original_a"), inputs, CT, speaks_at="preoperative")
    with pytest.raises(ConfigError, match="scan selection"):
        assemble(clinical(), features(), inputs, None, speaks_at="preoperative")


def test_a_feature_set_that_nothing_fits_is_refused():
    """Nobody differs in anything that the set may see."""
    same = clinical().assign(cea_ng_ml=5.0, n_liver_mets=1, sex="male", bilobar=True)
    with pytest.raises(ConfigError, match="the feature set 'all clinical' has no usable input in this cohort"):
        plan_inputs(
            EVERYTHING, clinical=same, features_patient=None, available_at=WHEN, speaks_at="baseline", allow_leak=False
        )


def test_a_scan_of_no_known_time_point_is_refused():
    with pytest.raises(InputError, match="features_patient: a scan has an unknown time point; expected baseline"):
        choose_scans(features().replace({"timepoint": {"restaging": "later"}}), CT, speaks_at="preoperative")
