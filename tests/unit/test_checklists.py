"""Checklists: an answer only where a file proves it, and only as long as the file stays as it was."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from card_numbers import Page, leaves, numbers, resolve
from full_run_folder import make_full_run_folder
from run_folder import edit_run, experiment

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes, sha256_file, write_json
from radiomics_crlm.report.checklists import build_checklists, verified_checklists, write_checklists
from radiomics_crlm.report.checklists.documents import (
    checklists_csv,
    checklists_markdown,
    points_text,
    render_checklists,
)
from radiomics_crlm.report.checklists.facts import FACTS
from radiomics_crlm.report.checklists.items import load_checklists

NAMES = ["tripod_ai", "clear", "metrics", "probast_ai", "rqs"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything, a whole bundle and the settings that were tried."""
    out = make_full_run_folder(tmp_path_factory.mktemp("run"), n=80)
    tried = [f"os,combined/ridge,{r},{f},{{}},0.6,True" for r in range(2) for f in range(5)]
    head = "endpoint,model,repeat,fold,parameters,concordance,selected"
    (out / "tables" / "tuning.csv").write_text("\n".join([head, *tried, ""]), encoding="utf-8")
    sealed = {name: {"model": "combined/ridge", "sha256": _bundle(out, name)} for name in ("recurrence", "os")}
    edit_run(out, delivered=sealed)
    return out


def _bundle(out: Path, name: str) -> str:
    settings = {
        "resample_mm": [1.0, 1.0, 1.0], "interpolator": "sitkBSpline", "normalize": None, "resegment_range": None,
        "bin_width": 25.0, "bin_count": None, "original": True, "log_sigma_mm": [2.0], "wavelet": None,
        "feature_classes": ["firstorder", "glcm"],
    }  # fmt: skip
    parts = {
        "bundle.json": {
            "extraction": {"profile": "ct", "settings": settings},
            "training": {"inputs": {"age_years": {"low": 40.0, "high": 80.0}}},
        },
        "model.json": {"columns": [], "fill": [1.0], "scale": [2.0]},
    }
    folder = out / "bundles" / name
    for file, content in parts.items():
        write_json(folder / file, content)
    files = {file: {"sha256": sha256_file(folder / file)} for file in parts}
    sha = sha256_bytes(canonical_json(files).encode())
    write_json(folder / "manifest.json", {"files": files, "bundle_sha256": sha})
    return sha


