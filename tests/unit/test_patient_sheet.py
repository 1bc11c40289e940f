"""The sheet of a patient: every number from its JSON, no number where the model abstains, hostile keys are text."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from card_numbers import Page, leaves, numbers, resolve
from sheet_folder import bundle_json, cohort_of, score_row

from radiomics_crlm import clinical
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import canonical_json
from radiomics_crlm.report.patient_sheet import Explained, Pictures, build_patient_sheet, render_patient_sheet
from radiomics_crlm.report.rules_sheet import rule_part

VALUES = {"cea_ng_ml": 0.31, "largest_met_mm": -0.12, "bilobar": 0.05, "primary_site=rectum": 0.0}
SHOWN = {"cea_ng_ml": 17.5, "largest_met_mm": None, "bilobar": 1.0, "primary_site=rectum": 0.0}
EXPLAINED = Explained(VALUES, 0.16, 0.4, "logarithm of the relative hazard", SHOWN)
SCAN = {
    "title": "preoperative, CT portal venous",
    "facts": ["lesions: 3, largest 42 mm axial"],
    "findings": [{"verdict": "doubtful", "reason": "slices of 6 mm"}],
}
PNG = b"\x89PNG\r\n\x1a\n not really"
SECRET = "0" * 64


def rule_parts(**cells: Any) -> list[dict[str, Any]]:
    known = {"patient_id": "a", "n_liver_mets": 3, "largest_met_mm": 33.0} | cells
    table = pd.DataFrame({name: [value] for name, value in known.items()})
    results = clinical.evaluate_table(table, ["fong_crs", "tbs2018"]).to_dict("records")
    return [rule_part(str(row["rule"]), row, known) for row in results]


def sheet(**changes: Any) -> dict[str, Any]:
    score = changes.pop("score", None) or score_row()
    given: dict[str, Any] = {
        "bundle": bundle_json(cautions=("Not for children under 12.",)),
        "bundle_sha256": SECRET,
        "rules": rule_parts(),
        "explained": EXPLAINED,
        "cohort": cohort_of(30),
        "pictures": Pictures(PNG, (SCAN,)),
    } | changes
    return build_patient_sheet(score, given.pop("bundle"), **given)


def abstained(**changes: Any) -> dict[str, Any]:
    empty = {name: None for name in score_row() if name.startswith(("probability", "outcome", "event_free"))}
    said = {"status": "abstained", "code": "no_scan", "reason": "no scan at preoperative", "risk": None}
    return sheet(score=score_row(**empty, **said), explained="the model abstains for this patient", **changes)


@pytest.fixture(scope="module")
def full() -> dict[str, Any]:
    return sheet(score=score_row(flags="missing:2;out_of_range:cea_ng_ml;out_of_distribution"), simulated=True)


@pytest.mark.parametrize("kind", ["full", "abstained", "bare"])
def test_every_number_of_the_page_is_in_the_json(full: dict[str, Any], kind: str) -> None:
    bare = {"probability_12m": 0.3, "probability_24m": 0.5, "probability_36m": None}
    plain = {name: cell for name, cell in score_row().items() if not name.startswith(("outcome", "event_free", "prob"))}
    made = {
        "full": lambda: full,
        "abstained": abstained,
        "bare": lambda: sheet(score=plain | bare, rules="the row cannot be read", explained="none", cohort={}),
    }[kind]()
    page = render_patient_sheet(made, PNG)
    known = {n for leaf in leaves(json.loads(canonical_json(made))) for n in numbers(leaf)}
    shown = {n for text in Page(page).text for n in numbers(text)}
    assert shown - known == set()
    assert len(shown) > 5


def test_every_cell_shows_what_its_path_holds(full: dict[str, Any]) -> None:
    cells = [cell for cell in Page(render_patient_sheet(full, PNG)).cells if "data-path" in cell.attributes]
    assert len(cells) > 20
    for cell in cells:
        texts = [resolve(full, path) for path in str(cell.attributes["data-path"]).split()]
        assert " ".join(cell.text.split()) == " ".join(" ".join(str(text) for text in texts if text).split())


def test_probabilities_intervals_and_outcome_sets(full: dict[str, Any]) -> None:
    rows = full["answer"]["rows"]
    assert [row["months"] for row in rows] == [12, 24, 36]
    assert [row["probability"]["text"] for row in rows] == ["31 %", "55 %", "71 %"]
    assert [row["interval"]["text"] for row in rows] == ["25 % to 40 %", "46 % to 67 %", "–"]
    assert "both" in rows[0]["outcome"]["text"]
    assert "unlike" in rows[2]["outcome"]["text"]
    assert full["answer"]["event_free"]["text"].startswith("Free of the event for at least 7.2 months")


def test_scores_of_before_have_no_interval_and_say_so() -> None:
    old = {n: c for n, c in score_row().items() if not n.endswith(("lower", "upper")) and "outcome" not in n}
    del old["event_free_months"]
    page = render_patient_sheet(sheet(score=old))
    assert "The scores hold no interval" in page
    assert "The scores hold no outcome set" in page
    assert "Free of the event" not in page


def test_who_is_not_scored_gets_a_reason_and_no_number_of_the_model() -> None:
    made = abstained()
    page = render_patient_sheet(made, PNG)
    for part in ("answer", "position", "explanation"):
        assert set(made[part]) == {"absent"}
    assert "%" not in "".join(Page(page).text)
    assert "<svg" not in page
    assert "The model gives no result for this patient." in page
    assert "no scan at preoperative" in page
    assert "Give a readable scan" in page
    assert "Fong" in page  # rules are shown all the same


def test_a_row_without_key_has_a_sheet() -> None:
    assert abstained()["heading"] == "Patient P0003"
    made = sheet(score=score_row(patient_id=None, status="abstained", code="missing_key", reason="no key"))
    assert made["heading"] == "Row 5, without a patient key"


def test_missing_inputs_of_rules_are_told_with_what_they_could_change() -> None:
    fong, burden = sheet()["rules"]["rows"]
    assert fong["result"] == "not assessable; between 1 and 4"
    assert "dfi_months (0 to 1 points)" in fong["notes"]
    assert burden["result"].startswith("4.45982")


@pytest.mark.parametrize(("n", "shown"), [(9, False), (10, True)])
def test_position_is_told_from_ten_patients_on(n: int, shown: bool) -> None:
    made = sheet(cohort=cohort_of(n))
    assert ("absent" not in made["position"]) is shown
    assert ("this patient</text>" in render_patient_sheet(made)) is shown
    if shown:
        assert made["position"]["text"].startswith("10 patients of this cohort were scored. 77 % of the others")


def test_other_patients_are_not_on_the_page() -> None:
    others = cohort_of(30)
    others[36][7] = 0.271828
    assert "271828" not in canonical_json(sheet(cohort=others))


def test_the_waterfall_names_inputs_and_values(full: dict[str, Any]) -> None:
    page = render_patient_sheet(full)
    assert "cea_ng_ml = 17.5" in page
    assert "largest_met_mm = unknown" in page
    assert "bilobar = yes" in page
    assert [row["input"] for row in full["explanation"]["rows"]] == ["cea_ng_ml", "largest_met_mm", "bilobar"]
    assert [row["attribution"] for row in full["explanation"]["rows"]] == ["+0.31", "\N{MINUS SIGN}0.12", "+0.05"]


def test_long_names_keep_their_value_and_the_sum() -> None:
    names = [f"largest__original_glszm_SmallAreaLowGrayLevelEmphasis_{k}" for k in range(40)]
    values = {name: 0.1 * (-1) ** k * (k + 1) for k, name in enumerate(names)}
    total = float(np.sum(list(values.values())))
    described = bundle_json()
    described["inputs"] = [{"name": name, "kind": "number"} for name in names]
    explained = Explained(values, 0.0, total, "log odds", dict.fromkeys(names, -1234.5678))
    made = sheet(bundle=described, explained=explained)
    labels = made["explanation"]["data"]["labels"]
    assert max(map(len, labels)) <= 36
    assert all(label.endswith(" = -1235") for label in labels)
    rows = made["explanation"]["rows"]
    assert rows[-1]["input"] == "32 other inputs"
    assert sum(row["amount"] for row in rows) == pytest.approx(total, abs=1e-9)


def test_attributions_that_do_not_lead_to_the_risk_are_refused() -> None:
    with pytest.raises(InputError, match="do not lead from the base to the prediction"):
        sheet(explained=Explained(VALUES, 0.16, 0.9, "log odds"))


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    '"><script>alert(1)</script>',
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "a\x00b\x1b[31m",
    "\ud800",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_keys_are_text(key: str) -> None:
    made = sheet(score=score_row(patient_id=key, flags=f"scan:{key}", reason=key))
    page = render_patient_sheet(made, PNG)
    assert "<img src=x" not in page
    assert "<script" not in page
    assert "\x00" not in page
    assert "\x1b" not in page
    assert "49" not in re.sub(r"<style.*?</style>|<svg.*?</svg>|base64,[^\"]*", "", page, flags=re.DOTALL)
    page.encode("utf-8")


def test_no_path_reaches_the_page() -> None:
    made = sheet(score=score_row(patient_id="/home/someone/secret/P7", reason="C:\\Users\\someone\\x.csv"))
    assert "someone" not in render_patient_sheet(made)


def test_intended_use_cautions_claim_and_origin(full: dict[str, Any]) -> None:
    page = render_patient_sheet(full)
    assert page.count("For research; a multidisciplinary team decides.") == 2
    assert "Not for children under 12." in page
    assert "makes a performance claim" in page
    assert "Simulated patient" in page
    assert "0" * 64 in page
    modest = sheet(bundle=bundle_json(performance_claim=False))
    assert [n["kind"] for n in modest["notices"]] == ["claim"]
    assert "No performance claim" in render_patient_sheet(modest)


def test_a_shifted_cohort_is_told() -> None:
    told = [n["text"] for n in sheet(shifted=["a", "b", "c", "d", "e"])["notices"] if n["kind"] == "shift"]
    assert len(told) == 1
    assert told[0].endswith("it differs in a, b, c and 2 more.")


def test_origin_names_engine_and_settings() -> None:
    described = bundle_json()
    described["extraction"] = {"profile": "ct", "engine": "pyradiomics 3", "settings_hash": "0123abcd", "settings": {}}
    told = {one["what"]: one["text"] for one in sheet(bundle=described)["origin"]}
    assert told["Features"] == "pyradiomics 3, profile ct, settings 0123abcd"
    assert told["Scores"] == "row 5 of the clinical table"


def test_without_pictures_the_page_says_why() -> None:
    page = render_patient_sheet(sheet(pictures=Pictures(absent="the cohort has no images")))
    assert "<img" not in page
    assert "the cohort has no images" in page


def test_a_good_event_is_told() -> None:
    described = bundle_json()
    described["definition"]["higher_is_worse"] = False
    assert "good news" in render_patient_sheet(sheet(bundle=described))


def test_the_same_content_gives_the_same_bytes(full: dict[str, Any]) -> None:
    again = json.loads(canonical_json(full))
    assert render_patient_sheet(again, PNG) == render_patient_sheet(full, PNG)
    assert "http" not in render_patient_sheet(full, PNG).replace("http-equiv", "").replace("http://www.w3.org/", "")
