"""The question, answered, on the card: every number of the table, alarms, leaks and what is absent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_folder import edit_run, experiment, make_run_folder

from radiomics_crlm.config import ExperimentConfig, load_endpoints, parse_config
from radiomics_crlm.evaluation.answer import ARMS
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.report import build_card, render_card
from radiomics_crlm.report import page as page_module
from radiomics_crlm.report.verdicts import answer_sentence
from radiomics_crlm.study.answer import answers_of

ASKED = {"clinical": "clinical", "radiomics": "radiomics", "combined": "combined"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the table of answers."""
    out = make_run_folder(tmp_path_factory.mktemp("answered"), n=60, endpoints=("os",), answer=ASKED)
    asked = parse_config(ExperimentConfig, experiment(endpoints=("os",), answer=ASKED), where="test")
    metrics, comparisons = (read_table(out / "tables" / f"{n}.parquet", n) for n in ("metrics", "comparisons"))
    rows = [("os", "combined/ridge", k, "c_index", v) for k, v in enumerate([0.66, 0.5, 0.47, 0.52, 0.51])]
    permuted = pd.DataFrame(rows, columns=["endpoint", "model", "permutation", "metric", "estimate"])
    table = answers_of(asked, load_endpoints()["os"], "os", metrics, comparisons, permuted)
    write_table(table, out / "tables" / "answers.parquet", "answers")
    return out


@pytest.fixture
def words_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], str]:
    """The page without figures and tags."""
    monkeypatch.setattr(page_module, "_figures", lambda _: iter(()))
    return lambda card: " ".join(re.sub(r"<[^>]+>", " ", render_card(card)).split())


def changed(made: Path, out: Path, **cells: Any) -> dict[str, Any]:
    """The card of a copy in which cells of the arm ``cells["arm"]`` are others."""
    for name in ("run.json", *(f"tables/{path.name}" for path in (made / "tables").iterdir())):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes((made / name).read_bytes())
    table = read_table(out / "tables" / "answers.parquet", "answers")
    rows = table["arm"] == cells.pop("arm")
    for column, value in cells.items():
        table.loc[rows, column] = value
    write_table(table, out / "tables" / "answers.parquet", "answers")
    return build_card(out)


def block(card: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(one for one in card["answers"]["blocks"] if one["kind"] == kind)


def test_every_arm_stands_with_the_numbers_of_the_table(made):
    card = build_card(made)
    saved = read_table(made / "tables" / "answers.parquet", "answers")
    (part,) = card["answers"]["endpoints"]
    assert [row["arm"] for row in part["rows"]] == list(ARMS) == saved["arm"].tolist()
    for row, (_, source) in zip(part["rows"], saved.iterrows(), strict=True):
        for name in ("estimate", "lower", "upper", "difference", "difference_lower", "difference_upper", "p_value"):
            assert row[name] == (None if pd.isna(source[name]) else source[name])
    assert part["sentence"] == answer_sentence(saved.to_dict("records"))
    (rows,) = [group["rows"] for group in block(card, "table")["groups"]]
    assert [row["head"] for row in rows][:4] == ["Rules only", "Clinical", "Radiomics", "Combined"]
    assert rows[3]["cells"][5]["value"] == saved.set_index("arm").loc["combined", "difference"]
    assert rows[3]["strong"]
    # Two controls were not fitted here; the reason stands below the name of the arm.
    assert rows[4]["under"] == "no column of the features matches burden__total_volume_ml"
    assert rows[4]["cells"][-1]["text"] == "absent"


def test_the_page_says_it_first_after_the_verdict(made, words_of):
    card = build_card(made)
    page = words_of(card)
    (part,) = card["answers"]["endpoints"]
    assert part["sentence"] in page
    assert [section["id"] for section in card["sections"]][:2] == ["verdict", "answer"]
    assert "Nadeau and Bengio" in page
    json.dumps(card["answers"], allow_nan=False)


def test_a_control_that_finds_something_is_an_alarm(made, tmp_path):
    changes = {"difference": 0.09, "difference_lower": 0.05, "difference_upper": 0.13, "verdict": "adds"}
    card = changed(made, tmp_path, arm="permuted_outcome", **changes)
    assert "look for a leak" in block(card, "caution")["text"]
    (rows,) = [group["rows"] for group in block(card, "table")["groups"]]
    assert rows[-1]["cells"][-1]["text"] == "ALARM: better"
    assert rows[-1]["under"] == "must be at chance"


def test_what_cannot_be_estimated_says_why(made, tmp_path):
    nothing = {"difference": None, "difference_lower": None, "difference_upper": None, "p_value": None}
    card = changed(made, tmp_path, arm="combined", verdict="not_estimable", reason="2 of 10 folds are empty", **nothing)
    assert block(card, "text")["text"] == "Whether radiomics helps cannot be estimated: 2 of 10 folds are empty."
    (rows,) = [group["rows"] for group in block(card, "table")["groups"]]
    assert rows[3]["under"] == "2 of 10 folds are empty"
    assert rows[3]["cells"][-1]["text"] == "not estimable"


def test_leaks_and_studies_without_claim_void_the_answer(made, tmp_path):
    late = [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]
    changed(made, tmp_path, arm="combined")
    edit_run(tmp_path, leak={"allowed": True, "refused": {}, "admitted": {"os": late}})
    card = build_card(tmp_path)
    assert card["answers"]["endpoints"][0]["sentence"].startswith("Not valid, because of the leak: Radiomics adds")
    assert block(card, "caution")["text"].startswith("Not valid")
    claimless = experiment(endpoints=("os",), answer=ASKED, performance_claim=False)
    edit_run(tmp_path, leak={"allowed": False, "refused": {}, "admitted": {}}, experiment=claimless)
    card = build_card(tmp_path)
    assert card["answers"]["endpoints"][0]["sentence"].startswith("No performance claim. Radiomics adds")


def test_without_arms_or_table_the_reason_is_given(made, tmp_path, words_of):
    changed(made, tmp_path, arm="combined")
    (tmp_path / "tables" / "answers.parquet").unlink()
    card = build_card(tmp_path)
    assert block(card, "absent")["what"] == "Answer"
    assert card["answers"]["endpoints"] == []
    edit_run(tmp_path, experiment=experiment(endpoints=("os",)))
    card = build_card(tmp_path)
    assert "Answer not available: the experiment names no arms to compare." in words_of(card)
