"""The experiment report: every number from a saved table, nothing of a patient, the same bytes again."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_folder import edit_run, experiment, make_run_folder

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.evaluation.summary import evaluate_endpoint
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.report import study_page
from radiomics_crlm.report.study_page import build_report, draw_figures, write_report
from radiomics_crlm.report.wording import MINUS, interval, p_text

ENDPOINTS = ("recurrence", "recurrence_24m")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all tables of an evaluation."""
    out = make_run_folder(tmp_path_factory.mktemp("run"), n=120, endpoints=ENDPOINTS, acceptance={
        "recurrence": {"minimum_lower": 0.55, "better_than": "fong_crs"}})  # fmt: skip
    tables = {name: saved(out, name) for name in ("predictions", "outcomes", "folds", "rules")}
    parts = []
    for name in ENDPOINTS:
        definition = load_endpoints()[name]
        parts.append(
            evaluate_endpoint(
                tables["predictions"],
                tables["outcomes"],
                tables["folds"],
                endpoint=name,
                horizon=definition.horizon_months,
                kind=definition.kind,
                seed=1,
                draws=100,
                rules=tables["rules"].pivot(index="patient_id", columns="rule", values="score"),
            )
        )
    for table in ("metrics", "comparisons", "horizon_metrics", "calibration_curves", "decision_curves"):
        joined = pd.concat([part[table] for part in parts], ignore_index=True)
        write_table(joined, out / "tables" / f"{table}.parquet", table)
    return out


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run, tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time; tests of the text do without."""
    monkeypatch.setattr(study_page, "draw_figures", lambda _: {})


def saved(out: Path, name: str) -> pd.DataFrame:
    return read_table(out / "tables" / f"{name}.parquet", name)


def test_the_same_artefacts_give_the_same_bytes(run: Path, folder: Path, tmp_path: Path) -> None:
    write_report(run, tmp_path)
    made = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    again = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert made == again
    # page; forest, calibration and decision per endpoint; SHAP of one; metrics and estimates; curves per endpoint
    assert len(made) == 1 + 2 * 3 + 1 + 2 + 2 * 2


def test_no_patient_is_in_it(run: Path, folder: Path) -> None:
    keys = {*saved(run, "outcomes")["patient_id"], "QX-0001-ZW"}
    text = "".join(p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file())
    assert not [key for key in keys if key in text]
    assert "\\[patient\\]: a value is out of range (1)" in text
    assert "/srv/secret" not in text


@pytest.mark.parametrize("metric", ["c_index", "c_index_folds", "brier", "calibration_slope"])
def test_performance_is_that_of_the_table(run: Path, page: str, metric: str) -> None:
    rows = saved(run, "metrics")
    rows = rows[(rows["endpoint"] == "recurrence") & (rows["metric"] == metric)].dropna(subset="estimate")
    assert len(rows) >= 4
    section = page.partition("## Time to recurrence")[2].partition("### Paired")[0]
    for row in rows.to_dict("records"):
        text = interval(row["estimate"], row["lower"], row["upper"], 3 if metric == "brier" else 2)
        assert f"| {text} |" in section


def test_differences_put_the_model_first_and_say_how_many_were_made(run: Path) -> None:
    part = build_report(run)["endpoints"][0]["differences"]
    rows = saved(run, "comparisons")
    rows = rows[(rows["endpoint"] == "recurrence") & (rows["metric"] == "c_index")]
    assert part["computed"] == len(rows) == 15  # of six names
    found = {(r["model"], r["reference"]): r for r in part["rows"]}
    # Four models against two scores, and three pairs of ridge models.
    assert len(found) == 4 * 2 + 3
    for row in rows.to_dict("records"):
        pair, sign = (row["model"], row["reference"]), 1
        if pair not in found:
            pair, sign = pair[::-1], -1
        if pair in found:
            assert found[pair]["difference"] == pytest.approx(sign * row["difference"])
            assert found[pair]["lower"] == pytest.approx(sign * row["lower" if sign > 0 else "upper"])
            assert found[pair]["p_holm"] == p_text(row["p_holm"])
    assert all("/" in model for model, _ in found)


def test_the_conclusion_counts_all_models_not_only_the_best(run: Path, page: str) -> None:
    rows = [r for r in build_report(run)["endpoints"][0]["differences"]["rows"] if r["reference"] == "fong_crs"]
    better = [r for r in rows if r["lower"] > 0]
    holm = sum(r["holm"] < 0.05 for r in better)
    said = f"{len(better)} of 4 models rank patients better than Fong clinical risk score with an interval above 0"
    assert said + (f", {holm} after correction for the 15 comparisons made (Holm)" if better else "") in page


@pytest.mark.usefixtures("undrawn")
def test_clinical_models_on_other_columns_are_set_side_by_side(copy: Path, tmp_path: Path) -> None:
    sets = {name: {"title": name.title(), "columns": ["age_years"]} for name in ("clinical", "radiomics", "combined")}
    edit_run(copy, experiment=experiment(endpoints=ENDPOINTS, feature_sets=sets))
    text = write_report(copy, tmp_path / "report").read_text(encoding="utf-8")
    row = next(
        r for r in build_report(copy)["endpoints"][0]["differences"]["rows"]
        if {r["model"], r["reference"]} == {"combined/ridge", "clinical/ridge"}
    )  # fmt: skip
    apart, corrected = row["lower"] > 0 or row["upper"] < 0, f"p {row['p_holm']} after correction"
    if apart and row["holm"] < 0.05:
        said = f"evidence of a difference ({corrected})."
    elif apart:
        said = f"an interval without 0, but no evidence once all 15 comparisons are counted ({corrected})."
    else:
        said = f"no evidence of a difference ({corrected})."
    assert f"{row['text']}, {said}" in text


def test_every_figure_is_there_and_plain(folder: Path, page: str) -> None:
    linked = re.findall(r"\]\((figures/[^)]+)\)", page)
    assert sorted(linked) == sorted(f"figures/{p.name}" for p in (folder / "figures").iterdir())
    for name in linked:
        svg = (folder / name).read_text(encoding="utf-8")
        tree = ET.fromstring(svg)  # noqa: S314  (made here)
        tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
        assert not tags & {"text", "script", "image", "style", "metadata"}
        assert not re.search(r"(?:href|src)=\"(?!#)", svg)
        assert not re.search(r"20\d\d-\d\d-\d\d", svg)


def test_flow_and_seed_are_named(page: str) -> None:
    assert "| the cohort |  | 121 | 1 | 120 |" in page
    assert "2 x 5-fold nested cross-validation by patient" in page
    assert "| Seed | `20` |" in page
    assert "crlm run invented.yaml --out out/invented --data DATA && crlm report out/invented --to" in page


@pytest.mark.usefixtures("undrawn")
def test_the_page_changes_with_a_result_and_not_with_a_version(copy: Path, tmp_path: Path) -> None:
    """So that the reports of the repository outlive a new lock, another Python and a new version of the program."""
    pages = []
    for number in "12":
        hashes = dict.fromkeys(("clinical", "experiment", "folds", "lock"), number * 64)
        edit_run(copy, versions={"radiomics_crlm": number, "python": number}, engine=number, hashes=hashes)
        pages.append(write_report(copy, tmp_path / "report").read_bytes())
    assert pages[0] == pages[1]


def test_parts_without_a_table_are_left_out_with_the_reason(copy: Path, tmp_path: Path) -> None:
    for name in ("comparisons", "horizon_metrics", "calibration_curves", "decision_curves", "attributions"):
        (copy / "tables" / f"{name}.parquet").unlink()
    text = write_report(copy, tmp_path / "report").read_text(encoding="utf-8")
    assert "Calibration: the run did not evaluate horizons." in text
    assert "### Paired differences" not in text
    assert "The question, answered" not in text
    assert "### Performance" in text
    assert len(list((tmp_path / "report" / "figures").iterdir())) == 2


@pytest.mark.usefixtures("undrawn")
def test_notes_are_kept_and_old_figures_go(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "old.svg").write_text("<svg/>", encoding="utf-8")
    (folder / "notes.md").write_text("## Compared with published anchors\n\nThey are **lower**.\n", encoding="utf-8")
    for _ in range(2):
        text = write_report(copy, folder).read_text(encoding="utf-8")
        assert text.count("## Compared with published anchors\n\nThey are **lower**.\n\n## Participants") == 1
    assert not (folder / "figures" / "old.svg").exists()
    assert (folder / "notes.md").read_text(encoding="utf-8").endswith("They are **lower**.\n")


def test_notes_that_name_a_patient_are_refused(copy: Path, tmp_path: Path) -> None:
    key = saved(copy, "outcomes")["patient_id"].iloc[3]
    (tmp_path / "notes.md").write_text(f"Patient {key} did well.", encoding="utf-8")
    with pytest.raises(CrlmError, match="notes.md: the notes of the report name a patient"):
        write_report(copy, tmp_path)
    (tmp_path / "notes.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        write_report(copy, tmp_path)


def answers(**changes: Any) -> pd.DataFrame:
    row = {
        "endpoint": "recurrence", "arm": "combined", "model": "combined/ridge", "metric": "c_index", "estimate": 0.61,
        "lower": 0.55, "upper": 0.67, "n": 117, "events": 60, "reference": "clinical/ridge", "difference": 0.01,
        "difference_lower": -0.03, "difference_upper": 0.05, "p_value": 0.6, "verdict": "no_evidence",
        "method": "percentile bootstrap over patients", "reason": None,
    }  # fmt: skip
    absent = dict.fromkeys(row) | {"endpoint": "recurrence", "arm": "volume_only", "verdict": "absent",
                                   "reason": "there is no column of volume"}  # fmt: skip
    return pd.DataFrame([row | changes, absent])


@pytest.mark.usefixtures("undrawn")
def test_the_answer_is_shown_where_there_is_one(copy: Path, tmp_path: Path) -> None:
    write_table(answers(), copy / "tables" / "answers.parquet", "answers")
    text = write_report(copy, tmp_path / "report").read_text(encoding="utf-8")
    assert text.count("### The question, answered") == 1
    assert "- **What radiomics adds is not known" in text  # the invented rows have no clinical arm
    assert "- Combined: percentile bootstrap over patients." in text
    assert "| 0.61 (0.55 to 0.67) |" in text
    assert f"+0.010 ({MINUS}0.030 to 0.050) | 0.60 | no evidence |" in text
    assert "| Volume only |  | – |  | – | – | absent | there is no column of volume |" in text


@pytest.mark.usefixtures("undrawn")
def test_acceptance_is_shown_with_its_values(copy: Path, tmp_path: Path) -> None:
    judged = {
        "recurrence": {
            "model": "combined/ridge", "accepted": False, "reason": "c_index, lower limit: 0.512",
            "criteria": [
                {"criterion": "c_index, lower limit", "required": "at least 0.55", "value": 0.512, "passed": False}
            ],
        }
    }  # fmt: skip
    (copy / "acceptance.json").write_text(pd.Series(judged).to_json(), encoding="utf-8")
    text = write_report(copy, tmp_path / "report").read_text(encoding="utf-8")
    assert "`recurrence`: not accepted." in text
    assert "| at least 0.55 | 0.512 | **no** |" in text


@pytest.mark.usefixtures("undrawn")
def test_a_leak_and_a_missing_claim_are_said_first(copy: Path, tmp_path: Path) -> None:
    late = [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]
    leak = {"allowed": True, "refused": {}, "admitted": dict.fromkeys(ENDPOINTS, late)}
    edit_run(copy, leak=leak, experiment=experiment(endpoints=ENDPOINTS, performance_claim=False))
    text = write_report(copy, tmp_path / "report").read_text(encoding="utf-8")
    top = text.partition("## Question")[0]
    assert "LEAK: columns known only after the prediction were let in (margin\\_positive)" in top
    assert "makes no claim about performance" in top
    assert "models rank patients better than" not in text


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="record of the run is missing"):
        write_report(tmp_path)


def test_unknown_net_benefit_is_a_gap(run: Path) -> None:
    content = build_report(run)
    for part in content["endpoints"]:
        for panel in part["decision_panels"]:
            panel["curves"][-1]["net_benefit"][-5:] = [None] * 5
    assert {"recurrence_decision", "recurrence_24m_decision"} <= set(draw_figures(content))
