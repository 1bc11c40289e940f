"""A bundle behind MLflow's generic interface: the same numbers, and a bad row costs itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from golden_bundles import GOLDEN, JUDGED, NAMES
from scoring_examples import CLINICAL, bundle, clinical_raw

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.batch import score_cohort
from radiomics_crlm.scoring.bundle import load_bundle
from radiomics_crlm.scoring.pyfunc import ServedBundle, _load_pyfunc, input_columns, made_columns, output_columns


def request_of(name: str, protocol: int = 1) -> tuple[ServedBundle, pd.DataFrame, dict[str, Any]]:
    """A golden bundle as it is served, the request for its patients, and what is expected."""
    folder = GOLDEN / f"protocol_{protocol}" / name
    served = _load_pyfunc(str(folder / "bundle"))
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    content = served.bundle.content
    table = pd.DataFrame(expected["inputs"])
    for kind, (settings, engine) in made_columns(tuple(b.scans for b in content.sources)).items():
        made = content.extractions.get(kind, content.extraction)
        table[settings], table[engine] = made.settings_hash, made.engine
    return served, table.assign(**content.definition.population), expected


@pytest.mark.parametrize("name", NAMES)
def test_the_same_numbers_as_the_bundle(name: str) -> None:
    served, table, expected = request_of(name)
    answer = served.predict(table)
    assert list(answer.columns) == output_columns(served.bundle.content)
    scored = np.flatnonzero(answer["status"] == "scored")
    assert len(scored) >= 8
    np.testing.assert_allclose(answer["risk"][scored].astype(float), np.array(expected["risk"])[scored], rtol=1e-12)
    for position, month in enumerate(expected["months"]):
        wanted = np.array(expected["probability"])[scored, position]
        np.testing.assert_allclose(answer[f"probability_{month}m"][scored].astype(float), wanted, atol=1e-12, rtol=0)
    assert answer.loc[1, ["status", "code"]].tolist() == ["abstained", "no_input"]
    others = answer.drop(index=scored)
    assert others["code"].notna().all()
    assert others[["risk", *(c for c in answer if c.startswith("probability"))]].isna().all().all()
    json.loads(json.dumps(answer.to_dict("records"), allow_nan=False))
    alone = served.predict(table.iloc[[int(scored[0])]])
    assert alone.loc[0].tolist() == answer.loc[int(scored[0])].tolist()


@pytest.mark.parametrize("name", JUDGED)
def test_uncertainty_and_novelty_are_told(name: str) -> None:
    served, table, expected = request_of(name, 2)
    answer = served.predict(table)
    scored = np.flatnonzero(answer["status"] == "scored")
    told = expected["judged"]
    assert set(told) - set(answer) == {"out_of_distribution"}
    for column in set(told) & set(answer):
        found, wanted = answer[column].iloc[scored].tolist(), [told[column][row] for row in scored]
        if column.startswith("outcome_"):
            assert found == wanted
        else:
            np.testing.assert_allclose(np.array(found, float), np.array(wanted, float), rtol=0, atol=1e-12)
    flagged = answer["flags"].fillna("").str.contains("out_of_distribution").to_numpy()
    assert flagged[scored].tolist() == [told["out_of_distribution"][row] for row in scored]
    json.loads(json.dumps(answer.to_dict("records"), allow_nan=False))


def test_rows_are_judged_as_in_a_batch(tmp_path: Path) -> None:
    served, raw = ServedBundle(bundle(CLINICAL, learner="xgboost")), clinical_raw(60, seed=4)
    raw.loc[3, "cea_ng_ml"] = "-4"
    raw.loc[4, "cea_ng_ml"] = "high"
    raw.loc[5, "primary_site"] = "nowhere"
    raw.loc[6, ["cea_ng_ml", "largest_met_mm", "n_liver_mets", "bilobar", "primary_site"]] = ""
    raw.loc[7, "largest_met_mm"] = "299"
    raw.loc[8, ["cea_ng_ml", "largest_met_mm", "n_liver_mets"]] = "-999"
    score_cohort(served.bundle, raw, None, tmp_path / "scores")
    batch = read_table(tmp_path / "scores" / "scores.parquet", "scores")
    answer = served.predict(raw)
    assert (batch["status"] == "abstained").sum() >= 4
    for name in ("status", "code", "reason", "flags", "risk", "probability_12m", "probability_36m"):
        pd.testing.assert_series_equal(
            answer[name].astype(batch[name].dtype), batch[name], check_exact=True, check_names=False
        )


def radiomic() -> tuple[ServedBundle, pd.DataFrame]:
    served, table, _ = request_of("ridge_time_to_event")
    return served, table.iloc[[0, 4, 5]].reset_index(drop=True).astype("object")


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("engine", "another 1.0", "other_engine"),
        ("engine", None, "unknown_extraction"),
        ("settings_hash", "f" * 16, "other_settings"),
        ("settings_hash", 7, "other_settings"),
        ("burden__total_volume_ml", "large", "wrong_type"),
        ("burden__total_volume_ml", True, "wrong_type"),
        ("burden__total_volume_ml", [1.0], "wrong_type"),
        ("burden__total_volume_ml", 10**400, "wrong_type"),
        ("burden__total_volume_ml", -1.0, "out_of_range"),
        ("largest__original_glcm_Contrast", "inf", "out_of_range"),
        ("largest__original_glcm_Contrast", 1e300, "no_result"),
        ("cea_ng_ml", {"a": 1}, "wrong_type"),
        ("cea_ng_ml", [4.0], "wrong_type"),
        ("cea_ng_ml", "four", "wrong_type"),
        ("n_liver_mets", 2.5, "wrong_type"),
        ("bilobar", "maybe", "wrong_type"),
    ],
)
def test_a_bad_cell_costs_its_row(column: str, cell: object, code: str) -> None:
    served, table = radiomic()
    before = served.predict(table)
    table.at[1, column] = cell
    after = served.predict(table)
    assert after.loc[1, "status"] == "abstained"
    assert after.loc[1, "code"] == code
    assert "4711" not in after.loc[1, "reason"]
    assert after.drop(index=1).equals(before.drop(index=1))
    assert (before["status"] == "scored").all()


def test_scans_without_features() -> None:
    served, table = radiomic()
    names = [s.name for s in served.bundle.content.inputs if s.source == "radiomics"]
    table.loc[0, names] = None
    table.loc[1, [n for n in names if n.startswith("largest")]] = None
    answer = served.predict(table)
    assert answer["code"].tolist() == ["no_features", "no_features", None]


def test_several_kinds_of_scan_have_columns_of_their_own() -> None:
    served, table, _ = request_of("blocks")
    assert {"CT/portal_venous:engine", "MR/hbp:settings_hash", "initially_resectable"} <= set(
        input_columns(served.bundle.content)
    )
    table = table.astype("object")
    ready = served.predict(table)["status"].tolist()
    table.loc[0, "MR/hbp:settings_hash"] = "other"
    table.loc[4, "initially_resectable"] = None
    table.loc[5, "initially_resectable"] = "yes"
    answer = served.predict(table)
    assert [ready[row] for row in (0, 4, 5)] == ["scored"] * 3
    assert [answer.loc[row, "code"] for row in (0, 4, 5)] == [
        "other_settings", "population_unknown", "not_in_population"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.drop(columns="cea_ng_ml"), "cea_ng_ml: 1 columns that the model reads are missing"),
        (lambda t: t[["cea_ng_ml"]].rename(columns=str.upper), "columns that the model reads are missing"),
        (lambda t: t.head(0), "the request has no rows"),
        (lambda t: pd.concat([t, t], axis=1), "a column occurs twice"),
        (lambda t: t.to_dict(), "the request is no table"),
        (lambda t: t.to_numpy(), "the request is no table"),
        (lambda _: [4711.0], "the request is no table"),
        (lambda _: None, "the request is no table"),
    ],
)
def test_faults_of_the_whole_table(change: Any, match: str) -> None:
    served, table = radiomic()
    with pytest.raises(InputError, match=match) as refusal:
        served.predict(change(table))
    assert "4711" not in str(refusal.value)


def test_other_columns_are_ignored() -> None:
    served, table = radiomic()
    named = table.assign(patient_id="4711", name="Doe", cea="=1+1")
    assert served.predict(named).equals(served.predict(table))


def test_nobody_can_be_scored() -> None:
    for name in ("random_forest_binary", "xgboost_aft", "fine_gray"):
        served, table, _ = request_of(name)
        assert served.predict(table.iloc[[1, 1]])["code"].tolist() == ["no_input"] * 2


def test_a_request_of_many_rows() -> None:
    served = ServedBundle(bundle(CLINICAL))
    raw = clinical_raw(5000, seed=8)
    answer = served.predict(raw)
    assert (answer["status"] == "scored").sum() > 4900


def test_inputs_are_declared() -> None:
    kinds = dict(zip([s.name for s in CLINICAL], ["number", "number", "number", "boolean", "category"], strict=True))
    assert input_columns(bundle(CLINICAL).content) == kinds
    assert list(input_columns(radiomic()[0].bundle.content).items())[-2:] == [
        ("settings_hash", "text"), ("engine", "text")
    ]  # fmt: skip


def test_a_damaged_bundle_is_refused() -> None:
    with pytest.raises(InputError, match="the bundle is missing"):
        _load_pyfunc(str(GOLDEN / "nowhere"))


def test_mlflow_is_not_needed_to_load_and_predict() -> None:
    code = (
        "import sys\nfrom radiomics_crlm.scoring.pyfunc import _load_pyfunc\n"
        f"_load_pyfunc({str(GOLDEN / 'protocol_1' / 'selected' / 'bundle')!r})\nprint('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_served_and_loaded_are_one_bundle() -> None:
    folder = GOLDEN / "protocol_1" / "selected" / "bundle"
    assert _load_pyfunc(str(folder)).bundle.sha256 == load_bundle(folder).sha256
