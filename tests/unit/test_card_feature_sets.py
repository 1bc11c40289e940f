"""The card says which patients lack a scan that a feature set imputes."""

from __future__ import annotations

from pathlib import Path

import pytest
from card_numbers import Page, leaves, numbers, resolve
from run_folder import edit_run, make_run_folder

from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.report import build_card, render_card


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_folder(tmp_path_factory.mktemp("run") / "run", n=60)


def test_nothing_is_said_where_everybody_has_the_scan(run: Path) -> None:
    card = build_card(run)
    assert card["predictors"]["lacking"] == []
    assert "Patients who lack a scan" not in render_card(card)


def test_scans_that_are_imputed_are_counted_once_per_feature_set(run: Path) -> None:
    models = read_json(run / "run.json", what="run")["models"]
    for name, record in models["recurrence"].items():
        if name.startswith("combined/"):
            record["patients_without"] = {"CT/portal_venous": 0, "MR/hbp": 17}
    edit_run(run, models=models)
    card = build_card(run)
    rows = card["predictors"]["lacking"]
    assert [(r["scans"], r["n"], r["set"], r["endpoint"]) for r in rows] == [
        ("MR/hbp", 17, "Combined", "Time to recurrence"),
    ]  # fmt: skip
    assert {r["of"] for r in rows} == {models["recurrence"]["combined/ridge"]["n"]}
    shown = [c for c in Page(render_card(card)).cells if "lacking" in c.attributes.get("data-path", "")]
    assert [c.text for c in shown if c.text == "17"] == ["17"]
    for cell in shown:
        assert numbers(cell.text) <= {
            t for x in leaves(resolve(card, cell.attributes["data-path"])) for t in numbers(x)
        }
