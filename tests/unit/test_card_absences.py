"""What a card says of tables that are absent and of cohorts that it learned nothing from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from card_parts import Card, blocks_of, cells_of, stored
from run_folder import edit_run, experiment

from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.report import build_card
from radiomics_crlm.report.artefacts import OPTIONAL, load_artefacts
from radiomics_crlm.report.contents import SECTIONS
from radiomics_crlm.report.wording import interval

_SHOWN = "combined/ridge"

_SECTION_OF = {
    "answers": "answers",
    "sample_size": "sample_size",
    "horizon_metrics": "horizons",
    "calibration_curves": "horizons",
    "decision_curves": "decisions",
    "subgroups": "subgroups",
    "reclassification": "reclassification",
    "instability": "instability",
    "thresholds": "thresholds",
    "conformal_coverage": "uncertainty",
    "features_patient": "robustness",
    "feature_stability": "robustness",
    "input_groups": "explained",
    "attribution_stability": "explained",
    "probability_attributions": "explained",
    "dependence": "explained",
    "nomogram_points": "nomograms",
    "nomogram_totals": "nomograms",
}


@pytest.fixture
def words_of(text_of: Callable[[Card], str]) -> Callable[[Card], str]:
    """The words of a card, on one line."""
    return lambda card: " ".join(text_of(card).split())


def _part(run: Path, key: str) -> Any:
    """One part of a card, without the others."""
    build = next(build for section in SECTIONS for name, build in section.parts if name == key)
    return build(load_artefacts(run), {"leak": {"allowed": False, "endpoints": []}})


@pytest.mark.parametrize("table", sorted(_SECTION_OF))
def test_absent_table_is_told_with_its_reason(full_copy: Path, table: str) -> None:
    (full_copy / "tables" / f"{table}.parquet").unlink()
    reasons = [b["absent"] for b in _part(full_copy, _SECTION_OF[table])["blocks"] if b["kind"] == "absent"]
    assert OPTIONAL[table] in reasons


def test_card_without_any_optional_table_says_so_in_one_line_each(
    full_copy: Path, words_of: Callable[[Card], str]
) -> None:
    for table in OPTIONAL:
        (full_copy / "tables" / f"{table}.parquet").unlink(missing_ok=True)
    card = build_card(full_copy)
    words = words_of(card)
    for table in _SECTION_OF:
        assert f"not available: {OPTIONAL[table]}." in words
    assert card["technical"]["tables_absent"] == {}


def test_what_was_not_asked_for_is_told(full_copy: Path, words_of: Callable[[Card], str]) -> None:
    (full_copy / "tables" / "ibsi_statement.json").unlink()
    edit_run(full_copy, experiment=experiment(endpoints=["recurrence", "os"]))
    words = words_of(build_card(full_copy))
    for reason in (
        "Subgroups not available: the experiment names none.",
        "Reclassification not available: the experiment names no risk categories.",
        "Thresholds not available: the experiment asks for none.",
        "Statement on standardisation not available: no images were measured in this run, so it has no",
    ):
        assert reason in words


def test_clinical_study_needs_no_radiomics_sections(full_copy: Path, words_of: Callable[[Card], str]) -> None:
    run = json.loads((full_copy / "run.json").read_text())
    run["experiment"]["feature_sets"] = {"clinical": run["experiment"]["feature_sets"]["clinical"]}
    run["experiment"] |= {"deliver": {}, "answer": None}
    run["models"] = {e: {m: b for m, b in v.items() if m.startswith("clinical")} for e, v in run["models"].items()}
    edit_run(full_copy, **run)
    words = words_of(build_card(full_copy))
    assert "Robustness of the features not available: no model of this experiment uses radiomics." in words
    assert "Statement on standardisation not available: no model of this experiment uses radiomics." in words


def test_few_patients_cost_the_curve_and_not_the_card(full_copy: Path) -> None:
    predictions = stored(full_copy, "predictions")
    few = predictions["patient_id"].isin(predictions["patient_id"].unique()[:8])
    write_table(predictions[few], full_copy / "tables" / "predictions.parquet", "predictions")
    absent = [b for b in _part(full_copy, "horizons")["blocks"] if b["kind"] == "absent"]
    assert [b["absent"] for b in absent] == ["no curve has 5 patients beyond each of its ends"] * 2


# --- other cohorts -------------------------------------------------------------------------------------------------


def _with_other_cohort(copy: Path, **record: Any) -> Card:
    run = json.loads((copy / "run.json").read_text())
    run["experiment"]["design"]["external"] = {"oslo": "data/oslo"}
    flow = {"in": 62, "out": 60, "excluded": [{"stage": "ingest", "code": "x", "reason": "a value is wrong", "n": 2}]}
    edit_run(copy, **(run | {"external": {"oslo": {"cohort": "Oslo", "flow": flow, "lacking": {}} | record}}))
    return build_card(copy)


def test_other_cohort_is_shown_with_its_own_metrics(full_copy: Path) -> None:
    table = stored(full_copy, "metrics").assign(n=60, events=31)
    write_table(table, full_copy / "tables" / "external" / "oslo" / "metrics.parquet", "metrics")
    card = _with_other_cohort(full_copy, lacking={"os, combined/ridge": ["cea_ng_ml"]})
    blocks = card["external"]["blocks"]
    assert [b["kind"] for b in blocks] == ["heading", "text", "caution", "table", "table"]
    assert blocks[1]["text"] == "62 patients in the files of the cohort, 60 studied. Excluded: a value is wrong (2)."
    assert "lacks cea_ng_ml" in blocks[2]["text"]
    row = cells_of(blocks[4])["", "Combined (penalised regression)"]
    source = table.query("endpoint == 'os' and model == @_SHOWN and metric == 'c_index'").iloc[0]
    assert row["C 0.5 is chance, 1 perfect"]["text"] == interval(source["estimate"], source["lower"], source["upper"])
    assert (row["n"]["text"], row["Events"]["text"]) == ("60", "31")
    assert "data/oslo" not in json.dumps(card)
    assert "external/oslo/metrics.parquet" in card["technical"]["tables"]


def test_other_cohort_without_metrics_is_told(full_copy: Path) -> None:
    absent = [b for b in _with_other_cohort(full_copy)["external"]["blocks"] if b["kind"] == "absent"]
    assert [b["absent"] for b in absent] == ["the run wrote no metrics for this cohort"]


def test_attribute_of_an_absent_table_is_not_available(full_copy: Path) -> None:
    (full_copy / "tables" / "subgroups.parquet").unlink()
    cells = cells_of(blocks_of(build_card(full_copy), "attributes", "table")[0])
    fairness = next(row for (_, title), row in cells.items() if title.startswith("Fairness in test data"))
    assert fairness["Section of this card"]["text"] == "not available: Subgroups"
