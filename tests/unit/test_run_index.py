"""The index over runs: every run is there, also the damaged one, and nobody can be recognised."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from card_numbers import Page, leaves, numbers, resolve
from run_folder import edit_run, make_run_folder

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import write_json
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.report.run_index import build_index, find_runs, render_index, write_index


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_folder(tmp_path_factory.mktemp("made"), n=60, endpoints=("os", "recurrence_24m"))


@pytest.fixture
def many(made: Path, tmp_path: Path) -> Path:
    """Two whole runs, a stopped one, and four that are damaged."""
    for name in ("b run", "a/deep/er", "no_metrics", "shape"):
        shutil.copytree(made, tmp_path / "out" / name)
    (tmp_path / "out" / "b run" / "card.html").write_text("card", encoding="utf-8")
    judged = {"os": {"accepted": False, "reason": "c_index: 0.55, required at least 0.6"}}
    write_json(tmp_path / "out" / "b run" / "acceptance.json", judged)
    (tmp_path / "out" / "no_metrics" / "tables" / "metrics.parquet").write_bytes(b"PAR1")
    edit_run(tmp_path / "out" / "shape", endpoints=["os"])
    (tmp_path / "out" / "stopped" / ".unfinished").mkdir(parents=True)
    for name, text in (("broken", b"{"), ("empty", b"{}"), ("binary", b"\xff\xfe")):
        (tmp_path / "out" / name).mkdir()
        (tmp_path / "out" / name / "run.json").write_bytes(text)
    return tmp_path / "out"


def _by_folder(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {run["folder"]: run for run in content["runs"]}


def test_every_run_has_a_place(many: Path) -> None:
    runs = _by_folder(build_index([many], many.parent))
    assert list(runs) == ["er", "b run", "binary", "broken", "empty", "no_metrics", "shape", "stopped"]
    assert runs["stopped"]["damaged"] == "the run was stopped; the same command goes on with it"
    assert "not readable as JSON" in runs["broken"]["damaged"]
    assert "not readable as JSON" in runs["binary"]["damaged"]
    assert "run.json" in runs["empty"]["damaged"]
    assert runs["shape"]["damaged"]
    assert runs["no_metrics"]["damaged"] == ""
    assert {e["estimate"] for e in runs["no_metrics"]["endpoints"]} == {"not computable"}


def test_numbers_are_those_of_the_tables(many: Path) -> None:
    run = _by_folder(build_index([many], many.parent))["b run"]
    metrics = read_table(many / "b run" / "tables" / "metrics.parquet", "metrics")
    row = metrics[(metrics["endpoint"] == "os") & (metrics["model"] == "combined/ridge")]
    row = row[row["metric"] == "c_index"].iloc[0]
    shown = run["endpoints"][0]
    assert (shown["endpoint"], shown["n"], shown["events"]) == ("os", row["n"], row["events"])
    assert shown["estimate"] == f"{row['estimate']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"
    assert shown["metric"] == "C"
    assert shown["accepted"] == "not accepted: c_index: 0.55, required at least 0.6"
    assert run["endpoints"][1]["accepted"] == "no criteria declared"
    assert _by_folder(build_index([many], many.parent))["er"]["endpoints"][0]["accepted"] == "not judged"


def test_links_lead_from_the_page_to_the_cards(many: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "all.html"
    content = write_index([many, many / "b run"], page)
    assert content["found"] == 8
    text = page.read_text(encoding="utf-8")
    assert re.findall(r'href="([^#"]+)"', text) == ["../out/b%20run/card.html"]
    assert (page.parent / "../out/b run/card.html").is_file()
    assert json.loads((tmp_path / "pages" / "all.json").read_text(encoding="utf-8")) == content
    assert sorted(p.name for p in page.parent.iterdir()) == ["all.html", "all.json"]


def test_every_cell_is_in_the_json(many: Path) -> None:
    content = build_index([many], many.parent)
    cells = [cell for cell in Page(render_index(content)).cells if cell.attributes.get("data-path")]
    assert len(cells) == 7 * 2 * 3
    for cell in cells:
        known = [t for path in str(cell.attributes["data-path"]).split() for t in leaves(resolve(content, path))]
        assert numbers(cell.text) <= set().union(*map(numbers, known)), cell.text
        assert cell.text in {" ".join(known), "–"}


def test_no_patient_and_no_path(many: Path, tmp_path: Path) -> None:
    keys = read_table(many / "b run" / "tables" / "outcomes.parquet", "outcomes")["patient_id"]
    record = json.loads((many / "b run" / "run.json").read_text(encoding="utf-8"))
    record["experiment"]["question"] = f"Is {keys[0]} in {many}/data/table.csv <script>alert(1)</script>?"
    edit_run(many / "b run", **record)
    write_index([many], tmp_path / "i.html")
    text = (tmp_path / "i.html").read_text(encoding="utf-8") + (tmp_path / "i.json").read_text(encoding="utf-8")
    assert not any(key in text for key in keys)
    assert str(tmp_path) not in text
    assert "<script" not in (tmp_path / "i.html").read_text(encoding="utf-8")


def test_hidden_folders_and_what_is_inside_a_run_are_not_searched(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "run")
    shutil.copytree(made, tmp_path / "run" / "tables" / "inner")
    shutil.copytree(made, tmp_path / ".hidden" / "run")
    assert list(find_runs(tmp_path)) == [tmp_path / "run"]


def test_order_and_bytes_do_not_depend_on_how_folders_are_named(many: Path, tmp_path: Path) -> None:
    write_index([many], tmp_path / "1.html")
    write_index([many / "b run", many, many / "a"], tmp_path / "2.html")
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_no_run_is_said(tmp_path: Path) -> None:
    assert write_index([tmp_path], tmp_path / "i.html")["found"] == 0
    assert "No run was found." in (tmp_path / "i.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("folder", "page", "message"), [("absent", "i.html", "no such folder"), (".", "i.pdf", "page")]
)
def test_refusals(tmp_path: Path, folder: str, page: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_index([tmp_path / folder], tmp_path / page)
    assert list(tmp_path.iterdir()) == []
