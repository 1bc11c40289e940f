"""Feature sets of several scans: kinds, time points, change, and patients who lack some."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scan_tables import BURDEN, CT, KEY, MR, TEXTURES, charts, features

from radiomics_crlm.config import EndpointConfig, ExperimentConfig, FeatureSetConfig, load_endpoints, parse_config
from radiomics_crlm.errors import ConfigError, InputError, LeakError
from radiomics_crlm.imaging.response import delta_table
from radiomics_crlm.modelling.design import Predictors, build_predictors, plan_inputs
from radiomics_crlm.modelling.scans import ScanSelection, choose_block
from radiomics_crlm.study.plans import check_learners
from radiomics_crlm.study.prepare import need_scans

CONVERSION, RESTAGING = load_endpoints()["conversion"], load_endpoints()["conversion_restaging"]
SELECT_CT: dict[str, Any] = {"modality": "CT", "sequence": "portal_venous", "columns": ["largest__*", "burden__*"]}
SELECT_MR: dict[str, Any] = {"modality": "MR", "sequence": "hbp", "columns": ["largest__*"]}


def feature_set(*selections: dict[str, Any], **more: Any) -> FeatureSetConfig:
    chosen: Any = list(selections) if len(selections) > 1 else selections[0]
    return parse_config(FeatureSetConfig, {"title": "set", "radiomics": chosen, **more}, where="test")


def predictors(
    chosen: FeatureSetConfig, table: pd.DataFrame, n: int, *, speaks_at: str = "restaging", **more: Any
) -> Predictors:
    return build_predictors(
        chosen, clinical=charts(n), features_patient=table, available_at={}, speaks_at=speaks_at, **more
    )


def test_names_of_a_single_selection_are_those_of_the_table() -> None:
    found = predictors(feature_set(SELECT_CT), features(5), 5)
    assert [spec.name for spec in found.inputs] == sorted((*TEXTURES, *BURDEN))
    assert found.scans == ScanSelection(*CT)
    assert found.block_names() == {}
    assert found.lacking() == {}
    # A list of one is the same as that one.
    alone = predictors(
        parse_config(FeatureSetConfig, {"title": "set", "radiomics": [SELECT_CT]}, where="t"), features(5), 5
    )
    pd.testing.assert_frame_equal(alone.table, found.table)
    assert (alone.inputs, alone.scans) == (found.inputs, found.scans)


def test_several_kinds_of_scans_have_names_of_their_own_and_nobody_is_lost() -> None:
    table = features(6, without={MR: 2})
    found = predictors(feature_set(SELECT_CT, SELECT_MR, columns=["cea_ng_ml"]), table, 6)
    assert [spec.name for spec in found.inputs] == [
        "cea_ng_ml",
        *(f"CT.portal_venous:{name}" for name in sorted((*TEXTURES, *BURDEN))),
        *(f"MR.hbp:{name}" for name in sorted(TEXTURES)),
    ]
    assert found.scans is None
    assert found.lacking() == {"CT/portal_venous": 0, "MR/hbp": 2}
    latest = table[table["timepoint"] == "restaging"].set_index(KEY)
    for patient, (kind, prefix) in itertools.product(["P000", "P003"], [(CT, "CT.portal_venous:"), (MR, "MR.hbp:")]):
        expected = latest.loc[(patient, "restaging", *kind), TEXTURES[0]]
        assert found.table.loc[patient, prefix + TEXTURES[0]] == expected
    assert found.table.filter(like="MR.hbp:").loc["P004":].isna().all(axis=None)
    assert found.table.filter(like="CT.").notna().all(axis=None)
    logged = {spec.name for spec in found.inputs if spec.log}
    assert logged == {"cea_ng_ml", "CT.portal_venous:burden__total_volume_ml"}


def test_order_of_selections_and_rows_changes_nothing() -> None:
    timed = {**SELECT_CT, "timepoints": ["restaging", "delta", "baseline"]}
    table = features(8, without={MR: 3})
    found = predictors(feature_set(timed, SELECT_MR), table, 8)
    for number, order in enumerate(
        itertools.permutations([{**timed, "timepoints": ["delta", "baseline", "restaging"]}, SELECT_MR])
    ):
        again = predictors(feature_set(*order), table.sample(frac=1, random_state=number), 8)
        pd.testing.assert_frame_equal(again.table, found.table)
        assert again.inputs == found.inputs
        assert again.blocks == found.blocks


def test_selections_of_the_same_scans_are_one_block() -> None:
    parts = [{**SELECT_CT, "columns": ["burden__*"]}, {**SELECT_CT, "columns": ["largest__*", "burden__n*"]}]
    united, whole = predictors(feature_set(*parts), features(5), 5), predictors(feature_set(SELECT_CT), features(5), 5)
    pd.testing.assert_frame_equal(united.table, whole.table)
    assert united.scans == ScanSelection(*CT)


def test_change_is_that_of_the_table_of_deltas() -> None:
    """`crlm response` computes the absolute change by another way."""
    table = features(7, kinds=(CT,))
    found = predictors(feature_set({**SELECT_CT, "timepoints": ["baseline", "restaging", "delta"]}), table, 7)
    assert {spec.name.partition(":")[0] for spec in found.inputs} == {
        "baseline",
        "restaging",
        "delta",
        "relative_delta",
    }
    pairs = table.loc[table["timepoint"] == "restaging", KEY].assign(baseline_timepoint="baseline")
    deltas = delta_table(table.astype({"burden__n_lesions": float}), pairs).set_index("patient_id")
    for name in (*TEXTURES, *BURDEN):
        expected = deltas[f"delta__{name}"].to_numpy()
        np.testing.assert_allclose(found.table[f"delta:{name}"].to_numpy(), expected, rtol=0, atol=1e-12)
        before = table.loc[table["timepoint"] == "baseline", name].to_numpy(dtype=float)
        np.testing.assert_allclose(found.table[f"relative_delta:{name}"].to_numpy(), expected / before, rtol=1e-12)
        assert (found.table[f"baseline:{name}"].to_numpy() == before).all()
    assert {spec.available_at for spec in found.inputs if not spec.name.startswith("baseline:")} == {"restaging"}
    assert {spec.available_at for spec in found.inputs if spec.name.startswith("baseline:")} == {"baseline"}
    assert [spec.name for spec in found.inputs if spec.log] == [
        "baseline:burden__total_volume_ml", "restaging:burden__total_volume_ml",
    ]  # fmt: skip


def test_relative_change_keeps_the_sign_and_knows_no_zero() -> None:
    table = features(3, kinds=(CT,))
    table.loc[table["timepoint"] == "baseline", TEXTURES[0]] = [-2.0, 0.0, 4.0]
    table.loc[table["timepoint"] == "restaging", TEXTURES[0]] = [-1.0, 5.0, 3.0]
    chosen = feature_set({**SELECT_CT, "timepoints": ["delta"], "change": ["relative"]})
    found = predictors(chosen, table, 3)
    assert found.table[f"relative_delta:{TEXTURES[0]}"].tolist()[::2] == [0.5, -0.25]
    assert pd.isna(found.table.loc["P001", f"relative_delta:{TEXTURES[0]}"])
    assert not [spec for spec in found.inputs if spec.name.startswith("delta:")]


def test_change_needs_both_scans() -> None:
    table = features(6, kinds=(CT,))
    table = table[~((table["patient_id"] == "P001") & (table["timepoint"] == "restaging"))]
    table = table[~((table["patient_id"] == "P002") & (table["timepoint"] == "baseline"))]
    timed = {**SELECT_CT, "timepoints": ["baseline", "restaging", "delta"], "missing": "impute"}
    found = predictors(feature_set(timed), table, 6)
    assert found.lacking() == {
        "CT/portal_venous at baseline": 1, "CT/portal_venous at restaging": 1,
        "CT/portal_venous at baseline and restaging": 2,
    }  # fmt: skip
    both = next(block for block in found.blocks if block.change == "absolute")
    assert set(choose_block(table, both, speaks_at="restaging").table.index) == {"P000", "P003", "P004", "P005"}


@pytest.mark.parametrize("timepoints", [["restaging"], ["baseline", "delta"]])
@pytest.mark.parametrize("allow_leak", [False, True])
def test_scans_of_later_are_a_leak(timepoints: list[str], allow_leak: bool) -> None:
    chosen = feature_set({**SELECT_CT, "timepoints": timepoints}, columns=["cea_ng_ml"])
    with pytest.raises(
        LeakError, match=r"CT/portal_venous at .*restaging is known only at restaging, but the model speaks at baseline"
    ):
        predictors(chosen, features(5), 5, speaks_at="baseline", allow_leak=allow_leak)
    # Without features at all the leak is still the first thing that is said.
    with pytest.raises(LeakError, match="known only at restaging"):
        plan_inputs(
            chosen, clinical=charts(5), features_patient=None, available_at={}, speaks_at="baseline", allow_leak=True
        )


def test_scans_that_the_cohort_lacks() -> None:
    late = feature_set({**SELECT_CT, "timepoints": ["delta"]})
    with pytest.raises(InputError, match=r"no scans CT/portal_venous known.*expected a scan at baseline and restaging"):
        predictors(late, features(5, timepoints=("restaging",)), 5)
    with pytest.raises(InputError, match=r"no scans MR/hbp known at the prediction time"):
        predictors(feature_set(SELECT_CT, SELECT_MR), features(5, kinds=(CT,)), 5)
    with pytest.raises(ConfigError, match=r"no radiomics column matches.*ring__\*"):
        predictors(feature_set(SELECT_CT, {**SELECT_MR, "columns": ["ring__*"]}), features(5), 5)


def test_exclusions_may_name_the_scans() -> None:
    chosen = feature_set(SELECT_CT, SELECT_MR, exclude=["MR.hbp:*Energy", "*Entropy"])
    names = [spec.name for spec in predictors(chosen, features(5), 5).inputs]
    assert [name for name in names if "MR" in name] == [f"MR.hbp:{TEXTURES[0]}"]
    assert f"CT.portal_venous:{TEXTURES[1]}" in names
    assert not [name for name in names if "Entropy" in name]


@pytest.mark.parametrize(
    ("radiomics", "message"),
    [
        ([], "at least 1 item"),
        ([{"modality": "PET"}], "radiomics.several.0.modality"),
        ({"timepoint": ["baseline"]}, "radiomics.one.timepoint"),
        ({"timepoints": ["tomorrow"]}, "timepoints"),
        ({"timepoints": ["delta", "delta"]}, "listed twice"),
        ({"timepoints": ["baseline"], "change": ["relative"]}, "list delta among the timepoints"),
        ({"timepoints": ["delta"], "change": ["ratio"]}, "change"),
        ({"missing": "drop"}, "missing"),
        ({"timepoints": ["baseline"], "robustness": {"table": "p"}}, "leave timepoints and missing out"),
        ({"missing": "impute", "robustness": {"table": "p"}}, "leave timepoints and missing out"),
        ([{"robustness": {"table": "p"}}, {"modality": "MR", "sequence": "hbp"}], "one kind of scan"),
    ],
)
def test_selections_that_are_refused(radiomics: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(FeatureSetConfig, {"title": "x", "radiomics": radiomics}, where="test")


def test_feature_sets_survive_their_own_record() -> None:
    for chosen in (feature_set(SELECT_CT), feature_set({**SELECT_CT, "timepoints": ["delta"]}, SELECT_MR)):
        assert parse_config(FeatureSetConfig, chosen.model_dump(mode="json"), where="record") == chosen


def experiment(sets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "e", "title": "e", "question": "e", "cohort": {"kind": "folder"}, "endpoints": ["conversion_restaging"],
        "learners": ["ridge"], "design": {"seed": 1}, "feature_sets": sets, **more,
    }  # fmt: skip


@pytest.mark.parametrize("radiomics", [[SELECT_CT, SELECT_MR], {**SELECT_CT, "timepoints": ["baseline"]}])
def test_what_works_on_one_scan_only_is_refused_before_there_are_data(radiomics: Any) -> None:
    sets = {"images": {"title": "images", "radiomics": radiomics}}
    with pytest.raises(ConfigError, match=r"harmonisation is for one scan of each patient; \['images'\]"):
        parse_config(ExperimentConfig, experiment(sets, harmonisation={"column": "centre"}), where="test")
    delivered = experiment(sets, deliver={"conversion_restaging": "images/ridge"})
    check_learners(parse_config(ExperimentConfig, delivered, where="test"))


def outcome(n: int) -> pd.DataFrame:
    return pd.DataFrame({"patient_id": charts(n)["patient_id"], "event": 0, "months": 12.0})


def test_who_lacks_a_modality_stays_unless_one_kind_is_all_there_is() -> None:
    table = features(6, without={MR: 2})
    both, alone = feature_set(SELECT_CT, SELECT_MR), feature_set(SELECT_MR)

    def left(*sets: FeatureSetConfig, endpoint: EndpointConfig = RESTAGING) -> tuple[int, list[str]]:
        kept, out = need_scans(outcome(6), dict(enumerate(sets)), table, endpoint, "e")  # type: ignore[arg-type]
        assert len(kept) + len(out) == 6
        return len(kept), sorted({f"{e.code}: {e.reason}" for e in out})

    assert left(both) == (6, [])
    assert left(both, endpoint=CONVERSION) == (6, [])
    assert left(alone) == (4, ["no_usable_scan: no usable MR/hbp scan at restaging"])
    assert left(both, alone) == left(alone)
    assert left(feature_set({**SELECT_MR, "missing": "impute"})) == (6, [])
    assert left(feature_set(SELECT_CT, {**SELECT_MR, "missing": "exclude"})) == left(alone)
    timed = feature_set({**SELECT_MR, "timepoints": ["delta"]})
    assert left(timed) == (4, ["no_usable_scan: no usable MR/hbp scan at baseline and restaging"])


def test_several_equally_late_scans_cost_the_patient_even_where_scans_are_imputed() -> None:
    table = pd.concat([features(6), features(1, kinds=(MR,))], ignore_index=True)
    kept, out = need_scans(outcome(6), {"both": feature_set(SELECT_CT, SELECT_MR)}, table, RESTAGING, "e")
    assert [(e.patient_id, e.code) for e in out] == [("P000", "ambiguous_scan")]
    assert len(kept) == 5
