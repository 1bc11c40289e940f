"""Two cards compared: what changed is found where it changed, and nothing else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from run_folder import make_run_folder

from radiomics_crlm.errors import InputError
from radiomics_crlm.report import build_card
from radiomics_crlm.report.card_diff import compare_cards, render_diff, write_diff

Card = dict[str, Any]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return build_card(make_run_folder(tmp_path_factory.mktemp("run"), n=60, endpoints=("os",)))


def _rows(diff: Card) -> list[Card]:
    return [row for kind in diff["kinds"] for row in kind["rows"]]


def test_a_card_does_not_differ_from_itself(card: Card) -> None:
    diff = compare_cards(card, copy.deepcopy(card))
    assert _rows(diff) == []
    assert all(kind["same"] > 0 for kind in diff["kinds"])
    assert "0 of" in render_diff(diff)


def test_a_changed_number_is_named_by_model_and_metric(card: Card) -> None:
    other = copy.deepcopy(card)
    row = next(r for r in other["performance"][0]["tables"][0]["rows"] if r["model"] == "combined/ridge")
    was, row["cells"][0]["text"] = row["cells"][0]["text"], "0.99 (0.98 to 1.00)"
    (found,) = _rows(compare_cards(card, other))
    assert (found["old"], found["new"]) == (was, "0.99 (0.98 to 1.00)")
    assert found["part"] == "performance"
    for word in ("os", "combined/ridge", "C"):
        assert word in found["what"].replace(",", " ").split()


def test_changed_hash_and_version_stand_apart_from_results(card: Card) -> None:
    other = copy.deepcopy(card)
    other["technical"]["versions"]["numpy"] = "9.9.9"
    other["technical"]["hashes"]["metrics.parquet"] = "ef" * 32
    diff = compare_cards(card, other)
    assert [len(kind["rows"]) for kind in diff["kinds"]] == [0, 0, 2]
    assert {r["what"] for r in _rows(diff)} == {"versions, numpy", "hashes, metrics.parquet"}


def test_rows_are_matched_by_name_and_not_by_place(card: Card) -> None:
    other = copy.deepcopy(card)
    other["performance"][0]["tables"][0]["rows"].reverse()
    other["population"]["rows"].reverse()
    assert _rows(compare_cards(card, other)) == []


def test_what_only_one_card_has_is_shown_against_nothing(card: Card) -> None:
    other = copy.deepcopy(card)
    other["cautions"] = [*card["cautions"], "A new caution."]
    added = _rows(compare_cards(card, other))
    assert [(r["old"], r["new"]) for r in added] == [("", "A new caution.")]
    gone = _rows(compare_cards(other, card))
    assert [(r["old"], r["new"]) for r in gone] == [("A new caution.", "")]


def test_written_page_asks_for_nothing_and_escapes_what_it_shows(card: Card, tmp_path: Path) -> None:
    other = copy.deepcopy(card) | {"title": "<script>alert(1)</script>", "card_version": 1}
    for name, content in (("old", card), ("new", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps(content))
    diff, page = write_diff(tmp_path / "new", tmp_path / "old")
    text = page.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "default-src 'none'" in text
    assert "different layouts" in text
    assert json.loads((tmp_path / "new" / "card-diff.json").read_text()) == diff
    assert write_diff(tmp_path / "new", tmp_path / "old")[1].read_text(encoding="utf-8") == text


def test_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(InputError, match="the earlier run has no card; expected a file card.json"):
        write_diff(tmp_path, tmp_path / "elsewhere")