@pytest.fixture(scope="module")
def content(made: Path) -> dict[str, Any]:
    return build_checklists(made)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def _items(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for filled in content["checklists"]:
        for item in filled["items"]:
            yield f"{filled['name']} {item['id']}", item


def _answers(content: dict[str, Any]) -> dict[str, str]:
    return {name: item["answer"] for name, item in _items(content)}


def test_every_proof_is_a_fact_and_every_fact_is_used() -> None:
    named = {item.proof for checklist in load_checklists() for _, item in checklist.rows() if item.proof}
    assert named | {"net_benefit", "sample_size"} <= set(FACTS)
    assert set(FACTS) - named == set()


def test_items_are_those_of_the_published_lists() -> None:
    listed = {c.name: [item.id for _, item in c.rows()] for c in load_checklists()}
    assert list(listed) == NAMES
    assert all(len(ids) == len(set(ids)) for ids in listed.values())
    assert listed["clear"] == [str(k) for k in range(1, 59)]
    assert listed["metrics"] == [str(k) for k in range(1, 31)]
    assert listed["rqs"] == [str(k) for k in range(1, 17)]
    assert {re.match(r"\d+", i).group() for i in listed["tripod_ai"]} == {str(k) for k in range(1, 28)}  # type: ignore[union-attr]
    parts = {p: sum(i.startswith(p) for i in listed["probast_ai"]) for p in ("D", "E")}
    assert parts == {"D": 16, "E": 18}


def test_no_answer_without_evidence_that_holds(made: Path, content: dict[str, Any]) -> None:
    answered = 0
    for name, item in _items(content):
        if item["answer"] != "needs_a_person":
            assert item["evidence"], name
            assert not item["left"], name
        for e in item["evidence"]:
            assert sha256_file(made / e["file"]) == e["sha256"], name
            assert e["shows"]
            _resolves(made / e["file"], e["place"])
            answered += 1
    assert answered > 100


def _resolves(path: Path, place: str) -> None:
    """The place of a piece of evidence is in its file."""
    if place.startswith("$.."):
        assert f'"{place[3:]}"' in path.read_text(encoding="utf-8")
    elif place.startswith("$."):
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        for step in place[2:].split("."):
            found = found[step]
    else:
        assert place.startswith("columns ")
        known = pd.read_csv(path, nrows=1).columns if path.suffix == ".csv" else pq.read_schema(path).names
        wanted = place.removeprefix("columns ").split(", ")
        assert all("*" in column or column == "..." or column in known for column in wanted), (path.name, place)


def test_what_a_full_run_proves(content: dict[str, Any]) -> None:
    answers = _answers(content)
    yes = {"tripod_ai 12a", "tripod_ai 20a", "tripod_ai 23a", "clear 22", "clear 43", "metrics 18", "metrics 24"}
    yes |= {"probast_ai D2.4", "probast_ai E4.5", "rqs 9", "rqs 14", "clear 31", "rqs 2"}
    assert {answers[name] for name in yes} == {"yes"}
    assert {answers[name] for name in ("metrics 27", "metrics 14", "metrics 16", "probast_ai D4.1")} == {"no"}
    assert answers["metrics 17"] == answers["tripod_ai 13"] == "not_applicable"
    assert {answers[name] for name in ("tripod_ai 17", "clear 8", "metrics 5", "rqs 3", "rqs 11")} == {"needs_a_person"}


def test_what_is_left_for_a_person_is_never_a_yes() -> None:
    proven = {i.proof for c in load_checklists() for _, i in c.rows() if i.left}
    assert proven  # judged in the next test for each
    for checklist in load_checklists():
        for _, item in checklist.rows():
            assert item.proof or not item.left, item.id


def test_scores_are_a_range(content: dict[str, Any]) -> None:
    for filled in content["checklists"]:
        if filled["unit"] is None:
            assert filled["points"] is None
            assert points_text(filled) == ""
            continue
        points = filled["points"]
        assert points["lowest"] <= points["proven"] <= points["highest"] <= points["of"]
        assert points["lowest"] < points["highest"]
        sure = sum(i["proven"] for i in filled["items"] if i["answer"] in ("yes", "no"))
        assert points["proven"] == pytest.approx(sure)
        assert "between" in points_text(filled)
    assert sum(content["checklists"][2]["counts"].values()) == 30


_FILES = [
    "tables/folds.parquet", "tables/metrics.parquet", "tables/comparisons.parquet", "tables/decision_curves.parquet",
    "tables/attributions.parquet", "tables/sample_size.parquet", "tables/tuning.csv", "tables/ibsi_statement.json",
    "tables/feature_stability.parquet", "tables/subgroups.parquet", "bundles/os/model.json",
]  # fmt: skip


@pytest.mark.parametrize("file", _FILES)
def test_without_its_file_an_item_needs_a_person(run: Path, content: dict[str, Any], file: str) -> None:
    rested = {n for n, i in _items(content) if i["answer"] == "yes" and file in {e["file"] for e in i["evidence"]}}
    assert rested
    (run / file).unlink()
    again = build_checklists(run)
    assert all(file not in {e["file"] for e in item["evidence"]} for _, item in _items(again))
    kept = {name for name, answer in _answers(again).items() if name in rested and answer == "yes"}
    # Counts of patients and curves of a measure stand in more than one table; nothing else survives.
    assert kept <= {"clear 27", "tripod_ai 15", "rqs 8", "clear 38", "rqs 10", "metrics 22", "tripod_ai 20a"}


@pytest.mark.parametrize("file", ["run.json", *_FILES])
def test_altered_file_takes_its_answers_back(run: Path, file: str) -> None:
    write_checklists(run)
    before = json.loads((run / "checklists.json").read_text(encoding="utf-8"))
    path = run / file
    path.write_bytes(path.read_bytes() + b" ")
    after, changed = verified_checklists(run)
    assert changed == [file]
    for (name, old), (_, new) in zip(_items(before), _items(after), strict=True):
        if file in {e["file"] for e in old["evidence"]}:
            assert new["answer"] == "needs_a_person", name
            assert file in new["left"]
            assert new["evidence"] == []
        else:
            assert new == old
    assert write_checklists(run, anew=False) == [file]
    assert json.loads((run / "checklists.json").read_text(encoding="utf-8")) == before


def test_record_that_does_not_match_its_own_hash_proves_nothing(run: Path) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    right = sha256_bytes(canonical_json(record["experiment"]).encode())
    edit_run(run, hashes={"experiment": right})
    assert _answers(build_checklists(run))["metrics 15"] == "yes"
    edit_run(run, experiment=record["experiment"] | {"question": "Another question?"})
    files = {e["file"] for _, item in _items(build_checklists(run)) for e in item["evidence"]}
    assert "run.json" not in files


@pytest.mark.parametrize("name", ["model.json", "bundle.json", "manifest.json"])
def test_bundle_with_one_other_byte_proves_nothing(run: Path, name: str) -> None:
    path = run / "bundles" / "os" / name
    path.write_bytes(path.read_bytes().replace(b"2.0", b"3.0").replace(b'"bundle_sha256": "', b'"bundle_sha256": "0'))
    if name == "bundle.json":
        path.write_bytes(path.read_bytes() + b" ")
    answers = build_checklists(run)
    assert _answers(answers)["tripod_ai 12g"] == "needs_a_person"
    assert not any(e["file"].startswith("bundles/os") for _, i in _items(answers) for e in i["evidence"])


def test_leak_and_wrong_flow_are_told(run: Path) -> None:
    late = [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["flow"]["endpoints"]["os"]["out"] -= 1
    edit_run(run, leak={"allowed": True, "refused": {}, "admitted": {"os": late}}, flow=record["flow"])
    answers = _answers(build_checklists(run))
    assert answers["probast_ai D2.4"] == answers["probast_ai E4.5"] == answers["tripod_ai 20a"] == "no"


def test_prediction_for_another_fold_is_no_proof(run: Path) -> None:
    path = run / "tables" / "predictions.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "fold"] = (table.loc[0, "fold"] + 1) % 5
    table.to_parquet(path)
    answers = _answers(build_checklists(run))
    assert answers["probast_ai E4.1"] == answers["probast_ai E4.5"] == "needs_a_person"


def test_clinical_experiment_has_no_score_of_radiomics(run: Path) -> None:
    sets = {"clinical": {"title": "Clinical", "columns": ["age_years"]}}
    edit_run(run, experiment=experiment(feature_sets=sets, endpoints=["os"], deliver={"os": "clinical/ridge"}))
    content = build_checklists(run)
    applies = {filled["name"]: filled["applies"] for filled in content["checklists"]}
    assert applies == {"tripod_ai": True, "clear": False, "metrics": False, "probast_ai": True, "rqs": False}
    assert all(filled["points"] is None for filled in content["checklists"])
    assert "does not apply" in render_checklists(content)


@pytest.mark.parametrize(
    "damage", [b"{", b"[]", b'{"checklists_version": 2}', b'{"checklists_version": 1, "experiment": "x"}']
)
def test_damaged_record_is_refused(run: Path, damage: bytes) -> None:
    (run / "checklists.json").write_bytes(damage)
    with pytest.raises(InputError, match="the checklists of the run"):
        verified_checklists(run)


@pytest.mark.parametrize("path", ["../../secret.txt", "/etc/hostname"])
def test_evidence_outside_the_run_is_never_opened(run: Path, path: str) -> None:
    write_checklists(run)
    record = json.loads((run / "checklists.json").read_text(encoding="utf-8"))
    item = next(i for _, i in _items(record) if i["answer"] == "yes")
    item["evidence"][0]["file"] = path
    write_json(run / "checklists.json", record)
    assert verified_checklists(run)[1] == [path]


def test_same_files_same_bytes_and_no_patient(run: Path) -> None:
    write_checklists(run)
    names = ["checklists.json", "checklists.html", "checklists.csv", "checklists.md"]
    first = {name: (run / name).read_bytes() for name in names}
    write_checklists(run)
    assert first == {name: (run / name).read_bytes() for name in names}
    assert not any(re.search(rb"QX-\d{4}-ZW", text) for text in first.values())
    assert not any(str(run.parent).encode() in text for text in first.values())


def test_page_shows_what_the_record_says(content: dict[str, Any]) -> None:
    page = Page(render_checklists(content))
    shown = 0
    for cell in page.cells:
        paths = (cell.attributes.get("data-path") or "").split()
        known = [text for path in paths for text in leaves(resolve(content, path))]
        if not paths or paths[0].endswith(".items"):
            continue
        values = set().union(*(numbers(text) for text in known))
        if not paths[0].endswith(".points"):  # rounded on the page
            assert numbers(cell.text) <= values, cell.text
        shown += 1
    assert shown > 600
    assert all(
        cell.attributes.get("data-path")
        for cell in page.cells
        if cell.section not in ("files",) and "scope" not in cell.attributes
    )


def test_page_runs_and_asks_for_nothing(content: dict[str, Any]) -> None:
    page = render_checklists(content)
    assert "<script" not in page
    links = set(re.findall(r'href="([^"]+)"', page))
    assert all(re.fullmatch(r"#[\w-]+|card\.html|run\.json|(tables|bundles)/[\w./-]+", link) for link in links)


def test_spreadsheets_see_no_formula(run: Path) -> None:
    edit_run(run, cohort={"name": "=1+1", "simulated": False}, engine="=cmd|x 1")
    rows = list(csv.reader(io.StringIO(checklists_csv(build_checklists(run)))))
    assert len(rows) == 1 + 52 + 58 + 30 + 34 + 16
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def test_markdown_has_a_row_per_item(content: dict[str, Any]) -> None:
    text = checklists_markdown(content)
    assert sum(line.startswith("| ") for line in text.splitlines()) == 5 + 190
    assert "<script" not in text
